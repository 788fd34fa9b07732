"""Which examples are taken to train on, to choose by and to judge by."""

from __future__ import annotations

from heavytail.errors import RequestError
from heavytail.lab.data._draws import generator
from heavytail.lab.data.examples import Examples
from heavytail.lab.data.raw import Raw

__all__ = ["split"]

Sets = tuple[Examples, Examples, Examples]


def split(name: str, raw: Raw, train: int | None, validation: int, test: int | None, seed: int) -> Sets:
    """Take three sets from a random order: the first from its front, the others from its end, so that they stay.

    Args:
        name: of the data, for messages.
        raw: all there is.
        train: number of training examples; None for what the source suggests, or all that are left.
        validation: number of validation examples.
        test: number of test examples; None as for `train`.
        seed: of the order.

    Raises:
        RequestError: there are not as many examples.
    """
    train = raw.train if train is None else train
    test = raw.test if test is None else test
    if raw.held_out is None:
        return _split_one(name, raw.pool, train, validation, test, seed)
    held_out = len(raw.held_out)
    test = held_out if test is None else test
    _check(f"{name} has {held_out} test examples", held_out, test=test)
    last = generator(seed, "test").permutation(held_out)[:test]
    first, second, _ = _split_one(f"the training part of {name}", raw.pool, train, validation, 0, seed)
    return first, second, raw.held_out.take(last)


def _split_one(name: str, pool: Examples, train: int | None, validation: int, test: int | None, seed: int) -> Sets:
    total = len(pool)
    # what is left can be less than nothing: then the check says why
    if train is None:
        train = max(total - validation - (test or 0), 1)
    if test is None:
        test = max(total - validation - train, 0)
    _check(f"{name} has {total} examples", total, train=train, validation=validation, test=test)
    order, end = generator(seed, "examples").permutation(total), total - test
    return pool.take(order[:train]), pool.take(order[end - validation : end]), pool.take(order[end:])


def _check(has: str, total: int, **sizes: int) -> None:
    if sum(sizes.values()) > total:
        asked = " + ".join(f"{count} ({name})" for name, count in sizes.items() if count)
        raise RequestError(f"{has}; {asked} asked for")
