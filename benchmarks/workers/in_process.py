"""in_process.py model|many|lapack FILE THREADS REPEATS: seconds of two ways in one process, turn by turn, as JSON.

model    the same matrices: Gram matrix and LAPACK alone, against analyze(FILE)
many     1,000 matrices of 64 x 64: a bare loop, against analyze()
lapack   one large layer: singular values as WeightWatcher asks for them, against Gram matrix and dsyev
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.linalg
from scipy.linalg.lapack import dsyev, dsyev_lwork
from threadpoolctl import threadpool_limits

from heavytail.analysis import analyze
from heavytail.weights.source import open_source

what, path = sys.argv[1:3]
threads, repeats = map(int, sys.argv[3:])
Ways = tuple[Callable[[], object], Callable[[], object]]


def evals(W: np.ndarray) -> np.ndarray:
    W = W.astype(np.float64)
    return np.linalg.eigvalsh(W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T)


def model() -> Ways:
    matrices = [np.array(tensor.read()) for tensor in open_source(path).tensors if len(tensor.shape) == 2]
    matrices.sort(key=lambda W: -W.size * min(W.shape))

    def bare() -> None:
        with threadpool_limits(1), ThreadPoolExecutor(threads) as executor:
            list(map(evals, matrices) if threads == 1 else executor.map(evals, matrices))

    return bare, lambda: analyze(path, jobs=threads)


def many() -> Ways:
    rng = np.random.default_rng(0)
    matrices = {f"{i}.weight": rng.standard_normal((64, 64), np.float32) for i in range(1000)}

    def bare() -> None:
        with threadpool_limits(1):
            for W in matrices.values():
                evals(W)

    return bare, lambda: analyze(matrices, jobs=threads)


def lapack() -> Ways:
    W = open_source(path).tensors[0].read().astype(np.float64)
    lwork = int(dsyev_lwork(W.shape[1], lower=1)[0])

    def gram() -> None:
        dsyev((W.T @ W).T, compute_v=0, lower=1, lwork=lwork, overwrite_a=1)

    return lambda: scipy.linalg.svd(W, compute_uv=False), gram


ways = {"model": model, "many": many, "lapack": lapack}[what]()
seconds = []
for _ in range(repeats + 1):
    pair = []
    for way in ways:
        start = time.perf_counter()
        way()
        pair.append(time.perf_counter() - start)
    seconds.append(pair)
json.dump(seconds[1:], sys.stdout)
