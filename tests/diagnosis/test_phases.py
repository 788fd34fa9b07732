import json
from math import log

import ml_dtypes
import numpy as np
import pytest
from cases import hadamard, orthogonal
from hypothesis import given, settings
from hypothesis import strategies as st

import heavytail as ht
from heavytail.diagnosis.phase_evidence import PhaseEvidence, gather
from heavytail.diagnosis.phases import (
    COEFFICIENTS,
    MIN_EVALS,
    UNDECIDED,
    Phase,
    features,
    find_phase,
    probabilities,
)
from heavytail.rmt.ensembles import PHASES, draw_phase, gaussian, low_rank, pareto, rank_deficient
from heavytail.rmt.spikes import AdditiveSpike
from heavytail.spectra.exact import spectrum_of_stack


def phase_of(*matrices, dtype="float64"):
    """The phase of a row of matrices of one shape."""
    return find_phase(spectrum_of_stack(np.stack(matrices), dtype))


def well_inside(phase, N, M, count):
    """The first draws that are well inside a phase."""
    found, seed = [], 0
    while len(found) < count:
        draw = draw_phase(phase, N, M, np.random.default_rng([PHASES.index(phase), seed]))
        seed += 1
        if draw.inside:
            found.append(draw)
    return found


# Between noise and a clear spike of a small square layer there is no room: bleeding-out is drawn of a tall one.
SHAPES = {phase: (300, 150) for phase in PHASES} | {"bleeding-out": (3200, 200)}


def path(matrices):
    """The names along a path, each stretch once, without those that are undecided."""
    names = [phase_of(W).name for W in matrices]
    decided = [name for name in names if name != UNDECIDED]
    return [name for i, name in enumerate(decided) if i == 0 or name != decided[i - 1]]


# --------------------------------------------------------------------------------------------------- probabilities


@settings(max_examples=40)
@given(phase=st.sampled_from(PHASES), M=st.integers(30, 80), Q=st.floats(1, 8), seed=st.integers(0, 10**6))
def test_the_probabilities_are_those_of_six_cases_of_which_one_is_true(phase, M, Q, seed):
    found = phase_of(draw_phase(phase, int(Q * M), M, seed).matrix)
    assert tuple(found.probabilities) == PHASES
    assert all(0 <= p <= 1 for p in found.probabilities.values())
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert found.columns() == {"phase": found.name, "phase_probability": max(found.probabilities.values())}


@given(weights=st.lists(st.floats(0, 1), min_size=6, max_size=6).filter(lambda w: sum(w) > 0.1), best=st.integers(0, 5))
def test_a_phase_is_named_where_it_is_likelier_than_all_others_together(weights, best):
    weights[best] += 1
    values = [weight / sum(weights) for weight in weights]
    name = Phase(dict(zip(PHASES, values, strict=True)), ()).name
    likely = [phase for phase, value in zip(PHASES, values, strict=True) if value > 1 / 2]
    assert name == (likely[0] if likely else UNDECIDED)


def test_an_even_chance_is_undecided():
    values = dict.fromkeys(PHASES, 0.0) | {"random-like": 0.5, "bleeding-out": 0.5}
    assert Phase(values, ()).name == UNDECIDED
    assert Phase(values, ()).columns() == {"phase": UNDECIDED, "phase_probability": 0.5}
    assert Phase({}, (), "no").name == ""
    assert Phase({}, (), "no").columns() == {}


def test_every_question_has_a_constant_and_a_coefficient_for_each_of_its_features():
    x = np.linalg.eigvalsh(np.cov(gaussian(200, 60, 0).T))
    asked = features(gather(x, 200))
    assert {question: len(values) + 1 for question, values in asked.items()} == {
        question: len(values) for question, values in COEFFICIENTS.items()
    }


def test_the_tree_multiplies_the_answers():
    seen = gather(np.linalg.eigvalsh(np.cov(pareto(200, 60, 3.0, 0).T)), 200)
    yes = {
        question: 1 / (1 + np.exp(-COEFFICIENTS[question][0] - np.dot(COEFFICIENTS[question][1:], values)))
        for question, values in features(seen).items()
    }
    left = 1 - yes["collapsed"]
    expected = {
        "random-like": left * yes["noise"] * (1 - yes["beyond"]),
        "bleeding-out": left * yes["noise"] * yes["beyond"] * (1 - yes["clear"]),
        "bulk+spikes": left * yes["noise"] * yes["beyond"] * yes["clear"],
        "bulk-decay": left * (1 - yes["noise"]) * (1 - yes["heavy"]),
        "heavy-tailed": left * (1 - yes["noise"]) * yes["heavy"],
        "rank-collapse": yes["collapsed"],
    }
    assert dict(zip(PHASES, probabilities(seen), strict=True)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("phase", PHASES)
def test_nine_of_ten_draws_well_inside_a_phase_are_called_by_its_name(phase):
    rng, found = np.random.default_rng(PHASES.index(phase)), []
    narrowest, aspects = (200, (16, 16)) if phase == "bleeding-out" else (60, (1, 6))
    while len(found) < 40:
        M = int(rng.integers(narrowest, 301))
        draw = draw_phase(phase, int(rng.uniform(*aspects) * M), M, rng)
        if draw.inside:
            found.append(phase_of(draw.matrix).name)
    assert found.count(phase) >= 36


# ------------------------------------------------------------------------------------------------ what must not matter


@pytest.fixture(scope="module", params=PHASES)
def draw(request):
    return well_inside(request.param, *SHAPES[request.param], 1)[0]


def test_scale_order_rotation_and_transposition_change_nothing(draw):
    W, rng = draw.matrix, np.random.default_rng(0)
    expected = phase_of(W)
    assert expected.name == draw.phase
    N, M = W.shape
    # Turned from the left by a reflection, for a full rotation of thousands of rows is dear.
    v = rng.standard_normal((N, 1)) / np.sqrt(N)
    turned = W - 2 * v @ (v.T @ W) / float((v * v).sum())
    for other in (W * 1e-6, W * 1e6, W[rng.permutation(N)][:, rng.permutation(M)], turned @ orthogonal(M), W.T):
        found = phase_of(other)
        assert found.name == expected.name
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_stored_type_changes_no_phase(draw, dtype):
    expected = phase_of(draw.matrix)
    stored = draw.matrix.astype(getattr(ml_dtypes, dtype, None) or dtype)
    direct = phase_of(stored, dtype=dtype)
    report = ht.analyze({"w": stored})
    assert report.rows[0].dtype == dtype
    assert report.rows[0].phase == direct.name == expected.name
    assert report.rows[0].phase_probability == pytest.approx(direct.columns()["phase_probability"], abs=1e-6)
    tolerance = {"float32": 1e-4, "bfloat16": 0.01}[dtype]
    assert direct.probabilities == pytest.approx(expected.probabilities, abs=tolerance)


@pytest.mark.parametrize(("N", "M", "tail_mu"), [(150, 150, 0.9), (300, 150, 0.9), (300, 300, 1.1)])
def test_single_huge_entries_do_not_make_others_rounding_noise(N, M, tail_mu):
    # The roundings of an entry are relative to it, and those of the largest touch one row and one column.
    for seed in range(5):
        W = pareto(N, M, tail_mu, seed)
        assert phase_of(W).name == "heavy-tailed"
        assert phase_of(W.astype(ml_dtypes.bfloat16), dtype="bfloat16").name == "heavy-tailed"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_low_rank_product_is_collapsed_though_its_roundings_fill_all_directions(dtype):
    for rank in (8, 40, 100):
        stored = rank_deficient(300, 150, rank, 1).astype(getattr(ml_dtypes, dtype, None) or dtype)
        assert np.linalg.matrix_rank(stored.astype(float), tol=1e-12) == 150
        found = phase_of(stored, dtype=dtype)
        assert found.name == "rank-collapse"
        assert found.evidence[0].rank == rank


@pytest.mark.parametrize("W", [np.eye(64), hadamard(64), orthogonal(80)], ids=["identity", "Hadamard", "orthogonal"])
def test_a_bulk_that_is_narrower_than_noise_is_of_no_phase_and_the_row_says_why(W):
    found = phase_of(W)
    assert found.name == UNDECIDED
    assert "1 of 1 matrices have a bulk narrower than noise's" in found.reason
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-12)
    row = ht.analyze({"w": W}).rows[0]
    assert (row.phase, row.phase_probability) == (UNDECIDED, max(found.probabilities.values()))
    assert row.reason


# --------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(("N", "M"), [(300, 150), (1600, 200)])
def test_a_signal_that_grows_leads_from_noise_over_bleeding_out_to_spikes(N, M):
    noise, signal = gaussian(N, M, 0) / np.sqrt(N), low_rank(N, M, [1.0, 0.9, 0.8], 1)
    threshold = AdditiveSpike(M / N).threshold
    names = path(noise + t * threshold * signal for t in np.linspace(0, 4, 60))
    assert names == ["random-like", "bleeding-out", "bulk+spikes"]


@pytest.mark.parametrize(("N", "M"), [(300, 150), (1200, 300)])
def test_heavier_entries_never_lead_back_and_end_heavy_tailed(N, M):
    rng = np.random.default_rng(2)
    size, sign = rng.standard_exponential((N, M)), rng.choice([-1, 1], (N, M))
    # One set of quantiles, of ever heavier laws: P(|w| > t) = t^-tail_mu.
    names = path(sign * np.exp(size / tail_mu) for tail_mu in np.exp(np.linspace(log(8), log(1), 40)))
    order = [PHASES.index(name) for name in names]
    assert order == sorted(order)
    assert names[0] in ("random-like", "bulk-decay")
    assert names[-1] == "heavy-tailed"


@pytest.mark.parametrize("entries", [gaussian(300, 150, 3), pareto(300, 150, 1.2, 3)], ids=["noise", "heavy"])
@pytest.mark.parametrize("weak", [0.0, 1e-5], ids=["exact", "soft"])
def test_a_falling_rank_ends_in_collapse_and_stays_there(entries, weak):
    u, s, vt = np.linalg.svd(entries, full_matrices=False)
    names = []
    for rank in range(150, 14 if weak else 0, -3):  # of fewer than a tenth the others are what is typical
        kept = np.where(np.arange(150) < rank, s, weak * s)
        names.append(phase_of((u * kept) @ vt).name)
    first = names.index("rank-collapse")
    assert set(names[first:]) == {"rank-collapse"}
    assert set(names[:first]) <= {UNDECIDED, names[0]}
    assert first * 3 <= 0.2 * 150 + 3


@pytest.mark.parametrize("rank", [14, 10, 5])
def test_a_matrix_of_very_few_directions_is_as_collapsed_as_one_of_more(rank):
    u, s, vt = np.linalg.svd(gaussian(300, 150, 3), full_matrices=False)
    for weak in (0.0, 1e-5):
        assert phase_of((u * np.where(np.arange(150) < rank, s, weak * s)) @ vt).name == "rank-collapse"


# ---------------------------------------------------------------------------------------------------------------- rows


def test_a_row_has_its_phase_and_the_report_its_evidence_and_counts():
    layers = {f"{i}.weight": well_inside(phase, *SHAPES[phase], 1)[0].matrix for i, phase in enumerate(PHASES)}
    report = ht.analyze(layers)
    assert [row.phase for row in report.rows] == list(PHASES)
    assert list(report.table["phase"]) == list(PHASES)
    assert all(1 / 2 < row.phase_probability <= 1 for row in report.rows)
    assert report.summary["phases"] == {phase: 1 for phase in PHASES} | {UNDECIDED: 0}
    section = json.loads(report.to_json())["phases"]
    for row in report.rows:
        written = section[row.name]
        assert set(written) == {"phase", "reason", "probabilities", "evidence"}
        assert (written["phase"], written["reason"]) == (row.phase, "")
        assert written["probabilities"] == dict(report.phases[row.name].probabilities)
        assert max(written["probabilities"].values()) == row.phase_probability
        assert written["evidence"][0]["num_evals"] == row.M


def test_a_matrix_with_few_eigenvalues_has_no_phase_and_says_why():
    layers = {"small": gaussian(200, MIN_EVALS - 1, 0), "enough": gaussian(200, MIN_EVALS, 0)}
    small, enough = (report := ht.analyze(layers)).rows
    assert (small.phase, small.status) == ("", "ok")
    assert np.isnan(small.phase_probability)
    assert "30 eigenvalues" in small.reason
    assert "M = 29" in small.reason
    assert enough.phase in (*PHASES, UNDECIDED)
    assert json.loads(report.to_json())["phases"]["small"]["probabilities"] == {}
    assert sum(report.summary["phases"].values()) == 1


def test_a_convolution_as_an_operator_has_no_phase_and_says_why():
    kernel = {"c": gaussian(40 * 40, 9, 0).reshape(40, 40, 3, 3)}
    row = (report := ht.analyze(kernel, conv="operator")).rows[0]
    assert row.phase == ""
    assert np.isnan(row.phase_probability)
    assert "operator" in row.reason
    assert report.summary["phases"] == {}
    assert ht.analyze(kernel).rows[0].phase == "random-like"


def test_the_phase_of_pooled_matrices_is_the_mean_of_theirs():
    kernel = np.stack([gaussian(80, 40, 0), pareto(80, 40, 1.0, 1), rank_deficient(80, 40, 20, 2), gaussian(80, 40, 3)])
    alone = [phase_of(W) for W in kernel]
    assert len({one.name for one in alone}) == 3
    mean = {phase: np.mean([one.probabilities[phase] for one in alone]) for phase in PHASES}
    report = ht.analyze({"c.weight": kernel.transpose(1, 2, 0).reshape(80, 40, 2, 2)})
    found = report.phases["c"]
    assert len(found.evidence) == report.rows[0].num_matrices == 4
    assert dict(found.probabilities) == pytest.approx(mean, abs=1e-9)
    assert phase_of(*kernel).probabilities == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_weak_matrix_is_judged_by_its_own_roundings(dtype):
    strong, weak = (gaussian(80, 40, seed).astype(getattr(ml_dtypes, dtype, None) or dtype) for seed in (0, 3))
    weak = weak * weak.dtype.type(2.0**-20)  # which rounds nothing
    alone = [phase_of(W, dtype=dtype) for W in (strong, weak)]
    found = phase_of(strong, weak, dtype=dtype)
    assert [seen.rank for seen in found.evidence] == [seen.evidence[0].rank for seen in alone] == [40, 40]
    assert found.name == "random-like"


def test_a_matrix_of_zeros_has_no_phase():
    report = ht.analyze({"w": np.zeros((60, 40))})
    assert report.rows[0].status == "ok"
    assert report.rows[0].phase == ""
    assert np.isnan(report.rows[0].phase_probability)
    assert report.summary["phases"] == {}


def test_a_matrix_of_zeros_among_others_does_not_take_their_phase():
    W = gaussian(80, 40, 0)
    found = phase_of(W, W, np.zeros((80, 40)))
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert found.name == "random-like"
    kernel = np.stack([W, W, np.zeros((80, 40)), W]).transpose(1, 2, 0).reshape(80, 40, 2, 2)
    assert ht.analyze({"c": kernel}).rows[0].phase == "random-like"


def test_a_few_directions_left_are_a_collapse_or_a_certain_lack_of_evidence():
    few = PhaseEvidence(1000, 10)
    assert probabilities(few)[-1] > 0.999
    assert sum(probabilities(few)) == pytest.approx(1, abs=1e-12)
    assert features(few) == {"collapsed": (pytest.approx(0.99),)}
