"""The networks of the experiments, with the initialisation of their papers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import ceil, prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from heavytail.errors import RequestError
from heavytail.lab.recipe import NETWORKS

__all__ = ["build", "glorot_normal_"]

_OF_TOKENS = ("transformer", "mlp-tokens")
_CLIPPED_AT = 2.0  # standard deviations; Keras did not widen the normal to make up for it


def glorot_normal_(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw weights as Keras's `glorot_normal` of 2018 did, in place.

    A normal of variance 2 / (fan_in + fan_out), clipped by redrawing at two of its standard deviations: the standard
    deviation that is left is 0.8796 of it, for which Keras made no correction then.

    Args:
        weight: of shape (out, in) or (out, in, height, width).
        generator: of the random numbers.

    Example:
        >>> W = glorot_normal_(torch.empty(500, 500), torch.Generator().manual_seed(0))
        >>> round(float(W.std() / sqrt(2 / 1000)), 2)
        0.88
    """
    window = prod(weight.shape[2:])
    scale = sqrt(2 / (window * (weight.shape[0] + weight.shape[1])))
    return nn.init.trunc_normal_(weight, 0.0, scale, -_CLIPPED_AT * scale, _CLIPPED_AT * scale, generator)


class _SamePool(nn.Module):
    """Maxima over windows as wide as the step between them; the border is padded so that every pixel has a window."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Shrink images (n, channels, height, width) by the window, rounding up."""
        lacks = [-size % self.window for size in x.shape[:1:-1]]  # the last axis comes first, as padding takes it
        padding = [part for lack in lacks for part in (lack // 2, lack - lack // 2)]
        if any(padding):
            x = functional.pad(x, padding, value=-torch.inf)
        return functional.max_pool2d(x, self.window)


class _Residual(nn.Module):
    """Two convolutions beside a way past them (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.past = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.past = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Add what the convolutions make of x to x."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.past(x))


class _Block(nn.Module):
    """Attention and a two-layer network beside a way past them, with normalisation in front."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Mix activations (n, length, width) over what comes before."""
        y = self.norm1(x)
        q, k, v = (part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.o(mixed.transpose(1, 2).flatten(2)))
        inner: Tensor = self.drop(self.down(torch.relu(self.up(self.norm2(x)))))
        return x + inner


class _Transformer(nn.Module):
    """A decoder that reads tokens and tells the class at the last of them."""

    def __init__(self, length: int, classes: int, dropout: float, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(classes + 1, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.Sequential(*(_Block(width, 4, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the logits (n, classes) of sequences of tokens (n, length)."""
        x = self.blocks(self.tokens(tokens) + self.positions)
        logits: Tensor = self.head(self.norm(x[:, -1]))
        return logits


class _TokensMlp(nn.Module):
    """A hidden layer on the embeddings of all tokens side by side."""

    def __init__(self, length: int, classes: int, dropout: float, width: int = 128, hidden: int = 512) -> None:
        super().__init__()
        self.tokens = nn.Embedding(classes + 1, width)
        self.fc1 = nn.Linear(length * width, hidden)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Give the logits (n, classes) of sequences of tokens (n, length)."""
        hidden = torch.relu(self.fc1(self.tokens(tokens).flatten(1)))
        logits: Tensor = self.out(self.drop(hidden))
        return logits


def build(name: str, shape: Sequence[int], classes: int, *, dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """Build a network of the experiments, in its initial state.

    - "mlp3": three hidden layers of 512 units (Zhang et al. 2016, their "MLP 3x512").
    - "minialexnet": two convolutions of 96 and 256 5 x 5 filters, each with maxima over 3 x 3 windows and batch
      normalisation, then 384 and 192 units (Zhang et al. 2016, "small AlexNet"; Martin and Mahoney 2018). On images of
      28 x 28 its FC1 is 4096 x 384. With dropout, FC1 and FC2 have batch normalisation too, as in the paper. It has 448
      parameters more than the 2,272,458 that were published for colour images; no reading of the text gives those.
    - "lenet5": 20 and 50 5 x 5 filters with maxima over 2 x 2 windows, then 500 units; on images of 28 x 28 FC1 is
      2450 x 500.
    - "resnet": a first convolution and three residual blocks of 32, 64 and 128 channels (He et al. 2016).
    - "transformer": two causal blocks of width 128 with four heads, the norm in front, for sequences of tokens.
    - "mlp-tokens": a hidden layer of 512 units on the embeddings, of width 128, of all tokens of a sequence.

    The first three have ReLU, biases of 0.1 and Keras's clipped normal; the others torch's own initialisation.
    Running statistics of batch normalisation are means over the batches since they were last reset, which `train`
    does at the beginning of each epoch: with Keras's momentum of 0.99 they would lag behind where epochs have few
    steps.

    Args:
        name: one of these.
        shape: of one input: (channels, height, width), or (length,) for tokens.
        classes: number of classes, >= 2; tokens go from 0 to `classes`.
        dropout: probability that a unit behind a hidden matrix is left out.
        seed: of the weights. The generator of torch is left as it was.

    Raises:
        RequestError: if there is no such network, or it does not take inputs of this shape.

    Example:
        >>> sum(p.numel() for p in build("mlp3", (3, 28, 28), 10).parameters())
        1735178
    """
    if name not in NETWORKS:
        raise RequestError(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    expected = 1 if name in _OF_TOKENS else 3
    if len(shape) != expected:
        wants = "(length,) of tokens" if expected == 1 else "(channels, height, width)"
        raise RequestError(f"network {name!r} takes inputs of shape {wants}; got {tuple(shape)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "transformer":
            return _Transformer(shape[0], classes, dropout)
        if name == "mlp-tokens":
            return _TokensMlp(shape[0], classes, dropout)
        if name == "resnet":
            return _resnet(shape[0], classes)
        network = {"mlp3": _mlp3, "minialexnet": _minialexnet, "lenet5": _lenet5}[name](tuple(shape), classes, dropout)
        for part in network.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                glorot_normal_(part.weight)
                nn.init.constant_(part.bias, 0.1)  # type: ignore[arg-type]
        return network


def _dense(widths: Sequence[int], dropout: float, normalised: bool = False) -> dict[str, nn.Module]:
    """Make hidden layers fc1, fc2, ... and the last one, out."""
    parts: dict[str, nn.Module] = {}
    for k, (inputs, outputs) in enumerate(pairwise(widths[:-1]), 1):
        parts[f"fc{k}"] = nn.Linear(inputs, outputs)
        if normalised:
            parts[f"fcbn{k}"] = nn.BatchNorm1d(outputs, eps=1e-3, momentum=None)
        parts[f"fcrelu{k}"] = nn.ReLU()
        if dropout:
            parts[f"drop{k}"] = nn.Dropout(dropout)
    parts["out"] = nn.Linear(widths[-2], widths[-1])
    return parts


def _mlp3(shape: tuple[int, ...], classes: int, dropout: float) -> nn.Module:
    return nn.Sequential(OrderedDict(flat=nn.Flatten(), **_dense((prod(shape), 512, 512, 512, classes), dropout)))


def _minialexnet(shape: tuple[int, ...], classes: int, dropout: float) -> nn.Module:
    channels, *sides = shape
    convolutions: dict[str, nn.Module] = {}
    for k, filters in enumerate((96, 256), 1):
        convolutions[f"conv{k}"] = nn.Conv2d(channels, filters, 5, padding=2)
        convolutions[f"relu{k}"] = nn.ReLU()
        convolutions[f"pool{k}"] = _SamePool(3)
        convolutions[f"bn{k}"] = nn.BatchNorm2d(filters, eps=1e-3, momentum=None)
        channels, sides = filters, [ceil(side / 3) for side in sides]
    dense = _dense((channels * prod(sides), 384, 192, classes), dropout, normalised=dropout > 0)
    return nn.Sequential(OrderedDict(**convolutions, flat=nn.Flatten(), **dense))


def _lenet5(shape: tuple[int, ...], classes: int, dropout: float) -> nn.Module:
    channels, *sides = shape
    convolutions: dict[str, nn.Module] = {}
    for k, filters in enumerate((20, 50), 1):
        convolutions[f"conv{k}"] = nn.Conv2d(channels, filters, 5, padding=2)
        convolutions[f"relu{k}"] = nn.ReLU()
        convolutions[f"pool{k}"] = nn.MaxPool2d(2)
        channels, sides = filters, [side // 2 for side in sides]
    dense = _dense((channels * prod(sides), 500, classes), dropout)
    return nn.Sequential(OrderedDict(**convolutions, flat=nn.Flatten(), **dense))


def _resnet(channels: int, classes: int) -> nn.Module:
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, 32, 3, padding=1, bias=False),
        "bn1": nn.BatchNorm2d(32),
        "relu1": nn.ReLU(),
        "block1": _Residual(32, 32, 1),
        "block2": _Residual(32, 64, 2),
        "block3": _Residual(64, 128, 2),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "out": nn.Linear(128, classes),
    }
    return nn.Sequential(OrderedDict(parts))
