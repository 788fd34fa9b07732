"""Arguments of the models, checked: each is refused in one line that names it, what it is and what it must be."""

from __future__ import annotations

import numpy as np

from heavytail.errors import RequestError
from heavytail.learning._gauss import Array

__all__ = [
    "broadcast_pair",
    "check_label_noise",
    "check_name",
    "check_number",
    "check_range",
    "check_sizes",
    "check_weights",
    "count_examples",
    "whole",
]


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
        given = np.asarray(value)
        if given.dtype.kind not in "biufO":  # text that reads as a number is none
            raise TypeError
        numbers = np.array(given, dtype=np.float64)
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


def check_number(
    name: str, value: object, low: float, high: float = np.inf, *, open_low: bool = False, finite: bool = True
) -> float:
    """Give a single number of a range, as `check_range`.

    Raises:
        RequestError: naming the argument, if it is an array, or outside the range.
    """
    numbers = check_range(name, value, low, high, open_low=open_low, finite=finite)
    if numbers.ndim:
        raise RequestError(f"{name} is an array of shape {numbers.shape}; it must be one number")
    return float(numbers)


def check_label_noise(label_noise: object) -> float:
    """Give a flip probability, refused outside [0, 1/2].

    Raises:
        RequestError: naming it.
    """
    return check_number("label_noise", label_noise, 0, 0.5)


def check_name(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a text that is none of those known.

    Raises:
        RequestError: naming the argument and all that are known.
    """
    if not (isinstance(value, str) and value in known):
        raise RequestError(f"{name} is {value!r}; it must be one of {', '.join(known)}")


def check_weights(weights: object) -> None:
    """Refuse weights of another kind than "spherical" and "ising".

    Raises:
        RequestError: naming the argument.
    """
    if not (isinstance(weights, str) and weights in ("spherical", "ising")):
        raise RequestError(f"weights are 'spherical' or 'ising'; got {weights!r}")


def whole(name: str, value: object, low: int, high: float = np.inf) -> int:
    """Give a whole number of the range [low, high].

    Raises:
        RequestError: naming the argument, if it is none.
    """
    number = check_number(name, value, low, high, finite=False)
    if not number.is_integer():
        raise RequestError(f"{name} is {number:g}; it must be a whole number")
    return int(number)


def count_examples(n: int, load: float) -> int:
    """Give the number of examples that are nearest to a load, at least one.

    Raises:
        RequestError: if the load is not positive and finite, or so small that it is less than half an example.
    """
    load = check_number("load", load, 0, open_low=True)
    count = round(load * n)
    if count < 1:
        raise RequestError(f"load is {load:g}: less than one example for {n} weights")
    return count


def check_sizes(n: object, load: float, runs: object) -> tuple[int, int, int]:
    """Give the numbers of weights, of examples and of runs of a simulation.

    Raises:
        RequestError: unless n and runs are whole numbers from 1, and the load is that of an example or more.
    """
    weights = whole("n", n, 1)
    return weights, count_examples(weights, load), whole("runs", runs, 1)


def broadcast_pair(load: Array, temperature: Array) -> tuple[Array, Array]:
    """Give loads and temperatures of one shape.

    Raises:
        RequestError: if their shapes do not fit.
    """
    try:
        loads, temperatures = np.broadcast_arrays(load, temperature)
    except ValueError:
        raise RequestError(
            f"load of shape {load.shape} and temperature of shape {temperature.shape} do not fit"
        ) from None
    return loads, temperatures
