import json
import re

import numpy as np
import pytest

from heavytail.errors import RequestError
from heavytail.reproduce import HEADER, Verdict, claims, reproduce, table

FAST = ("F7", "B1", "B5", "E5-pure", "E4a", "E4b", "E4-noise", "E4b-symmetric")
QUICK = tuple(claim.id for claim in claims() if not claim.slow)
ALONE = tuple(claim.id for claim in claims() if not claim.slow and not claim.data)
PROMISED = (
    *("E2", "E3", "E4a", "E4b", "E4c", "E4d", "E4e", "E4f", "E5", "F5", "F7", "B1", "B2", "B3", "B4", "B5"),
    *("F2", "F3", "F6", "G1", "G2", "OSMR"),
)


def test_names_are_unique_in_any_case_of_letters():
    names = [claim.id.lower() for claim in claims()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_claim_is_there(name):
    assert any(claim.id.split("-")[0] == name for claim in claims())


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_every_claim_says_what_it_is(claim):
    for text in (claim.title, claim.source, claim.what, claim.size):
        assert text.strip() == text != ""
    assert re.search(r"\d{4}", claim.source)  # a year
    assert claim.seconds > 0
    assert all(check.note for check in claim.checks)
    names = [check.name for check in claim.checks]
    assert len(set(names)) == len(names)


def test_a_slow_claim_has_a_quick_relative():
    for claim in claims():
        if claim.slow:
            assert claim.id.split("-")[0] in {name.split("-")[0] for name in QUICK}


def test_the_quick_claims_take_under_two_minutes():
    assert sum(claim.seconds for claim in claims() if not claim.slow) < 120


@pytest.mark.parametrize("name", FAST)
def test_a_fast_claim_comes_out_as_the_ledger_expects(name):
    [outcome] = reproduce([name])
    assert not outcome.surprising, [row for row in outcome.rows if row.surprising]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALONE if name not in FAST])
def test_a_quick_claim_comes_out_as_the_ledger_expects(name):
    [outcome] = reproduce([name])
    assert not outcome.surprising, [row for row in outcome.rows if row.surprising]


@pytest.mark.slow
def test_the_artefact_of_the_lomax_law_is_found():
    [outcome] = reproduce(["E5"])
    verdicts = {row.name: row.verdict for row in outcome.rows}
    assert verdicts["n = 1000, truth 3.74, Lomax"] is Verdict.REPRODUCED
    assert verdicts["n = 1000, truth 3.74, Pareto"] is Verdict.DOES_NOT_CARRY_OVER
    assert outcome.verdict is Verdict.DOES_NOT_CARRY_OVER
    assert "Lomax" in outcome.claim.reason


def test_the_result_of_a_claim_does_not_depend_on_what_else_is_run():
    [alone] = reproduce(["E5-pure"], seed=4)
    _, other, _ = reproduce(["F7", "E5-pure", "B5"], seed=4)
    assert alone.as_dict() == other.as_dict()
    [another] = reproduce(["E5-pure"], seed=5)
    assert [row.ours for row in another.rows] != [row.ours for row in alone.rows]


def test_outcomes_survive_json():
    outcomes = [outcome.as_dict() for outcome in reproduce(["F7", "B5", "E5-pure"])]
    assert json.loads(json.dumps(outcomes, allow_nan=False)) == outcomes


def test_a_claim_is_found_in_any_case_of_letters_and_in_the_order_asked_for():
    assert [outcome.claim.id for outcome in reproduce(["f7", "b5"])] == ["F7", "B5"]
    assert list(reproduce([])) == []


def test_a_claim_that_is_asked_for_twice_runs_once():
    assert [outcome.claim.id for outcome in reproduce(["f7", "b5", "F7"])] == ["F7", "B5"]


def test_slow_claims_run_only_when_asked_for(monkeypatch):
    ran = []
    monkeypatch.setattr("heavytail.reproduce.claim.Claim.run", lambda claim, *_: ran.append(claim.id))
    list(reproduce())
    assert tuple(ran) == QUICK
    ran.clear()
    list(reproduce(slow=True))
    assert ran == [claim.id for claim in claims()]
    ran.clear()
    list(reproduce(["E4d-full"]))
    assert ran == ["E4d-full"]
    ran.clear()
    list(reproduce(["F7", "All", "E4d-full"]))  # all among others is all, after what comes before it
    assert ran == ["F7", *(name for name in QUICK if name != "F7"), "E4d-full"]


def test_an_unknown_claim_is_refused_with_the_known_ones():
    with pytest.raises(RequestError, match="no claim 'E99'; there are E2, E3, E4a"):
        reproduce(["F7", "E99"])
    with pytest.raises(RequestError, match="no claim 'E99'"):
        reproduce(["all", "E99"])


def test_the_table_has_a_row_a_number_and_marks_surprises():
    outcomes = list(reproduce(["F7", "B5"]))
    rows = table(outcomes)
    assert len(rows) == sum(len(outcome.rows) for outcome in outcomes)
    assert all(len(row) == len(HEADER) and all(isinstance(cell, str) for cell in row) for row in rows)
    assert {row[0] for row in rows} == {"F7", "B5"}
    assert not any("!" in row[-1] for row in rows)


def test_published_numbers_are_finite():
    assert all(np.isfinite(check.published) for claim in claims() for check in claim.checks)
