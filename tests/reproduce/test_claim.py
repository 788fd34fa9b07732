import json
from math import inf, isnan, nan

import numpy as np
import pytest

from heavytail.reproduce import Check, Claim, Outcome, Verdict
from heavytail.reproduce.claim import within

WRONG = Verdict.PUBLISHED_WRONG


def claim(*checks, reason="", **ours):
    return Claim("X1", "title", "source", "what", "size", lambda rng: ours, checks, seconds=0.1, reason=reason)


def run(check, ours):
    [row] = claim(check, reason="because", value=ours).run().rows
    return row


@pytest.mark.parametrize("ours", [1.9, 2.0, 2.1])
def test_a_value_within_the_tolerance_is_reproduced(ours):
    row = run(Check("value", 2.0, 0.1 + 1e-12), ours)
    assert row.verdict is Verdict.REPRODUCED
    assert not row.surprising
    assert row.difference == pytest.approx(ours - 2)


@pytest.mark.parametrize("ours", [1.8, 2.2, nan, inf, -inf])
def test_any_other_value_is_not(ours):
    row = run(Check("value", 2.0, 0.1), ours)
    assert row.verdict is Verdict.NOT_REPRODUCED
    assert row.surprising


def test_a_value_known_to_be_wrong_is_called_so():
    row = run(Check("value", 2.0, 0.1, expected=WRONG), 3.0)
    assert row.verdict is Verdict.PUBLISHED_WRONG
    assert not row.surprising


def test_a_value_that_holds_elsewhere_is_not_called_wrong():
    row = run(Check("value", 2.0, 0.1, expected=Verdict.DOES_NOT_CARRY_OVER), 3.0)
    assert str(row.verdict) == "does not carry over"
    assert not row.surprising
    carries = run(Check("value", 2.0, 0.1, expected=Verdict.DOES_NOT_CARRY_OVER), 2.0)
    assert carries.verdict is Verdict.REPRODUCED
    assert carries.surprising
    both = claim(
        Check("a", 1.0, 0.1, expected=Verdict.DOES_NOT_CARRY_OVER),
        Check("b", 1.0, 0.1, expected=WRONG),
        reason="because",
        a=2.0,
        b=2.0,
    ).run()
    assert both.verdict is WRONG  # the worse of the two
    assert [row["verdict"] for row in both.as_dict()["rows"]] == ["does not carry over", "published value wrong"]


def test_an_agreement_with_a_value_known_to_be_wrong_is_flagged():
    row = run(Check("value", 2.0, 0.1, expected=WRONG), 2.05)
    assert row.verdict is Verdict.REPRODUCED
    assert row.surprising


@pytest.mark.parametrize("ours", [nan, inf])
def test_a_value_that_is_not_finite_proves_nothing_wrong(ours):
    row = run(Check("value", 2.0, 0.1, expected=WRONG), ours)
    assert row.verdict is Verdict.NOT_REPRODUCED
    assert row.surprising


def test_a_range_is_its_middle_and_half_its_width():
    check = within("value", 4.0, 5.0, "plot", WRONG)
    assert (check.published, check.tolerance, check.note, check.expected) == (4.5, 0.5, "plot", WRONG)


@pytest.mark.parametrize(
    ("ours", "verdict", "surprising"),
    [
        ({"a": 1.0, "b": 1.0, "c": 9.0}, Verdict.PUBLISHED_WRONG, False),
        ({"a": 1.0, "b": 5.0, "c": 9.0}, Verdict.NOT_REPRODUCED, True),  # a failure outweighs a published error
        ({"a": 1.0, "b": 1.0, "c": 1.0}, Verdict.REPRODUCED, True),
        ({"a": 1.0, "b": nan, "c": 9.0}, Verdict.NOT_REPRODUCED, True),
    ],
)
def test_the_verdict_of_a_claim_is_that_of_its_worst_number(ours, verdict, surprising):
    checks = (Check("a", 1.0, 0.1), Check("b", 1.0, 0.1), Check("c", 1.0, 0.1, expected=WRONG))
    outcome = claim(*checks, reason="because", **ours).run()
    assert outcome.verdict is verdict
    assert outcome.surprising is surprising


def test_an_outcome_survives_json_and_its_nan_is_null():
    outcome = claim(Check("a", 1.0, 0.1, "note"), Check("b", 2.0, 0.5), a=1.05, b=nan).run(seed=7)
    data = json.loads(json.dumps(outcome.as_dict(), allow_nan=False))
    assert data == outcome.as_dict()
    assert (data["id"], data["seed"], data["verdict"], data["surprising"]) == ("X1", 7, "not reproduced", True)
    first, second = data["rows"]
    assert first["ours"] == 1.05
    assert (first["verdict"], first["note"], first["tolerance"]) == ("reproduced", "note", 0.1)
    assert (second["ours"], second["difference"], second["published"]) == (None, None, 2.0)


def test_the_seed_and_the_claim_alone_decide_the_draw():
    def draw(name):
        return Claim(name, "", "", "", "", lambda rng: {"x": rng.random()}, (Check("x", 0, 1),), seconds=0)

    def value(outcome: Outcome):
        return outcome.rows[0].ours

    assert value(draw("A").run(3)) == value(draw("A").run(3))
    assert len({value(draw("A").run(3)), value(draw("A").run(4)), value(draw("B").run(3))}) == 3


def test_a_claim_without_checks_or_reason_is_refused():
    with pytest.raises(ValueError, match="X1 has no checks"):
        claim()
    with pytest.raises(ValueError, match="X1 expects a disagreement and gives no reason"):
        claim(Check("a", 1.0, 0.1, expected=WRONG))


@pytest.mark.parametrize(("published", "tolerance"), [(nan, 1.0), (1.0, 0.0), (1.0, nan), (1.0, inf), (1.0, -1.0)])
def test_a_check_that_nothing_or_everything_passes_is_refused(published, tolerance):
    with pytest.raises(ValueError, match="'a' needs a finite published value and a finite tolerance > 0"):
        Check("a", published, tolerance)


def test_a_computation_that_forgot_a_value_is_named():
    with pytest.raises(ValueError, match=r"claim X1 did not measure 'b'; it measured \['a'\]"):
        claim(Check("b", 1.0, 0.1), a=1.0).run()


def test_numpy_numbers_come_out_as_plain_ones():
    outcome = claim(Check("a", 1.0, 0.1), a=np.float64(1.0)).run()
    assert type(outcome.rows[0].ours) is float
    assert not isnan(outcome.rows[0].ours)
