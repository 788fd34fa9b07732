from itertools import product
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from heavytail.errors import RequestError
from heavytail.lab.experiments import Judgement, Measured, Published, experiment_of, experiments
from heavytail.lab.experiments.experiment import over_seeds
from heavytail.lab.experiments.tables import PHASE_ORDER, difference, gain_of_best, rank_correlation, rises
from heavytail.lab.recipe import Recipe


@pytest.mark.parametrize("experiment", experiments(), ids=lambda experiment: experiment.id)
class TestEveryExperiment:
    @pytest.mark.parametrize("size", ["quick", "full"])
    def test_has_trainings_of_every_seed_at_every_setting(self, experiment, size):
        trials = experiment.trials(size)
        assert trials
        assert all(isinstance(recipe, Recipe) for recipe in trials.values())
        assert all(hasattr(recipe, experiment.axis) for recipe in trials.values())
        assert len({repr(recipe) for recipe in trials.values()}) == len(trials)

    def test_begins_with_the_first_seed(self, experiment):
        seeds = [recipe.seed for recipe in experiment.trials("full").values()]
        assert seeds == sorted(seeds)

    def test_says_what_was_published_and_where(self, experiment):
        assert any(year in experiment.source for year in map(str, range(1960, 2030)))
        assert experiment.statements
        for statement in experiment.statements:
            assert statement.low < statement.high
            assert statement.says
        names = [statement.measure for statement in experiment.statements]
        assert len(set(names)) == len(names)

    def test_is_found_in_any_case_of_letters(self, experiment):
        assert experiment_of(experiment.id.lower()) is experiment


def test_an_unknown_experiment_is_refused_with_the_known_ones():
    with pytest.raises(RequestError, match="no experiment 'E99'; there are E21"):
        experiment_of("E99")


@pytest.mark.parametrize(
    ("measured", "judgement"),
    [
        (Measured(0.5), Judgement.HOLDS),
        (Measured(1.5), Judgement.FAILS),
        (Measured(0.5, 0.1, 0.9, 3), Judgement.HOLDS),
        (Measured(0.5, -0.1, 0.9, 3), Judgement.UNDECIDED),
        (Measured(-0.5, -0.9, -0.1, 3), Judgement.FAILS),
        (Measured(2.0, 0.9, 3.1, 3), Judgement.UNDECIDED),
        (Measured(nan), Judgement.MISSING),
        (None, Judgement.MISSING),
    ],
)
def test_a_statement_holds_or_fails_only_where_the_whole_interval_says_so(measured, judgement):
    assert Published("x", 0.0, 1.0, "x is in [0, 1]").judge(measured) is judgement


def test_an_interval_over_seeds_is_students():
    values = [0.3, 0.5, 0.1, 0.4]
    measured = over_seeds([*values, nan])
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (measured.value, measured.low, measured.high) == pytest.approx((np.mean(values), low, high))
    assert measured.runs == 4
    assert isnan(over_seeds([0.3]).low)
    assert isnan(over_seeds([]).value)


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlation_is_kendalls_tau_b(seed):
    rng = np.random.default_rng(seed)
    x, y = (pd.Series(rng.integers(0, 6, 20)) for _ in range(2))
    assert rank_correlation(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_rank_correlation_of_a_constant_is_missing():
    assert isnan(rank_correlation(pd.Series([1, 2, 3]), pd.Series([1, 1, 1])))


def test_a_difference_needs_both_settings():
    rows = pd.DataFrame({"batch": [8, 1000], "test_accuracy": [0.9, 0.7]})
    assert difference(rows, "test_accuracy", "batch", 8, 1000) == pytest.approx(0.2)
    assert isnan(difference(rows, "test_accuracy", "batch", 8, 500))


def test_the_best_setting_is_chosen_without_the_seed_it_is_measured_on():
    accuracy = {0: {2: 0.9, 8: 0.5, 99: 0.4}, 1: {2: 0.1, 8: 0.6, 99: 0.3}, 2: {2: 0.3, 8: 0.6, 99: 0.5}}
    rows = [{"seed": s, "batch": b, "test_accuracy": a} for s, of in accuracy.items() for b, a in of.items()]
    measured = gain_of_best(pd.DataFrame(rows), "test_accuracy", "batch", 99)
    # without seed 0 the best is 8; without seed 1 it is 2 (0.6 against 0.55); without seed 2 it is 8 (0.55 against 0.5)
    assert measured.value == pytest.approx(np.mean([0.5 - 0.4, 0.1 - 0.3, 0.6 - 0.5]))
    assert measured.runs == 3
    assert isnan(gain_of_best(pd.DataFrame(rows[:3]), "test_accuracy", "batch", 99).value)


def test_a_rise_counts_only_where_the_seeds_agree_on_it():
    soft = {0: {99: 1.0, 8: 1.01, 4: 0.5, 2: 0.7}, 1: {99: 1.02, 8: 1.0, 4: 0.4, 2: 0.61}}
    rows = [{"seed": s, "batch": b, "soft": v} for s, of in soft.items() for b, v in of.items()]
    # from 99 to 8 one seed rises and one falls; from 4 to 2 both rise by .2, and their interval is .14 to .27
    assert rises(pd.DataFrame(rows), "soft", "batch", (99, 8, 4, 2)).value == 1.0
    assert rises(pd.DataFrame(rows), "soft", "batch", (2, 4, 8, 99)).value == 0.0  # .6 and .5 have a wide interval
    assert isnan(rises(pd.DataFrame(rows[:4]), "soft", "batch", (99, 8)).value)


def swept(axis, settings, phases, soft, accuracy):
    """The last looks of a made-up sweep over two seeds."""
    rows = []
    for seed, (k, setting) in product((0, 1), enumerate(settings)):
        common = {"trial": f"{setting}-{seed}", "seed": seed, axis: setting, "epoch": 20}
        rows.append(common | {"layer": "", "test_accuracy": accuracy[k] + 0.001 * seed})
        rows.append(common | {"layer": "fc1", "mp_softrank": soft[k], "phase": phases[k]})
        rows.append(common | {"layer": "fc1", "epoch": 0, "mp_softrank": 1.0, "phase": "random-like"})
    return pd.DataFrame(rows)


ALL_FIVE = ("random-like", "bleeding-out", "bulk+spikes", "bulk-decay", "heavy-tailed")


@pytest.mark.parametrize(
    ("id", "settings"),
    [("E21", (1000, 64, 8, 4, 2)), ("T9", (0.0125, 0.025, 0.05, 0.1, 0.8))],
)
def test_what_was_published_of_noise_holds_of_a_sweep_made_like_it(id, settings):
    experiment = experiment_of(id)
    accuracy = (0.6, 0.7, 0.8, 0.85, 0.8)
    table = swept(experiment.axis, settings, ALL_FIVE, (1.0, 0.9, 0.6, 0.3, 0.1), accuracy)
    findings = experiment.findings(table)
    assert [str(finding.judgement) for finding in findings] == ["holds"] * len(findings)
    gain = next(f for f in findings if f.statement.measure == "gain in test accuracy")
    assert gain.measured.value == pytest.approx(0.2 if id == "E21" else 0.25)
    backwards = swept(experiment.axis, settings, ALL_FIVE[::-1], (0.1, 0.3, 0.6, 0.9, 1.0), sorted(accuracy)[::-1])
    judged = {f.statement.measure: str(f.judgement) for f in experiment.findings(backwards)}
    assert judged.pop("phases passed") == "holds"
    assert set(judged.values()) == {"does not hold"}


def test_settings_that_were_not_run_are_not_measured():
    experiment = experiment_of("E21")
    table = swept("batch", (64, 8), ("random-like", "bulk+spikes"), (1.0, 0.5), (0.7, 0.8))
    found = {f.statement.measure: f for f in experiment.findings(table)}
    assert str(found["tau of noise and soft rank"].judgement) == "not measured"  # of two settings
    assert list(PHASE_ORDER)[:3] == ["random-like", "bleeding-out", "bulk+spikes"]
