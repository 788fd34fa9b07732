"""Curvature of the loss: the largest eigenvalues of its Hessian, by products with vectors alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

from heavytail.errors import ConvergenceError, RequestError
from heavytail.lab.complexity import check_examples, evaluating
from heavytail.lab.flatness import Landscape, Vector
from heavytail.lab.losses import loss_of

__all__ = ["HessianEigenvalues", "top_eigenvalues"]

_RESTARTS = 1000  # of the Lanczos iterations, each of up to twenty products or twice the count


@dataclass(frozen=True, slots=True, eq=False)
class HessianEigenvalues:
    """The largest eigenvalues of the Hessian of a loss.

    Attributes:
        values: of shape (count,), descending.
        residuals: |H v - value v| of their unit vectors v, of shape (count,): so near to each is an eigenvalue of H.
        products: number of Hessian-vector products that were taken.
    """

    values: Vector
    residuals: Vector
    products: int


def top_eigenvalues(
    module: nn.Module,
    inputs: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any],
    count: int = 1,
    loss: str = "cross-entropy",
    tolerance: float = 1e-4,
    seed: int = 0,
) -> HessianEigenvalues:
    """Compute the largest eigenvalues of the Hessian of the mean loss, in all trainable weights of a network.

    Lanczos iterations (ARPACK, implicitly restarted) on products H v, each of which is a gradient of a gradient: the
    network computes in its own precision, ARPACK in double. The largest are those on the positive side; the power
    iteration of the paper gives those of largest size, the same ones near a minimum. The network is in evaluation
    mode, and its weights are not touched.

    Args:
        module: the network, which gives logits (n, classes).
        inputs: of shape (n, ...).
        labels: of shape (n,), integers from 0.
        count: of eigenvalues, less than the number of weights.
        loss: "cross-entropy" or "mse" (`heavytail.lab.losses`).
        tolerance: relative error of the eigenvalues at which the iterations end.
        seed: of the first vector.

    Raises:
        RequestError: if an argument is out of range or the examples do not fit.
        ConvergenceError: if the tolerance is not reached, or the Hessian is not finite.

    Source: Yao et al. 2018, arXiv:1802.08241, section 2 and algorithm 1.

    Example:
        >>> import torch
        >>> network = nn.Linear(1, 2, bias=False)
        >>> _ = network.weight.data.zero_()
        >>> found = top_eigenvalues(network, torch.tensor([[2.0]]), torch.tensor([0]))
        >>> print(found.values.round(6))  # x^2 times the largest eigenvalue of diag(p) - p p^T, p = 1/2
        [2.]
    """
    landscape = Landscape(module, *check_examples(module, inputs, labels), loss_of(loss))
    x = landscape.here()
    if not 1 <= count < x.size:
        raise RequestError(f"count is {count}; it must be at least 1 and less than the {x.size} weights")
    if not tolerance > 0:
        raise RequestError(f"tolerance is {tolerance}; it must be positive")
    products = 0

    def product(v: Vector) -> Vector:
        nonlocal products
        products += 1
        found = landscape.hessian_product(x, v.ravel())
        if not np.isfinite(found).all():
            raise ConvergenceError("the Hessian of the loss is not finite; it has no eigenvalues")
        return found

    start = np.random.default_rng(seed).standard_normal(x.size)
    with evaluating(module):
        if not product(start).any():  # a loss without curvature, which ARPACK refuses
            return HessianEigenvalues(np.zeros(count), np.zeros(count), products)
        H = LinearOperator((x.size, x.size), matvec=product, dtype=np.float64)
        try:
            values, vectors = eigsh(H, count, which="LA", v0=start, tol=tolerance, maxiter=_RESTARTS)
        except ArpackNoConvergence as error:
            raise ConvergenceError(
                f"{len(error.eigenvalues)} of the {count} largest eigenvalues of the Hessian were found to a relative "
                f"{tolerance:g} in {products} products; expected all of them"
            ) from None
        residuals = [np.linalg.norm(product(v) - value * v) for value, v in zip(values, vectors.T, strict=True)]
    order = np.argsort(-values)
    return HessianEigenvalues(values[order], np.array(residuals)[order], products)
