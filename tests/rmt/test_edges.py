from functools import lru_cache
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigvalsh_tridiagonal

from heavytail.rmt.edges import Edge, bulk_edge, largest_eigenvalue, weightwatcher_edge
from heavytail.rmt.marchenko_pastur import MarchenkoPastur
from heavytail.rmt.tracy_widom import TracyWidom

sizes = st.integers(1, 20000)


@lru_cache
def largest(n, p, draws, seed):
    """Largest eigenvalues of n x p Gaussian matrices, by Dumitriu and Edelman's chi-bidiagonal form (2002)."""
    rng = np.random.default_rng(seed)
    top = np.empty(draws)
    for i in range(draws):
        d = np.sqrt(rng.chisquare(np.arange(n, n - p, -1.0)))
        e = np.sqrt(rng.chisquare(np.arange(p - 1, 0, -1.0)))
        diagonal = np.append(d[0] ** 2, d[1:] ** 2 + e**2)
        top[i] = eigvalsh_tridiagonal(diagonal, d[:-1] * e, select="i", select_range=(p - 1, p - 1))[0]
    return top


def test_edges_of_a_thousand_by_five_hundred_are_the_reference_values():
    assert largest_eigenvalue(1000, 500, centring="johnstone").quantile(0.95) / 1000 == pytest.approx(2.93493, abs=5e-6)
    assert largest_eigenvalue(1000, 500).quantile(0.95) / 1000 == pytest.approx(2.93493, abs=5e-4)
    assert weightwatcher_edge(1000, 500) / 1000 == pytest.approx(3.06554, abs=5e-6)
    assert bulk_edge(1000, 500) / 1000 == pytest.approx(2.91421, abs=5e-6)
    scale = largest_eigenvalue(1000, 500).scale
    assert (weightwatcher_edge(1000, 500) - bulk_edge(1000, 500)) / scale == pytest.approx(6.6, abs=0.05)


def test_weightwatchers_scale_before_its_square_root_is_that_of_johnstone():
    for N, M in ((1000, 500), (4096, 1024), (3000, 3000)):
        excess = (weightwatcher_edge(N, M) - bulk_edge(N, M)) / N
        assert excess**2 == pytest.approx(largest_eigenvalue(N, M, centring="johnstone").scale / N, rel=4e-4)


def test_the_formulas_are_those_of_ma_and_johnstone():
    n, p, v = 50, 20, 1.7**2
    ma, johnstone = largest_eigenvalue(n, p, 1.7), largest_eigenvalue(n, p, 1.7, "johnstone")
    a, b = sqrt(49.5), sqrt(19.5)
    assert ma.location == pytest.approx(v * (a + b) ** 2)
    assert ma.scale == pytest.approx(v * (a + b) * (1 / a + 1 / b) ** (1 / 3))
    a, b = sqrt(49), sqrt(20)
    assert johnstone.location == pytest.approx(v * (a + b) ** 2)
    assert johnstone.scale == pytest.approx(v * (a + b) * (1 / a + 1 / b) ** (1 / 3))


@pytest.mark.parametrize(("centring", "share", "mean"), [("johnstone", 0.9527, -1.245), ("ma", 0.9493, -1.187)])
def test_at_fifty_by_twenty_one_draw_in_twenty_passes_the_quantile(centring, share, mean):
    z = largest_eigenvalue(50, 20, centring=centring).standardise(largest(50, 20, 6000, 1))
    assert (z < 0.979316).mean() == pytest.approx(share, abs=0.009)  # three standard errors
    assert z.mean() == pytest.approx(mean, abs=0.048)


@pytest.mark.slow
@pytest.mark.parametrize("centring", ["johnstone", "ma"])
def test_a_hundred_by_a_hundred_follows_the_first_law(centring):
    z = largest_eigenvalue(100, 100, centring=centring).standardise(largest(100, 100, 6000, 0))
    assert z.mean() == pytest.approx(-1.2065, abs=0.05)
    assert z.var() == pytest.approx(1.6078, abs=0.1)
    assert (z < 0.9793).mean() == pytest.approx(0.95, abs=0.012)


def test_p_values_of_noise_are_uniform():
    p = np.sort(largest_eigenvalue(50, 20).p_value(largest(50, 20, 6000, 1)))
    assert np.abs(p - (np.arange(6000) + 0.5) / 6000).max() < 0.03


@given(sizes, sizes, st.floats(0.01, 100))
def test_rows_and_columns_may_be_exchanged(N, M, sigma):
    assert largest_eigenvalue(N, M, sigma) == largest_eigenvalue(M, N, sigma)
    assert bulk_edge(N, M, sigma) == bulk_edge(M, N, sigma)
    assert weightwatcher_edge(N, M, sigma) == weightwatcher_edge(M, N, sigma)
    if max(N, M) > 1:
        assert largest_eigenvalue(N, M, sigma, "johnstone") == largest_eigenvalue(M, N, sigma, "johnstone")


@given(st.integers(2, 20000), st.integers(2, 20000), st.floats(0.01, 100))
def test_everything_scales_with_the_variance(N, M, sigma):
    unit, edge = largest_eigenvalue(N, M), largest_eigenvalue(N, M, sigma)
    assert edge.location == pytest.approx(sigma**2 * unit.location)
    assert edge.scale == pytest.approx(sigma**2 * unit.scale)
    assert bulk_edge(N, M, sigma) == pytest.approx(sigma**2 * bulk_edge(N, M))
    assert weightwatcher_edge(N, M, sigma) == pytest.approx(sigma**2 * weightwatcher_edge(N, M))


@given(st.integers(2, 20000), st.integers(2, 20000))
def test_the_bulk_edge_is_that_of_marchenko_and_pastur(N, M):
    assert bulk_edge(N, M, 0.5) == pytest.approx(N * MarchenkoPastur(N / M, 0.5).edges[1])


def test_an_edge_is_a_scaled_law():
    edge, law = Edge(location=10.0, scale=2.0), TracyWidom(1)
    assert edge.standardise(14.0) == 2
    assert edge.standardise([[8.0, 10.0]]).tolist() == [[-1, 0]]
    p = np.array([0.01, 0.5, 0.99, 1 - 1e-9])
    assert edge.quantile(p) == pytest.approx(10 + 2 * law.ppf(p))
    assert edge.p_value(edge.quantile(p)) == pytest.approx(1 - p)
    assert edge.p_value(50.0) == pytest.approx(law.sf(20.0), rel=1e-14)
    assert 0 < edge.p_value(200.0) < 1e-200
    for value in (edge.standardise(1.0), edge.quantile(0.5), edge.p_value(1.0)):
        assert isinstance(value, float)
    assert np.isnan(edge.p_value(np.nan))


def test_arguments_out_of_range_are_refused():
    for function in (bulk_edge, largest_eigenvalue, weightwatcher_edge):
        with pytest.raises(ValueError, match="at least one row and one column; got 0 x 5"):
            function(0, 5)
        for sigma in (0, -1.0, np.inf, np.nan):
            with pytest.raises(ValueError, match="sigma is positive and finite; got"):
                function(5, 5, sigma)
    with pytest.raises(ValueError, match="centring is 'ma' or 'johnstone'; got 'wachter'"):
        largest_eigenvalue(5, 5, centring="wachter")
    with pytest.raises(ValueError, match="got 1 x 1"):
        largest_eigenvalue(1, 1, centring="johnstone")
    assert largest_eigenvalue(1, 1).location > 0


def test_no_sizes_at_all_are_refused_in_the_same_words():
    with pytest.raises(ValueError, match=r"at least one row and one column; got \[\] x \[\]"):
        largest_eigenvalue([], [])
    with pytest.raises(ValueError, match=r"at least one row and one column; got 5 x \[\]"):
        largest_eigenvalue(5, [])
