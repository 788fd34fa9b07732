from math import isnan, log10

import pandas as pd
import pytest

from heavytail.lab.experiments import experiment_of
from heavytail.lab.experiments.experiment import Judgement

T7 = experiment_of("T7")
LAYERS = {"mlp3": "fc2", "lenet5": "fc1"}
FILLED = {"train_accuracy": 1.0, "test_accuracy": 0.9, "sharpness": 1.0, "sharpness_100": 1.0, "hessian_max": 1.0}


def a_table(batches=(50, 256, 1000), networks=("mlp3", "lenet5"), **numbers):
    """Make the table of a run; each number is a function of batch and seed."""
    rows = []
    for network in networks:
        for seed in range(3):
            for batch in batches:
                start = {"trial": f"{network}-{batch}-{seed}", "network": network, "batch": batch, "seed": seed}
                given = {name: number(batch, seed) for name, number in numbers.items()}
                for epoch in (0, 9):
                    values = FILLED | (given if epoch else {})
                    rows.append({**start, "epoch": epoch, "layer": "", **values})
                    spectral = {"mp_softrank": 0.5, "alpha": 3.0} | (given if epoch else {})
                    rows += [
                        {**start, "epoch": epoch, "layer": LAYERS[network], **spectral},
                        {**start, "epoch": epoch, "layer": "other", "mp_softrank": batch, "alpha": batch},
                    ]
    return pd.DataFrame(rows)


def judged(table):
    return {finding.statement.measure: finding.judgement for finding in T7.findings(table)}


@pytest.mark.parametrize("network", LAYERS)
@pytest.mark.parametrize(
    ("column", "measure"),
    [
        ("sharpness", "log10 ratio of sharpness"),
        ("sharpness_100", "log10 ratio of sharpness in a subspace"),
        ("hessian_max", "log10 ratio of Hessian"),
    ],
)
def test_ratios_are_of_the_largest_to_the_smallest_batch_averaged_over_seeds_in_logs(network, column, measure):
    table = a_table(**{column: lambda batch, seed: batch ** (1 + 0.1 * (seed - 1)) / 50})
    measured = T7.measure(table)[f"{measure}, {network}"]
    assert measured.value == pytest.approx(log10(20))
    # Student's t of two degrees of freedom at .975 is 4.302653
    half = 4.302653 * 0.1 * log10(20) / 3**0.5
    assert measured.high - measured.value == pytest.approx(half, rel=1e-6)
    assert measured.runs == 3


def test_gains_and_changes_are_the_small_batch_less_the_large_one_in_the_networks_own_layer():
    numbers = {
        "test_accuracy": lambda batch, seed: 0.9 - batch / 1e5,
        "mp_softrank": lambda batch, seed: batch / 2000,
        "alpha": lambda batch, seed: 2 + batch / 1000,
    }
    measured = T7.measure(a_table(**numbers))
    for network in LAYERS:
        assert measured[f"gain in test accuracy, {network}"].value == pytest.approx(0.0095)
        assert measured[f"change of soft rank, {network}"].value == pytest.approx(-0.475)
        assert measured[f"change of alpha, {network}"].value == pytest.approx(-0.95)


def test_the_order_of_all_batches_counts_in_tau():
    measured = T7.measure(a_table(sharpness=lambda batch, seed: {50: 1, 256: 3, 1000: 2}[batch]))
    assert measured["tau of batch and sharpness, mlp3"].value == pytest.approx(1 / 3)


def test_the_least_fit_of_any_batch_counts():
    measured = T7.measure(a_table(train_accuracy=lambda batch, seed: 0.95 if batch == 256 else 1.0))
    assert measured["least training accuracy, lenet5"].value == pytest.approx(0.95)


def test_the_published_ratios_hold_and_their_inverse_does_not():
    published = {50: 1.23, 256: 10.0, 1000: 205.0}  # Keskar et al. 2017, table 3: F1 (the middle is made up)
    found = judged(a_table(sharpness=lambda batch, seed: published[batch]))
    assert found["log10 ratio of sharpness, mlp3"] is Judgement.HOLDS
    found = judged(a_table(sharpness=lambda batch, seed: 1 / published[batch]))
    assert found["log10 ratio of sharpness, mlp3"] is Judgement.FAILS


def test_what_lacks_is_not_measured():
    table = a_table(networks=("mlp3",)).drop(columns=["hessian_max"])
    found = judged(table)
    assert found["log10 ratio of Hessian, mlp3"] is Judgement.MISSING
    assert all(verdict is Judgement.MISSING for name, verdict in found.items() if name.endswith("lenet5"))
    assert isnan(T7.measure(a_table(sharpness=lambda batch, seed: 0.0))["log10 ratio of sharpness, mlp3"].value)
    assert set(judged(a_table(batches=(50,))).values()) == {Judgement.MISSING}


@pytest.mark.parametrize("size", ["quick", "full"])
def test_the_large_batch_is_a_tenth_of_the_examples_and_the_first_seed_comes_first(size):
    trials = T7.trials(size)
    assert {recipe.network for recipe in trials.values()} == set(LAYERS)
    for network in LAYERS:
        of_it = [recipe for recipe in trials.values() if recipe.network == network]
        assert max(recipe.batch for recipe in of_it) * 10 == of_it[0].train
        assert {recipe.layers for recipe in of_it} == {LAYERS[network]}
    seeds = [recipe.seed for recipe in trials.values()]
    assert seeds == sorted(seeds)


@pytest.mark.slow
def test_a_quick_run_judges_every_statement(tmp_path):
    pytest.importorskip("torch")
    from heavytail.lab.runner import run_experiment

    run = run_experiment("T7", tmp_path / "T7", "quick", seeds=1, jobs=1)
    assert set(run.done) == set(run.trials)
    assert len(run.findings) == len(T7.statements)
    assert all(finding.judgement is not Judgement.MISSING for finding in run.findings)
