"""whole_model.py floor|analyze FILE: processor seconds of a model's matrices, in one thread, as JSON.

floor    each matrix is read, its Gram matrix summed and handed to LAPACK, by the routines that analyze() has them from;
         no name, no check, no fit
analyze  analyze(FILE), and how much of it goes to spectra: reading, Gram matrices and LAPACK

Imports are not counted, but those that the work itself asks for.
"""

import json
import sys
from collections.abc import Callable, Iterable
from time import process_time
from typing import Any

import numpy as np

from heavytail.spectra.lapack import add_gram, symmetric_eigenvalues
from heavytail.weights.layout import plan
from heavytail.weights.source import open_source

LARGE, BLOCK = 1024, 512  # from this size on LAPACK works in place; rows in one step of a Gram matrix


def floor(path: str) -> dict[str, float]:
    start = process_time()
    for job in plan(open_source(path).tensors):
        tensor = job.tensor
        if len(job.parts) == 1 and len(tensor.shape) == 2 and tensor.shape[0] >= tensor.shape[1]:
            evals(tensor.blocks(BLOCK), tensor.shape[1])
        elif job.parts:
            W = tensor.read()
            for part in job.parts:
                block = W[part.block * job.rows : (part.block + 1) * job.rows] if job.rows else W
                for matrix in part.stack(block):
                    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
                    evals((tall[i : i + BLOCK] for i in range(0, len(tall), BLOCK)), tall.shape[1])
    return {"seconds": process_time() - start}


def evals(blocks: Iterable[np.ndarray], M: int) -> None:
    G = np.zeros((M, M), order="F")
    for block in blocks:
        if M >= LARGE:
            add_gram(np.ascontiguousarray(block, np.float64), G)
        else:
            W = block.astype(np.float64)
            G += W.T @ W
    symmetric_eigenvalues(G) if M >= LARGE else np.linalg.eigvalsh(G)


def analysis(path: str) -> dict[str, float]:
    from heavytail.analysis import analyze, jobs

    spent = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal spent
            start = process_time()
            found = function(*arguments, **options)
            spent += process_time() - start
            return found

        return call

    for name in ("spectrum_of_rows", "spectrum_of_stack"):
        setattr(jobs, name, timed(getattr(jobs, name)))
    start = process_time()
    analyze(path, jobs=1)
    return {"seconds": process_time() - start, "spectra": spent}


json.dump({"floor": floor, "analyze": analysis}[sys.argv[1]](sys.argv[2]), sys.stdout)
