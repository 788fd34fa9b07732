from itertools import pairwise
from math import inf, isnan, log, log10, nan, prod

import numpy as np
import pytest
from cases import pareto, student
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import lognorm, norm
from scipy.stats import pareto as pareto_law

from heavytail.tails.power_law import fit_power_law, hill
from heavytail.tails.thresholds import density_peak, erg_gap, largest, log_determinant, median, peak_range

RULES = (density_peak, peak_range, median, log_determinant, lambda x: largest(x, 1))


def spectrum(rows, columns, seed=0):
    W = np.random.default_rng(seed).standard_normal((rows, columns))
    return np.linalg.eigvalsh(W.T @ W)


def published_peak(x, bins=100):
    """The rule as the papers' code has it, one comparison at a time: peak, ends of the range, alpha."""
    logs = [log10(v) for v in x]
    edges = np.linspace(logs[0], logs[-1], bins + 1)
    counts = [sum(a <= v < b for v in logs) for a, b in pairwise(edges)]
    counts[-1] += sum(v == edges[-1] for v in logs)
    peak = 10 ** edges[int(np.argmax(counts))]
    low, high = log10(0.95 * peak), 1.5 * peak
    best = (inf, nan)
    for i, start in enumerate(x[:-1]):
        if low <= start <= high:
            tail = x[i:]
            n = tail.size
            alpha = 1 + n / np.log(tail / start).sum()
            D = np.abs(1 - (tail / start) ** (1 - alpha) - np.arange(n) / n).max()
            best = min(best, (D, alpha))
    return peak, low, high, best[1]


def bits(x):
    """Each number as an integer, all in one unit that is a power of two."""
    ratios = [float(v).as_integer_ratio() for v in x]
    unit = max(q for _, q in ratios)
    return [p * (unit // q) for p, q in ratios]


def falls_below_one(x, k):
    """Whether the product of the k largest points over the mean of all is less than one, in exact integers."""
    whole = bits(x)
    return prod(whole[-k:]) * len(whole) ** k < sum(whole) ** k


def product_count(x):
    """The count by products of floating-point numbers, as WeightWatcher takes them."""
    y = x * (x.size / x.sum())
    with np.errstate(over="ignore", under="ignore"):
        return next((k for k in range(1, x.size) if np.prod(y[-k:]) < 1), x.size)


def tail_size(x, xmin):
    return int((x >= xmin).sum())


@pytest.mark.parametrize("scale", [1.0, 1e-4, 300.0])
def test_the_peak_and_its_published_range_are_those_of_the_published_code(scale):
    for x in (spectrum(300, 150) * scale, pareto(400, 2.5) * scale, np.sort(student(200, seed=2) ** 2) * scale):
        peak, low, high, alpha = published_peak(x)
        assert density_peak(x) == pytest.approx(peak, rel=1e-12)
        assert peak_range(x, published=True) == pytest.approx((low, high), rel=1e-12)
        assert peak_range(x) == pytest.approx((0.95 * peak, 1.5 * peak), rel=1e-12)
        fit = fit_power_law(x, xmin=peak_range(x, published=True), min_tail=2, two_sided=False)
        assert fit.alpha == pytest.approx(alpha, rel=1e-9)


def test_the_peak_is_the_mode_of_the_density_of_the_logarithm():
    x = np.sort(np.random.default_rng(0).lognormal(2.0, 0.5, 100_000))
    assert log(density_peak(x, bins=50)) == pytest.approx(2.0, abs=0.2)  # two bins of 0.09


def test_the_published_range_reaches_far_below_the_peak_and_changes_with_the_unit():
    # peers.md, case 15: 62 to 71 % of the eigenvalues below the intended bound enter the scan of four random matrices.
    x = spectrum(300, 300) / 300
    for unit, least, most in ((1.0, 0.5, 0.7), (0.1, 1.0, 1.0)):
        low, _ = peak_range(unit * x)
        published, _ = peak_range(unit * x, published=True)
        assert least <= np.mean(unit * x[unit * x < low] >= published) <= most
        sound = fit_power_law(unit * x, xmin=peak_range(unit * x))
        assert sound.alpha == pytest.approx(fit_power_law(x, xmin=peak_range(x)).alpha, rel=1e-9)


def test_the_start_is_never_below_the_range_unless_the_published_one_is_asked_for():
    x = np.sort(student(500, seed=1) ** 2)
    low, high = peak_range(x)
    assert low <= fit_power_law(x, xmin=(low, high)).xmin <= high


@pytest.mark.parametrize("n", [4, 5, 20, 21, 400])
def test_the_median_counts_its_own_point_as_the_published_code_does(n):
    x = pareto(n, 2.5, n)
    start = median(x)
    assert start == x[int(n / 2)]
    assert tail_size(x, start) == n - int(n / 2)
    logs = np.log(x)
    i = int(n / 2)
    published = 1 + (n - i) / (logs[i:].sum() - (n - i) * logs[i])
    assert fit_power_law(x, xmin=start, min_tail=2).alpha == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize("n", [21, 101, 1001])
def test_hill_and_the_published_code_differ_by_one_point_in_the_count(n):
    x = pareto(n, 2.5, n)  # an odd sample: both start at the middle point
    k = n // 2
    assert (fit_power_law(x, xmin=median(x)).alpha - 1) / (hill(x) - 1) == pytest.approx((k + 1) / k, rel=1e-12)


def test_the_bias_of_the_published_median_estimate_is_twice_that_of_hill():
    draws, n = 4000, 41
    k = n // 2
    samples = [pareto(n, 2.0, seed) for seed in range(draws)]
    for estimates, bias in (
        ([hill(x) - 1 for x in samples], 1 / (k - 1)),
        ([fit_power_law(x, xmin=median(x)).alpha - 1 for x in samples], 2 / (k - 1)),
    ):
        assert abs(np.mean(estimates) - 1 - bias) < 3 * np.std(estimates) / draws**0.5


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60), st.integers(1, 60))
def test_the_k_largest_points_are_the_tail_and_only_equal_points_join_them(values, k):
    x = np.sort(values)
    if k > x.size:
        with pytest.raises(ValueError, match=f"from 1 to {x.size} points, got {k}"):
            largest(x, k)
        return
    start = largest(x, k)
    assert (x > start).sum() < k <= (x >= start).sum()


def test_the_condition_of_determinant_one_by_hand():
    # over their mean 2: 4, 1, 1/2, 3/8, 1/8; products 4, 4, 2, 3/4: the fourth brings it below one
    assert log_determinant([0.25, 0.75, 1.0, 2.0, 6.0]) == 0.75


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=80).filter(lambda v: min(v) < max(v)))
def test_the_tail_of_determinant_one_is_the_smallest_whose_product_is_below_one_in_exact_arithmetic(values):
    x = np.sort(values)
    start = log_determinant(x)
    count = x.size - int(np.searchsorted(x, start, "right")) + 1  # the first of points equal to it may do
    exact = next(k for k in range(1, x.size + 1) if falls_below_one(x, k))
    y = x / x.mean()
    margin = abs(np.log(y[-exact:]).sum())
    assert start == x[-exact] or margin < 1e-12 * x.size, (count, exact)


@pytest.mark.parametrize("n", [50, 400, 1024])
def test_the_count_of_a_small_spectrum_is_weightwatchers(n):
    for seed in range(5):
        for x in (pareto(n, 2.0, seed), np.sort(np.random.default_rng(seed).lognormal(0, 2, n)), spectrum(2 * n, n)):
            assert tail_size(x, log_determinant(x)) == product_count(x)


@pytest.mark.parametrize(("law", "published"), [(lognorm(2), 2891 - 3152), (pareto_law(1.2), 2652 - 2474)])
def test_the_count_of_a_large_spectrum_is_exact_where_products_leave_the_range_of_floating_point(law, published):
    # peers.md, case 12: for 8192 points of such laws products give 2891 for 3152 and, with alpha = 2, 2652 for 2474.
    x = law.ppf((np.arange(8192) + 0.5) / 8192)
    k = tail_size(x, log_determinant(x))
    assert falls_below_one(x, k)
    assert not falls_below_one(x, k - 1)
    error = product_count(x) - k
    assert abs(error) > 100
    assert error * published > 0


def test_the_tail_of_determinant_one_of_a_lognormal_law_is_that_of_its_integral():
    # y = exp(s z - s^2 / 2) has E[ln y; z > a] = s phi(a) - s^2 / 2 (1 - Phi(a)).
    n, s = 20_000, 1.5
    x = np.exp(s * norm.ppf((np.arange(n) + 0.5) / n))
    a = brentq(lambda a: norm.pdf(a) / norm.sf(a) - s / 2, -8, 8)
    assert tail_size(x, log_determinant(x)) / n == pytest.approx(norm.sf(a), abs=2e-3)


@given(st.integers(0, 10**6), st.integers(-200, 200))
def test_the_unit_of_the_eigenvalues_does_not_matter_to_the_count(seed, power):
    x = np.sort(np.random.default_rng(seed).lognormal(0, 2, 100))
    c = 2.0**power
    assert log_determinant(c * x) == c * log_determinant(x)
    assert median(c * x) == c * median(x)
    assert largest(c * x, 7) == c * largest(x, 7)
    assert density_peak(c * x) == pytest.approx(c * density_peak(x), rel=1e-9)


def test_the_condition_holds_for_spectra_that_span_all_of_float64():
    x = np.geomspace(1e-300, 1e300, 41)  # the mean is the largest over 41 to the fifteenth digit
    assert tail_size(x, log_determinant(x)) == 2  # ln 41 less than the step of 34.5


def test_the_gap_is_the_count_of_the_determinant_less_that_of_the_fit():
    x = pareto(1000, 2.0, 3)
    fit = fit_power_law(x)
    assert erg_gap(x, fit) == tail_size(x, log_determinant(x)) - fit.n_tail
    assert erg_gap(x, fit_power_law(x, xmin=log_determinant(x))) == 0


def test_samples_without_a_tail_have_no_start():
    for rule in (density_peak, median, log_determinant):
        assert isnan(rule([]))
    assert all(map(isnan, peak_range([])))
    assert all(map(isnan, peak_range([], published=True)))
    assert isnan(log_determinant(np.full(20, 3.0)))
    assert isnan(log_determinant([3.0]))
    assert density_peak(np.full(20, 3.0)) == 3.0
    assert median([3.0]) == largest([3.0], 1) == density_peak([3.0]) == 3.0
    x = pareto(20, 2.0)
    assert erg_gap(np.full(20, 3.0), fit_power_law(x)) is None


@pytest.mark.parametrize("bad", [[2.0, 1.0], [0.0, 1.0], [1.0, inf], [1.0, nan], [[1.0, 2.0]]])
@pytest.mark.parametrize("rule", RULES)
def test_a_bad_sample_is_refused(rule, bad):
    with pytest.raises(ValueError, match="ascending, positive and finite"):
        rule(bad)


def test_a_histogram_needs_a_bin():
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        density_peak([1.0, 2.0], bins=0)
