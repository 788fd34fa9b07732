"""Matrices as WeightWatcher 0.7.7 reads them from a state dict, flaws included, for comparison with it."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.weights.layout import Part, Plan
from heavytail.weights.tensor import Tensor

__all__ = ["plan_weightwatcher"]

_MIN_EVALS, _MAX_EVALS, _MAX_N = 8, 15_000, 50_000


def plan_weightwatcher(tensors: Iterable[Tensor]) -> tuple[Plan, ...]:
    """Plan a source as WeightWatcher 0.7.7's default analysis of a state dict does.

    Only names that end in '.weight' count. Two axes make a dense layer, four a convolution: one matrix for each kernel
    position, multiplied by sqrt(1/2), groups ignored. If a convolution has more inputs than outputs, N and M change
    places once for each kernel position, so that an even number of positions leaves them swapped; where the channels
    together are fewer than the sides of the kernel together they are never put in order.
    """
    return tuple(_plan(tensor) for tensor in tensors)


def _plan(tensor: Tensor) -> Plan:
    name, shape = tensor.name.removesuffix(".weight"), tensor.shape

    def left_out(reason: str, kind: str, status: str = "skipped") -> Plan:
        return Plan(tensor, name=name, kind=kind, status=status, reason=reason)

    if name == tensor.name:
        return left_out("WeightWatcher reads names that end in '.weight' alone", "")
    if len(shape) not in (2, 4) or shape[0] < 2:
        return left_out(f"WeightWatcher has no layer of shape {shape}", "unknown")
    if tensor.dtype.startswith("complex"):
        return left_out(f"{tensor.dtype}: WeightWatcher drops the imaginary parts", "unknown", "unsupported")
    kind = "dense" if len(shape) == 2 else "conv2d"
    if tensor.problem:
        return left_out(tensor.problem, kind, "unsupported")
    part = Part(name, kind, max(shape), min(shape), 1, _doubled) if kind == "dense" else _slices(name, shape)
    count = part.M * part.count
    if count < _MIN_EVALS or count > _MAX_EVALS or part.N > _MAX_N:
        limits = f"{_MIN_EVALS} to {_MAX_EVALS} eigenvalues, N up to {_MAX_N}"
        return left_out(f"outside WeightWatcher's limits ({limits}): {count} eigenvalues, N {part.N}", kind)
    return Plan(tensor, (part,))


def _slices(name: str, shape: tuple[int, ...]) -> Part:
    N, M, *kernel = shape
    if N < M and prod(kernel) % 2 and sum(kernel) <= N + M:
        N, M = M, N
    return Part(name, "conv2d", N, M, prod(kernel), _halved_slices)


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    return array[None].astype(np.float64)


def _halved_slices(array: NDArray[Any]) -> NDArray[Any]:
    return array.transpose(2, 3, 0, 1).reshape(-1, *array.shape[:2]).astype(np.float64) * sqrt(0.5)
