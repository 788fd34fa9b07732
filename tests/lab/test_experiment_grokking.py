from math import isnan, nan

import pandas as pd
import pytest

from heavytail.lab.experiments import experiment_of
from heavytail.lab.experiments.experiment import Judgement

GROKKING = experiment_of("grokking")
EPOCHS = (0, 10, 20, 40, 80, 160)
FITS = (0.01, 0.5, 1.0, 1.0, 1.0, 1.0)
LEARNS = (0.01, 0.1, 0.3, 0.4, 0.95, 1.0)
SPECTRAL = {"stable_rank": 40.0, "entropy": 0.95, "mp_softrank": 0.9, "alpha": 6.0, "phase": "random-like"}
AFTER = {"stable_rank": 10.0, "entropy": 0.8, "mp_softrank": 0.2, "alpha": 2.2, "phase": "bulk-decay"}


def a_table(fits=FITS, learns=LEARNS, seeds=2, after=AFTER):
    """Make the table of a run; the spectra change at the last look, and at the first they are of a third kind."""
    rows = []
    for seed in range(seeds):
        for k, epoch in enumerate(EPOCHS):
            start = {"trial": f"s{seed}", "seed": seed, "epoch": epoch}
            rows.append({**start, "layer": "", "train_accuracy": fits[k], "test_accuracy": learns[k]})
            values = (
                after if k == 5 else SPECTRAL if k == 2 else dict.fromkeys(SPECTRAL, 1.0) | {"phase": "heavy-tailed"}
            )
            for layer, more in (("blocks.0.up", 0.0), ("blocks.0.q", 2.0)):
                rows.append({**start, "layer": layer, **values, "stable_rank": values["stable_rank"] + more})
    return pd.DataFrame(rows)


def judged(table):
    return {finding.statement.measure: finding.judgement for finding in GROKKING.findings(table)}


def test_the_delay_is_the_epoch_of_learning_over_that_of_fitting():
    measured = GROKKING.measure(a_table())
    assert measured["epochs to fit"].value == 20
    assert measured["epochs to learn"].value == 80
    assert measured["delay"].value == 4
    assert measured["test accuracy when fitted"].value == pytest.approx(0.3)
    assert measured["best test accuracy"].value == 1


def test_the_spectra_are_compared_between_fitting_and_the_last_look_that_knows_the_rule():
    measured = GROKKING.measure(a_table())
    assert measured["ratio of stable ranks"].value == pytest.approx(11 / 41)
    assert measured["change of entropy"].value == pytest.approx(-0.15)
    assert measured["change of soft rank"].value == pytest.approx(-0.7)
    assert measured["change of |alpha - 2|"].value == pytest.approx(-3.8)
    assert measured["alpha, after"].value == pytest.approx(2.2)
    assert measured["change of phase"].value == 3


def test_alpha_below_two_is_as_far_off_as_alpha_above():
    measured = GROKKING.measure(a_table(after=AFTER | {"alpha": 1.5}))
    assert measured["change of |alpha - 2|"].value == pytest.approx(-3.5)


def test_a_relapse_at_the_last_look_is_not_taken_for_the_rule():
    measured = GROKKING.measure(a_table(learns=(*LEARNS[:5], 0.1)))
    assert measured["alpha, after"].value == pytest.approx(1.0)


def test_what_never_generalises_has_no_delay_and_no_after():
    found = judged(a_table(learns=(0.0,) * 6))
    assert found["delay"] is Judgement.MISSING
    assert found["best test accuracy"] is Judgement.FAILS
    assert found["test accuracy when fitted"] is Judgement.HOLDS
    assert found["alpha, after"] is Judgement.MISSING


def test_what_generalises_as_soon_as_it_fits_has_no_delay_to_speak_of_and_no_before():
    found = judged(a_table(learns=FITS))
    assert found["delay"] is Judgement.FAILS
    assert found["ratio of stable ranks"] is Judgement.MISSING


def test_seeds_that_do_not_learn_are_left_out_of_the_delay():
    table = a_table()
    table.loc[table["seed"] == 1, "test_accuracy"] = nan
    measured = GROKKING.measure(table)
    assert measured["delay"].runs == 1
    assert isnan(measured["delay"].low)


def test_delayed_generalisation_with_spectra_of_lower_rank_holds():
    fits = (0.01, 1.0, 1.0, 1.0, 1.0, 1.0)
    table = a_table(fits=fits)
    assert judged(table)["delay"] is Judgement.HOLDS


@pytest.mark.parametrize("size", ["quick", "full"])
def test_all_sums_are_either_trained_on_or_tested(size):
    for recipe in GROKKING.trials(size).values():
        modulus = int(recipe.data.rsplit("-", 1)[1])
        assert recipe.train + recipe.test == modulus**2
        assert recipe.train >= modulus**2 // 2
        assert (recipe.optimiser, recipe.weight_decay) == ("adamw", 1.0)


@pytest.mark.slow
def test_a_quick_run_generalises_long_after_it_fits(tmp_path):
    pytest.importorskip("torch")
    from heavytail.lab.runner import run_experiment

    run = run_experiment("grokking", tmp_path / "grokking", "quick", jobs=1)
    found = {finding.statement.measure: finding.judgement for finding in run.findings}
    assert found["delay"] is Judgement.HOLDS
    assert found["test accuracy when fitted"] is Judgement.HOLDS
