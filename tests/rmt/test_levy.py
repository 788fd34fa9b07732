from math import exp, gamma, inf, lgamma, nan, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import erf, wofz
from scipy.stats import kstest
from scipy.stats import levy as stable_half

from heavytail.rmt import _levy
from heavytail.rmt.levy import LevyWigner, LevyWishart

WIGNER = [
    (0.5, 0, 4.1796118, 1e-7),
    (1.0, 0, 1 / pi, 1e-12),
    (1.0, 1, 0.130005, 5e-7),
    (1.0, 3, 0.038608, 5e-7),
    (1.5, 0, 0.1518004, 5e-8),
    (1.5, 1, 0.1360284, 5e-8),
    (1.5, 3, 0.069169, 5e-7),
    (1.9, 0, 0.0675519, 5e-8),
    (1.9, 1, 0.067078, 5e-7),
]
WISHART = [
    (1.5, 2, 0.469, 0.196591, 5e-5),  # the place is known to three digits, and the density falls there
    (1.5, 2, 1, 0.18764, 5e-6),
    (1.5, 2, 5.156, 0.056783, 5e-6),
    (1.0, 2, 1, 0.17548, 5e-6),
    (1.5, 1, 1, 0.1360284, 5e-8),
]
LAWS = [
    LevyWigner(0.5),
    LevyWigner(1.0),
    LevyWigner(1.9),
    LevyWishart(1.0),
    LevyWishart(1.5, 2.0),
    LevyWishart(0.7, 10),
]


def pareto_entries(shape, tail_mu, seed):
    """Entries of either sign with P(|w| > u) = u^-tail_mu / shape[0] for all u above shape[0]^(-1/tail_mu)."""
    rng = np.random.default_rng(seed)
    return (shape[0] * rng.random(shape)) ** (-1 / tail_mu) * rng.choice([-1.0, 1.0], shape)


def panels(low, high, count):
    """Nodes and weights of Gauss's rule between positive ends, on panels equal in the logarithm."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    ends = np.linspace(np.log(low), np.log(high), count + 1)
    half = np.diff(ends)[:, None] / 2
    x = np.exp(ends[:-1, None] + half * (1 + nodes)).ravel()
    return x, x * (half * weights).ravel()


def original(power, a, w, y):
    """The integral over t of t^power e^(iwt) e^(-y t^a) of Ben Arous and Guionnet, along t = i s / w."""
    k = 1j / w

    def f(v):
        return np.exp(v * (power + 1) - np.exp(v) - y * k**a * np.exp(a * v))

    ends = (-60 / (power + 1), 4.5)
    parts = [
        quad(lambda v, part=part: getattr(f(v), part), *ends, limit=400, epsabs=1e-13)[0] for part in ("real", "imag")
    ]
    return k ** (power + 1) * complex(*parts)


@pytest.mark.parametrize(("tail_mu", "x", "density", "tolerance"), WIGNER)
def test_the_wigner_density_has_its_reference_values(tail_mu, x, density, tolerance):
    assert LevyWigner(tail_mu).pdf(x) == pytest.approx(density, abs=tolerance)
    assert LevyWigner(tail_mu).pdf(-x) == LevyWigner(tail_mu).pdf(x)


@pytest.mark.parametrize(("tail_mu", "Q", "x", "density", "tolerance"), WISHART)
def test_the_wishart_density_has_its_reference_values(tail_mu, Q, x, density, tolerance):
    assert LevyWishart(tail_mu, Q).pdf(x) == pytest.approx(density, abs=tolerance)


@pytest.mark.parametrize(("tail_mu", "ratio"), [(1.0, 0.9995), (1.5, 1.0074), (1.9, 1.0115)])
def test_the_density_approaches_its_tail_as_published(tail_mu, ratio):
    law = LevyWigner(tail_mu)
    assert law.pdf(100) / law.tail_density(100) == pytest.approx(ratio, abs=5e-5)


@pytest.mark.parametrize("law", LAWS)
def test_far_out_the_density_and_the_mass_are_those_of_the_tail_of_the_entries(law):
    x = np.array([1e20, 1e30]) ** (1 / law.tail_mu)
    power = law.tail_mu if isinstance(law, LevyWigner) else law.tail_mu / 2
    share = 0.5 if isinstance(law, LevyWigner) else 1.0
    np.testing.assert_allclose(law.pdf(x), law.tail_density(x), rtol=1e-8)
    np.testing.assert_allclose(law.sf(x), share * x**-power, rtol=1e-8)


@pytest.mark.parametrize("tail_mu", [0.05, 0.3, 0.5, 1.0, 1.5, 1.9, 1.99])
def test_near_zero_the_equations_give_the_closed_form(tail_mu):
    # These points are solved; what is nearer takes the closed form. The density differs from it in second order.
    law, half = LevyWigner(tail_mu), tail_mu / 2
    ratio = exp((lgamma(2 / tail_mu) - lgamma(6 / tail_mu)) / 2)  # of the first term of the series to its third
    x = 1e-7 * ratio * (gamma(1 - half) / gamma(1 + half)) ** (1 / tail_mu)
    assert law.pdf(x) == pytest.approx(law.density_at_zero(), rel=1e-11)
    assert law.pdf(x / 1e3) == law.density_at_zero()
    assert law.sf([x, x / 1e3]) == pytest.approx(0.5 - np.array([x, x / 1e3]) * law.density_at_zero(), abs=1e-14)


@pytest.mark.parametrize(("tail_mu", "z"), [(1.5, 0.7 + 0.8j), (0.8, 1.3 + 0.5j), (1.2, -0.4 + 0.6j)])
def test_the_wigner_transform_solves_the_equations_as_published(tail_mu, z):
    a, c, Y = tail_mu / 2, gamma(1 - tail_mu / 2), 0j
    for _ in range(60):
        Y = (Y + original(a - 1, a, z, c * Y) / gamma(a)) / 2
    assert LevyWigner(tail_mu).stieltjes(z) == pytest.approx(-1j * original(0, a, z, c * Y), rel=1e-10)


@pytest.mark.parametrize(("tail_mu", "Q", "z"), [(1.5, 2.0, 0.7 + 0.8j), (0.8, 3.0, 1.3 + 0.5j)])
def test_the_wishart_transform_solves_the_equations_as_published(tail_mu, Q, z):
    a, c, w = tail_mu / 2, gamma(1 - tail_mu / 2), z**0.5
    rows = columns = 0j
    for _ in range(120):
        new = original(a - 1, a, w, c * columns) / gamma(a), original(a - 1, a, w, c / Q * rows) / gamma(a)
        rows, columns = (rows + new[0]) / 2, (columns + new[1]) / 2
    expected = -1j * original(0, a, w, c * columns) / w
    assert LevyWishart(tail_mu, Q).stieltjes(z) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("x", [0.015, 0.02, 0.03])
def test_there_is_no_left_edge(x):
    # For tail_mu = 1 the function h is an error function. Fixed point iteration from the real solution of x -> 0
    # finds the density where a histogram would see none.
    def g(v):
        return wofz(0.5j * v)

    Q, scale = 2.0, 1j * sqrt(pi / x)
    column = scale * g(brentq(lambda y: sqrt(pi) / 2 * y * g(y).real - 1 / Q, 0, 50))
    for _ in range(400):
        column = scale * g(scale / Q * g(column))
    density = (sqrt(pi) / 2 * column * g(column)).imag / (pi * x)
    assert 0 < density < 3e-3
    assert LevyWishart(1.0, Q).pdf(x) == pytest.approx(density, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("tail_mu", [0.2, 0.5, 1.0, 1.5, 1.9])
@pytest.mark.parametrize("Q", [1, 1.05, 2, 30])
def test_the_mass_is_the_integral_of_the_density(tail_mu, Q):
    law = LevyWishart(tail_mu, Q)
    low, high = law.ppf([0.02, 0.9])
    x, weights = panels(low, high, 16)
    assert weights @ law.pdf(x) == pytest.approx(law.cdf(high) - law.cdf(low), rel=1e-9)


@pytest.mark.parametrize(("tail_mu", "Q"), [(1.5, 2.0), (1.5, 0.5**-0.5), (1.0, 4.0), (1.5, 1.0)])
def test_the_density_is_normed_so_the_root_is_the_physical_one(tail_mu, Q):
    # The unphysical root of a continuation along the axis has norm 1.0035 or .9957 and negative densities.
    law, far = LevyWishart(tail_mu, Q), 1e6
    x, weights = panels(1e-8, far, 80)
    tail = law.tail_density(far) * far / (tail_mu / 2)
    assert weights @ law.pdf(x) + tail == pytest.approx(1, abs=1e-4)  # Gauss's rule does not see where the bulk begins
    assert (law.pdf(x) >= 0).all()


@pytest.mark.parametrize("tail_mu", [0.4, 1.0, 1.7])
def test_a_square_wishart_eigenvalue_is_the_square_of_a_wigner_one(tail_mu):
    x = np.geomspace(1e-3, 1e3, 30)
    np.testing.assert_allclose(LevyWishart(tail_mu).pdf(x**2) * x, LevyWigner(tail_mu).pdf(x), rtol=1e-12)
    np.testing.assert_allclose(LevyWishart(tail_mu).sf(x**2), 2 * LevyWigner(tail_mu).sf(x), rtol=1e-12)


@pytest.mark.parametrize("Q", [1e3, 1e6])
def test_many_rows_make_the_one_sided_stable_law(Q):
    # Columns of W become orthogonal; the sum of N squared entries with tail u^(-1/2) / N is Levy distributed.
    x = np.geomspace(0.05, 1e3, 40)
    exact = stable_half(scale=pi / 2)
    np.testing.assert_allclose(LevyWishart(1.0, Q).sf(x), exact.sf(x), atol=0.5 / Q)
    assert erf(sqrt(pi / 4)) == pytest.approx(exact.sf(1.0))


def test_towards_two_it_becomes_the_law_of_marchenko_and_pastur():
    tail_mu, c = 1.999, 0.5
    x = np.array([0.2, 0.5, 1.0, 2.0, 2.7])
    a, b = (1 - sqrt(c)) ** 2, (1 + sqrt(c)) ** 2
    expected = [quad(lambda t: sqrt((b - t) * (t - a)) / (2 * pi * c * t), v, b)[0] for v in x]
    law = LevyWishart(tail_mu, 1 / c)
    np.testing.assert_allclose(law.sf(x * gamma(1 - tail_mu / 2)), expected, atol=4 * (1 - tail_mu / 2))


# Gauss's rule would miss the sharp start of the bulk of the law left out.
@pytest.mark.parametrize("law", [law for law in LAWS if law != LevyWishart(1.5, 2.0)])
def test_the_transform_is_the_integral_of_the_density(law):
    wigner = isinstance(law, LevyWigner)
    size = 1 / law.density_at_zero() if wigner else law.ppf(0.5)
    x, weights = panels(1e-16, 1e9 ** (1 / law.tail_mu), 120)
    weights = weights * law.pdf(x * size) * size
    for z in (0.3 + 0.4j, -0.5 + 0.5j, 2 + 1j):
        expected = weights @ (1 / (z - x)) + (weights @ (1 / (z + x)) if wigner else 0)
        assert law.stieltjes(z * size) * size == pytest.approx(expected, rel=1e-6)


@given(
    tail_mu=st.floats(0.1, 1.95),
    Q=st.one_of(st.just(1.0), st.floats(1, 50)),
    q=st.lists(st.floats(1e-6, 1 - 1e-6), min_size=1, max_size=5),
)
@settings(max_examples=25, deadline=None)
def test_a_quantile_has_its_probability_below_it(tail_mu, Q, q):
    q = np.sort(q)
    for law in (LevyWishart(tail_mu, Q), LevyWigner(tail_mu)):
        x = law.ppf(q)
        np.testing.assert_allclose(law.cdf(x), q, rtol=1e-9, atol=1e-11)
        assert (np.diff(x) >= 0).all()
        assert (law.pdf(x) > 0).all()


@given(tail_mu=st.floats(0.1, 1.95), Q=st.floats(1, 100), x=st.floats(-20, 20), y=st.floats(1e-6, 1e3))
@settings(max_examples=30, deadline=None)
def test_a_transform_maps_the_upper_half_plane_to_the_lower(tail_mu, Q, x, y):
    z = complex(x, y)
    for law in (LevyWishart(tail_mu, Q), LevyWigner(tail_mu)):
        G = law.stieltjes(z)
        assert G.imag < 0
        assert abs(G) <= 1 / y * (1 + 1e-12)


def test_the_ends_of_the_axis_and_nan_are_served():
    wigner, wishart, square = LevyWigner(1.0), LevyWishart(1.0, 2.0), LevyWishart(1.0)
    x = np.array([-inf, -1.0, 0.0, inf, nan])
    np.testing.assert_equal(wigner.pdf(x)[[0, 3, 4]], [0, 0, nan])
    np.testing.assert_equal(wigner.cdf(x)[[0, 2, 3, 4]], [0, 0.5, 1, nan])
    np.testing.assert_equal(wishart.pdf(x), [0, 0, 0, 0, nan])
    np.testing.assert_equal(square.pdf(x), [0, 0, inf, 0, nan])
    np.testing.assert_equal(wishart.cdf(x), [0, 0, 0, 1, nan])
    np.testing.assert_equal(wishart.ppf([0, 1, nan, -0.1, 1.1]), [0, inf, nan, nan, nan])
    np.testing.assert_equal(wigner.ppf([0, 0.5, 1, nan, 1.1]), [-inf, 0, inf, nan, nan])
    np.testing.assert_equal(wigner.tail_density([0.0, inf, nan]), [inf, 0, nan])
    np.testing.assert_equal(wishart.tail_density([-1.0, 0.0, inf, nan]), [0, inf, 0, nan])
    assert wigner.support() == (-inf, inf)
    assert wishart.support() == (0, inf)


@pytest.mark.parametrize("law", [LevyWigner(1.5), LevyWishart(1.5, 2.0)])
@pytest.mark.parametrize("method", ["pdf", "sf", "cdf", "ppf", "tail_density", "stieltjes"])
def test_shapes_and_scalars_are_kept(law, method):
    x = np.array([[0.2, 0.3, 0.9], [0.4, 0.5, 0.6]]) + (1j if method == "stieltjes" else 0)
    f = getattr(law, method)
    out = f(x)
    assert out.shape == (2, 3)
    assert np.isscalar(f(x[0, 0]))
    assert f(x[0, 0]) == pytest.approx(out[0, 0], rel=1e-12)
    assert f(x[:0]).shape == (0, 3)


@pytest.mark.parametrize("tail_mu", [0, -1, 2, 3, nan, inf])
def test_a_tail_index_without_such_a_law_is_refused(tail_mu):
    for law in (LevyWigner, LevyWishart):
        with pytest.raises(ValueError, match=r"tail_mu is .*, expected 0.05 to 1.999"):
            law(tail_mu)


@pytest.mark.parametrize("Q", [0, 0.5, nan, inf])
def test_a_wide_matrix_is_refused(Q):
    with pytest.raises(ValueError, match=r"Q = N/M is .*, expected at least 1"):
        LevyWishart(1.0, Q)


def test_the_transform_is_refused_outside_the_upper_half_plane():
    for law in (LevyWigner(1.0), LevyWishart(1.0)):
        with pytest.raises(ValueError, match="Im z > 0, got Im z = -1"):
            law.stieltjes([1j, 1 - 1j])


def test_what_was_not_solved_is_an_error_and_not_a_number(monkeypatch):
    monkeypatch.setattr(_levy, "_STEPS", 2)
    with pytest.raises(ArithmeticError, match="did not converge"):
        LevyWishart(1.5, 2.0).pdf([1.0, 2.0])


def test_a_negative_density_is_an_error_and_not_a_number(monkeypatch):
    newton = _levy._newton
    monkeypatch.setattr(_levy, "_newton", lambda *args: newton(*args).conj() if args[-1] < 1e-3 else newton(*args))
    with pytest.raises(ArithmeticError, match="came out negative"):
        LevyWigner(1.5).pdf(1.0)


@pytest.mark.parametrize(("tail_mu", "Q"), [(1.0, 1), (1.0, 2), (1.4, 2)])
def test_simulated_covariance_matrices_have_the_law(tail_mu, Q):
    N, draws = 400, 6 * Q
    W = [pareto_entries((N, N // Q), tail_mu, seed) for seed in range(draws)]
    eigenvalues = np.concatenate([np.linalg.eigvalsh(w.T @ w) for w in W])
    assert kstest(np.maximum(eigenvalues, 0), LevyWishart(tail_mu, Q).cdf).statistic < 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("tail_mu", "distance"), [(1.0, 0.017), (1.5, 0.012)])
def test_simulated_symmetric_matrices_have_the_law(tail_mu, distance):
    N, found = 1600, []
    for seed in range(2):
        A = np.triu(pareto_entries((N, N), tail_mu, seed))
        found.append(np.linalg.eigvalsh(A + np.triu(A, 1).T))
    law = LevyWigner(tail_mu)
    statistic = kstest(np.abs(np.concatenate(found)), lambda x: 1 - 2 * law.sf(x)).statistic
    assert statistic == pytest.approx(distance, abs=0.01)  # two draws of 1600 scatter by that much


def quantile_errors(tail_mu, N, draws):
    """Mean over draws of F(q-quantile of the eigenvalues) - q, for N x N/2 matrices."""
    q, law = np.linspace(0.1, 0.9, 9), LevyWishart(tail_mu, 2.0)
    W = [pareto_entries((N, N // 2), tail_mu, seed) for seed in range(draws)]
    return np.mean([law.cdf(np.quantile(np.linalg.eigvalsh(w.T @ w), q)) - q for w in W], axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("tail_mu", [0.5, 1.0])
def test_simulated_rectangular_matrices_have_the_law(tail_mu):
    assert np.abs(quantile_errors(tail_mu, 2000, 4)).max() <= 0.01


def test_where_convergence_is_slow_its_known_rate_leads_to_the_law():
    # Errors fall as N^-(2 / tail_mu - 1), here N^(-1/3); taking the two sizes together removes them.
    small, large = quantile_errors(1.5, 250, 64), quantile_errors(1.5, 1000, 32)
    assert np.abs(large - (small - large) / (4 ** (1 / 3) - 1)).max() <= 0.01


def test_the_density_is_zero_where_it_cannot_be_told_from_rounding():
    for law in (LevyWishart(1.5, 2.0), LevyWishart(0.7, 10.0), LevyWishart(1.99, 4.0), LevyWishart(1.5, 1.01)):
        x = np.logspace(-300, 2, 200)
        density = law.pdf(x)
        start = np.flatnonzero(density)[0]
        assert density[0] == 0
        assert (density[start:] > 0).all()  # it vanishes at the left and nowhere else
        assert law.cdf(x[start - 1]) < 1e-12
    assert LevyWishart(1.5, 2.0).pdf(1e-300) == 0
    assert LevyWishart(1.5, 2.0).pdf(1e100) > 0


@pytest.mark.parametrize("tail_mu", [0.5, 1.5])
def test_a_square_matrix_has_the_law_of_the_squares_down_to_zero(tail_mu):
    law, root = LevyWishart(tail_mu), LevyWigner(tail_mu)
    x = np.array([1e-300, 1e-250, 1e-100])
    assert law.pdf(x) * np.sqrt(x) == pytest.approx(root.density_at_zero(), rel=1e-12)
    assert law.stieltjes(1j * x) * np.sqrt(1j * x) == pytest.approx(-1j * pi * root.density_at_zero(), rel=1e-12)
    assert root.stieltjes(1j * x) == pytest.approx(-1j * pi * root.density_at_zero(), rel=1e-12)


@pytest.mark.parametrize("law", [LevyWigner(0.8), LevyWigner(1.5), LevyWishart(1.5, 2.0), LevyWishart(1.0)])
def test_the_laws_have_the_methods_of_scipy(law):
    p = np.array([1e-30, 0.01, 0.5, 0.9])
    assert law.sf(law.isf(p)) == pytest.approx(p, rel=1e-9)
    assert law.isf(p[1:]) == pytest.approx(law.ppf(1 - p[1:]), rel=1e-9, abs=1e-12)
    np.testing.assert_equal(law.isf([1.1, nan]), nan)
    assert law.median() == pytest.approx(float(law.isf(0.5)))
    assert law.cdf(law.median()) == pytest.approx(0.5)
    draw = law.rvs((20, 10), seed=3)
    assert draw.shape == (20, 10)
    assert kstest(draw.ravel(), law.cdf).pvalue > 0.01
    np.testing.assert_array_equal(draw, law.rvs((20, 10), seed=np.random.default_rng(3)))


def test_moments_that_do_not_exist_are_not_given():
    np.testing.assert_equal(LevyWigner(1.5).stats("mvsk"), (0.0, inf, nan, nan))
    np.testing.assert_equal(LevyWigner(1.0).stats("mvsk"), (nan, nan, nan, nan))
    np.testing.assert_equal(LevyWishart(1.9, 2.0).stats("mvsk"), (inf, inf, nan, nan))
    assert LevyWishart(1.5).mean() == LevyWishart(1.5).std() == inf
