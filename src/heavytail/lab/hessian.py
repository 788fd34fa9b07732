"""Curvature of the loss: the largest eigenvalues of its Hessian, by products with vectors alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import grad, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from heavytail.errors import ConvergenceError, RequestError
from heavytail.lab.capacity import check_examples, evaluating
from heavytail.lab.losses import loss_of
from heavytail.lab.sharpness import Landscape, Vector, join, split_batches

__all__ = ["HessianEigenvalues", "top_eigenvalues"]


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
        return _product(landscape, x, v.ravel())

    H = LinearOperator((x.size, x.size), matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(x.size)
    # only the plain attention has a second derivative
    with evaluating(module), sdpa_kernel(SDPBackend.MATH):
        try:
            values, vectors = eigsh(H, count, which="LA", v0=start, tol=tolerance)
        except ArpackNoConvergence as error:
            raise ConvergenceError(
                f"the largest {count} eigenvalues of the Hessian were not found in {products} products to a relative "
                f"{tolerance:g}, only {len(error.eigenvalues)} of them"
            ) from None
        residuals = [np.linalg.norm(product(v) - value * v) for value, v in zip(values, vectors.T, strict=True)]
    order = np.argsort(-values)
    return HessianEigenvalues(values[order], np.array(residuals)[order], products)


def _product(landscape: Landscape, x: Vector, v: Vector) -> Vector:
    """Give H v at the weights x: the gradient of the product of the gradient with v."""
    weights, direction, total = landscape.split(x), landscape.split(v), np.zeros_like(x)
    for batch in split_batches(landscape.module, landscape.inputs, landscape.labels):
        _, pull = vjp(lambda w, batch=batch: grad(landscape.of_batch)(w, *batch), weights)
        total += join(pull(direction)[0])
    if not np.isfinite(total).all():
        raise ConvergenceError("the Hessian has products that are not finite, and so no eigenvalues")
    return total
