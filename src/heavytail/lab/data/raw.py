"""What a reader gives, before any choice or preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

from heavytail.lab.data.examples import Examples

__all__ = ["Raw"]


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """Examples as they were read.

    Attributes:
        pool: what is to learn from; of a source without test examples of its own, all there is.
        held_out: the test examples of the source, None if it has none of its own.
        classes: number of classes.
        checksum: sha256 of the bytes.
        white: the largest value of a pixel, inputs being whole numbers from 0; None for tokens.
        train: number of training examples if none is asked for; None for all that are left.
        test: the same of test examples.
    """

    pool: Examples
    held_out: Examples | None
    classes: int
    checksum: str
    white: int | None = None
    train: int | None = None
    test: int | None = None
