import threading
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose
from threadpoolctl import threadpool_limits

from heavytail.errors import MatrixError
from heavytail.spectra import lapack
from heavytail.spectra.lapack import TWO_STAGE, add_gram, symmetric_eigenvalues


def symmetric(n, seed=0):
    A = np.random.default_rng(seed).standard_normal((n, n))
    return np.asfortranarray(A + A.T)


@pytest.mark.parametrize("size", [lapack.TWO_STAGE - 1, 1], ids=["usual driver", "two-stage driver"])
def test_the_eigenvalues_are_those_of_numpy(monkeypatch, size):
    monkeypatch.setattr(lapack, "TWO_STAGE", size)
    G = symmetric(257)
    expected = np.linalg.eigvalsh(G)
    G[np.triu_indices(257, 1)] = np.nan  # the upper triangle is not read
    assert_allclose(symmetric_eigenvalues(G), expected, atol=1e-13 * abs(expected).max())


def test_the_gram_matrix_is_summed_into_the_lower_triangle_alone():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 30, 17))
    G = np.full((17, 17), np.nan, order="F")
    G[np.tril_indices(17)] = 0
    add_gram(first, G)
    add_gram(second, G)
    expected = first.T @ first + second.T @ second
    assert_allclose(G[np.tril_indices(17)], expected[np.tril_indices(17)], atol=1e-13)
    assert np.isnan(G[np.triu_indices(17, 1)]).all()


@pytest.mark.parametrize("routine", ["dsyrk", "dsyev", "dsyev_2stage"])
def test_without_a_routine_in_the_library_scipys_call_gives_the_same(monkeypatch, routine):
    real = lapack._routine
    monkeypatch.setattr(lapack, "_routine", lambda name: None if name == routine else real(name))
    monkeypatch.setattr(lapack, "TWO_STAGE", 1)
    W, G = np.random.default_rng(2).standard_normal((40, 25)), np.zeros((25, 25), order="F")
    add_gram(W, G)
    assert_allclose(symmetric_eigenvalues(G), np.linalg.svd(W, compute_uv=False)[::-1] ** 2, rtol=1e-11)


def test_a_routine_that_gives_wrong_numbers_is_not_taken():
    class Liar:
        def __call__(self, *arguments):
            pass

    from ctypes import c_int32

    assert not lapack._works("dsyev", lapack._Routine(Liar(), c_int32))
    assert not lapack._works("dsyrk", lapack._Routine(Liar(), c_int32))


def test_a_failure_of_the_iteration_is_told(monkeypatch):
    monkeypatch.setattr(lapack, "_dsyev", lambda routine, G: (np.zeros(len(G)), 3))
    monkeypatch.setattr(lapack, "_routine", lambda name: object())
    with pytest.raises(MatrixError, match=r"did not converge \(info 3\)"):
        symmetric_eigenvalues(symmetric(4))


@pytest.mark.parametrize("bad", [np.ones((3, 2)), np.ones((4, 4))[::2, ::2], np.ones((3, 3), np.float32)])
def test_what_lapack_would_misread_is_refused(bad):
    with pytest.raises(ValueError, match="column order"):
        symmetric_eigenvalues(bad)
    with pytest.raises(ValueError, match="row order"):
        add_gram(np.asfortranarray(bad), np.zeros((2, 2)))


def test_other_threads_run_meanwhile():
    G = symmetric(1200)
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    with threadpool_limits(1, user_api="blas"):
        symmetric_eigenvalues(symmetric(4))  # finds the routine
        thread = threading.Thread(target=tick)
        thread.start()
        start = time.perf_counter()
        symmetric_eigenvalues(G)
        taken = time.perf_counter() - start
        done.set()
        thread.join()
    assert np.diff(ticks).max() < taken / 2


@pytest.mark.slow
def test_beyond_the_threshold_the_two_drivers_agree_to_rounding(monkeypatch):
    G = symmetric(TWO_STAGE + 1)
    two_stage = symmetric_eigenvalues(G.copy(order="F"))
    monkeypatch.setattr(lapack, "TWO_STAGE", 10**9)
    usual = symmetric_eigenvalues(G)
    assert_allclose(two_stage, usual, atol=5 * np.sqrt(len(G)) * 2.0**-52 * abs(usual).max())
