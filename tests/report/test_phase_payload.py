"""What the page is told of the phases, held against the phases themselves."""

import json
from dataclasses import replace
from math import nan

import numpy as np
import pytest
from report import sample

from heavytail.diagnosis.phases import Phase, find_phase
from heavytail.diagnosis.row import Row
from heavytail.report.payload import payload
from heavytail.report.phase_payload import MEANINGS, phase_payload
from heavytail.rmt.ensembles.entries import gaussian
from heavytail.rmt.ensembles.matrices import spiked
from heavytail.rmt.ensembles.phases import PHASES
from heavytail.spectra.exact import spectrum_of_stack

ROW = Row(name="W", kind="linear", dtype="float64", status="ok")
TESTED = {"lost", "misfit", "beyond", "outliers", "soft_rank", "breadth", "edge"}


@pytest.fixture(scope="module")
def report():
    return sample.phased()


@pytest.fixture(scope="module")
def told(report):
    data = payload(report, report.rows, ())
    return {row.name: data["phases"][i] for i, row in enumerate(report.rows)}


def seen(report, name):
    return [one.as_dict() for one in report.phases[name].evidence]


def of(W):
    """What the page is told of the phase of a matrix."""
    return phase_payload(find_phase(spectrum_of_stack(W[None], "float64")), ROW)


def test_every_phase_has_a_meaning_in_the_order_of_the_phases():
    assert list(MEANINGS) == [*PHASES, "undecided"]
    assert all(MEANINGS.values())


@pytest.mark.parametrize("name", [*PHASES, "between", "pooled", "mixed"])
def test_the_probabilities_are_the_phases_own(report, told, name):
    expected = report.phases[name].as_dict()["probabilities"]
    assert told[name]["probabilities"] == pytest.approx([expected[phase] for phase in PHASES], abs=5e-4)


@pytest.mark.parametrize("name", PHASES[:5])
def test_values_intervals_and_chances_are_those_of_the_evidence(report, told, name):
    (expected,), evidence = seen(report, name), told[name]["evidence"]
    assert evidence["lost"][3:] == [expected["rank"], expected["num_evals"]]
    for part, key in (("beyond", "beyond"), ("soft_rank", "soft_rank"), ("edge", "edge_index")):
        assert evidence[part][1] == pytest.approx(
            [expected[key], expected[f"{key}_lo"], expected[f"{key}_hi"]], rel=6e-3
        )
    for part, key, chance in (
        ("misfit", "misfit", "misfit_p_value"),
        ("outliers", "num_outliers", "outlier_p_value"),
        ("edge", "edge_index", "edge_p_value"),
    ):
        assert evidence[part][1][0] == pytest.approx(expected[key], rel=6e-3)
        assert evidence[part][2] == pytest.approx(expected[chance], rel=6e-3)
    assert evidence["breadth"][1][0] == pytest.approx(expected["breadth"], rel=6e-3)
    assert evidence["breadth"][3] == pytest.approx(expected["breadth_of_noise"], rel=6e-3)
    assert evidence["edge"][3] == pytest.approx(expected["edge_index_of_noise"], rel=6e-3)


def test_several_matrices_are_told_by_their_median_and_range(report, told):
    many, evidence = seen(report, "pooled"), told["pooled"]["evidence"]
    assert told["pooled"]["matrices"] == len(many) == 4
    for part, key in (("misfit", "misfit"), ("soft_rank", "soft_rank"), ("edge", "edge_index")):
        values = [one[key] for one in many]
        assert evidence[part][1] == pytest.approx([np.median(values), min(values), max(values)], rel=6e-3)
    assert evidence["misfit"][2] == pytest.approx(np.median([one["misfit_p_value"] for one in many]), rel=6e-3)
    assert evidence["lost"][3:] == [160, 160]


def test_nothing_about_noise_is_unlike_noise():
    evidence = of(gaussian(600, 200, seed=4))["evidence"]
    assert {name: evidence[name][0] for name in TESTED} == dict.fromkeys(TESTED, 0)


def test_strong_signals_are_unlike_noise_and_their_bulk_is_not():
    evidence = of(spiked(600, 200, [3.0, 3.5, 4.0], seed=4))["evidence"]
    assert {name for name in TESTED if evidence[name][0]} == {"beyond", "outliers", "soft_rank"}


def test_more_than_a_tenth_of_lost_directions_is_unlike_noise_and_one_is_not():
    W = gaussian(300, 100, seed=4)
    assert [of(W * (np.arange(100) >= lost))["evidence"]["lost"][0] for lost in (0, 1, 5, 12)] == [0, 0, None, 1]


def test_nearly_all_directions_lost_leaves_that_alone_to_tell():
    evidence = of(gaussian(300, 100, seed=4) * (np.arange(100) < 8))["evidence"]
    assert set(evidence) == {"lost"}
    assert evidence["lost"][1] == [0.92]


@pytest.mark.parametrize(
    ("quantile", "shape"),
    [
        (lambda u: 1 - u**2, ""),  # index -2, below noise's own
        (lambda u: 1 - u**0.3, "concave"),  # index -0.3
        (lambda u: -np.log(u), "exponential"),
        (lambda u: u**-2, "power law"),
    ],
)
def test_the_shape_of_an_edge_that_noise_does_not_have_is_named_by_its_index(quantile, shape):
    evals = np.sort(quantile((np.arange(8000) + 0.5) / 8000))
    told = phase_payload(find_phase(sample.of(evals)), ROW)
    assert told["evidence"]["edge"][4] == shape


@pytest.mark.parametrize(("alpha", "mu"), [(1.5, 1.0), (2.4, 2.0), (4.5, 3.5)])
def test_the_exponent_is_told_as_a_tail_index(report, alpha, mu):
    row = replace(report.rows[0], alpha=alpha, alpha_lo=1.25, alpha_hi=7.0)
    assert phase_payload(report.phases[row.name], row)["evidence"]["exponent"] == [None, [mu, 0.5, 6.0]]
    bare = replace(row, alpha_lo=nan, alpha_hi=nan)
    assert phase_payload(report.phases[row.name], bare)["evidence"]["exponent"] == [None, [mu, None, None]]
    assert "exponent" not in phase_payload(report.phases[row.name], replace(row, alpha=nan))["evidence"]


def test_without_probabilities_there_is_the_reason(report, told):
    assert told["small"] == {"reason": report.phases["small"].reason}
    assert "eigenvalues" in told["small"]["reason"]
    assert phase_payload(None, report.rows[0]) is None


def told_of(*observations):
    """What the page is told of matrices that were observed so."""

    class Seen:
        def __init__(self, found):
            self.as_dict = lambda: found
            self.narrow = False

    phase = Phase(sample.likely("bulk-decay"), tuple(map(Seen, observations)))
    return phase_payload(phase, ROW)["evidence"]


def test_evidence_that_lacks_an_observation_is_told_without_it():
    seen = {"num_evals": 90, "rank": 81, "lost": 0.1, "soft_rank": 0.5, "edge_index": nan}
    assert told_of(seen) == {"lost": [None, [0.1], None, 81, 90], "soft_rank": [0, [0.5], None]}


def test_breadth_stands_beside_that_of_noise_and_a_law_beside_its_p_value():
    seen = {"breadth": 0.8, "breadth_of_noise": 0.5, "breadth_p_value": 0.03}
    seen |= {"power_law_ratio": 0.1, "power_law_p_value": 0.02}
    other = seen | {"breadth": 0.9, "power_law_p_value": nan}
    evidence = told_of(seen, other)
    assert evidence["breadth"] == [0, [0.85, 0.8, 0.9], 0.03, 0.5]
    assert evidence["law"] == [None, [0.1, 0.1, 0.1], None, 0.02]
    assert "law" not in told_of(other)


@pytest.mark.parametrize(("p_value", "told"), [(0.5, [0, 0.5]), (0.004, [1, 0.004]), (0.996, [1, 0.004])])
def test_what_is_narrower_is_as_unlike_noise_as_what_is_broader(p_value, told):
    unlike, _, chance, _ = told_of({"breadth": 0.8, "breadth_of_noise": 0.5, "breadth_p_value": p_value})["breadth"]
    assert [unlike, chance] == told


def test_what_is_narrower_than_noise_is_told_by_its_evidence_without_probabilities(report, told):
    name = "narrow"
    assert report.phases[name].name == "undecided"
    assert told[name]["reason"] == report.phases[name].reason != ""
    assert "probabilities" not in told[name]
    assert (told[name]["matrices"], told[name]["narrow"]) == (1, 1)
    assert told[name]["evidence"]["breadth"][0] == 1
    assert told[name]["evidence"]["breadth"][1][0] < told[name]["evidence"]["breadth"][3]


def test_a_narrow_matrix_among_others_is_counted_beside_their_probabilities(told):
    assert (told["mixed"]["matrices"], told["mixed"]["narrow"]) == (3, 1)
    assert "1 of 3 matrices" in told["mixed"]["reason"]
    assert all("reason" not in told[name] and told[name]["narrow"] == 0 for name in PHASES[:5])


def test_a_phase_that_uneven_noise_explains_has_a_remark(told):
    report = sample.uneven()
    (row,), (phase,), (noise,) = report.rows, report.phases.values(), report.noise.values()
    said = "bulk-decay by its spectrum alone, but noise whose rows differ in size explains it"
    assert phase_payload(phase, row, noise)["remark"] == said
    assert "remark" not in phase_payload(phase, row)
    assert "remark" not in phase_payload(phase, replace(row, num_spikes=1), noise)
    assert "remark" not in phase_payload(phase, replace(row, num_spikes=nan), noise)
    assert not any("remark" in one for one in told.values())


def test_what_is_told_is_short_json_without_nan(told):
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert max(len(json.dumps(one, separators=(",", ":"))) for one in told.values()) < 500
