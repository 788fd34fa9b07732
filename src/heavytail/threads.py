"""The threads of BLAS: a setting of the whole process, that all who change it must agree on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

__all__ = ["blas_threads", "one_thread"]

P = ParamSpec("P")
R = TypeVar("R")


class _Setting:
    """Who relies on the setting now, and what it was before."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.users = 0
        self.alone = False
        self.before: Any = None
        self.mine = threading.local()


_setting = _Setting()


@contextmanager
def blas_threads(count: int = 1) -> Iterator[None]:
    """Give BLAS a number of threads while this runs; the last one to leave restores what was before.

    Those who ask for one thread share the setting, in as many threads of Python as there are. Who asks for more waits
    until nobody does, and has it alone. Within itself it changes nothing, but that one thread is one thread.

    Args:
        count: number of threads.

    Example:
        >>> with blas_threads(1):
        ...     pass
    """
    from threadpoolctl import threadpool_limits

    if getattr(_setting.mine, "inside", False):
        with threadpool_limits(1 if count == 1 and _setting.alone else None, user_api="blas"):
            yield
        return
    with _setting.changed:
        _setting.changed.wait_for(lambda: not _setting.alone and (count == 1 or not _setting.users))
        if not _setting.users:
            import scipy.linalg.lapack  # noqa: F401  # what loads a BLAS of its own must be there before

            _setting.before = threadpool_limits(count, user_api="blas")
        _setting.users += 1
        _setting.alone = count > 1
    _setting.mine.inside = True
    try:
        yield
    finally:
        _setting.mine.inside = False
        with _setting.changed:
            _setting.users -= 1
            _setting.alone = False
            if not _setting.users:
                _setting.before.restore_original_limits()
            _setting.changed.notify_all()


def one_thread(make: Callable[P, R]) -> Callable[P, R]:
    """Make a table that is kept with one BLAS thread, so that it does not depend on what the host had just then."""

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> R:
        with blas_threads(1):
            return make(*args, **kwargs)

    return made
