"""WeightWatcher 0.7.7 by the formulas of its documentation (peers.md, sections 1.4 to 1.6), written down plainly."""

import math
from math import isnan, log10, sqrt

import numpy as np
import pytest
from cases import gaussian, low_rank, orthogonal, student, with_eigenvalues

import heavytail as ht

COLUMNS = (
    "layer_id name D M N Q alpha alpha_weighted entropy has_esd lambda_max layer_type log_alpha_norm log_norm "
    "log_spectral_norm longname matrix_rank norm num_evals num_pl_spikes rank_loss rf sigma spectral_norm stable_rank "
    "status sv_max sv_min warning weak_rank_loss xmax xmin"
)
EPS64 = 2.0**-52


def matrices(W):
    """The layer's matrices and its N, M: 1.4, and case 18 for even kernels."""
    W = np.asarray(W, dtype=np.float64)
    if W.ndim == 2:
        return [W], max(W.shape), min(W.shape)
    s0, s1, s2, s3 = W.shape
    if s0 + s1 >= s2 + s3:
        slices = [W[:, :, i, j] for i in range(s2) for j in range(s3)]
        N, M = s0, s1
    else:  # as WeightWatcher 0.7.7 does it, in the table data/weightwatcher-0.7.7-odd-layers.csv
        return [W[:, :, i, j] * sqrt(0.5) for i in range(s2) for j in range(s3)], s0, s1
    if N < M:
        for _ in slices:  # once for each slice that is turned upright: an even number leaves them as they were
            N, M = M, N
    return [S * sqrt(0.5) for S in slices], N, M


def fit(x):
    """1.6: alpha, xmin, D, sigma and the size of the tail; None for a failed fit."""
    n = len(x)
    if n < 2:
        return None
    best = None
    last = n - 2 if n >= 20 else max(0, n - 8)
    for i in range(last + 1):
        tail = x[i:]
        size = len(tail)
        total = float(np.log(tail / tail[0]).sum())
        if total == 0:
            continue
        alpha = 1 + (size if n >= 20 else size - 1) / total
        D = max(abs(1 - (tail[j] / tail[0]) ** (1 - alpha) - j / size) for j in range(size))
        if best is None or D < best[2]:
            best = alpha, tail[0], D, (alpha - 1) / sqrt(size)
    return best


def reference(name, W):
    """1.5: one row of the details."""
    slices, N, M = matrices(W)
    singular = [np.linalg.svd(S, compute_uv=False) for S in slices]
    evals = np.sort(np.concatenate([s**2 for s in singular]))
    largest = evals[-1]
    rank = int((np.sqrt(evals) > np.sqrt(largest) * N * EPS64).sum())
    p = evals / evals.sum() + 1e-10
    found = fit(evals[evals > 1e-5])
    alpha, xmin, D, sigma = found or (-1, -1, -1, -1)
    return {
        "name": name,
        "longname": name,
        "layer_type": "dense" if np.ndim(W) == 2 else "conv2d",
        "N": N,
        "M": M,
        "Q": N / M,
        "rf": len(slices),
        "has_esd": True,
        "num_evals": evals.size,
        "sv_max": max(s.max() for s in singular),
        "sv_min": max(s.min() for s in singular),
        "rank_loss": sum(len(s) - int((s > s.max() * N * EPS64).sum()) for s in singular),
        "weak_rank_loss": int((evals < 1e-6).sum()),
        "lambda_max": largest,
        "spectral_norm": largest,
        "alpha": alpha,
        "xmin": xmin,
        "D": D,
        "sigma": sigma,
        "xmax": largest if found else None,
        "num_pl_spikes": int((evals >= xmin).sum()) if found else -1,
        "status": "success" if found else "failed",
        "warning": "over-trained" if alpha < 2 else "under-trained" if alpha > 6 else "",
        "norm": evals.sum(),
        "log_norm": log10(evals.sum()),
        "log_spectral_norm": log10(largest),
        "alpha_weighted": alpha * log10(largest),
        "log_alpha_norm": log10((evals**alpha).sum()),
        "stable_rank": evals.sum() / largest,
        "matrix_rank": rank,
        "entropy": -(p * np.log(p)).sum() / math.log(rank + 1e-10),
    }


def analyze(arrays):
    return ht.analyze(arrays, convention="weightwatcher", jobs=1)


LAYERS = {
    "dense": gaussian(80, 50),
    "wide dense": student(40, 90, df=3),
    "heavy": student(120, 80, df=2, seed=1).astype(np.float32),
    "float32": gaussian(70, 60, seed=9).astype(np.float32),
    "square": gaussian(60, 60, seed=2),
    "conv, more outputs": gaussian(24, 16, 3, 3, seed=3),
    "conv, more inputs": gaussian(16, 24, 3, 3, seed=3),
    "conv, as many": gaussian(16, 16, 3, 3, seed=4),
    "even kernel, more inputs": gaussian(16, 24, 2, 2, seed=5),
    "even kernel, more outputs": gaussian(24, 16, 2, 2, seed=5),
    "flat kernel": gaussian(12, 20, 1, 4, seed=6),
    "pointwise": gaussian(30, 45, 1, 1, seed=6),
    "patches": 0.1 * gaussian(20, 3, 8, 8, seed=7),
    "depthwise": gaussian(32, 1, 3, 3, seed=8),
    "channels last": gaussian(3, 3, 12, 20, seed=8),
    "small fit, 8": gaussian(30, 8, seed=10),
    "small fit, 13": gaussian(30, 13, seed=11),
    "small fit, 19": gaussian(30, 19, seed=12),
    "twenty": gaussian(30, 20, seed=13),
    "cut loses some": 0.003 * student(100, 60, df=2, seed=14),
    "cut loses most": 0.0004 * gaussian(100, 60, seed=15),
    "cut loses all": 0.0002 * gaussian(60, 60, seed=16),
    "cut leaves nineteen": with_eigenvalues(np.r_[np.full(21, 1e-6), np.geomspace(1, 50, 19)], 60),
    "cut just below a power law": with_eigenvalues(
        np.r_[np.full(5, 0.98e-5), 1.02e-5 * (1 - np.arange(40) / 40.5) ** -0.7], 60
    ),
    "low rank": low_rank(60, 40, 30, 17),
    "scaled up": 1e3 * student(60, 40, df=3, seed=18),
    "cauchy": student(90, 70, df=1, seed=19),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_the_numbers_of_the_published_formulas(name):
    W = LAYERS[name]
    table = analyze({"fc.weight": W}).weightwatcher_table()
    assert " ".join(table.columns) == COLUMNS
    (row,) = table.to_dict("records")
    expected = reference("fc", W)
    for column, value in expected.items():
        if isinstance(value, str | bool):
            assert row[column] == value, column
        elif column in ("entropy", "sv_min", "log_alpha_norm"):
            assert row[column] == pytest.approx(value, rel=1e-7, abs=1e-12), column
        elif column not in ("matrix_rank", "rank_loss", "weak_rank_loss") or name != "low rank":
            assert row[column] == (value if value is None else pytest.approx(value, rel=1e-9)), column


def test_a_layer_in_its_own_table_has_the_same_numbers_but_nan_for_a_failed_fit():
    report = analyze({"a.weight": LAYERS["heavy"], "b.weight": LAYERS["cut loses all"]})
    good, failed = report.rows
    assert good.alpha == pytest.approx(reference("a", LAYERS["heavy"])["alpha"], rel=1e-9)
    assert failed.status == "ok"
    assert isnan(failed.alpha)
    assert failed.warning == ""
    assert failed.reason.startswith("no power law fit")
    # peers.md, case 2: (8.61, failed) has the mean 3.81 there.
    assert report.summary["alpha"] == good.alpha
    assert report.summary["tail_fits"] == 1


def test_the_scale_changes_alpha_here_and_not_in_the_default_convention():
    # peers.md, case 1: one matrix, at x 1 and x 0.001 and x 0.0001.
    W = student(200, 120, df=2, seed=3)
    W *= 8 / np.linalg.norm(W, 2)
    theirs = [analyze({"a.weight": c * W}).rows[0].alpha for c in (1, 1e-3, 1e-4)]
    ours = [ht.analyze({"a.weight": c * W}).rows[0].alpha for c in (1, 1e-3, 1e-4)]
    assert theirs[1] != pytest.approx(theirs[0], rel=0.01)
    assert isnan(theirs[2])
    assert ours == pytest.approx([ours[0]] * 3, rel=1e-9)


def test_the_default_convention_differs_from_this_one_where_the_documentation_says_so():
    # Half the norm for a convolution (1.4), and a rank that knows of float32 (case 9).
    W = gaussian(24, 16, 3, 3).astype(np.float32)
    theirs, ours = analyze({"a.weight": W}).rows[0], ht.analyze({"a.weight": W}).rows[0]
    assert ours.norm == pytest.approx(2 * theirs.norm, rel=1e-9)
    assert ours.norm == pytest.approx(np.square(W.astype(float)).sum(), rel=1e-9)
    W = low_rank(200, 100, 1, dtype="float32") + low_rank(200, 100, 1, 1, dtype="float32")
    assert ht.analyze({"a.weight": W}).rows[0].matrix_rank == 2
    assert analyze({"a.weight": W}).rows[0].matrix_rank > 90


def test_what_weightwatcher_leaves_out_is_a_row_with_a_reason():
    # peers.md, case 20: it vanishes there.
    arrays = {
        "bias": np.ones(9),
        "fc.bias": np.ones((9, 9)),
        "norm.weight": np.ones(9),
        "conv1d.weight": gaussian(9, 9, 3),
        "conv3d.weight": gaussian(4, 4, 3, 3, 3),
        "narrow.weight": gaussian(50, 7),
        "one.weight": gaussian(1, 50),
        "tall.weight": np.zeros((50_001, 8), np.float32),
        "long.weight": np.zeros((400, 40, 20, 20), np.float32),
        "kept.weight": gaussian(20, 8),
        "edge.weight": np.ones((50_000, 8), np.float32),
    }
    report = analyze(arrays)
    rows = {row.name: row for row in report.rows}
    assert [row.name for row in report.rows] == [name.removesuffix(".weight") for name in arrays]
    assert [name for name, row in rows.items() if row.status == "ok"] == ["kept", "edge"]
    assert all(row.status == "skipped" and row.reason for name, row in rows.items() if name not in ("kept", "edge"))
    assert "'.weight'" in rows["bias"].reason
    assert "shape (9, 9, 3)" in rows["conv1d"].reason
    assert "N 50001" in rows["tall"].reason
    assert "16000 eigenvalues" in rows["long"].reason
    assert "7 eigenvalues" in rows["narrow"].reason


def test_large_vocabularies_are_read_in_the_default_convention():
    # peers.md, case 20: vocabularies above 50,000 vanish there.
    W = np.random.default_rng(0).standard_normal((50_001, 8)).astype(np.float32)
    (row,) = ht.analyze({"lm_head.weight": W}).rows
    assert (row.status, row.N, row.M, row.matrix_rank) == ("ok", 50_001, 8, 8)


def test_layers_are_numbered_as_the_weights_of_a_state_dict():
    arrays = {
        "a.weight": gaussian(20, 10),
        "a.bias": np.ones(20),
        "n.weight": np.ones(20),
        "b.weight": gaussian(20, 10),
    }
    table = analyze(arrays).weightwatcher_table()
    assert table[["layer_id", "name"]].to_numpy().tolist() == [[1, "a"], [3, "b"]]


def test_a_filter_does_not_renumber_the_layers():
    arrays = {"a.weight": gaussian(20, 10), "b.weight": gaussian(20, 10)}
    report = ht.analyze(arrays, layers="b", convention="weightwatcher")
    with pytest.raises(ht.HeavytailError, match="all layers"):
        report.weightwatcher_table()


def test_the_table_needs_the_convention():
    with pytest.raises(ht.HeavytailError, match="convention='weightwatcher'"):
        ht.analyze({"a.weight": gaussian(20, 10)}).weightwatcher_table()


@pytest.mark.parametrize("c", [0.1, 10.0])
def test_an_exponent_that_overflows_or_vanishes_is_no_failure(c):
    W = c * (orthogonal(60) + 1e-3 * gaussian(60, 60) / 8)
    report = analyze({"a.weight": W})
    (row,) = report.rows
    assert row.status == "ok"
    assert row.alpha > 300
    assert row.log_alpha_norm == (-np.inf if c < 1 else np.inf)  # as numpy's log10 gives it there
    assert len(report.weightwatcher_table()) == 1
    assert "Infinity" not in report.to_json()


@pytest.mark.parametrize(
    "W",
    [np.zeros((30, 20)), np.zeros((12, 10, 3, 3), np.float32), 1e-5 * np.eye(30, 20) * (np.arange(20) > 3)],
    ids=["zero", "zero convolution", "rank deficient and failed"],
)
def test_a_matrix_of_zeros_ends_neither_the_run_nor_the_table(W):
    report = analyze({"z.weight": W, "a.weight": gaussian(30, 20)})
    assert [row.status for row in report.rows] == ["ok", "ok"]
    table = report.weightwatcher_table()
    assert table["name"].tolist() == ["z", "a"]
    assert table["status"].tolist() == ["failed", "success"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_fails_its_row_alone(value):
    W = gaussian(30, 20)
    W[3, 4] = value
    report = analyze({"bad.weight": W, "a.weight": gaussian(30, 20)})
    assert [row.status for row in report.rows] == ["failed", "ok"]
    assert "1 NaN" in report.rows[0].reason or "1 infinite" in report.rows[0].reason
    assert report.weightwatcher_table()["name"].tolist() == ["a"]


def test_complex_weights_are_not_read_as_real_ones():
    # peers.md 2.5: the imaginary part is dropped there. The default convention calls them unsupported.
    W = (gaussian(30, 20) + 1j * gaussian(30, 20, seed=1)).astype(np.complex64)
    (row,) = analyze({"a.weight": W}).rows
    assert row.status == "unsupported"
