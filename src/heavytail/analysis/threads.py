"""One BLAS thread a job, wherever it runs: jobs share the processors, and their numbers do not depend on how many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["one_blas_thread"]

_lock = threading.Lock()
_state: dict[str, Any] = {"users": 0, "limits": None}


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Set BLAS to one thread while at least one job of this process runs; the last one restores what was before.

    The setting is the process's, not the thread's, so that jobs in several threads must agree on it.
    """
    from threadpoolctl import threadpool_limits

    with _lock:
        if not _state["users"]:
            import scipy.linalg.lapack  # noqa: F401  # what loads a BLAS of its own must be there before

            _state["limits"] = threadpool_limits(1, user_api="blas")
        _state["users"] += 1
    try:
        yield
    finally:
        with _lock:
            _state["users"] -= 1
            if not _state["users"]:
                _state["limits"].restore_original_limits()
