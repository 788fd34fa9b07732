"""Capacity of a live network: the path norm, a sum over all ways through it that no matrix alone can give."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import isfinite, prod, sqrt
from typing import TYPE_CHECKING, Any

from heavytail.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["path_norm"]


def path_norm(module: Module, shape: Sequence[int]) -> float:
    """Compute the path norm of a network of linear steps and rectifiers.

    It is the root of the sum, over all paths from an input to an output, of the product of the squared weights along
    the path. Rescaling the weights on both sides of a unit leaves it alone, and of L matrices in a row it is at most
    the product of their Frobenius norms. It takes one pass of ones through the network of squared weights: on a copy,
    so that nothing of the module is changed or called back, in double precision and in evaluation mode.

    Every linear step has its factor on a path: weights; gamma / sqrt(var + eps) of a batch normalisation; 1/k of a mean
    of k numbers; a constant that is multiplied by; 1 of whatever moves numbers. A rectifier has the largest of its
    slopes, 1 unless a leaky one is steeper. A maximum has a path from each of its candidates, of factor 1: it becomes
    a sum. Biases and other constants that are added begin no path.

    Args:
        module: the network; it takes one tensor and gives one.
        shape: of an input, without the batch: (3, 224, 224), or (784,).

    Returns:
        The path norm; its log10 is the metric `log_path_norm`.

    Raises:
        RequestError: if the network has a step of another kind, for example a softmax, a sigmoid, attention or a layer
            normalisation (the message names the module), does not run on such an input, or cannot be copied.

    Sources: Neyshabur, Tomioka and Srebro 2015, arXiv:1503.00036, section 4; Liao et al. 2018, arXiv:1807.09659; of
    maxima, residual sums and normalisations Gonon et al. 2024, arXiv:2310.01225.

    Example:
        >>> import torch
        >>> from torch.nn import Linear, ReLU, Sequential
        >>> network = Sequential(Linear(2, 2, bias=False), ReLU(), Linear(2, 1, bias=False))
        >>> with torch.no_grad():
        ...     _ = network[0].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 0.0]]))
        ...     _ = network[2].weight.copy_(torch.tensor([[2.0, -1.0]]))
        >>> round(path_norm(network, (2,)) ** 2, 9)  # (1 * 2)^2 + (2 * 2)^2 + (3 * 1)^2
        29.0
    """
    import torch

    network = _copy(module)
    running = _watch(network)
    paths = _paths_class()
    try:
        with torch.no_grad():
            output = network(paths(torch.ones(1, *shape, dtype=torch.float64)))
    except RequestError as error:
        raise RequestError(f"path_norm: {running[-1]} {error}") from None
    except Exception as error:  # whatever the code of a network raises
        raise RequestError(
            f"path_norm: {running[-1]} does not run on an input of shape {tuple(shape)}: {_line(error)}"
        ) from error
    if not isinstance(output, paths):
        raise RequestError(f"path_norm: the network gives a {type(output).__name__}; expected a tensor of its input")
    total = float(output.squares.sum())
    if not isfinite(total):
        raise RequestError(f"path_norm: the sum over paths is {total}; expected finite weights and a sum below 1e308")
    return sqrt(total)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _copy(module: Module) -> Module:
    """Copy a network into double precision and evaluation mode, without the hooks of its owner."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise RequestError(f"path_norm needs a torch.nn.Module; got {type(module).__name__}")
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise RequestError("path_norm: a TorchScript program cannot be followed; expected the module it was made of")
    try:
        network = copy.deepcopy(module).to("cpu", torch.float64).eval()
    except Exception as error:  # whatever the code of a network raises
        raise RequestError(f"path_norm: the {type(module).__name__} cannot be copied: {_line(error)}") from error
    for part in network.modules():
        for name, hooks in vars(part).items():
            if name.endswith("_hooks") and isinstance(hooks, dict):
                hooks.clear()
    return network


def _watch(network: Module) -> list[str]:
    """Give a list that holds the names of the modules that run, the innermost last; after an error it stays there."""
    running = [f"the {type(network).__name__}"]

    def begin(label: str) -> Callable[..., None]:
        return lambda *_: running.append(label)

    def end(*_: object) -> None:
        running.pop()

    for name, part in network.named_modules():
        part.register_forward_pre_hook(begin(f"{name} ({type(part).__name__})" if name else running[0]))
        part.register_forward_hook(end)
    return running


@cache
def _paths_class() -> Any:
    """Make the class of an activation's sums over paths, when torch is needed and not before."""
    import torch

    class Paths(torch.Tensor):
        """Of each number of an activation, the sum over the paths to it; every step goes through its rule."""

        squares: torch.Tensor

        @staticmethod
        def __new__(cls: Any, squares: torch.Tensor) -> Any:
            """Make a tensor that has the shape of its sums and no numbers of its own."""
            shape, strides = squares.shape, squares.stride()
            paths = torch.Tensor._make_wrapper_subclass(cls, shape, strides=strides, dtype=squares.dtype)
            paths.squares = squares
            return paths

        @classmethod
        def __torch_dispatch__(  # type: ignore[override]  # torch gives it the step too
            cls, step: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            """Take a step of the network on the sums."""
            name = step.overloadpacket.__name__
            in_place = name.endswith("_")
            rule = _RULES.get(name.rstrip("_"))
            if rule is None:
                raise RequestError(f"computes {name.strip('_')}, which is no linear step, maximum or rectifier")
            sums = rule(step, *args, **(kwargs or {}))
            if not in_place:
                return cls(sums) if isinstance(sums, torch.Tensor) else type(sums)(map(cls, sums))
            if not isinstance(args[0], cls):
                raise RequestError("writes an activation into a tensor of its own; expected torch.cat or a sum")
            args[0].squares.copy_(sums)  # and so into every view of it
            return args[0]

    return Paths


# The rules: what a step of the network does to the sums over paths.


def _is_path(value: object) -> bool:
    return isinstance(value, _paths_class())


def _sums(value: Any) -> Any:
    """Give the sums that an argument stands for: none for constants, which begin no path."""
    import torch

    if isinstance(value, list | tuple):
        return type(value)(map(_sums, value))
    if _is_path(value):
        return value.squares
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _move(step: Any, *args: Any, **kwargs: Any) -> Any:
    """Steps that only move, copy or add up numbers."""
    return step(*_sums(args), **kwargs)


def _keep(_: Any, x: Any, *__: Any, **___: Any) -> Tensor:
    """Rectifiers, which pass what is not negative, and changes of sign or precision."""
    sums: Tensor = x.squares.clone()
    return sums


def _pad(step: Any, x: Any, pad: Any, *_: Any) -> Any:
    return step(x.squares, pad)


def _add(step: Any, x: Any, y: Any, alpha: float = 1) -> Any:
    if step.overloadpacket.__name__ == "rsub":
        x, y = y, x
    terms = [value.squares * factor for value, factor in ((x, 1), (y, alpha**2)) if _is_path(value)]
    return sum(terms) + 0 * _sums(y if _is_path(x) else x)  # in the shape of both


def _multiply(step: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    """Products with constants."""
    return step(*_squared(x, y), **kwargs)


def _squared(x: Any, y: Any) -> tuple[Any, Any]:
    if _is_path(x) and _is_path(y):
        raise RequestError("multiplies activations with each other; expected products with weights only")
    return (x.squares, y**2) if _is_path(x) else (x**2, y.squares)


def _divide(step: Any, x: Any, y: Any) -> Any:
    if _is_path(y):
        raise RequestError("divides by an activation; expected divisions by constants only")
    return step(x.squares, y**2)


def _add_product(_: Any, added: Any, x: Any, y: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    x, y = _squared(x, y)
    return _sums(added) * beta**2 + x @ y * alpha**2


def _convolution(step: Any, x: Any, weight: Any, bias: Any, *geometry: Any) -> Any:
    if _is_path(bias):
        raise RequestError("convolves with an activation for a bias; expected a constant")
    return step(*_squared(x, weight), None, *geometry)


def _normalise(
    _: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float
) -> Any:
    if training:
        raise RequestError("normalises by the statistics of its input; expected those kept from training")
    scale = (1 if gamma is None else gamma**2) / (var + eps)
    return x.squares * scale.reshape(-1, *[1] * (x.ndim - 2)), scale[:0], scale[:0]


def _mean(step: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    means = step(x.squares, *args, **kwargs)
    return means * (means.numel() / x.numel())


def _leak(_: Any, x: Any, slope: Any = 0.01) -> Any:
    return x.squares * (slope.square().clamp(min=1) if hasattr(slope, "square") else max(1, slope**2))


def _largest(_: Any, x: Any, axes: Any = (), keepdim: bool = False) -> Any:
    return x.squares.sum(tuple(axes) or None, keepdim)


def _window_sums(x: Tensor, size: Any, stride: Any, padding: Any, ceil_mode: bool) -> Tensor:
    from torch.nn import functional

    pool = {2: functional.avg_pool2d, 3: functional.avg_pool3d}[len(size)]
    return pool(x, size, stride or size, padding, ceil_mode, divisor_override=1)


def _pool_maximum(
    _: Any, x: Any, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = (1,), ceil_mode: bool = False
) -> Any:
    if prod([dilation] if isinstance(dilation, int) else dilation) != 1:
        raise RequestError(f"takes maxima over windows of dilation {dilation}; expected a dilation of 1")
    sums = _window_sums(x.squares, size, stride, padding, ceil_mode)
    return sums, sums[:0]


def _pool_mean(
    step: Any, x: Any, size: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False, *divisor: Any
) -> Any:
    """Means over windows, whose coefficient is the mean of ones over their sum: it may differ at the border."""
    ones, arguments = x.squares.new_ones(x.shape), (size, stride, padding, ceil_mode)
    return step(x.squares, *arguments, *divisor) * step(ones, *arguments, *divisor) / _window_sums(ones, *arguments)


def _window_sizes(x: Any, shape: Sequence[int]) -> Tensor:
    """Number of inputs of each output of an adaptive pooling: from floor(i n/m) to ceil((i+1) n/m) on each axis."""
    import torch

    sizes = torch.ones((), dtype=torch.float64)
    for n, m in zip(x.shape[-len(shape) :], shape, strict=True):
        sizes = sizes[..., None] * torch.tensor([-(-(i + 1) * n // m) - i * n // m for i in range(m)])
    return sizes


def _pool_adaptive_mean(step: Any, x: Any, shape: Sequence[int]) -> Any:
    return step(x.squares, shape) / _window_sizes(x, shape)


def _pool_adaptive_maximum(_: Any, x: Any, shape: Sequence[int]) -> Any:
    from torch.nn import functional

    pool: Any = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}[len(shape)]
    sums = pool(x.squares, list(shape)) * _window_sizes(x, shape)
    return sums, sums[:0]


_MOVES = (
    *("alias", "cat", "channel_shuffle", "clone", "copy", "detach", "expand", "flip", "permute"),
    *("pixel_shuffle", "pixel_unshuffle", "reflection_pad1d", "reflection_pad2d", "repeat", "replication_pad1d"),
    *("replication_pad2d", "roll", "select", "slice", "split", "split_with_sizes", "squeeze", "stack", "sum", "t"),
    *("transpose", "unbind", "unsqueeze", "upsample_nearest1d", "upsample_nearest2d", "view", "_unsafe_view"),
    *("empty_like", "new_empty", "new_zeros", "zeros_like"),
)
_RULES: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(_MOVES, _move),
    **dict.fromkeys(("relu", "neg", "_to_copy"), _keep),
    **dict.fromkeys(("leaky_relu", "_prelu_kernel"), _leak),
    **dict.fromkeys(("add", "sub", "rsub"), _add),
    **dict.fromkeys(("mul", "mm", "bmm", "mv", "dot"), _multiply),
    **dict.fromkeys(("addmm", "baddbmm"), _add_product),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), _pool_maximum),
    **dict.fromkeys(("avg_pool2d", "avg_pool3d"), _pool_mean),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), _pool_adaptive_mean),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_max_pool3d"), _pool_adaptive_maximum),
    "amax": _largest,
    "constant_pad_nd": _pad,
    "convolution": _convolution,
    "div": _divide,
    "mean": _mean,
    "native_batch_norm": _normalise,
}
"""By the names of torch's own steps, of which every function and method is made; those in place have the same rule."""
