"""The Gram matrix and its eigenvalues on a device of torch's: a GPU, or the CPU with torch's own LAPACK."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import RequestError, visible
from heavytail.weights.tensor import Array

__all__ = ["check_device", "eigenvalues_of_rows"]

Matrix = NDArray[np.float64]


def check_device(device: str) -> None:
    """Make sure that torch is there, has the device, and that it computes in float64.

    Raises:
        RequestError: if not.
    """
    if find_spec("torch") is None:
        raise RequestError("device needs torch: pip install 'heavytail[torch]'")
    import torch

    try:
        torch.zeros(1, dtype=torch.float64, device=device).cpu()
    except Exception as error:  # torch has many kinds for it
        raise RequestError(f"device {visible(device)!r}: {visible(str(error).splitlines()[0])}") from error


def eigenvalues_of_rows(blocks: Iterable[Array], M: int, device: str) -> tuple[Matrix, float]:
    """Compute the eigenvalues of W^T W, ascending, and its trace.

    Args:
        blocks: W in blocks of rows, shape (r, M) each.
        M: number of columns.
        device: torch's name of it.

    Example:
        >>> eigenvalues_of_rows([np.eye(2), np.ones((1, 2))], 2, "cpu")
        (array([1., 3.]), 4.0)
    """
    import torch

    G = torch.zeros((M, M), dtype=torch.float64, device=device)
    for block in blocks:
        W = torch.from_numpy(np.array(block, dtype=np.float64, order="C")).to(device)
        G.addmm_(W.T, W)
    trace = float(G.trace())
    evals: Matrix = torch.linalg.eigvalsh(G).cpu().numpy() if np.isfinite(trace) else np.full(M, np.nan)
    return evals, trace
