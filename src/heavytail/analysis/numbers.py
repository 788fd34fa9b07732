"""The numbers of a tensor: whole, in blocks of rows, block by block of its parts, or as the factors of a product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from heavytail.analysis.cache import digest_of
from heavytail.analysis.cost import is_single
from heavytail.spectra.entries import Blocks, turned
from heavytail.spectra.factors import product_rows
from heavytail.weights.layout import Plan
from heavytail.weights.tensor import Array, Factors

__all__ = ["Numbers", "cut"]


class Numbers:
    """The numbers of a tensor, read no more often than the memory that they may take asks for.

    Args:
        plan: what is done with the tensor.
        held: bytes of it that are held at once.
        in_parts: whether a single matrix may be read in parts.
    """

    def __init__(self, plan: Plan, held: int, *, in_parts: bool = True) -> None:
        self.tensor, self.rows = plan.tensor, plan.rows
        self.single = is_single(plan) and in_parts
        self.panel = held
        self.product = self.tensor.factors if self.single else None
        self.whole = self.single and self.product is None and self.panel >= self.tensor.nbytes
        self.pair: tuple[Array, Array] | None = None
        self.array: Array | None = None
        self.blocks: Iterator[tuple[int, Array]] | None = None
        self.index = -1

    def digest(self) -> str:
        """Give the digest of the tensor's numbers."""
        whole = self.whole or (not self.single and self.rows is None)
        return digest_of(self.tensor, self._read() if whole else None)

    def matrix(self) -> Blocks:
        """Give the tensor as an N x M matrix in blocks of rows."""
        rows, columns = self.tensor.shape
        if self.product is not None:
            return product_rows(*self.factors(self.product), self.product.scale)
        if self.whole:
            return cut(self._read())
        return self.tensor.blocks if rows >= columns else turned(self.tensor, self.panel)

    def factors(self, product: Factors) -> tuple[Array, Array]:
        """Give the two factors of the tensor in float64."""
        if self.pair is None:
            self.pair = product.left.read().astype(np.float64), product.right.read().astype(np.float64)
        return self.pair

    def block(self, index: int) -> Array:
        """Give one of the blocks of `Plan.rows` rows, later ones after earlier ones."""
        if self.rows is None:
            return self._read()
        if self.blocks is None:
            self.blocks = enumerate(_exactly(self.tensor.blocks(self.rows), self.rows))
        while self.index < index:
            self.index, self.array = next(self.blocks)
        assert self.array is not None
        return self.array

    def _read(self) -> Array:
        if self.array is None:
            self.array = self.tensor.read()
        return self.array


def _exactly(blocks: Iterable[Array], rows: int) -> Iterator[Array]:
    """Join blocks of at most so many rows to blocks of just so many; the last may have fewer."""
    held: list[Array] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        while count >= rows:
            joined = held[0] if len(held) == 1 else np.concatenate(held)
            count -= rows
            held = [joined[rows:]] if count else []
            yield joined[:rows]
    if count:
        yield np.concatenate(held)


def cut(matrix: Array) -> Blocks:
    """Give a matrix as one that is read in blocks of rows, its larger dimension first."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    return lambda r: (tall[i : i + r] for i in range(0, len(tall), r))
