"""Capacity of a trained classifier: how large its layers are, and how far its examples lie from the decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import log10, nan
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from heavytail.errors import RequestError
from heavytail.trends.capacity import path_norm

__all__ = ["Capacity", "capacity", "check_examples", "evaluating", "split_batches", "weight_matrices"]

_BATCH = 250  # examples that go through a network at a time


@dataclass(frozen=True, slots=True)
class Capacity:
    """Norms of a network and margins of its examples.

    The margin of an example of class y is f_y - max_{j != y} f_j, negative where the network is wrong. The logits f of
    a network of linear layers and rectifiers without biases grow as the product of the norms of its matrices; divided
    by that product they no longer depend on how a network shares its scale among its layers.

    Attributes:
        log_frobenius_product: log10 of the product, over the weight matrices, of their Frobenius norms.
        log_spectral_product: the same of their largest singular values.
        log_path_norm: log10 of the root of the sum of squared weights along paths (`heavytail.trends.capacity`), NaN
            for a network that has none.
        margin_mean: mean of the margins.
        margin_p10: their lower tenth (quantile 0.1, linear between examples).
        frobenius_margin_mean: mean of the margins over the product of Frobenius norms.
        frobenius_margin_p10: their lower tenth.
        spectral_margin_mean: mean of the margins over the product of spectral norms.
        spectral_margin_p10: their lower tenth.
        normalised_loss: mean cross-entropy, in nats, of the logits over the product of Frobenius norms.
    """

    log_frobenius_product: float
    log_spectral_product: float
    log_path_norm: float
    margin_mean: float
    margin_p10: float
    frobenius_margin_mean: float
    frobenius_margin_p10: float
    spectral_margin_mean: float
    spectral_margin_p10: float
    normalised_loss: float

    def as_dict(self) -> dict[str, float]:
        """Give the numbers by name."""
        return asdict(self)


def capacity(
    module: nn.Module,
    inputs: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any],
    shape: Sequence[int] | None = None,
) -> Capacity:
    """Measure the norms of a classifier and the margins of examples.

    The network runs in evaluation mode, on its device, in batches; every part of it is put back into the mode it was
    in. The factors of the products are those of `weight_matrices`. Of a convolution the spectral norm is that of the
    matrix (out, in k k), not of the map from images to images.

    What is divided by the product is the output. With biases this is not what the same network with normalised weights
    would give, and the gains of normalisation layers are in no product: a convolution in front of a batch normalisation
    can be rescaled, and the product with it, without any change of the function. Products and what is divided by them
    then compare networks of one architecture, trained alike, and no others; the path norm counts those gains.

    Args:
        module: the network, which gives logits (n, classes).
        inputs: of shape (n, ...).
        labels: of shape (n,), integers from 0.
        shape: of an input of the path norm; None for that of the inputs.

    Returns:
        The measures. Those that a matrix of zeros, or weights that are not finite, leave without a value are NaN or
        infinite.

    Raises:
        RequestError: if the network has no weight matrix or gives no logits, or the examples do not fit.

    Sources: Liao et al. 2018, arXiv:1807.09659 (product of Frobenius norms, normalised loss); Bartlett, Foster and
    Telgarsky 2017, arXiv:1706.08498 (margins over the spectral product, here without the norms of their factor for
    the rank and of the data); Neyshabur et al. 2015, arXiv:1503.00036 (path norm).

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2, bias=False))
        >>> _ = network[0].weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
        >>> measured = capacity(network, torch.eye(2), torch.tensor([0, 1]))
        >>> measured.margin_mean, measured.frobenius_margin_mean, measured.spectral_margin_mean
        (3.5, 0.7, 0.875)
    """
    inputs, labels = check_examples(module, inputs, labels)
    labels = labels.cpu()
    matrices = [matrix.detach().to("cpu", torch.float64) for matrix in weight_matrices(module)]
    frobenius = sum(_log10(float(matrix.norm())) for matrix in matrices)
    spectral = sum(_log10(_largest_singular_value(matrix)) for matrix in matrices)
    logits = _logits(module, inputs)
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.max() >= logits.shape[1]:
        wanted = f"(n, classes), with more than {max(1, int(labels.max()))} classes"
        raise RequestError(f"capacity: the network gives {tuple(logits.shape)}; expected logits {wanted}")
    margins = _margins(logits, labels)
    ten = torch.tensor(10.0, dtype=torch.float64)
    by_frobenius, by_spectral = ten**-frobenius, ten**-spectral  # of torch, which gives infinity for an overflow
    return Capacity(
        frobenius,
        spectral,
        _log_path_norm(module, inputs.shape[1:] if shape is None else shape),
        *_mean_and_p10(margins),
        *_mean_and_p10(margins * by_frobenius),
        *_mean_and_p10(margins * by_spectral),
        float(functional.cross_entropy(logits * by_frobenius, labels)),
    )


def weight_matrices(module: nn.Module) -> list[Tensor]:
    """Give the weights of linear layers (out, in), of convolutions as (out, in k k), and of the parts of attention.

    Under weight or spectral normalisation they are the weights that the layer computes with; a weight that several
    layers share comes once for each. A transposed convolution has its channels the other way round, (in, out k k).
    Left out are embeddings and tables of positions, which are looked up, normalisation layers, biases, recurrent cells
    and whatever else a module computes with.

    Raises:
        RequestError: if there is none.
    """
    matrices: list[Tensor] = []
    for part in module.modules():
        if isinstance(part, nn.Linear | _ConvNd):
            matrices.append(part.weight.flatten(1))
        elif isinstance(part, nn.MultiheadAttention):  # its output layer is a part of its own
            together = part.in_proj_weight
            separate = (part.q_proj_weight, part.k_proj_weight, part.v_proj_weight)
            matrices.extend(separate if together is None else together.chunk(3))
    if not matrices:
        raise RequestError(f"the {type(module).__name__} has no linear or convolutional layer; expected one at least")
    return matrices


def check_examples(
    module: nn.Module, inputs: Tensor | NDArray[Any], labels: Tensor | NDArray[Any]
) -> tuple[Tensor, Tensor]:
    """Give examples as tensors: inputs of the precision of the module, and labels int64, where they were.

    Raises:
        RequestError: if there is none, or the labels are not one non-negative whole number for each input.
    """
    inputs, labels = torch.as_tensor(inputs), torch.as_tensor(labels)
    if not inputs.ndim or labels.shape != inputs.shape[:1] or not len(labels):
        seen = f"inputs {tuple(inputs.shape)} and labels {tuple(labels.shape)}"
        raise RequestError(f"expected inputs (n, ...) and labels (n,) of n > 0 examples; got {seen}")
    if labels.is_floating_point() or labels.dtype == torch.bool or labels.min() < 0:
        raise RequestError(f"labels must be whole numbers from 0; got {labels.dtype}, the least {labels.min().item()}")
    weight = next(module.parameters(), None)
    if weight is not None and inputs.is_floating_point():
        inputs = inputs.to(weight.dtype)
    return inputs, labels.long()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and afterwards each of its parts back into the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def split_batches(module: nn.Module, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors of the same length into batches on the device of a module."""
    weight = next(module.parameters(), torch.empty(0))
    for start in range(0, len(tensors[0]), _BATCH):
        yield tuple(tensor[start : start + _BATCH].to(weight.device) for tensor in tensors)


@torch.no_grad()
def _logits(module: nn.Module, inputs: Tensor) -> Tensor:
    with evaluating(module):
        return torch.cat([module(batch).to("cpu", torch.float64) for (batch,) in split_batches(module, inputs)])


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    own = labels[:, None]
    return logits.gather(1, own)[:, 0] - logits.scatter(1, own, -torch.inf).amax(1)


def _mean_and_p10(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.quantile(0.1))


def _largest_singular_value(matrix: Tensor) -> float:
    # LAPACK refuses what is not finite. The root of the largest eigenvalue of the smaller Gram matrix is as exact as
    # the singular value, several times sooner.
    if not matrix.isfinite().all():
        return nan
    gram = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
    return float(torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt())


def _log10(value: float) -> float:
    return -torch.inf if value == 0 else log10(value)


def _log_path_norm(module: nn.Module, shape: Sequence[int]) -> float:
    try:
        return _log10(path_norm(module, shape))
    except RequestError:
        return nan
