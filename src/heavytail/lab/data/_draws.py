"""Checked arguments, and random numbers by seed and purpose."""

from __future__ import annotations

from operator import index

import numpy as np

from heavytail.errors import RequestError

__all__ = ["generator", "whole"]


def whole(name: str, value: object, least: int) -> int:
    """Give an argument as a whole number.

    Raises:
        RequestError: it is none, or below `least`.
    """
    try:
        number = index(value)  # type: ignore[arg-type]  # whatever it is: that is what is asked here
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise RequestError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return number


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Give random numbers that another purpose with the same seed does not share.

    Raises:
        RequestError: the seed is no whole number, or negative.
    """
    return np.random.default_rng([whole("seed", seed, 0), *purpose.encode()])
