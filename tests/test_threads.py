"""BLAS threads are a setting of the whole process: whoever changes it, all agree, and the host finds its own again."""

import threading

import numpy as np
import pytest
import scipy.linalg.blas  # noqa: F401  # so that its pool is known from the start
from threadpoolctl import threadpool_info, threadpool_limits

from heavytail.threads import blas_threads, one_thread


def counts():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def host():
    with threadpool_limits(2, user_api="blas"):
        yield
        assert counts() == {2}


def test_the_setting_holds_while_anyone_needs_it_and_then_is_what_it_was():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with blas_threads():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with blas_threads():
        assert counts() == {1}
    assert counts() == {1}  # the other one still needs it
    leave.set()
    thread.join()
    assert counts() == {2}


def test_who_asks_for_several_threads_waits_until_nobody_needs_one_and_has_them_alone():
    order, ready = [], threading.Event()

    def giant():
        ready.set()
        with blas_threads(3):
            order.append(("giant", counts()))

    with blas_threads():
        thread = threading.Thread(target=giant)
        thread.start()
        ready.wait(10)
        thread.join(0.2)
        assert thread.is_alive()
        order.append(("one", counts()))
    thread.join(10)
    assert order == [("one", {1}), ("giant", {3})]


def test_within_itself_one_thread_is_one_thread_and_nothing_else_changes():
    with blas_threads(3):
        with blas_threads(1):
            assert counts() == {1}
        assert counts() == {3}
    with blas_threads(1), blas_threads(3):
        assert counts() == {1}


def test_an_error_inside_restores_the_setting():
    with pytest.raises(ValueError, match="on purpose"), blas_threads():
        raise ValueError("on purpose")
    assert counts() == {2}


def test_a_table_is_made_with_one_thread():
    assert one_thread(lambda: counts())() == {1}
    assert one_thread(np.linalg.norm)([3.0, 4.0]) == 5
