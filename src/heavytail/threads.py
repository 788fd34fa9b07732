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
    if getattr(_setting.mine, "inside", False):
        limits = _limit(1 if count == 1 and _setting.alone else None)
        try:
            yield
        finally:
            _restore(limits)
        return
    with _setting.changed:
        _setting.changed.wait_for(lambda: not _setting.alone and (count == 1 or not _setting.users))
        if not _setting.users:
            import scipy.linalg.lapack  # noqa: F401  # what loads a BLAS of its own must be there before

            _setting.before = _limit(count)
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
                _restore(_setting.before)
            _setting.changed.notify_all()


def _limit(count: int | None) -> Any:
    """Set the number of threads; gives what restores what was before."""
    from threadpoolctl import threadpool_limits

    _any_thread_may()
    limits = threadpool_limits(count, user_api="blas")
    _any_thread_may()
    return limits


def _restore(limits: Any) -> None:
    _any_thread_may()
    limits.restore_original_limits()
    _any_thread_may()


def _any_thread_may() -> None:
    """Let any thread of Python set the number: newer versions of threadpoolctl heed the first one alone until it ends.

    Here the last to leave restores, whichever thread it is.
    """
    from threadpoolctl import OpenBLASController

    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear:
        clear(force=True)


def one_thread(make: Callable[P, R]) -> Callable[P, R]:
    """Make a table that is kept with one BLAS thread, so that it does not depend on what the host had just then."""

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> R:
        with blas_threads(1):
            return make(*args, **kwargs)

    return made
