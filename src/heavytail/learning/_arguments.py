"""Arguments of the models, checked: each is refused in one line that names it, what it is and what it must be."""

from __future__ import annotations

import numpy as np

from heavytail.errors import RequestError
from heavytail.learning._gauss import Array

__all__ = ["check_range", "check_weights", "count_examples", "whole"]


def check_range(
    name: str, value: object, low: float, high: float = np.inf, *, open_low: bool = False, finite: bool = True
) -> Array:
    """Give an argument as a new float64 array, refused unless every number of it lies in [low, high] or (low, high].

    Args:
        name: of the argument.
        value: a number or an array-like of any shape.
        low: the least that is allowed.
        high: the most.
        open_low: whether `low` itself is refused.
        finite: whether infinity is refused where there is no most.

    Raises:
        RequestError: naming the argument, the first number outside and the range.
    """
    try:
        numbers = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise RequestError(f"{name} is {value!r}; it must be a number or an array of numbers") from None
    outside = ~((numbers > low if open_low else numbers >= low) & (numbers <= high))
    if finite:
        outside |= np.isinf(numbers)
    if outside.any():
        bounds = f"{'above' if open_low else 'at least'} {low:g}"
        bounds += f" and at most {high:g}" if np.isfinite(high) else " and finite" if finite else ""
        raise RequestError(f"{name} is {numbers[outside].flat[0]:g}; it must be {bounds}")
    return numbers


def check_weights(weights: object) -> None:
    """Refuse weights of another kind than "spherical" and "ising".

    Raises:
        RequestError: naming the argument.
    """
    if not (isinstance(weights, str) and weights in ("spherical", "ising")):
        raise RequestError(f"weights are 'spherical' or 'ising'; got {weights!r}")


def whole(name: str, value: object, low: int) -> int:
    """Give a whole number of at least `low`.

    Raises:
        RequestError: naming the argument, if it is none.
    """
    number = float(check_range(name, value, low))
    if number != int(number):
        raise RequestError(f"{name} is {number:g}; it must be a whole number")
    return int(number)


def count_examples(n: int, load: float) -> int:
    """Give the number of examples that are nearest to a load, at least one.

    Raises:
        RequestError: if the load is not positive and finite, or so small that it is less than half an example.
    """
    count = round(float(check_range("load", load, 0, open_low=True)) * n)
    if count < 1:
        raise RequestError(f"load is {load:g}: less than one example for {n} weights")
    return count
