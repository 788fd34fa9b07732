from dataclasses import replace
from math import nan

import pytest
from report import sample

from heavytail.diagnosis.row import Row
from heavytail.report.attention import SEVERITIES, attention


def ok(name="layer", **changes):
    calm = {"num_evals": 512, "rank_loss": 0, "entropy": 0.9, "alpha": 3.0, "alpha_lo": 2.8, "alpha_hi": 3.2, "D": 0.02}
    named = {"name": name, "kind": "linear", "dtype": "float32", "status": "ok", "num_pl_spikes": 200}
    return Row(**(named | calm | changes))


@pytest.fixture(scope="module")
def report():
    return sample.tailed(39)


def left(status, name="layer", reason=""):
    return Row(name=name, kind="linear", dtype="float32", status=status, reason=reason)


def only(*rows):
    (finding,) = attention(rows, {})
    return finding


def test_a_sound_model_has_nothing_to_report():
    assert attention([ok("a"), ok("b"), left("skipped", reason="a vector")], {}) == ()
    assert attention([], {}) == ()


def test_a_failed_row_is_a_problem_with_its_reason():
    finding = only(left("failed", "broken", "3 of 9 numbers are NaN"))
    assert (finding.severity, finding.name) == ("problem", "broken")
    assert "3 of 9 numbers are NaN" in finding.sentence


def test_a_missing_reason_is_said_to_be_missing():
    assert "no reason is recorded" in only(left("failed")).sentence


def test_unsupported_weights_are_a_warning():
    assert only(left("unsupported", reason="packed integers")).severity == "warning"


def test_an_alpha_is_quoted_with_its_interval():
    sentence = only(ok(alpha=1.6, alpha_lo=1.41, alpha_hi=1.83, warning="over-trained")).sentence
    assert sentence.startswith("alpha 1.60 (95 % interval 1.41 to 1.83) lies below 2")


def test_an_alpha_without_the_warning_is_not_reported_whatever_its_value():
    inside = [ok(alpha=1.9, alpha_lo=1.6, alpha_hi=2.3), ok(alpha=6.4, alpha_lo=5.2, alpha_hi=7.7)]
    assert attention(inside, {}) == ()


def test_an_alpha_without_an_interval_says_so():
    assert "without an interval" in only(ok(alpha=1.6, alpha_lo=nan, warning="over-trained")).sentence


def test_an_interval_wider_than_the_band_allows_no_statement_about_training():
    finding = only(ok(alpha=4.0, alpha_lo=1.54, alpha_hi=9.0))
    assert finding.severity == "note"
    assert finding.sentence.startswith("alpha could be anything from 1.5 to 9.0: ")
    assert attention([ok(alpha_lo=1.9, alpha_hi=5.8)], {}) == ()


def test_a_wide_interval_beyond_the_band_is_a_warning_and_no_more():
    finding = only(ok(alpha=9.0, alpha_lo=6.5, alpha_hi=14.0, warning="under-trained"))
    assert "lies above 6" in finding.sentence


def test_a_large_rank_loss_is_reported_and_a_small_one_is_not():
    assert "128 of 512 singular values (25%)" in only(ok(rank_loss=128)).sentence
    assert attention([ok(rank_loss=5)], {}) == ()


def test_a_very_low_entropy_is_reported():
    assert "entropy 0.12" in only(ok(entropy=0.12)).sentence


def test_a_missing_tail_is_reported_with_its_reason():
    assert "fewer than 10" in only(ok(alpha=nan, D=nan, reason="fewer than 10 eigenvalues")).sentence


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"D": 0.2}, True),
        ({"D": 0.05}, False),
        ({"D": 0.2, "num_pl_spikes": 20}, False),
        ({"D": 0.2, "p_value": 0.4}, False),
    ],
)
def test_a_poor_fit_is_reported_only_when_chance_does_not_explain_it(changes, reported):
    assert bool(attention([ok(**changes)], {})) is reported


def test_a_rejected_power_law_leaves_a_description_at_most():
    finding = only(ok(alpha=3.1, p_value=0.012))
    assert finding.severity == "note"
    assert finding.sentence == "the power law is rejected (p = 0.012): alpha 3.10 is a description at most"
    assert attention([ok(p_value=0.051)], {}) == ()


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ("lognormal", "its tail is a lognormal rather than a power law"),
        ("exponential", "its tail is an exponential rather than a power law"),
    ],
)
def test_a_tail_of_another_law_is_a_note(law, words):
    assert only(ok(tail=law, p_value=0.3)).sentence == words


@pytest.mark.parametrize("law", ["power law", "undecided", ""])
def test_a_power_law_and_an_open_verdict_are_none(law):
    assert attention([ok(tail=law)], {}) == ()


def test_an_alpha_that_hangs_on_the_largest_eigenvalue_is_a_note(report):
    said = [f for f in attention(report.rows, report.tails) if "hangs" in f.sentence]
    alpha, clipped = (report.tails["knotted"].evidence.fingers.alphas[k] for k in (0, 1))
    (finding,) = said
    assert (finding.severity, finding.name) == ("note", "knotted")
    assert finding.sentence.startswith(f"alpha falls from {alpha:.2f} to {clipped:.2f} without the largest eigenvalue,")


def test_several_fingers_are_counted_and_a_fall_within_the_error_is_none(report):
    tail = report.tails["knotted"]
    fingers = tail.evidence.fingers
    three = replace(tail, evidence=replace(tail.evidence, fingers=replace(fingers, count=3)))
    (finding,) = attention([ok("a")], {"a": three})
    assert "without the 3 largest eigenvalues" in finding.sentence
    unsure = replace(fingers, fit=replace(fingers.fit, sigma=10.0))
    assert attention([ok("a")], {"a": replace(tail, evidence=replace(tail.evidence, fingers=unsure))}) == ()


JUMPS = (7.8, 10.1, 11.5, 13.4, 15.6, 3.6, 3.6, 8.8, 9.2, 10.1, 11.6)  # MiniLM layer.5.attention.self.value


@pytest.fixture(scope="module")
def tail_with(report):
    """A tail with these exponents without its k largest points."""
    tail = report.tails["knotted"]

    def make(alphas, count, sigma=1.0):
        fit = replace(tail.evidence.fingers.fit, alpha=alphas[0], sigma=sigma)
        clipped = replace(fit, alpha=alphas[count])
        fingers = replace(tail.evidence.fingers, fit=fit, alphas=alphas, count=count, clipped=clipped)
        return replace(tail, evidence=replace(tail.evidence, fingers=fingers))

    return make


def test_an_alpha_that_comes_back_jumps_and_does_not_hang_on_the_points_left_out(tail_with):
    (finding,) = attention([ok("a")], {"a": tail_with(JUMPS, 5)})
    assert (finding.severity, finding.name) == ("note", "a")
    assert finding.sentence == (
        "alpha jumps between 3.6 and 15.6 as its 1 to 10 largest eigenvalues are left out: "
        "it is no property of the layer"
    )
    assert attention([ok("a")], {"a": tail_with(JUMPS, 5, sigma=4.3)}) == ()


@pytest.mark.parametrize(
    ("last", "word"), [((3.0, 2.5, 3.9), "hangs"), ((3.0, nan, 3.5), "hangs"), ((3.0, 2.5, 4.1), "jumps")]
)
def test_an_alpha_hangs_on_the_points_left_out_only_if_it_stays_low(tail_with, last, word):
    (finding,) = attention([ok("a")], {"a": tail_with((5.0, 5.2, *last), 2)})
    assert word in finding.sentence


def test_jumps_are_grouped_apart_from_falls(tail_with):
    rows = [ok(f"l{i}") for i in range(8)]
    tails = {f"l{i}": tail_with(JUMPS, 5, sigma=1 + i / 10) for i in range(4)}
    tails |= {f"l{i}": tail_with((5.0, 3.0, 3.0), 1) for i in range(4, 8)}
    falls, jumps = attention(rows, tails)
    assert [member.name for member in jumps.members] == ["l0", "l1", "l2", "l3"]
    assert "jumps" in jumps.sentence
    assert [member.name for member in falls.members] == ["l4", "l5", "l6", "l7"]
    assert "hangs" in falls.sentence


def test_traps_are_a_note():
    assert only(ok(num_traps=3)).sentence.startswith("3 traps: ")
    assert only(ok(num_traps=1)).sentence.startswith("1 trap: a single entry, row or column")
    assert attention([ok(num_traps=0)], {}) == attention([ok(num_traps=nan)], {}) == ()


def test_a_bulk_without_spikes_is_a_note_and_no_bulk_is_none():
    finding = only(ok(num_spikes=0))
    assert (finding.severity, finding.sentence) == (
        "note",
        "its spectrum shows nothing beyond noise: untrained, or reset?",
    )
    assert attention([ok(num_spikes=4), ok(num_spikes=nan)], {}) == ()
    assert attention([left("failed")], {})[0].severity == "problem"


def test_a_spectrum_with_a_tail_heavier_than_noise_is_more_than_noise():
    assert attention([ok(num_spikes=0, tail_score=1.7)], {}) == ()
    assert "nothing beyond noise" in only(ok(num_spikes=0, tail_score=1.6)).sentence
    assert "nothing beyond noise" in only(ok(num_spikes=0, tail_score=nan)).sentence


def test_a_missing_tail_is_not_blamed_on_a_missing_bulk():
    reason = "fewer than 10 eigenvalues; no noise bulk: it needs 16 eigenvalues"
    assert only(ok(alpha=nan, D=nan, reason=reason)).sentence == "no tail was fitted: fewer than 10 eigenvalues"


def test_many_rows_of_one_finding_are_grouped_with_the_strongest_first():
    finding = only(*(ok(f"l{i}", alpha=7.0 + i, warning="under-trained") for i in range(12)))
    assert finding.sentence.startswith("12 layers:")
    assert finding.name == "l11"
    assert [member.name for member in finding.members] == [f"l{i}" for i in range(11, -1, -1)]


def test_findings_come_in_the_order_of_severity():
    rows = [ok("n", entropy=0.1), ok("w", rank_loss=400), left("unsupported", "u"), left("failed", "p")]
    ranks = [SEVERITIES.index(finding.severity) for finding in attention(rows, {})]
    assert ranks == sorted(ranks)
    assert attention(rows, {})[0].name == "p"


def test_a_row_that_is_not_ok_has_only_its_status_reported():
    assert only(ok(status="failed", rank_loss=512, entropy=0.1, warning="over-trained")).severity == "problem"


def test_a_power_law_that_loses_to_laws_that_bend_is_a_description_even_if_it_passes_its_own_test(report):
    tail = report.tails["straight"]
    verdict = replace(tail.evidence.verdict, law="undecided", rejected=True)
    bent = replace(tail, evidence=replace(tail.evidence, verdict=verdict, fingers=None))
    row = ok("a", p_value=0.4, tail="undecided")
    (finding,) = attention([row], {"a": bent})
    assert "loses to laws that bend" in finding.sentence
    (rejected,) = attention([replace(row, p_value=0.01)], {"a": bent})
    assert "is rejected (p = 0.01)" in rejected.sentence
    assert attention([row], {"a": replace(tail, evidence=replace(tail.evidence, fingers=None))}) == ()


def phased(name, phase, probability=0.95, **changes):
    return ok(name, phase=phase, phase_probability=probability, **changes)


DECAYING = [phased(f"d{i}", "bulk-decay") for i in range(9)]


@pytest.fixture(scope="module")
def phases():
    return sample.phased().phases


def test_a_collapse_is_a_warning_that_says_what_was_lost(phases):
    name = "rank-collapse"
    (seen,) = phases[name].evidence
    (finding,) = attention([phased(name, name, rank_loss=300)], {}, phases)
    assert (finding.severity, finding.name) == ("warning", name)
    assert finding.sentence.startswith("rank collapse (probability 0.95): ")
    assert f"{seen.M - seen.rank} of 90 directions ({seen.lost:.0%}) are lost" in finding.sentence


def test_a_collapse_without_evidence_is_reported_all_the_same():
    assert "a large part of the directions is lost" in only(phased("a", "rank-collapse")).sentence


def test_a_random_layer_among_others_stands_out():
    (finding,) = attention([*DECAYING, phased("pooler", "random-like", 0.998, num_spikes=0, sigma_mp=1.0)], {})
    assert (finding.severity, finding.name) == ("note", "pooler")
    assert finding.sentence.startswith("random-like (probability over 0.99), unlike the rest of the model")


@pytest.mark.parametrize(("phase", "reported"), [("", True), ("undecided", True), ("bulk-decay", False)])
def test_a_layer_of_another_phase_is_not_called_noise(phase, reported):
    assert bool(attention([phased("a", phase, num_spikes=0, sigma_mp=1.0)], {})) is reported


def test_an_unsure_phase_and_undecided_others_are_no_ground_for_it():
    assert attention([*DECAYING, phased("a", "random-like", 0.7)], {}) == ()
    undecided = [replace(row, phase="undecided", phase_probability=0.4) for row in DECAYING]
    assert attention([*undecided, phased("a", "random-like")], {}) == ()


def test_a_model_half_of_noise_is_no_ground_for_it_either():
    assert attention([*DECAYING, *(phased(f"r{i}", "random-like") for i in range(9))], {}) == ()


@pytest.mark.parametrize("count", [2, 3, 12])
def test_an_untrained_model_is_one_finding(count):
    rows = [phased(f"r{i}", "random-like", num_spikes=0, sigma_mp=1.0) for i in range(count)]
    finding = only(*rows)
    assert finding.sentence == f"{count} layers: the spectrum shows nothing beyond noise: is the model trained?"
    assert [member.name for member in finding.members] == [row.name for row in rows]


def test_a_trained_layer_of_an_untrained_model_is_not_blamed():
    rows = [*(phased(f"r{i}", "random-like") for i in range(9)), phased("d", "bulk-decay")]
    assert "d" not in {member.name for member in only(*rows).members}


@pytest.mark.parametrize("phase", ["bleeding-out", "bulk+spikes", "bulk-decay", "heavy-tailed"])
def test_a_phase_that_uneven_noise_explains_is_a_note(phase):
    report = sample.uneven(phase)
    row = replace(ok("uneven"), phase=phase, phase_probability=0.9, num_spikes=0)
    assert report.rows[0].num_spikes == 0
    (finding,) = attention([row], {}, report.phases, report.noise)
    said = f"{phase} by its spectrum alone, but noise whose rows differ in size explains it"
    assert (finding.severity, finding.name, finding.sentence) == ("note", "uneven", said)
    others = [replace(row, num_spikes=1), replace(row, num_spikes=nan), replace(row, phase="random-like")]
    others += [replace(row, phase="rank-collapse", status="failed", reason="x"), replace(row, phase="undecided")]
    for other in others:
        assert not any("explains" in found.sentence for found in attention([other], {}, {}, report.noise))


def test_phases_that_uneven_noise_explains_are_one_finding():
    noise = sample.uneven().noise["uneven"]
    rows = [phased(name, "bulk-decay", num_spikes=0) for name in "ab"]
    (finding,) = attention(rows, {}, {}, {"a": noise, "b": noise})
    assert finding.sentence.startswith("2 layers: ")
    assert [member.name for member in finding.members] == ["a", "b"]


def test_noise_whose_bulk_has_another_shape_explains_no_phase():
    noise = sample.uneven().noise["uneven"]
    (bulk,) = noise.bulks
    crooked = replace(noise, bulks=(replace(bulk, misfit=2 * bulk.allowance),))
    assert attention([phased("a", "bulk-decay", num_spikes=0)], {}, {}, {"a": crooked}) == ()


def test_what_is_narrower_than_noise_is_not_called_noise():
    assert attention([phased("a", "undecided", nan, num_spikes=0, sigma_mp=1.0)], {}) == ()


def test_a_row_that_is_not_ok_has_no_phase_to_report():
    assert attention([*DECAYING, phased("a", "random-like", status="skipped")], {}) == ()
