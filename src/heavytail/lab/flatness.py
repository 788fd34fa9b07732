"""Sharpness of minima: how far the loss rises in a small box around the weights, and along a line to other weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lstsq
from scipy.optimize import Bounds, minimize
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from heavytail.errors import RequestError
from heavytail.lab.complexity import check_examples, evaluating, split_batches
from heavytail.lab.losses import loss_of

__all__ = ["Landscape", "Sharpness", "interpolate", "sharpness"]

Vector = NDArray[np.float64]
Map = Callable[[Vector], Vector]


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """Mean loss of a network over examples, as a function of its trainable weights in one vector.

    The vector is of double precision, in the order of `module.parameters()`; the network computes in its own. It is to
    be in evaluation mode, where the loss of an example does not depend on the others. Its own weights are not touched.

    Attributes:
        module: the network.
        inputs: of shape (n, ...).
        labels: of shape (n,).
        loss: from logits and labels to a mean over examples.
    """

    module: nn.Module
    inputs: Tensor
    labels: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]

    @property
    def weights(self) -> dict[str, Tensor]:
        """The trainable weights that the network has, by name."""
        return {name: weight.detach() for name, weight in self.module.named_parameters() if weight.requires_grad}

    def here(self) -> Vector:
        """Give the vector of the weights that the network has.

        Raises:
            RequestError: if none is trainable.
        """
        weights = self.weights
        if not weights:
            raise RequestError(f"the {type(self.module).__name__} has no trainable weight; expected one at least")
        return _join(weights)

    def split(self, vector: Vector) -> dict[str, Tensor]:
        """Give the weights that a vector (n,) stands for, by name, laid out as those of the network are."""
        weights = self.weights
        parts = torch.split(torch.from_numpy(vector), [weight.numel() for weight in weights.values()])
        named = zip(weights.items(), parts, strict=True)
        return {name: torch.empty_like(weight).copy_(part.view(weight.shape)) for (name, weight), part in named}

    def of_batch(self, weights: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        """Give the share of a batch in the mean loss."""
        loss = self.loss(functional_call(self.module, weights, (inputs,)), labels)
        return loss * (len(labels) / len(self.labels))

    def value_and_gradient(self, vector: Vector) -> tuple[float, Vector]:
        """Give the loss at a vector (n,) of weights, and its gradient (n,)."""
        weights, value, gradient = self.split(vector), 0.0, np.zeros_like(vector)
        for batch in split_batches(self.module, self.inputs, self.labels):
            gradients, share = grad_and_value(self.of_batch)(weights, *batch)
            value += float(share)
            gradient += _join(gradients)
        return value, gradient

    def hessian_product(self, vector: Vector, direction: Vector) -> Vector:
        """Give H v, H the Hessian of the loss at a vector (n,) of weights, v a direction (n,)."""
        weights, along, product = self.split(vector), self.split(direction), np.zeros_like(vector)
        with sdpa_kernel(SDPBackend.MATH):  # of the ways to compute attention the only one with a second derivative
            for batch in split_batches(self.module, self.inputs, self.labels):
                pull = vjp(lambda w, batch=batch: grad(self.of_batch)(w, *batch), weights)[1]
                product += _join(pull(along)[0])
        return product


def _join(tensors: dict[str, Tensor]) -> Vector:
    vector: Vector = torch.cat([tensor.flatten().to("cpu", torch.float64) for tensor in tensors.values()]).numpy()
    return vector


@dataclass(frozen=True, slots=True)
class Sharpness:
    """How far the loss rises in a box around the weights.

    Attributes:
        value: 100 (highest - loss) / (1 + loss), a percentage.
        loss: at the weights.
        highest: the highest loss that was found in the box.
        eps: half the width of the box, relative to 1 + |weight|.
        dimension: of the box: the number of weights, or that of the subspace.
        iterations: steps that the ascent took.
    """

    value: float
    loss: float
    highest: float
    eps: float
    dimension: int
    iterations: int


def sharpness(
    module: nn.Module,
    inputs: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any],
    eps: float = 1e-3,
    dimension: int | None = None,
    loss: str = "cross-entropy",
    iterations: int = 10,
    seed: int = 0,
) -> Sharpness:
    r"""Measure how far the loss f rises in a small box around the weights x of a network.

    .. math:: 100 \, \frac{\max_{y \in C} f(x + A y) - f(x)}{1 + f(x)}, \quad
        C = \{ |y_i| \le \epsilon (|(A^+ x)_i| + 1) \}

    A is the identity, or normal of shape (weights, dimension), its columns the directions of a random subspace. The
    maximum is what a few steps of L-BFGS-B from y = 0 find, as in the paper: a lower bound, and 0 where f is flat to
    all digits. Here the steps are in units of the box and of the mean slope, so that how far they come does not depend
    on how flat f is at x. The box, and so the value, depends on how a network shares its scale among its layers (Dinh
    et al. 2017, arXiv:1703.04933).

    The network is in evaluation mode: batch normalisation has the statistics of training, nothing is dropped. Its own
    weights are not touched.

    Args:
        module: the network, which gives logits (n, classes).
        inputs: of shape (n, ...).
        labels: of shape (n,), integers from 0.
        eps: half the width of the box, relative to 1 + |weight|; the paper has 1e-3 and 5e-4.
        dimension: of the random subspace, at most the number of weights; None for all weights. Its directions take
            4 bytes for each weight and dimension, and once more while the box is laid out.
        loss: "cross-entropy" or "mse" (`heavytail.lab.losses`).
        iterations: most steps of the ascent, each of about one pass forward and backward.
        seed: of the subspace, drawn by numpy's default generator in single precision.

    Returns:
        The sharpness; NaN where the loss is not finite.

    Raises:
        RequestError: if an argument is out of range or the examples do not fit.

    Source: Keskar et al. 2016, arXiv:1609.04836, metric 2.1 (equations 3 and 4).

    Example:
        >>> network = nn.Linear(2, 2, bias=False)
        >>> _ = network.weight.data.zero_()
        >>> found = sharpness(network, torch.ones(1, 2), torch.tensor([0]), eps=0.1)
        >>> round(found.highest, 6) == round(float(np.log1p(np.exp(0.4))), 6)  # every weight at the edge of its box
        True
    """
    landscape = Landscape(module, *check_examples(module, inputs, labels), loss_of(loss))
    x = landscape.here()
    _check(eps, dimension, iterations, x.size)
    center, to_weights, to_box = _directions(x, dimension, seed)

    edge = eps * (np.abs(center) + 1)
    with evaluating(module):
        here, slope = landscape.value_and_gradient(x)
        if not isfinite(here):
            return Sharpness(nan, here, nan, eps, edge.size, 0)
        # The first step is the gradient. In units of the box and of the mean slope it takes the mean weight to its
        # edge; in those of the weights it would hardly move at a minimum, where the slope is small.
        scale = float(np.abs(edge * to_box(slope)).mean()) or 1.0

        def descent(u: Vector) -> tuple[float, Vector]:
            value, gradient = landscape.value_and_gradient(x + to_weights(edge * u))
            return (here - value) / scale, -edge * to_box(gradient) / scale

        options = {"maxiter": iterations, "ftol": 0.0, "gtol": 0.0}  # all steps, unless nothing can be gained
        start, box = np.zeros(edge.size), Bounds(-1.0, 1.0)
        found = minimize(descent, start, method="L-BFGS-B", jac=True, bounds=box, options=options)
    highest = here - scale * float(found.fun)
    return Sharpness(100 * (highest - here) / (1 + here), here, highest, eps, edge.size, int(found.nit))


def interpolate(
    module_a: nn.Module,
    module_b: nn.Module,
    inputs: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any],
    alphas: ArrayLike,
    loss: str = "cross-entropy",
) -> Vector:
    """Measure loss and accuracy along the line through two sets of weights of the same network, (1 - a) x_a + a x_b.

    Running statistics of batch normalisation lie on the line too, and what is not of floating point (counts of batches)
    is that of the first network. Beyond [0, 1] a variance may be negative there: loss and accuracy are then NaN.

    Args:
        module_a: the network at a = 0.
        module_b: the network at a = 1, of the same architecture.
        inputs: of shape (n, ...).
        labels: of shape (n,), integers from 0.
        alphas: places on the line, of shape (k,); the paper has 25 from -1 to 2.
        loss: "cross-entropy" or "mse" (`heavytail.lab.losses`).

    Returns:
        Mean loss and accuracy, of shape (k, 2).

    Raises:
        RequestError: if the networks differ in the names or shapes of their weights, or the examples do not fit.

    Sources: Goodfellow, Vinyals and Saxe 2014, arXiv:1412.6544; Keskar et al. 2016, arXiv:1609.04836, figure 3.

    Example:
        >>> a, b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        >>> _ = a.weight.data.copy_(torch.eye(2)), b.weight.data.copy_(-torch.eye(2))
        >>> interpolate(a, b, torch.eye(2), torch.tensor([0, 1]), [0, 1]).round(4)
        array([[0.3133, 1.    ],
               [1.3133, 0.    ]])
    """
    inputs, labels = check_examples(module_a, inputs, labels)
    criterion, ends = loss_of(loss), (_state(module_a), _state(module_b))
    shapes = [{name: tuple(tensor.shape) for name, tensor in end.items()} for end in ends]
    if shapes[0] != shapes[1]:
        different = ", ".join(sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()}))
        raise RequestError(f"module_a and module_b differ in the shapes of {different}; expected one architecture")
    rows = []
    with evaluating(module_a), torch.no_grad():
        for alpha in np.asarray(alphas, np.float64).ravel().tolist():
            state = {name: _between(tensor, ends[1][name], alpha) for name, tensor in ends[0].items()}
            total = right = 0.0
            for x, y in split_batches(module_a, inputs, labels):
                logits = functional_call(module_a, state, (x,))
                total += float(criterion(logits, y)) * len(y)
                right += float((logits.argmax(1) == y).sum()) if logits.isfinite().all() else nan
            rows.append((total / len(labels), right / len(labels)))
    return np.array(rows).reshape(-1, 2)


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def _between(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return (1 - alpha) * a + alpha * b.to(a) if a.is_floating_point() else a


def _directions(x: Vector, dimension: int | None, seed: int) -> tuple[Vector, Map, Map]:
    """Give A^+ x, and the products with A and with its transpose."""
    if dimension is None:
        return x, _same, _same
    A = np.random.default_rng(seed).standard_normal((x.size, dimension), dtype=np.float32)
    center = lstsq(A, x.astype(np.float32), lapack_driver="gelsy")[0]
    return center.astype(np.float64), _times(A), _times(A.T)


def _same(vector: Vector) -> Vector:
    return vector


def _times(matrix: NDArray[np.float32]) -> Map:
    """Give the product with a matrix, without a copy of it in double precision."""
    return lambda vector: (matrix @ vector.astype(np.float32)).astype(np.float64)


def _check(eps: float, dimension: int | None, iterations: int, weights: int) -> None:
    if not 0 < eps < np.inf:
        raise RequestError(f"eps is {eps}; it must be positive and finite")
    if iterations < 1:
        raise RequestError(f"iterations is {iterations}; it must be at least 1")
    if dimension is not None and not 1 <= dimension <= weights:
        raise RequestError(f"dimension is {dimension}; it must be from 1 to the {weights} weights of the network")
