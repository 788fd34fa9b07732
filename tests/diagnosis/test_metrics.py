from dataclasses import fields
from math import fsum, isnan, log, log10, sqrt

import numpy as np
import pytest
from cases import gaussian, hadamard, low_rank, numpy_type, orthogonal, pareto, student, with_eigenvalues, zoo

from heavytail.diagnosis.metrics import diagnose
from heavytail.diagnosis.row import COLUMNS, DEFINITIONS, GROUPS, SCHEMA_VERSION, Row
from heavytail.diagnosis.tail import BAND, MIN_EVALS, find_tail, measure_tail
from heavytail.spectra.exact import spectrum_of_stack

ZOO = zoo()
TAIL = (
    *("alpha", "alpha_lo", "alpha_hi", "sigma", "xmin", "xmax", "D", "num_pl_spikes"),
    *("alpha_weighted", "log_alpha_norm"),
)
SCALED = ("norm", "lambda_max", "xmin", "xmax")  # by c^2; the logarithms move, and everything else stays
MOVED = ("log_norm", "log_spectral_norm")
UNMOVED = (
    *("stable_rank", "matrix_rank", "rank_loss", "entropy"),
    *("alpha", "alpha_lo", "alpha_hi", "sigma", "D", "num_pl_spikes", "alpha_hill"),
)


def row_of(W, dtype="float64"):
    stack = np.asarray(W).astype(numpy_type(dtype))
    stack = stack if stack.ndim == 3 else stack[None]
    spectrum = spectrum_of_stack(stack, dtype)
    stack = stack if stack.shape[1] >= stack.shape[2] else stack.swapaxes(1, 2)
    matrices = [lambda r, W=W: [W] for W in stack]
    tail = find_tail(spectrum, measure_tail(spectrum, matrices))
    return diagnose(spectrum, tail, name="x", kind="linear", dtype=dtype)


def svd(W):
    return np.linalg.svd(np.asarray(W, dtype=np.float64), compute_uv=False)


# --------------------------------------------------------------------------------------------------------- scale


@pytest.mark.parametrize("name", sorted(set(ZOO) - {"zero"}))
def test_norms_and_ranks_are_their_formulas(name):
    W = ZOO[name]
    row, s = row_of(W), svd(W)
    norm = fsum(np.square(W).ravel())
    assert row.status == "ok"
    assert row.norm == pytest.approx(norm, rel=1e-12)
    assert row.log_norm == pytest.approx(log10(norm), abs=1e-12)
    assert row.lambda_max == pytest.approx(s[0] ** 2, rel=1e-12)
    assert row.log_spectral_norm == pytest.approx(2 * log10(s[0]), abs=1e-12)
    assert row.stable_rank == pytest.approx(norm / s[0] ** 2, rel=1e-12)
    if name != "badly scaled":  # all others have a gap between the smallest singular value and rounding
        assert row.matrix_rank == (s > max(W.shape) * 2.0**-46 * s[0]).sum()
    assert row.matrix_rank + row.rank_loss == row.num_evals == min(W.shape)
    assert (row.N, row.M) == (max(W.shape), min(W.shape))
    assert row.Q == max(W.shape) / min(W.shape)
    assert row.num_matrices == 1
    assert 1 <= row.stable_rank * (1 + 1e-12)
    assert row.stable_rank <= row.matrix_rank * (1 + 1e-12)


def test_a_pooled_row_counts_all_its_matrices():
    stack = gaussian(9, 30, 25)
    row = row_of(stack)
    s = np.linalg.svd(stack, compute_uv=False)
    assert (row.N, row.M, row.num_matrices, row.num_evals) == (30, 25, 9, 225)
    assert row.norm == pytest.approx(np.square(stack).sum())
    assert row.lambda_max == pytest.approx(s.max() ** 2)
    assert row.stable_rank == pytest.approx(np.square(stack).sum() / s.max() ** 2)


def entropy_of(evals):
    p = evals / fsum(evals)
    return -fsum(v * log(v) for v in p) / log(len(p))


@pytest.mark.parametrize("name", ["gaussian", "wide", "student", "cauchy", "spiked", "tied eigenvalues", "tall"])
def test_entropy_is_its_formula(name):
    assert row_of(ZOO[name]).entropy == pytest.approx(entropy_of(svd(ZOO[name]) ** 2), rel=1e-10)


def test_entropy_counts_the_eigenvalues_above_rounding_only():
    for dtype in ("float64", "float32"):
        W = low_rank(60, 40, 5, dtype=dtype)
        assert row_of(W, dtype).entropy == pytest.approx(entropy_of(svd(W)[:5] ** 2), rel=1e-5)


@pytest.mark.parametrize("name", sorted(ZOO))
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float8_e5m2"])
def test_entropy_lies_between_zero_and_one(name, dtype):
    if not np.isfinite(ZOO[name].astype(numpy_type(dtype)).astype(float)).all():
        return  # too large for an 8-bit type
    row = row_of(ZOO[name], dtype)
    if row.lambda_max == 0:
        assert isnan(row.entropy)
    else:
        assert 0 <= row.entropy <= 1 + 1e-12


def test_entropy_of_equal_eigenvalues_is_not_above_one():
    assert all(row_of(np.eye(n)).entropy <= 1 for n in range(2, 60))
    assert all(row_of(orthogonal(n)).entropy <= 1 for n in range(10, 40))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_entropy_of_a_constant_matrix_is_zero(dtype):
    # peers.md, case 9: 1449.6 there.
    row = row_of(np.full((200, 100), 0.1), dtype)
    assert row.entropy == 0
    assert row.matrix_rank == 1
    assert row.stable_rank == pytest.approx(1)


def test_entropy_of_equal_eigenvalues_is_one():
    assert row_of(np.eye(50)).entropy == pytest.approx(1, abs=1e-14)
    assert row_of(hadamard(64)).entropy == pytest.approx(1, abs=1e-14)


# ---------------------------------------------------------------------------------------------------------- shape


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("c", [0.1, 1.0, 16.0])
@pytest.mark.parametrize("kind", ["identity", "orthogonal", "hadamard", "tall", "stack"])
def test_equal_eigenvalues_have_no_alpha_and_the_row_says_why(dtype, c, kind):
    # peers.md, case 9: alpha 2.8e6 and infinity there, both 'success'.
    W = {
        "identity": np.eye(50),
        "orthogonal": orthogonal(60),
        "hadamard": hadamard(64),
        "tall": np.linalg.qr(gaussian(200, 50))[0],
        "stack": np.stack([orthogonal(20, seed=s) for s in range(5)]),
    }[kind]
    row = row_of(c * W, dtype)
    assert row.status == "ok"
    assert all(isnan(getattr(row, column)) for column in TAIL)
    assert row.warning == ""
    assert "equal to within rounding" in row.reason


def test_an_upper_half_of_equal_eigenvalues_has_no_exponent():
    W = with_eigenvalues(np.r_[np.linspace(0.1, 0.9, 20), np.ones(40)], 70)
    row = row_of(W, "float32")
    assert isnan(row.alpha_hill)
    assert isnan(row.alpha)
    assert "equal to within rounding" in row.reason


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_equal_eigenvalues_have_no_hill_estimate(dtype):
    assert isnan(row_of(orthogonal(60), dtype).alpha_hill)


def test_the_shape_columns_are_the_formulas_of_the_fit():
    W = student(300, 200, df=2.5, seed=2)
    row, evals = row_of(W), np.sort(svd(W) ** 2)
    tail = evals[evals >= row.xmin * (1 - 1e-9)]
    alpha = 1 + tail.size / fsum(log(v / tail[0]) for v in tail)
    assert row.num_pl_spikes == tail.size
    assert row.alpha == pytest.approx(alpha, rel=1e-9)
    assert row.sigma == pytest.approx((alpha - 1) / sqrt(tail.size), rel=1e-9)
    assert row.xmax == pytest.approx(evals[-1], rel=1e-12)
    model = 1 - (tail / tail[0]) ** (1 - alpha)
    at = np.arange(tail.size)
    n = tail.size
    assert row.D == pytest.approx(max((model - at / n).max(), ((at + 1) / n - model).max()), abs=1e-9)
    assert row.alpha_weighted == pytest.approx(alpha * log10(evals[-1]), rel=1e-9)
    assert row.log_alpha_norm == pytest.approx(log10(fsum(v**alpha for v in evals)), rel=1e-9)
    k = evals.size // 2
    assert row.alpha_hill == pytest.approx(1 + k / fsum(log(v / evals[-k - 1]) for v in evals[-k:]), rel=1e-9)


def test_alpha_of_planted_power_law_eigenvalues_is_near_the_truth():
    for alpha in (2.0, 3.0, 4.5):
        row = row_of(with_eigenvalues(pareto(400, alpha, 3), 420))
        assert abs(row.alpha - alpha) < 3 * row.sigma


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("power", [-66, 66, -40, 7])  # 2^66 is 7e19, 2^-40 is 1e-12
@pytest.mark.parametrize("name", ["student", "cauchy", "gaussian", "spiked", "low rank", "dead filters", "orthogonal"])
def test_the_shape_is_exactly_the_same_at_every_power_of_two(name, dtype, power):
    # peers.md, case 1.
    W = ZOO[name].astype(dtype)
    one, scaled = row_of(W, dtype), row_of(W * np.array(2.0**power, dtype), dtype)
    for column in UNMOVED:
        assert getattr(scaled, column) == pytest.approx(getattr(one, column), rel=1e-12, nan_ok=True)
    assert (scaled.reason, scaled.warning) == (one.reason, one.warning)
    for column in SCALED:
        assert getattr(scaled, column) == pytest.approx(getattr(one, column) * 4.0**power, rel=1e-12, nan_ok=True)
    for column in MOVED:
        assert getattr(scaled, column) == pytest.approx(getattr(one, column) + 2 * power * log10(2), abs=1e-9)


@pytest.mark.parametrize(("dtype", "rel"), [("float64", 1e-8), ("float32", 1e-4)])
@pytest.mark.parametrize("c", [1e-12, 1e20, 1e-20, 0.001, 0.0001])
def test_the_shape_is_the_same_at_every_scale(dtype, rel, c):
    for seed in range(4):
        W = student(150, 100, df=2.0, seed=seed).astype(dtype)
        one, scaled = row_of(W, dtype), row_of(W * np.array(c, dtype), dtype)
        for column in UNMOVED:
            assert getattr(scaled, column) == pytest.approx(getattr(one, column), rel=rel)


def test_log_alpha_norm_does_not_overflow():
    rng = np.random.default_rng(0)
    for c in (1e-4, 1.0, 1e4):
        evals = c * (100 + rng.random(100))
        row = row_of(with_eigenvalues(evals, 130))
        assert row.alpha > 80
        largest = evals.max()
        expected = row.alpha * log10(largest) + log10(fsum((v / largest) ** row.alpha for v in evals))
        assert row.log_alpha_norm == pytest.approx(expected, rel=1e-9)
        assert np.isfinite(row.log_alpha_norm)


# ----------------------------------------------------------------------------------------------- what is missing


def test_the_zero_matrix_has_a_norm_of_zero_and_a_reason():
    row = row_of(np.zeros((60, 40)), "float32")
    assert (row.status, row.reason) == ("ok", "every entry is zero")
    assert (row.norm, row.lambda_max, row.matrix_rank, row.rank_loss, row.num_evals) == (0, 0, 0, 40, 40)
    for column in (*MOVED, "stable_rank", "entropy", *TAIL, "alpha_hill"):
        assert isnan(getattr(row, column))


@pytest.mark.parametrize("name", ["rank one", "one entry", "constant", "one column", "one row", "one number"])
def test_a_matrix_of_rank_one_has_norms_and_no_tail(name):
    row = row_of(ZOO[name])
    assert (row.status, row.matrix_rank) == ("ok", 1)
    assert row.entropy == 0
    assert row.stable_rank == pytest.approx(1)
    assert isnan(row.alpha)
    assert isnan(row.alpha_hill)
    assert row.reason


@pytest.mark.parametrize("shape", [(300, 9), (9, 300), (50, 300, 9), (200, 5, 1)])
def test_a_matrix_with_fewer_than_ten_columns_has_norms_and_no_tail(shape):
    W = gaussian(*shape)
    row = row_of(W)
    assert row.norm == pytest.approx(np.square(W).sum())
    assert np.isfinite([row.stable_rank, row.entropy, row.log_norm]).all()
    assert all(isnan(getattr(row, column)) for column in (*TAIL, "alpha_hill"))
    assert f"{row.N} x {row.M}" in row.reason


@pytest.mark.parametrize(("W", "count"), [(gaussian(80, 19), 19), (low_rank(80, 60, 12), 12), (low_rank(80, 60, 1), 1)])
def test_fewer_than_twenty_eigenvalues_have_no_tail_and_the_row_counts_them(W, count):
    row = row_of(W)
    assert MIN_EVALS == 20
    assert all(isnan(getattr(row, column)) for column in (*TAIL, "alpha_hill"))
    assert row.reason.startswith(f"{count} eigenvalue{'s' if count > 1 else ''} above rounding")


def test_twenty_eigenvalues_may_have_a_tail():
    row = row_of(gaussian(80, 20))
    assert row.num_pl_spikes >= 10
    assert np.isfinite([row.alpha, row.alpha_hill]).all()


def test_eigenvalues_made_of_rounding_do_not_enter_the_tail():
    # Rank 40 of 120: the 80 others are rounding, in every type.
    for dtype in ("float64", "float32", "bfloat16"):
        W = low_rank(150, 120, 40, 3).astype(numpy_type(dtype))
        row = row_of(W, dtype)
        assert row.matrix_rank == 40
        assert row.num_pl_spikes <= 40
        assert row.xmin > 1e-3 * row.lambda_max / 40


def test_rank_and_entropy_of_a_pooled_row_count_the_same_eigenvalues():
    # Every matrix is of full rank; the second is small beside the first, and no less exact.
    stack = np.stack([gaussian(30, 25), 1e-7 * gaussian(30, 25, seed=1)]).astype(np.float32)
    row = row_of(stack, "float32")
    assert row.matrix_rank == 50
    evals = np.concatenate([svd(W) ** 2 for W in stack])
    assert row.entropy == pytest.approx(entropy_of(evals), rel=1e-6)


def test_rounding_of_one_matrix_does_not_stand_for_the_eigenvalues_of_another():
    # Rank 5 of 25, and a small matrix of full rank whose eigenvalues lie below the rounding of the first.
    stack = np.stack([low_rank(30, 25, 5, dtype="float32"), 1e-10 * gaussian(30, 25, seed=1).astype(np.float32)])
    row = row_of(stack, "float32")
    assert row.matrix_rank == 30
    evals = np.concatenate([svd(stack[0])[:5] ** 2, svd(stack[1]) ** 2])
    assert row.alpha_hill == pytest.approx(1 + 15 / fsum(np.log(v / np.sort(evals)[-16]) for v in np.sort(evals)[-15:]))


# ------------------------------------------------------------------------------------------------------- warnings


def test_a_warning_needs_the_whole_interval():
    seen = set()
    rng = np.random.default_rng(1)
    for alpha in (1.2, 1.5, 1.8, 1.95, 2.1, 3.0, 5.0, 6.2, 7.0, 9.0, 15.0):
        for n in (25, 60, 200):
            row = row_of(with_eigenvalues(pareto(n, alpha, int(rng.integers(10**6))), n + 5))
            assert row.alpha_lo < row.alpha < row.alpha_hi
            assert row.warning == ("over-trained" if row.alpha_hi < 2 else "under-trained" if row.alpha_lo > 6 else "")
            seen.add((row.warning, row.alpha < 2, row.alpha > 6))
    assert BAND == (2.0, 6.0)
    # Both warnings were seen, and both kinds of exponents outside the band that bear no warning.
    assert {("over-trained", True, False), ("under-trained", False, True), ("", True, False), ("", False, True)} <= seen


def test_a_row_without_a_fit_has_no_warning():
    # peers.md, case 2: a failed fit is 'over-trained' there.
    for name in ("identity", "rank one", "zero", "two by two", "low rank"):
        row = row_of(ZOO[name])
        assert isnan(row.alpha)
        assert row.warning == ""
        assert row.reason


# --------------------------------------------------------------------------------------------------------- schema


def test_the_columns_and_their_order_are_frozen():
    assert SCHEMA_VERSION == 1
    assert " ".join(COLUMNS) == (
        "name kind dtype status reason N M Q num_matrices num_evals "
        "norm log_norm lambda_max log_spectral_norm stable_rank matrix_rank rank_loss entropy "
        "alpha alpha_lo alpha_hi sigma xmin xmax D num_pl_spikes p_value tail warning alpha_hill alpha_weighted "
        "log_alpha_norm tail_excess tail_score "
        "sigma_mp bulk_edge mp_softrank num_spikes num_traps rand_distance "
        "phase phase_probability"
    )


def test_every_column_has_one_definition_and_one_group():
    assert tuple(DEFINITIONS) == COLUMNS
    assert all(text.endswith(".") and len(text) > 10 for text in DEFINITIONS.values())
    assert tuple(column for group in GROUPS.values() for column in group) == COLUMNS
    starts = {group: columns[0] for group, columns in GROUPS.items()}
    assert starts == {"identity": "name", "scale": "norm", "shape": "alpha", "noise": "sigma_mp", "phase": "phase"}


def test_a_missing_number_is_nan_and_a_missing_text_is_empty():
    row = Row(name="a", kind="linear", dtype="float32", status="failed")
    for field in fields(Row):
        value = getattr(row, field.name)
        if field.name not in ("name", "kind", "dtype", "status"):
            assert value == "" if field.type == "str" else isnan(value)
    assert tuple(row.as_dict()) == COLUMNS


def test_a_stage_that_was_not_asked_for_leaves_its_columns_missing():
    row = row_of(student(80, 60))
    for column in ("p_value", *GROUPS["noise"], "phase_probability"):
        assert isnan(getattr(row, column))
    assert row.tail == row.phase == ""
