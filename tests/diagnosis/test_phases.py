import json
from math import log, sqrt

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


def chance(question, *values, times=1.0):
    """The logistic rule of a question."""
    constant, *slopes = COEFFICIENTS[question]
    return 1 / (1 + np.exp(-times * (constant + np.dot(slopes, values))))


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
    nothing = Phase({}, (), "no").columns()
    assert nothing["phase"] == ""
    assert np.isnan(nothing["phase_probability"])
    seen = Phase({}, (PhaseEvidence(40, 40),), "no").columns()
    assert seen["phase"] == UNDECIDED
    assert np.isnan(seen["phase_probability"])


def test_every_question_has_a_constant_and_a_coefficient_for_each_of_its_features():
    x = np.linalg.eigvalsh(np.cov(gaussian(200, 60, 0).T))
    asked = {question: len(values) for question, values in features(gather(x, 200)).items()}
    # The first is asked of one number, the lost share of the row.
    assert asked | {"collapsed": 1} == {question: len(values) - 1 for question, values in COEFFICIENTS.items()}
    assert "collapsed" not in asked


def test_the_tree_multiplies_the_answers():
    seen = gather(np.linalg.eigvalsh(np.cov(pareto(200, 60, 3.0, 0).T)), 200)
    times = sqrt(60 / 90)  # of 60 eigenvalues
    yes = {question: chance(question, *values, times=times) for question, values in features(seen).items()}
    left = 1 - chance("collapsed", seen.lost)
    expected = {
        "random-like": left * yes["noise"] * (1 - yes["beyond"]),
        "bleeding-out": left * yes["noise"] * yes["beyond"] * (1 - yes["clear"]),
        "bulk+spikes": left * yes["noise"] * yes["beyond"] * yes["clear"],
        "bulk-decay": left * (1 - yes["noise"]) * (1 - yes["heavy"]),
        "heavy-tailed": left * (1 - yes["noise"]) * yes["heavy"],
        "rank-collapse": 1 - left,
    }
    assert probabilities([seen]) == pytest.approx(expected, abs=1e-12)


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


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("N", "M"), [(400, 200), (300, 300)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.85])
def test_a_product_of_low_rank_keeps_exactly_its_rank(dtype, N, M, share):
    rank = round(share * M)
    for seed in range(3):
        product = gaussian(N, rank, seed) @ gaussian(rank, M, seed + 10) / N
        found = phase_of(product.astype(getattr(ml_dtypes, dtype, None) or dtype), dtype=dtype)
        assert found.evidence[0].rank == rank
        assert found.name == "rank-collapse"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("M", "draws"), [(768, 12), pytest.param(1024, 20, marks=pytest.mark.slow)])
def test_untrained_square_layers_have_lost_nothing_whatever_their_type(dtype, M, draws):
    ranks, names = [], []
    for seed in range(draws):
        W = 0.02 * gaussian(M, M, [M, seed])
        exact = phase_of(W.astype(np.float32), dtype="float32")
        stored = phase_of(W.astype(getattr(ml_dtypes, dtype, None) or dtype), dtype=dtype)
        ranks.append(stored.evidence[0].rank)
        names.append(stored.name)
        assert stored.name == exact.name
        assert ranks[-1] >= M - 3
    assert names.count("random-like") >= draws - 1
    # Of one in 50 the smallest eigenvalue is 10^4 times below the next: P(s_1 < s_2 / 100).
    assert ranks.count(M) >= 0.9 * draws


SHAPES_OF_DECAY = [(60, 60), (300, 100), (200, 200), (1600, 100)]


def test_a_large_spike_does_not_make_bulk_decay_heavy_tailed():
    wrong = []
    for N, M in SHAPES_OF_DECAY:
        rng, found = np.random.default_rng([N, M]), []
        while len(found) < 15:
            draw = draw_phase("bulk-decay", N, M, rng)
            if draw.inside and draw.parameters["spikes"] == 0:
                # Ten times the largest eigenvalue of W^T W.
                spike = sqrt(10) * np.linalg.norm(draw.matrix, 2)
                found.append(phase_of(draw.matrix + low_rank(N, M, [spike], rng)).probabilities["heavy-tailed"])
        wrong += [chance for chance in found if chance > 0.9]
    assert len(wrong) <= 0.05 * 60


NARROW = {
    "identity": np.eye(64),
    "Hadamard": hadamard(64),
    "orthogonal": orthogonal(80),
    "orthonormal columns": orthogonal(200)[:, :100],
    "orthogonal and noise": 0.7 * orthogonal(100) + 0.02 * gaussian(100, 100, 1),
    "orthonormal columns and noise": 0.7 * orthogonal(200)[:, :100] + 0.005 * gaussian(200, 100, 1),
    "orthogonal and spikes": orthogonal(100) + low_rank(100, 100, [5.0, 10.0], 1),
}


@pytest.mark.parametrize("W", NARROW.values(), ids=NARROW)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_a_body_that_is_narrower_than_noise_is_of_no_phase_and_the_row_says_why(W, dtype):
    W = W.astype(getattr(ml_dtypes, dtype, None) or dtype)
    found = phase_of(W, dtype=dtype)
    assert found.evidence[0].narrow
    assert found.name == UNDECIDED
    assert found.probabilities == {}
    assert found.reason == "body narrower than noise's, as in no phase"
    row = (report := ht.analyze({"w": W})).rows[0]
    assert row.phase == UNDECIDED
    assert np.isnan(row.phase_probability)
    assert found.reason in row.reason
    written = json.loads(report.to_json())
    assert written["phases"]["w"]["probabilities"] == {}
    assert written["phases"]["w"]["evidence"][0]["breadth_p_value"] > 0.99
    assert report.summary["phases"] == {phase: 0 for phase in PHASES} | {UNDECIDED: 1}


def test_a_projection_is_collapsed_though_what_is_left_is_narrow():
    found = phase_of(orthogonal(80)[:, :40] @ orthogonal(80, seed=1)[:40])
    assert found.evidence[0].narrow
    assert found.evidence[0].rank == 40
    assert found.name == "rank-collapse"


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
    layers = {
        "tiny": gaussian(200, 12, 0),
        "small": gaussian(200, MIN_EVALS - 1, 0),
        "enough": gaussian(200, MIN_EVALS, 0),
    }
    tiny, small, enough = (report := ht.analyze(layers)).rows
    for row in (tiny, small):
        assert (row.phase, row.status) == ("", "ok")
        assert np.isnan(row.phase_probability)
        assert report.phases[row.name].reason == "no phase below 30 eigenvalues a matrix"
    assert small.reason == report.phases["small"].reason
    assert "phase" not in tiny.reason  # it is too small for a tail already, and its row says so
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
    spikes = gaussian(80, 40, 4) + low_rank(80, 40, [40.0, 30.0], 4)
    kernel = np.stack([gaussian(80, 40, 0), pareto(80, 40, 1.4, 1), spikes, gaussian(80, 40, 3)])
    alone = [phase_of(W) for W in kernel]
    assert len({one.name for one in alone}) == 3
    assert {one.evidence[0].lost for one in alone} == {0}
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


def test_collapse_is_asked_of_all_directions_of_a_row():
    # No matrix alone has lost what a layer of rank-collapse has, or all of them but one.
    lost = [40 - phase_of(rank_deficient(80, 40, rank, rank)).evidence[0].rank for rank in (36, 40, 20)]
    assert lost == [4, 0, 20]
    found = phase_of(*(rank_deficient(80, 40, rank, rank) for rank in (36, 40, 20)))
    assert found.probabilities["rank-collapse"] == pytest.approx(chance("collapsed", 24 / 120), abs=1e-12)
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert found.name == "rank-collapse"


@pytest.mark.parametrize(("zeros", "name"), [(1, "random-like"), (3, "rank-collapse"), (8, "rank-collapse")])
def test_a_matrix_of_zeros_among_others_has_lost_all_of_its_directions(zeros, name):
    size = 25 if zeros == 1 else 9
    kernel = np.stack([gaussian(80, 40, seed) if seed >= zeros else np.zeros((80, 40)) for seed in range(size)])
    found = phase_of(*kernel)
    assert [seen.lost for seen in found.evidence] == [1.0] * zeros + [0.0] * (size - zeros)
    assert found.probabilities["rank-collapse"] == pytest.approx(chance("collapsed", zeros / size), abs=1e-12)
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert (found.name, found.reason) == (name, "")
    side = round(sqrt(size))
    layer = kernel.transpose(1, 2, 0).reshape(80, 40, side, side)
    assert ht.analyze({"c": layer}).rows[0].phase == name


def test_one_narrow_matrix_of_three_has_no_part_in_the_probabilities():
    noise, heavy, narrow = gaussian(80, 40, 0), pareto(80, 40, 1.4, 1), orthogonal(80)[:, :40] * 8
    found, others = phase_of(noise, narrow, heavy), phase_of(noise, heavy)
    assert [seen.narrow for seen in found.evidence] == [False, True, False]
    assert found.probabilities == pytest.approx(others.probabilities, abs=1e-9)
    assert found.reason == "1 of 3 matrices: body narrower than noise's, as in no phase"
    assert others.reason == ""


def test_two_narrow_matrices_of_three_leave_the_row_without_a_phase():
    narrow = [orthogonal(80, seed)[:, :40] * 8 for seed in (0, 1)]
    found = phase_of(narrow[0], gaussian(80, 40, 0), narrow[1])
    assert (found.name, found.probabilities) == (UNDECIDED, {})
    assert np.isnan(found.columns()["phase_probability"])
    assert found.reason.startswith("2 of 3 matrices: ")
    assert len(found.as_dict()["evidence"]) == 3


def test_where_too_little_is_left_to_judge_nothing_is_said_of_the_other_phases():
    few = PhaseEvidence(1000, 10)
    found = probabilities([few])
    assert tuple(found) == PHASES
    assert found["rank-collapse"] > 0.999
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    others = [value for phase, value in found.items() if phase != "rank-collapse"]
    assert max(others) == pytest.approx(min(others), abs=1e-12)
    assert features(few) == {}
