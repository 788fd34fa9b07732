from math import nan

import pytest

from heavytail.diagnosis.row import Row
from heavytail.report.attention import SEVERITIES, attention


def ok(name="layer", **changes):
    calm = {"num_evals": 512, "rank_loss": 0, "entropy": 0.9, "alpha": 3.0, "sigma": 0.1, "D": 0.02}
    named = {"name": name, "kind": "linear", "dtype": "float32", "status": "ok", "num_pl_spikes": 200}
    return Row(**(named | calm | changes))


def left(status, name="layer", reason=""):
    return Row(name=name, kind="linear", dtype="float32", status=status, reason=reason)


def only(*rows):
    (finding,) = attention(rows)
    return finding


def test_a_sound_model_has_nothing_to_report():
    assert attention([ok("a"), ok("b"), left("skipped", reason="a vector")]) == ()
    assert attention([]) == ()


def test_a_failed_row_is_a_problem_with_its_reason():
    finding = only(left("failed", "broken", "3 of 9 numbers are NaN"))
    assert (finding.severity, finding.name) == ("problem", "broken")
    assert "3 of 9 numbers are NaN" in finding.sentence


def test_a_missing_reason_is_said_to_be_missing():
    assert "no reason is recorded" in only(left("failed")).sentence


def test_unsupported_weights_are_a_warning():
    assert only(left("unsupported", reason="packed integers")).severity == "warning"


def test_an_alpha_is_quoted_with_two_naive_standard_errors():
    sentence = only(ok(alpha=1.6, sigma=0.06, warning="over-trained")).sentence
    assert "1.60 ± 0.12" in sentence
    assert "naive standard errors" in sentence


def test_an_alpha_without_the_warning_is_not_reported_whatever_its_value():
    assert attention([ok(alpha=1.9, sigma=0.3), ok(alpha=6.4, sigma=0.6)]) == ()


def test_an_alpha_without_an_error_says_so():
    assert "without a standard error" in only(ok(alpha=1.6, sigma=nan, warning="over-trained")).sentence


def test_a_large_rank_loss_is_reported_and_a_small_one_is_not():
    assert "128 of 512 singular values (25%)" in only(ok(rank_loss=128)).sentence
    assert attention([ok(rank_loss=5)]) == ()


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
        ({"p_value": 0.01}, True),
    ],
)
def test_a_poor_fit_is_reported_only_when_chance_does_not_explain_it(changes, reported):
    assert bool(attention([ok(**changes)])) is reported


def test_traps_are_a_note():
    assert only(ok(num_traps=3)).sentence.startswith("3 traps: ")
    assert only(ok(num_traps=1)).sentence.startswith("1 trap: a single entry, row or column")
    assert attention([ok(num_traps=0)]) == attention([ok(num_traps=nan)]) == ()


def test_a_bulk_without_spikes_is_a_note_and_no_bulk_is_none():
    finding = only(ok(num_spikes=0))
    assert (finding.severity, finding.sentence) == (
        "note",
        "its spectrum shows nothing beyond noise: untrained, or reset?",
    )
    assert attention([ok(num_spikes=4), ok(num_spikes=nan)]) == ()
    assert attention([left("failed")])[0].severity == "problem"


def test_a_missing_tail_is_not_blamed_on_a_missing_bulk():
    reason = "fewer than 10 eigenvalues; no noise bulk: it needs 16 eigenvalues"
    assert only(ok(alpha=nan, D=nan, reason=reason)).sentence == "no tail was fitted: fewer than 10 eigenvalues"


def test_many_rows_of_one_finding_are_grouped_with_the_strongest_first():
    finding = only(*(ok(f"l{i}", alpha=7.0 + i, sigma=0.2, warning="under-trained") for i in range(12)))
    assert finding.sentence.startswith("12 layers:")
    assert finding.name == "l11"
    assert [member.name for member in finding.members] == [f"l{i}" for i in range(11, -1, -1)]


def test_findings_come_in_the_order_of_severity():
    rows = [ok("n", entropy=0.1), ok("w", rank_loss=400), left("unsupported", "u"), left("failed", "p")]
    ranks = [SEVERITIES.index(finding.severity) for finding in attention(rows)]
    assert ranks == sorted(ranks)
    assert attention(rows)[0].name == "p"


def test_a_row_that_is_not_ok_has_only_its_status_reported():
    assert only(ok(status="failed", rank_loss=512, entropy=0.1, warning="over-trained")).severity == "problem"
