import tracemalloc
from math import log

import numpy as np
import pytest
from cases import gaussian, low_rank, orthogonal, student, with_eigenvalues, zoo
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest, kstest

from heavytail.diagnosis.metrics import diagnose
from heavytail.diagnosis.tail import Tail
from heavytail.errors import MatrixError
from heavytail.spectra import certified
from heavytail.spectra.certified import Bounds, approximate_spectrum, memory, operations
from heavytail.spectra.exact import spectrum_of_stack

ZOO = {name: W for name, W in zoo().items() if np.isfinite(W.astype(float)).all()}


def with_spikes(seed):
    return (
        gaussian(150, 110, seed=seed) + 40 * np.outer(gaussian(150, seed=seed + 1), gaussian(110, seed=seed + 2)) / 16
    )


def sparse(seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((140, 90)) * (rng.random((140, 90)) < 0.03)


KINDS = {
    "gaussian": lambda seed: gaussian(180, 120, seed=seed),
    "square": lambda seed: gaussian(120, 120, seed=seed),
    "wide margin": lambda seed: gaussian(900, 60, seed=seed),
    "spiked": with_spikes,
    "heavy entries": lambda seed: student(150, 100, df=1.2, seed=seed),
    "power law": lambda seed: with_eigenvalues(np.arange(1, 151) ** -1.5, 160, seed=seed),
    "low rank": lambda seed: low_rank(130, 120, 9, seed=seed),
    "clusters": lambda seed: with_eigenvalues(np.repeat([0.0, 1.0, 1.0 + 1e-9, 7.0], 25), 120, seed=seed),
    "decay": lambda seed: with_eigenvalues(10.0 ** -np.linspace(0, 12, 120), 120, seed=seed),
    "sparse": sparse,
    "orthogonal": lambda seed: orthogonal(80, seed=seed),
    "one column": lambda seed: gaussian(40, 1, seed=seed),
    "two columns": lambda seed: gaussian(40, 2, seed=seed),
    "three columns": lambda seed: gaussian(3, 3, seed=seed),
}


def blocks(W, most=None):
    """Reads W as asked, or in smaller blocks."""
    return lambda rows: (W[i : i + (most or rows)] for i in range(0, len(W), most or rows))


def approximate(W, **options):
    return approximate_spectrum(blocks(W), *W.shape, **options)


def eigenvalues(W):
    return np.linalg.svd(W.astype(np.float64), compute_uv=False)[::-1] ** 2


def check(spectrum, evals):
    """All eigenvalues are in their bounds, to within the error of those they are held against."""
    slack = 400 * 2.0**-52 * evals[-1]
    assert spectrum.lower.shape == spectrum.upper.shape == (spectrum.M,)
    assert (np.diff(spectrum.lower) >= 0).all()
    assert (np.diff(spectrum.upper) >= 0).all()
    assert (spectrum.lower >= 0).all()
    assert (spectrum.lower <= evals + slack).all()
    assert (spectrum.upper >= evals - slack).all()
    for x in evals[[0, evals.size // 2, -1]]:
        least, most = spectrum.above(x * (1 + 1e-9) + slack)
        assert least <= (evals > x * (1 + 1e-9) + slack).sum()
        least, most = spectrum.above(x * (1 - 1e-9) - slack)
        assert most >= (evals > x * (1 - 1e-9) - slack).sum()
    assert spectrum.norm.lo <= evals.sum() * (1 + 1e-12)
    assert spectrum.norm.hi >= evals.sum() * (1 - 1e-12)
    assert spectrum.counts.sum() == pytest.approx(spectrum.M)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("probes", "steps"), [(1, 4), (2, 30), (8, 12), (5, 41)])
def test_the_bounds_hold_all_eigenvalues(kind, probes, steps):
    for seed in range(3):
        W = KINDS[kind](seed)
        spectrum = approximate(W, probes=probes, steps=steps, seed=seed)
        assert spectrum.passes <= steps
        check(spectrum, eigenvalues(W))


@pytest.mark.parametrize("name", sorted(ZOO))
def test_the_bounds_hold_the_eigenvalues_of_every_matrix_of_the_zoo(name):
    W = ZOO[name] if ZOO[name].shape[0] >= ZOO[name].shape[1] else ZOO[name].T
    check(approximate(W, probes=4, steps=14), eigenvalues(W))


@pytest.mark.parametrize("kind", ["gaussian", "square", "heavy entries", "power law", "low rank", "decay", "sparse"])
@pytest.mark.parametrize("steps", [6, 40])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float8_e5m2"])  # of the last, much is noise of rounding
def test_the_metrics_of_the_exact_spectrum_are_in_their_bounds(kind, steps, dtype):
    W = KINDS[kind](1)
    spectrum = spectrum_of_stack(W[None], dtype)
    row = diagnose(spectrum, Tail(None, ""), name="W", kind="linear", dtype=dtype)
    bounds = approximate(W, steps=steps)
    floor = bounds._floor(dtype)
    assert floor.lo * (1 - 1e-9) <= spectrum.floor <= floor.hi * (1 + 1e-9)
    least, most = bounds.rank(dtype)
    assert least <= spectrum.rank <= most
    for name in ("norm", "log_norm", "lambda_max", "log_spectral_norm", "stable_rank"):
        low, high = getattr(bounds, name).lo, getattr(bounds, name).hi
        value = getattr(row, name)
        assert low - 1e-11 * abs(low) <= value <= high + 1e-11 * abs(high), name
    entropy = bounds.entropy(dtype)
    assert entropy.lo <= row.entropy <= entropy.hi
    # The rank, for float64, is that of eigenvalues far below the rounding of W^T W.
    assert steps < 40 or dtype == "float64" or entropy.hi - entropy.lo < 0.3


def test_the_bounds_are_narrow_where_there_is_something_to_see():
    heavy = approximate(student(400, 300, df=1.5))
    assert (heavy.upper[-30:] <= heavy.lower[-30:] * 1.0001).all()
    bulk = approximate(gaussian(900, 300))
    assert bulk.rank("float32") == (300, 300)
    assert bulk.lambda_max.hi <= bulk.lambda_max.lo * 1.001
    assert bulk.entropy("float32").hi - bulk.entropy("float32").lo < 0.03
    evals = eigenvalues(gaussian(900, 300))
    for x in np.quantile(evals, [0.1, 0.5, 0.9]):
        least, most = bulk.above(x)
        assert most - least <= 80  # a share of Beta(8 150 / 2, 8 150 / 2) at level 5e-4 / 299 is 47 wide
    more = approximate(gaussian(900, 300), probes=30, steps=100)
    assert (more.upper - more.lower).mean() < (bulk.upper - bulk.lower).mean() / 2


def test_what_the_passes_exhaust_is_known_to_rounding():
    low = approximate(low_rank(300, 200, 20))
    assert (low.upper - low.lower).max() <= 1e-10 * low.upper[-1]
    assert low.rank("bfloat16") == (20, 20)
    assert low.rank("float64") == (20, 200)  # whose noise is far below the rounding of W^T W
    small = approximate(gaussian(60, 50))
    assert (small.upper - small.lower).max() <= 1e-10 * small.upper[-1]
    identity = approximate(np.eye(500), probes=4, steps=6)
    np.testing.assert_allclose(identity.lower, 1, atol=1e-5)
    np.testing.assert_allclose(identity.upper, 1, atol=1e-5)
    assert identity.passes == 2


def test_a_matrix_of_zeros_has_eigenvalues_of_zero():
    spectrum = approximate(np.zeros((30, 20)))
    assert not spectrum.lower.any()
    assert not spectrum.upper.any()
    assert spectrum.norm == Bounds(0.0, 0.0)
    assert spectrum.rank("float64") == (0, 0)
    assert spectrum.entropy("float64") == Bounds(0.0, 0.0)
    assert np.isnan([spectrum.stable_rank.lo, spectrum.log_norm.hi, spectrum.log_spectral_norm.lo]).all()


def test_what_is_no_number_is_named():
    W = gaussian(40, 30)
    W[3, 4] = np.nan
    with pytest.raises(MatrixError, match="1 NaN among 1200 entries"):
        approximate(W)


def test_the_same_seed_gives_the_same_and_another_seed_does_not():
    W = gaussian(150, 100)
    one, same, other = (approximate(W, probes=3, steps=8, seed=seed) for seed in (1, 1, 2))
    for name in ("lower", "upper", "nodes", "counts", "leading"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert (one.lower != other.lower).any()
    check(other, eigenvalues(W))


def test_the_probes_are_not_the_numbers_of_a_matrix_drawn_with_the_same_seed():
    for seed in range(20):
        W = np.random.default_rng(seed).standard_normal((60, 60))
        check(approximate(W, probes=1, steps=4, seed=seed), eigenvalues(W))


def test_blocks_of_any_size_give_the_same_to_rounding():
    W = student(150, 100, df=3)
    one = approximate(W, probes=3, steps=20)
    for most in (1, 13, 150):
        other = approximate_spectrum(blocks(W, most), 150, 100, probes=3, steps=20)
        np.testing.assert_allclose(other.lower, one.lower, rtol=1e-6, atol=1e-6 * one.upper[-1])
        np.testing.assert_allclose(other.upper, one.upper, rtol=1e-6, atol=1e-6 * one.upper[-1])


def test_stored_types_are_read_as_what_they_are():
    W = student(150, 100, df=3).astype(np.float16)
    check(approximate(W), eigenvalues(W))


@pytest.mark.parametrize("power", [-50, 40])
def test_a_scale_of_two_to_any_power_scales_the_bounds(power):
    W = gaussian(150, 100)
    one, other = approximate(W, steps=12), approximate(W * 2.0**power, steps=12)
    np.testing.assert_allclose(other.lower, one.lower * 4.0**power, rtol=1e-9)
    np.testing.assert_allclose(other.upper, one.upper * 4.0**power, rtol=1e-9)
    assert other.stable_rank.lo == pytest.approx(one.stable_rank.lo)
    assert other.entropy("float32").lo == pytest.approx(one.entropy("float32").lo)


@pytest.mark.parametrize(("probes", "m"), [(1, 1), (1, 20), (3, 2), (8, 1), (8, 55)])
def test_the_share_of_the_probes_has_its_beta_law(probes, m):
    # On the m leading eigenvectors of the part of a matrix that is left when directions are projected out.
    M, known = 60, 3
    Y, rng = np.linalg.qr(gaussian(M, known))[0], np.random.default_rng(0)
    P = np.eye(M) - Y @ Y.T
    W = student(80, M, df=3) @ P
    V = np.linalg.eigh(W.T @ W)[1][:, -m:]
    G = P @ rng.standard_normal((3000, M, probes))
    shares = np.square(V.T @ G).sum(axis=(1, 2)) / np.square(G).sum(axis=(1, 2))
    assert kstest(shares, beta(probes * m / 2, probes * (M - known - m) / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("probes", [1, 6])
def test_all_shares_are_within_their_quantiles_at_once(probes):
    M, delta, trials = 50, 0.3, 2000
    lo, hi = certified._quantiles(M, probes, delta)
    squares = np.random.default_rng(1).chisquare(probes, (trials, M))
    shares = np.cumsum(squares, axis=1) / squares.sum(axis=1, keepdims=True)
    kept = ((shares >= lo[1:] - 1e-12) & (shares <= hi[1:] + 1e-12)).all(axis=1).sum()
    assert binomtest(int(kept), trials, 1 - delta, alternative="less").pvalue > 1e-6
    level = delta / (2 * (M - 1))
    np.testing.assert_allclose(beta(probes * 7 / 2, probes * 43 / 2).cdf(lo[7]), level, rtol=1e-9)
    np.testing.assert_allclose(beta(probes * 7 / 2, probes * 43 / 2).sf(hi[7]), level, rtol=1e-9)


@pytest.mark.parametrize("residual", [1e-3, 0.3, 5.0])
def test_the_eigenvalues_of_two_coupled_blocks_are_bounded(residual):
    rng = np.random.default_rng(0)
    for _ in range(200):
        k, m = rng.integers(1, 5), rng.integers(1, 8)
        leading, inner = np.sort(rng.normal(3, 1, k)), np.sort(rng.normal(0, 1, m))
        R = rng.standard_normal((m, k))
        R *= residual / np.linalg.norm(R, 2)
        evals = np.linalg.eigvalsh(np.block([[np.diag(leading), R.T], [R, np.diag(inner)]]))
        wide = rng.random(m) * rng.choice([0, 1])
        lower, upper = np.sort(inner - wide), np.sort(inner + wide)
        lower, upper = certified._joined(leading, lower, upper, residual, 0.0)
        assert (lower <= evals + 1e-12).all()
        assert (upper >= evals - 1e-12).all()


@st.composite
def boxes(draw):
    """Bounds of shares, and shares within them that add up to 1."""
    n = draw(st.integers(1, 12))
    p = np.array(draw(st.lists(st.integers(0, 50), min_size=n, max_size=n))) + 0.0
    p[0] += 1
    p /= p.sum()
    down, up = (np.array(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))) for _ in range(2))
    return p * down, p + (1 - p) * up**2, p


@given(boxes())
def test_the_bounds_of_an_entropy_hold_for_any_shares_within_theirs(box):
    lo, hi, p = box
    entropy = -sum(q * log(q) for q in p if q > 0)
    assert certified._least_entropy(lo, hi) <= entropy + 1e-9
    assert certified._greatest_entropy(lo, hi) >= entropy - 1e-9
    assert certified._least_entropy(p, p) == pytest.approx(entropy, abs=1e-9)
    assert certified._greatest_entropy(p, p) == pytest.approx(entropy, abs=1e-9)


def test_a_number_that_its_bounds_do_not_support_is_nan():
    assert Bounds(2.0, 2.02).value(0.011) == pytest.approx(2.01)
    assert np.isnan(Bounds(2.0, 2.03).value(0.01))
    assert np.isnan(Bounds(np.nan, np.nan).value(1.0))


@pytest.mark.parametrize(("M", "probes", "steps"), [(1200, 8, 32), (2500, 2, 20), (1300, 16, 32)])
def test_memory_is_what_is_stated(M, probes, steps):
    N = M + 300
    W = gaussian(N, M).astype(np.float32)
    approximate(W[:20, :10], probes=1, steps=2)
    tracemalloc.start()
    approximate(W, probes=probes, steps=steps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= memory(N, M, probes, steps) <= 2 * peak


def test_as_many_reads_are_made_as_are_stated():
    W, reads = gaussian(120, 100), []

    def rows(r):
        reads.append(r)
        return (W[i : i + r] for i in range(0, 120, r))

    for steps, passes in ((1, 2), (2, 2), (7, 7), (12, 12)):
        reads.clear()
        assert approximate_spectrum(rows, 120, 100, probes=2, steps=steps).passes == len(reads) == passes


def test_operations_are_mostly_the_products_with_the_matrix():
    assert operations(50_000, 20_000, 8, 64) == pytest.approx(4 * 50_000 * 20_000 * 8 * 64, rel=0.2)
