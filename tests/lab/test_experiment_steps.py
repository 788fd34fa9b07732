from itertools import pairwise
from math import inf, isnan, log, nan

import numpy as np
import pandas as pd
import pytest

from heavytail.errors import RequestError
from heavytail.lab.experiments import experiment_of
from heavytail.lab.experiments.experiment import Judgement
from heavytail.lab.experiments.steps import Regimes, best_rates, fit_regimes

T8 = experiment_of("T8")
BATCHES = 2 ** np.arange(2, 13)


def a_table(steps, best=lambda batch: 1e-3 * batch, batches=BATCHES, seeds=2, factors=(0.25, 0.5, 1, 2, 4)):
    """Make the table of a run, in which a rate off the best by a factor f needs 1 + |log2 f| / 2 times the steps."""
    rows = []
    for seed in range(seeds):
        for batch in batches:
            for factor in factors:
                needed = steps(batch) * (1 + abs(np.log2(factor)) / 2)
                start = {"trial": f"b{batch}-{factor}-{seed}", "seed": seed, "batch": batch, "layer": ""}
                start["rate"] = best(batch) * factor
                rows += [
                    {**start, "epoch": 0, "steps_to_target": nan},
                    {**start, "epoch": 3, "steps_to_target": needed if factor < 4 else nan},
                    {**start, "epoch": 3, "layer": "fc2", "steps_to_target": nan},
                ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("least", "examples"), [(50.0, 1000.0), (7.0, 40_000.0), (300.0, 60_000.0)])
def test_the_fit_finds_the_law_that_made_the_steps(least, examples):
    fit = fit_regimes(BATCHES, least + examples / BATCHES)
    assert fit.least == pytest.approx(least, rel=1e-6)
    assert fit.examples == pytest.approx(examples, rel=1e-6)
    assert fit.critical == pytest.approx(examples / least, rel=1e-6)


def test_the_fit_has_the_least_squares_in_logs_of_any_law_nearby():
    rng = np.random.default_rng(1)
    steps = (40 + 8000 / BATCHES) * np.exp(0.1 * rng.standard_normal(len(BATCHES)))
    fit = fit_regimes(BATCHES, steps)

    def squares(least, examples):
        return float(
            (np.log(least + examples / BATCHES) - np.log(steps)) @ (np.log(least + examples / BATCHES) - np.log(steps))
        )

    here = squares(fit.least, fit.examples)
    assert all(here < squares(fit.least * f, fit.examples * g) for f, g in [(1.01, 1), (0.99, 1), (1, 1.01), (1, 0.99)])


def test_a_critical_batch_needs_twice_the_steps_and_twice_the_examples():
    law = Regimes(30.0, 6000.0)
    assert law.steps(law.critical) == pytest.approx(2 * law.least)
    assert law.critical * law.steps(law.critical) == pytest.approx(2 * law.examples)


def test_without_a_plateau_the_critical_batch_is_beyond_the_grid_and_without_scaling_below_it():
    assert fit_regimes(BATCHES, 1e5 / BATCHES).critical > 100 * BATCHES[-1]
    assert fit_regimes(BATCHES, np.full(len(BATCHES), 50.0)).critical < BATCHES[0] / 100


@pytest.mark.parametrize(
    ("batches", "steps"), [([1, 2], [3, 2]), ([1, 2, 2], [3, 2, 2]), ([1, 2, 4], [3, nan, 1]), ([1, 2, 4], [3, 1])]
)
def test_too_little_for_a_law_is_refused(batches, steps):
    with pytest.raises(RequestError, match="three batches"):
        fit_regimes(batches, steps)


def test_the_best_rate_takes_the_fewest_steps_and_counts_as_tuned_between_worse_ones():
    best = best_rates(a_table(lambda batch: 10 + 1000 / batch))
    assert len(best) == 2 * len(BATCHES)
    assert best["tuned"].all()
    assert best["rate"].tolist() == pytest.approx((1e-3 * best["batch"]).tolist())
    assert best["steps_to_target"].tolist() == pytest.approx((10 + 1000 / best["batch"]).tolist())


@pytest.mark.parametrize("factors", [(1, 2, 4), (0.25, 0.5, 1), (1,), (4, 8)])
def test_a_best_rate_at_the_end_of_its_grid_is_not_tuned_and_not_fitted(factors):
    table = a_table(lambda batch: 10 + 1000 / batch, factors=factors)
    assert not best_rates(table)["tuned"].any()
    measured = T8.measure(table)
    assert measured["batches that are not tuned"].value == len(BATCHES)
    assert all(isnan(number.value) for name, number in measured.items() if name != "batches that are not tuned")


def test_the_three_regimes_are_measured_where_they_are():
    measured = T8.measure(a_table(lambda batch: 20 + 20_000 / batch))
    assert measured["batches that are not tuned"].value == 0
    assert measured["critical batch"].value == pytest.approx(1000, rel=1e-6)
    assert measured["critical batch"].runs == 2
    law = Regimes(20, 20_000)
    ends = [log(law.steps(4096) / law.steps(2048)) / log(2)]
    assert measured["slope at the largest batches"].value == pytest.approx(ends[0])
    x, y = np.log([4, 8, 16]), np.log([law.steps(b) for b in (4, 8, 16)])
    slope = ((x - x.mean()) @ (y - y.mean())) / ((x - x.mean()) @ (x - x.mean()))
    assert measured["slope at small batches"].value == pytest.approx(slope)


def test_the_exponent_of_the_rate_is_that_of_all_batches_and_that_of_those_below_the_critical_one():
    table = a_table(lambda batch: 20 + 2_560 / batch, best=lambda batch: 1e-3 * min(batch, 128))
    measured = T8.measure(table)
    small = measured["exponent of the best rate, small batches"]
    assert small.value == pytest.approx(1, abs=1e-9)
    assert small.high - small.low < 1e-6
    whole = measured["exponent of the best rate"]
    x, y = np.log(BATCHES), np.log(np.minimum(BATCHES, 128))
    assert whole.value == pytest.approx(np.cov(x, y)[0, 1] / np.var(x, ddof=1))
    assert whole.low < whole.value < whole.high < 1


def test_the_three_regimes_hold_and_scaling_without_an_end_does_not():
    def verdicts(steps):
        rate = {"best": lambda batch: 1e-3 * min(batch, 128)}
        return {f.statement.measure: f.judgement for f in T8.findings(a_table(steps, **rate))}

    assert set(verdicts(lambda batch: 20 + 2_560 / batch).values()) == {Judgement.HOLDS}
    endless = verdicts(lambda batch: 1e5 / batch)
    assert endless["slope at the largest batches"] is Judgement.FAILS
    assert endless["critical batch"] is Judgement.FAILS


def test_targets_that_are_never_reached_are_not_measured():
    table = a_table(lambda batch: nan)
    found = {f.statement.measure: f.judgement for f in T8.findings(table)}
    assert found.pop("batches that are not tuned") is Judgement.FAILS
    assert set(found.values()) == {Judgement.MISSING}


@pytest.mark.parametrize("size", ["quick", "full"])
def test_every_batch_has_its_own_grid_of_rates_and_a_target(size):
    recipes = list(T8.trials(size).values())
    assert [recipe.seed for recipe in recipes] == sorted(recipe.seed for recipe in recipes)
    for batch in {recipe.batch for recipe in recipes}:
        rates = sorted(recipe.rate for recipe in recipes if recipe.batch == batch and recipe.seed == 0)
        assert len(rates) >= 4
        assert len({round(log(b / a) / log(2)) for a, b in pairwise(rates)}) == 1
        assert recipes[0].train % batch == 0  # all steps of an epoch are of one size
    assert all(0 < recipe.target < inf for recipe in recipes)


@pytest.mark.slow
def test_a_quick_run_finds_steps_for_every_batch(tmp_path):
    pytest.importorskip("torch")
    from heavytail.lab.runner import run_experiment

    run = run_experiment("T8", tmp_path / "T8", "quick", jobs=1)
    best = best_rates(run.table)
    assert set(best["batch"]) == {recipe.batch for recipe in run.trials.values()}
    assert best["steps_to_target"].notna().all()
    assert best.sort_values("batch")["steps_to_target"].is_monotonic_decreasing
    assert len(run.findings) == len(T8.statements)
