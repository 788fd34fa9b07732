"""Tensors that are made of others as they are read: the transpose of a thin matrix, the product of two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np

from heavytail.weights.tensor import Array, Factors, Tensor

__all__ = ["as_matrix", "product_blocks", "transposed"]


def as_matrix(tensor: Tensor) -> Tensor:
    """Give a tensor as the matrix of its first axis and all others."""
    if len(tensor.shape) == 2:
        return tensor
    shape = (tensor.shape[0], prod(tensor.shape[1:]))
    return replace(tensor, shape=shape, blocks=partial(_reshaped, tensor, shape[1]), hint=None)


def transposed(tensor: Tensor) -> Tensor:
    """Give a matrix as its transpose; for this one that is no product is read as a whole."""
    shape, factors = tensor.shape[::-1], tensor.factors
    if factors is None:
        return replace(tensor, shape=shape, blocks=partial(_columns, tensor), hint=None, whole=True)
    left, right = transposed(factors.right), transposed(factors.left)
    lengths = factors.magnitude and replace(factors.magnitude, problem="its DoRA magnitudes are not of its rows")
    blocks = partial(product_blocks, left, right, factors.scale, shape[1:])
    return replace(tensor, shape=shape, blocks=blocks, hint=None, factors=Factors(left, right, factors.scale, lengths))


def product_blocks(left: Tensor, right: Tensor, scale: float, inner: tuple[int, ...], rows: int) -> Iterator[Array]:
    """Make scale * left @ right in blocks of at most `rows` rows, in float64.

    Args:
        left: (a, r).
        right: (r, b), which is held.
        scale: what the product is multiplied by.
        inner: the shape that each row of the product is given, of b entries.
        rows: most rows of a block.
    """
    R = right.read().astype(np.float64)
    return (_scaled(block, R, scale).reshape(-1, *inner) for block in left.blocks(rows))


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is found where the numbers are used
def _scaled(block: Array, R: Array, scale: float) -> Array:
    product: Array = block.astype(np.float64) @ R
    product *= scale
    return product


def _reshaped(tensor: Tensor, columns: int, rows: int) -> Iterator[Array]:
    return (block.reshape(-1, columns) for block in tensor.blocks(rows))


def _columns(tensor: Tensor, rows: int) -> Iterator[Array]:
    whole = tensor.read().T
    return (whole[first : first + rows] for first in range(0, len(whole), rows))
