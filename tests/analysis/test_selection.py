import json

import numpy as np
import pytest
from cases import hadamard
from hypothesis import given
from hypothesis import strategies as st

import heavytail as ht
from heavytail.analysis import estimate
from heavytail.analysis.selection import Selection, selection
from heavytail.errors import RequestError
from heavytail.rmt.ensembles import PHASES, gaussian, low_rank, rank_deficient
from heavytail.tails.alternatives import UNDECIDED


def model():
    """Layers of three phases that nobody would doubt, one of none, and what is too small or no matrix."""
    noise, spike = gaussian(120, 60, 0), low_rank(120, 60, [100.0], 0)
    return {
        "enc.0.weight": noise,
        "enc.0.bias": np.ones(60),
        "enc.1.weight": gaussian(120, 60, 1) + spike,
        "enc.2.weight": rank_deficient(120, 60, 30, 2),
        "dec.0.weight": gaussian(120, 60, 3),
        "dec.1.weight": gaussian(120, 60, 4) + spike,
        "dec.2.weight": hadamard(64),
        "small.weight": gaussian(120, 12, 5),
    }


FOUND = {
    "enc.0": "random-like",
    "enc.0.bias": "",
    "enc.1": "bulk+spikes",
    "enc.2": "rank-collapse",
    "dec.0": "random-like",
    "dec.1": "bulk+spikes",
    "dec.2": UNDECIDED,
    "small": "",
}


def kept(layers, **arguments):
    return [row.name for row in ht.analyze(model(), layers=layers, **arguments).rows]


def message(layers, ask=ht.analyze, **arguments):
    with pytest.raises(RequestError) as caught:
        ask(model(), layers=layers, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_model_has_the_phases_it_is_made_of():
    assert {row.name: row.phase for row in ht.analyze(model()).rows} == FOUND


# ------------------------------------------------------------------------------------------------------------ phases


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("phase=random-like", ["enc.0", "dec.0"]),
        ("phase=bulk+spikes", ["enc.1", "dec.1"]),
        ("phase=undecided", ["dec.2"]),
        ("phase=r*", ["enc.0", "enc.2", "dec.0"]),
        ("phase=[rb]*", ["enc.0", "enc.1", "enc.2", "dec.0", "dec.1"]),
        (["phase=rank-collapse", "phase=undecided"], ["enc.2", "dec.2"]),  # one of the two will do
        (["phase=rank-collapse", "phase=heavy-tailed"], ["enc.2"]),
        ("phase=bulk-decay*", None),
    ],
)
def test_phase_patterns_keep_the_rows_of_that_phase(layers, names):
    if names is None:
        assert message(layers)
    else:
        assert kept(layers) == names
        assert [FOUND[name] for name in names] == [row.phase for row in ht.analyze(model(), layers=layers).rows]


def test_every_phase_can_be_asked_for_by_its_name():
    for phase in (*PHASES, UNDECIDED):
        assert selection(f"phase={phase}") == Selection((), (phase,))


@pytest.mark.parametrize("asked", ["phase=RANDOM-LIKE", "phase=Random-Like", "phase=RANDOM*", "phase=[R]andom-like"])
def test_the_case_of_a_phase_does_not_matter(asked):
    assert kept(asked) == kept(asked.lower()) == ["enc.0", "dec.0"]


def test_names_and_phases_must_both_match():
    assert kept(["enc.*", "phase=random-like"]) == ["enc.0"]
    assert kept(["phase=random-like", "enc.*"]) == ["enc.0"]
    assert kept(["enc.*", "dec.1", "phase=bulk+spikes", "phase=rank*"]) == ["enc.1", "enc.2", "dec.1"]
    assert kept(["enc.0*"]) == ["enc.0", "enc.0.bias"]


def test_an_iterator_is_read_once_and_asked_for_all_the_same():
    patterns = ["dec.*", "phase=random-like"]
    for layers in (iter(patterns), tuple(patterns), (pattern for pattern in patterns), dict.fromkeys(patterns)):
        report = ht.analyze(model(), layers=layers)
        assert [row.name for row in report.rows] == ["dec.0"]
        assert json.loads(report.to_json())["settings"]["layers"] == patterns


def test_the_rest_of_the_report_is_of_the_rows_that_are_kept():
    report, whole = ht.analyze(model(), layers="phase=bulk+spikes"), ht.analyze(model())
    names = ["enc.1", "dec.1"]
    assert list(report.table["name"]) == names
    assert list(report.spectra) == list(report.phases) == list(report.tails) == list(report.noise) == names
    assert report.summary["phases"] == dict.fromkeys((*PHASES, UNDECIDED), 0) | {"bulk+spikes": 2}
    assert report.summary["ok"] == 2
    for row in report.rows:
        assert row == next(other for other in whole.rows if other.name == row.name)


# ------------------------------------------------------------------------------------------------- what cannot be had


@pytest.mark.parametrize("ask", [ht.analyze, estimate])
@pytest.mark.parametrize("unknown", ["liquid", "random", "", "heavy", "random-like "])
def test_an_unknown_phase_is_refused_and_those_there_are_are_named(ask, unknown):
    said = message(f"phase={unknown}", ask)
    assert said == f"no phase matches {unknown!r}; there are {', '.join((*PHASES, UNDECIDED))}"
    assert message(["enc.*", "phase=random-like", f"phase={unknown}"], ask) == said


def test_where_no_row_is_of_the_phase_the_message_lists_what_there_is():
    # Of 'random-like' and 'bulk+spikes' there are two each, and of the others one.
    said = message("phase=heavy*")
    assert said == (
        "no layer of mapping matches 'phase=heavy*'; "
        "there are 2 random-like, 2 bulk+spikes, 1 rank-collapse, 1 undecided"
    )
    assert message(["enc.*", "phase=undecided"]) == (
        "no layer of mapping matches 'phase=undecided'; there are 1 random-like, 1 bulk+spikes, 1 rank-collapse"
    )
    assert message(["small", "phase=random-like", "phase=bulk*"]) == (
        "no layer of mapping matches 'phase=random-like', 'phase=bulk*'; there are none with a phase"
    )


def test_where_no_name_matches_the_names_are_to_blame():
    assert message(["nothing", "phase=random-like"]) == (
        "no layer of mapping matches 'nothing'; there are for example 'enc.0', 'enc.1', 'enc.2'"
    )


@pytest.mark.parametrize("ask", [ht.analyze, estimate])
def test_weightwatchers_numbers_have_no_phases_to_choose_by(ask):
    said = message(["enc.*", "phase=random-like"], ask, convention="weightwatcher")
    assert said == "convention 'weightwatcher' has no phases to choose layers by"
    assert kept(["enc.1"], convention="weightwatcher") == ["enc.1"]


@pytest.mark.parametrize("ask", [ht.analyze, estimate])
@pytest.mark.parametrize("layers", [[3], ["enc.*", None], [b"enc.*"], b"enc", {1: "a"}, [["enc.*"]]], ids=repr)
def test_layers_that_are_no_strings_are_refused(ask, layers):
    assert message(layers, ask).endswith("it must be a glob pattern or several")


@pytest.mark.parametrize("ask", [ht.analyze, estimate])
@pytest.mark.parametrize("layers", [3, 1.5, True], ids=repr)
def test_layers_that_are_not_several_are_refused(ask, layers):
    assert message(layers, ask).endswith("it must be a glob pattern or several")


@pytest.mark.parametrize("layers", [[], (), iter(())], ids=["list", "tuple", "iterator"])
def test_an_empty_request_is_refused(layers):
    assert message(layers, estimate) == "layers is empty; leave it out to analyse all of them"


def test_a_row_without_a_phase_is_of_none():
    assert kept("phase=*") == [name for name, phase in FOUND.items() if phase]


# ------------------------------------------------------------------------------------------------------- the dry run


def test_a_dry_run_counts_what_must_be_analysed_to_know_the_phases():
    everything = estimate(model())
    assert estimate(model(), layers="phase=rank-collapse").costs == everything.costs
    some = estimate(model(), layers=["enc.*", "phase=rank-collapse"])
    assert some.costs == estimate(model(), layers="enc.*").costs
    assert [part.name for plan in some.plans for part in plan.parts] == ["enc.0", "enc.1", "enc.2"]
    assert sum(cost.operations for cost in some.costs) < sum(cost.operations for cost in everything.costs)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_whatever_does_not_begin_with_phase_is_a_name(patterns):
    named = [pattern for pattern in patterns if not pattern.startswith("phase=")]
    if named:
        assert selection(named) == Selection(tuple(named), ())
        assert selection([*named, "phase=bulk*"]) == Selection(tuple(named), ("bulk*",))
    assert selection(None) == Selection((), ())
    assert selection("phase") == Selection(("phase",), ())
