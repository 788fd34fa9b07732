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
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from heavytail.errors import RequestError
from heavytail.lab.capacity import check_examples, evaluating, split_batches
from heavytail.lab.losses import loss_of

__all__ = ["Landscape", "Sharpness", "interpolate", "sharpness"]

Vector = NDArray[np.float64]


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
        return join(weights)

    def split(self, vector: Vector) -> dict[str, Tensor]:
        """Give the weights that a vector (n,) stands for, by name."""
        weights = self.weights
        parts = torch.split(torch.from_numpy(vector), [weight.numel() for weight in weights.values()])
        named = zip(weights.items(), parts, strict=True)
        return {name: part.reshape(weight.shape).to(weight) for (name, weight), part in named}

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
            gradient += join(gradients)
        return value, gradient


def join(tensors: dict[str, Tensor]) -> Vector:
    """Join tensors into one vector of double precision."""
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
    maximum is what a few steps of L-BFGS-B from y = 0 find: a lower bound, reached by the local rule of the paper, which
    differs between scales of the same function (Dinh et al. 2017). Where f has no gradient at all, 0.

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
        The sharpness; NaN where the loss at the weights is not finite.

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
    if dimension is None:
        width, to_weights, to_box = np.abs(x), _same, _same
    else:
        A = np.random.default_rng(seed).standard_normal((x.size, dimension), dtype=np.float32)
        width = np.abs(lstsq(A, x.astype(np.float32), lapack_driver="gelsy")[0].astype(np.float64))
        to_weights, to_box = _times(A), _times(A.T)

    def descent(y: Vector) -> tuple[float, Vector]:
        value, gradient = landscape.value_and_gradient(x + to_weights(y))
        return -value, -to_box(gradient)

    with evaluating(module):
        here = landscape.value_and_gradient(x)[0]
        if not isfinite(here):
            return Sharpness(nan, here, nan, eps, width.size, 0)
        edge = eps * (width + 1)
        # No stop at a small slope or gain: at a minimum both are small, and the question is what a few steps away is.
        options = {"maxiter": iterations, "ftol": 0.0, "gtol": 0.0}
        box = list(zip(-edge, edge, strict=True))
        found = minimize(descent, np.zeros_like(edge), method="L-BFGS-B", jac=True, bounds=box, options=options)
    highest = max(here, -float(found.fun))
    return Sharpness(100 * (highest - here) / (1 + here), here, highest, eps, width.size, int(found.nit))


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


def _same(vector: Vector) -> Vector:
    return vector


def _times(matrix: NDArray[np.float32]) -> Callable[[Vector], Vector]:
    """Give the product with a matrix, without a copy of it in double precision."""
    return lambda vector: (matrix @ vector.astype(np.float32)).astype(np.float64)


def _check(eps: float, dimension: int | None, iterations: int, weights: int) -> None:
    if not 0 < eps < np.inf:
        raise RequestError(f"eps is {eps}; it must be positive and finite")
    if iterations < 1:
        raise RequestError(f"iterations is {iterations}; it must be at least 1")
    if dimension is not None and not 1 <= dimension <= weights:
        raise RequestError(f"dimension is {dimension}; it must be from 1 to the {weights} weights of the network")
