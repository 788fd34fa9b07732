"""Drivers of the symmetric eigenvalue problem: seconds and accuracy, by size.

    python benchmarks/drivers.py [--threads N] [SIZE ...]

LAPACK's usual driver and its two-stage one, in the OpenBLAS that scipy loads, and torch's where torch is installed.
Accuracy is the largest difference from the usual driver's eigenvalues over the largest eigenvalue.
"""

import argparse
import time
from importlib.util import find_spec
from unittest.mock import patch

import numpy as np
from threadpoolctl import threadpool_limits

from heavytail.spectra import lapack
from heavytail.spectra.lapack import symmetric_eigenvalues


def matrix(n: int) -> np.ndarray:
    W = np.random.default_rng(0).standard_normal((n + 64, n))
    return np.asfortranarray(W.T @ W)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[512, 1024, 2048, 3072, 4096])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print("| size | usual, s | two-stage, s | off by | torch, s | off by |\n|---|---|---|---|---|---|")
    for n in options.sizes:
        G = matrix(n)
        found = []
        with threadpool_limits(options.threads):
            for size in (10**9, 1):
                with patch.object(lapack, "TWO_STAGE", size):
                    symmetric_eigenvalues(matrix(4))  # finds the routine
                    start = time.perf_counter()
                    evals = symmetric_eigenvalues(G.copy(order="F"))
                    found.append((time.perf_counter() - start, evals))
            if find_spec("torch"):
                import torch

                torch.set_num_threads(options.threads)
                start = time.perf_counter()
                evals = torch.linalg.eigvalsh(torch.from_numpy(G)).numpy()
                found.append((time.perf_counter() - start, evals))
        reference = found[0][1]
        cells = [f"{found[0][0]:.3f}"]
        for seconds, evals in found[1:]:
            cells += [f"{seconds:.3f}", f"{abs(evals - reference).max() / reference[-1]:.1e}"]
        print(f"| {n} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
