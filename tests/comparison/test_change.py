"""What a change is, its rank, and intervals of the changes of metrics."""

from functools import partial
from math import hypot, log10

import numpy as np
import pytest
from cases import gaussian, low_rank, numpy_type, orthogonal, student, with_eigenvalues
from hypothesis import given, settings
from hypothesis import strategies as st

from heavytail.comparison import compare as compare_models
from heavytail.comparison.change import metric_changes
from heavytail.comparison.delta import Delta
from heavytail.comparison.row import METRICS
from heavytail.diagnosis.layer import Wanted, diagnose_layer, measure
from heavytail.rmt.ensembles import pareto
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.weights.tensor import numpy_dtype

compare = partial(compare_models, bootstrap=0)
COMPUTED = ("log_norm", "log_spectral_norm", "stable_rank", "matrix_rank", "entropy", "num_spikes")


def layer(W, dtype="float64"):
    names = {"name": "fc", "dtype": dtype}
    tall = W if W.shape[0] >= W.shape[1] else W.T
    measured = measure(spectrum_of_stack(W[None], dtype), [lambda r: [tall]], Wanted(), **names)
    return diagnose_layer(measured, Wanted(), kind="linear", **names)


def heavy(rows=200, columns=100, seed=0):
    return pareto(rows, columns, 1.5, seed)


def sized(change, W, relative):
    """Give a change that is so large relative to a matrix."""
    return change * relative * np.linalg.norm(W) / np.linalg.norm(change)


def only_row(base, tuned, **settings):
    (row,) = compare({"fc.weight": base}, {"fc.weight": tuned}, jobs=1, **settings).rows
    return row


# Kinds.

SHAPES = [(300, 200), (64, 64), (100, 700)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("relative", [1e-4, 0.01, 1.0])
def test_noise_is_noise_however_small(shape, relative):
    W = heavy(*shape)
    row = only_row(W, W + sized(gaussian(*shape, seed=1), W, relative))
    assert (row.change, row.delta_num_spikes, row.suggested_rank) == ("noise", 0, 0)
    assert row.relative_change == pytest.approx(relative, rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_directions_beside_noise_are_spikes(shape):
    W, noise = heavy(*shape), gaussian(*shape, seed=1)
    strength = 4 * (shape[0] * shape[1]) ** 0.25
    signal = strength * orthogonal(shape[0])[:, :3] @ orthogonal(shape[1], seed=5)[:3]
    row = only_row(W, W + sized(noise + signal, W, 0.05))
    assert (row.change, row.delta_num_spikes, row.suggested_rank) == ("spiked", 3, 3)
    s = np.linalg.svd(noise + signal, compute_uv=False)
    assert row.suggested_share == pytest.approx((s[:3] ** 2).sum() / (s**2).sum(), rel=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("rank", [1, 8])
def test_an_adapter_merged_into_weights_of_any_type_is_of_low_rank(shape, dtype, rank):
    """The merged weight is rounded to the stored type: that is full noise, but no more than rounding makes."""
    W = sized(gaussian(*shape), np.ones(shape), 0.02).astype(numpy_type(dtype))
    delta = sized(low_rank(*shape, rank, seed=3), W.astype(float), 0.05)
    row = only_row(W, (W.astype(np.float64) + delta).astype(numpy_type(dtype)))
    assert (row.change, row.delta_rank, row.suggested_rank) == ("low rank", rank, rank)
    assert row.suggested_share > 0.97


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
def test_rounding_to_fewer_bits_is_noise_without_any_direction(dtype):
    W = gaussian(300, 200).astype(np.float32)
    row = only_row(W, W.astype(numpy_type(dtype)))
    assert (row.change, row.delta_rank, row.suggested_rank, row.suggested_share) == ("noise", 0, 0, 0)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
def test_many_directions_of_all_sizes_are_dense(shape):
    W = gaussian(*shape)
    change = with_eigenvalues(np.geomspace(1, 1e4, 200), 300)
    row = only_row(W, W + 0.01 * (change if shape[0] > shape[1] else change.T))
    assert row.change == "dense"
    assert np.isnan(row.suggested_rank)
    assert "no noise bulk" in row.reason


def test_what_is_too_narrow_to_tell_is_not_told():
    W = gaussian(300, 15)
    row = only_row(W, W + 0.1 * gaussian(300, 15, seed=1))
    assert (row.status, row.change) == ("ok", "")
    assert row.relative_change > 0


def test_of_what_is_exact_the_kind_is_that_of_the_matrix():
    assert Delta(layer(low_rank(60, 40, 3)), 0.0).kind == "low rank"
    assert Delta(layer(gaussian(60, 40)), 0.0).kind == "noise"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("strength", [2, 3, 5])
def test_directions_that_rounding_lets_through_are_found_under_it(dtype, strength):
    # The rounding of 16 bits is noise of a third of a unit in the last place, and every third number or so moves.
    rng = np.random.default_rng(strength)
    N, M, rank = 512, 384, 4
    W = 0.02 * rng.standard_normal((N, M))
    base = W.astype(numpy_dtype(dtype))
    rounding = np.std(base.astype(np.float64) - W)
    U, V = (np.linalg.qr(rng.standard_normal((n, rank)))[0] for n in (N, M))
    tuned = (base.astype(np.float64) + strength * rounding * (N * M) ** 0.25 * U @ V.T).astype(base.dtype)
    row = only_row(base, tuned)
    exact = layer(tuned.astype(np.float64) - base.astype(np.float64))
    assert row.change in ("spiked", "low rank")
    assert row.suggested_rank == row.delta_num_spikes == exact.row.num_spikes == rank


@pytest.mark.parametrize("noise", [0.004, 0.01, 0.05])
def test_noise_beyond_rounding_is_told_from_rounding(noise):
    rng = np.random.default_rng(1)
    N, M = 512, 384
    base = (0.02 * rng.standard_normal((N, M))).astype(numpy_dtype("bfloat16"))
    U, V = (np.linalg.qr(rng.standard_normal((n, 4)))[0] for n in (N, M))
    change = noise * 0.02 * (rng.standard_normal((N, M)) + 3 * (N * M) ** 0.25 * U @ V.T)
    row = only_row(base, (base.astype(np.float64) + change).astype(base.dtype))
    assert (row.change, row.suggested_rank) == ("spiked", 4)


def test_a_copy_in_fewer_bits_is_noise():
    W = 0.02 * gaussian(512, 384)
    assert only_row(W.astype(np.float32), W.astype(numpy_dtype("bfloat16"))).change == "noise"


def test_planted_ranks_at_one_and_a_half_times_the_threshold_of_detection_are_found():
    rng = np.random.default_rng(0)
    off = []
    for i in range(40):
        M = int(rng.integers(100, 250))
        N, rank = int(M * rng.uniform(1, 3)), int(rng.integers(1, 9))
        U, V = (np.linalg.qr(rng.standard_normal((n, rank)))[0] for n in (N, M))
        delta = rng.standard_normal((N, M)) + 1.5 * (N * M) ** 0.25 * U @ V.T
        W = pareto(N, M, 2.0, i)
        off.append(abs(only_row(W, W + sized(delta, W, 0.02), directions=1).suggested_rank - rank))
    assert np.mean(np.array(off) <= 1) >= 0.9


# Metrics.


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_every_change_lies_in_its_interval(seed):
    rng = np.random.default_rng(seed)
    M = int(rng.integers(5, 60))
    N = int(rng.integers(M, 100))
    W = student(N, M, df=rng.uniform(0.7, 5), seed=seed) * 10 ** rng.uniform(-6, 6)
    tuned = W + sized(student(N, M, df=rng.uniform(0.7, 5), seed=seed + 1), W, 10 ** rng.uniform(-6, 1))
    for replicates in (0, 39):
        for name, found in metric_changes(layer(W), layer(tuned), replicates, seed).items():
            if np.isfinite(found.lo) or np.isfinite(found.hi):
                assert found.lo <= found.change <= found.hi, name


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([0, 39]))
def test_no_change_has_zero_in_its_interval_and_no_interval_where_spectra_are_resampled(seed, replicates):
    W = student(80, 40, df=2, seed=seed)
    for name, found in metric_changes(layer(W), layer(W.copy()), replicates, seed).items():
        if np.isfinite(found.base):
            assert found.change == 0
            assert found.lo <= 0 <= found.hi
        if replicates and "alpha" in name and np.isfinite(found.base):
            assert found.lo == found.hi == 0


def test_values_and_changes_are_those_of_the_rows():
    before, after = layer(heavy()), layer(heavy(seed=1))
    found = metric_changes(before, after)
    assert set(found) == set(METRICS)
    for name, change in found.items():
        assert change.base == getattr(before.row, name)
        assert change.tuned == getattr(after.row, name)
        assert change.change == change.tuned - change.base


def test_what_is_computed_has_no_width():
    found = metric_changes(layer(heavy()), layer(heavy(seed=1)))
    for name in COMPUTED:
        assert found[name].lo == found[name].hi == found[name].change


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_without_resampling_the_errors_of_both_models_are_added(scale):
    """Where the largest eigenvalue is below 1 its logarithm is negative, and the ends of an interval change places."""
    before, after = layer(scale * heavy()), layer(scale * heavy(seed=1))
    found = metric_changes(before, after)
    rows = before.row, after.row
    down, up = ([getattr(row, f"alpha_{end}") - row.alpha for row in rows] for end in ("lo", "hi"))
    assert found["alpha"].lo == pytest.approx(found["alpha"].change - hypot(down[1], up[0]))
    assert found["alpha"].hi == pytest.approx(found["alpha"].change + hypot(up[1], down[0]))

    ends = [sorted(end * row.log_spectral_norm for end in (row.alpha_lo, row.alpha_hi)) for row in rows]
    values = [row.alpha_weighted for row in rows]
    change = values[1] - values[0]
    weighted = found["alpha_weighted"]
    assert weighted.lo == pytest.approx(change - hypot(values[1] - ends[1][0], ends[0][1] - values[0]))
    assert weighted.hi == pytest.approx(change + hypot(ends[1][1] - values[1], values[0] - ends[0][0]))


def test_the_alpha_norm_is_as_uncertain_as_its_alpha():
    before, after = layer(heavy()), layer(heavy(seed=1))
    found = metric_changes(before, after)["log_alpha_norm"]
    ends = []
    for one in (before, after):
        norms = [log10((one.spectrum.positive**a).sum()) for a in (one.row.alpha, one.row.alpha_lo, one.row.alpha_hi)]
        ends.append((norms[0] - min(norms[1:]), max(norms[1:]) - norms[0]))
    assert found.change - found.lo == pytest.approx(hypot(ends[1][0], ends[0][1]))
    assert found.hi - found.change == pytest.approx(hypot(ends[1][1], ends[0][0]))


def test_without_a_power_law_the_change_of_alpha_is_missing_and_so_are_its_ends():
    found = metric_changes(layer(heavy()), layer(low_rank(200, 100, 3)))
    for name in ("alpha", "alpha_weighted", "log_alpha_norm"):
        assert all(np.isnan([found[name].change, found[name].lo, found[name].hi]))
    assert np.isfinite(found["log_norm"].change)


@pytest.mark.parametrize("seed", range(3))
def test_resampling_both_spectra_together_tells_small_changes_far_better(seed):
    W = heavy(400, 200, seed=seed)
    before, after = layer(W), layer(W + sized(gaussian(400, 200, seed=9), W, 0.001))
    paired, apart = metric_changes(before, after, 100, seed), metric_changes(before, after)
    for name in ("alpha", "alpha_weighted", "log_alpha_norm"):
        assert paired[name].lo <= paired[name].change <= paired[name].hi
        assert paired[name].hi - paired[name].lo < (apart[name].hi - apart[name].lo) / 3


@pytest.mark.parametrize("shape", [(200, 100), (150, 150)])
def test_intervals_of_the_noise_bulk_hold_the_changes_of_its_law(shape):
    """Noise of variance 1 has its edge at (sqrt N + sqrt M)^2; the largest eigenvalue of either matrix is known."""
    rng = np.random.default_rng(3)
    edge = (shape[0] ** 0.5 + shape[1] ** 0.5) ** 2
    hits = []
    for _ in range(60):
        pair = [layer(rng.standard_normal(shape)) for _ in range(2)]
        found = metric_changes(*pair)
        ratios = [edge / one.row.lambda_max for one in pair]
        for name, change in (("bulk_edge", 0.0), ("mp_softrank", ratios[1] - ratios[0])):
            hits.append(found[name].lo <= change <= found[name].hi)
    assert np.mean(hits) >= 0.95 - 3 * (0.95 * 0.05 / 60) ** 0.5


def test_the_same_seed_gives_the_same_interval():
    before, after = layer(heavy()), layer(heavy() + 0.3 * gaussian(200, 100, seed=9))
    first, second, other = (metric_changes(before, after, 39, seed)["alpha"] for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert first.change == other.change


@pytest.mark.slow
@pytest.mark.parametrize(("power", "noise"), [(1.1, 0.0), (1.0, 0.05)])
def test_the_interval_of_heavy_tailed_matrices_holds_the_change_of_the_exponent_of_their_law(power, noise):
    """Entries with the tail exponent mu have eigenvalues with alpha = 1 + mu/2; a power of them has mu over it."""
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(100):
        W = pareto(200, 100, 0.8, rng)
        tuned = np.sign(W) * np.abs(W) ** power * np.exp(noise * rng.standard_normal(W.shape))
        found = metric_changes(layer(W), layer(tuned), 200, rng)["alpha"]
        hits.append(found.lo <= 0.4 / power - 0.4 <= found.hi)
    assert np.mean(hits) >= 0.9


@pytest.mark.slow
def test_of_unrelated_matrices_of_one_law_few_differ_beyond_their_interval():
    # One in twenty may; if both were taken for states of one matrix it would be one in four.
    beyond = 0
    for i in range(60):
        found = compare_models({"w": pareto(200, 100, 1.5, i)}, {"w": pareto(200, 100, 1.5, 1000 + i)}).rows[0]
        alpha = found.metrics["alpha"]
        beyond += not alpha.lo <= 0 <= alpha.hi
    assert beyond <= 9
