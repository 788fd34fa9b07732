from math import isnan, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from heavytail.lab.experiments import Judgement, experiment_of
from heavytail.lab.experiments.history import CAPACITIES, quarter_circle_distance

E1, E16, E6, T15 = (experiment_of(name) for name in ("E1", "E16", "E6", "T15"))
EPOCHS = (0, 1, 2, 4)
# squares of the quantiles of the quarter circle, of 400 singular values
CIRCLE = (stats.semicircular.ppf(0.5 + (np.arange(400) + 0.5) / 800) ** 2).tolist()


def spectrum_of(layer, **columns):
    """Make the rows of a layer along time, of columns with a value for each look."""
    default = {"phase": ["bulk+spikes"] * 4, "num_spikes": [0, 1, 5, 9], "M": [100] * 4, "evals": [CIRCLE] * 4}
    columns = {"mp_softrank": [1.0, 0.9, 0.5, 0.2], "lambda_max": [3.0, 3.5, 4.0, 5.0]} | default | columns
    return [{"layer": layer, "epoch": epoch} | {k: v[i] for k, v in columns.items()} for i, epoch in enumerate(EPOCHS)]


def history(layers, seeds=(0,), test=(0.1, 0.5, 0.75, 0.7), train=(0.1, 0.5, 0.8, 0.95)):
    """Make the table of networks that are followed along time."""
    network = [
        {"layer": "", "epoch": epoch, "train_accuracy": train[k], "test_accuracy": test[k]}
        for k, epoch in enumerate(EPOCHS)
    ]
    falling = {"entropy": [0.92, 0.91, 0.90, 0.89], "stable_rank": [120.0, 110.0, 80.0, 60.0]}
    rows = network + [row for layer in layers for row in spectrum_of(layer, **falling)]
    return pd.DataFrame([row | {"trial": f"s{seed}", "seed": seed} for seed in seeds for row in rows])


def values(measured):
    return {name: value.value for name, value in measured.items()}


def judged(experiment, table):
    return {finding.statement.measure: finding for finding in experiment.findings(table)}


def test_the_distance_from_the_quarter_circle_is_that_of_kolmogorov_and_smirnov():
    singular = np.random.default_rng(0).gamma(3.0, size=50)
    radius = 2 * sqrt(np.mean(singular**2))
    # Wigner's semicircle, folded; its law as scipy has it
    law = stats.semicircular(scale=radius)
    expected = stats.kstest(singular, lambda x: 2 * law.cdf(x) - 1).statistic
    assert quarter_circle_distance(singular**2) == pytest.approx(expected, abs=1e-12)


def test_the_distance_does_not_depend_on_scale_nor_on_order():
    evals = np.random.default_rng(1).gamma(2.0, size=30)
    assert quarter_circle_distance(7 * evals[::-1]) == pytest.approx(quarter_circle_distance(evals))


def test_zeros_have_no_quarter_circle():
    assert isnan(quarter_circle_distance([0.0, 0.0]))
    assert isnan(quarter_circle_distance([]))


def test_the_table_along_training_is_measured_as_it_was_made():
    measured = values(E1.measure(history(["fc2", "fc3"], seeds=(0, 1, 2))))
    expected = {
        "training accuracy": 0.95,
        "test accuracy": 0.7,
        "late change of training accuracy": 0.15,
        "late change of test accuracy": -0.05,
        "initial largest singular value, FC2": sqrt(3),
    }
    for layer in ("FC2", "FC3"):
        expected |= {
            f"initial soft rank, {layer}": 1.0,
            f"initial entropy, {layer}": 0.92,
            f"initial stable rank, {layer}": 120.0,
            f"tau of time and entropy, {layer}": -1.0,
            f"tau of time and stable rank, {layer}": -1.0,
            f"change of entropy, {layer}": -0.03,
            f"ratio of stable ranks, {layer}": 0.5,
            f"final soft rank, {layer}": 0.2,
            f"final spikes, {layer}": 9.0,
            f"final largest eigenvalue, {layer}": 5.0,
        }
    assert measured.pop("distance from the quarter circle, FC2") < 0.005
    assert measured == pytest.approx(expected)


def test_seeds_give_an_interval():
    found = judged(E16, history(["fc1", "fc2"], seeds=(0, 1, 2)))["final spikes, FC1"]
    assert (found.measured.runs, found.judgement) == (3, Judgement.HOLDS)


def test_a_layer_that_was_not_followed_is_not_measured():
    found = judged(E16, history(["fc1"]))
    for name, finding in found.items():
        assert (finding.judgement is Judgement.MISSING) == name.endswith("FC2")


def test_lenet5_is_measured_by_the_share_of_its_spikes_and_its_phase():
    table = history(["fc1"])
    measured = values(E6.measure(table))
    assert measured["share of spikes, FC1"] == pytest.approx(0.09)
    assert measured["bulk+spikes or bleeding-out, FC1"] == 1.0
    table.loc[table["epoch"] == 4, "phase"] = "heavy-tailed"
    assert judged(E6, table)["bulk+spikes or bleeding-out, FC1"].judgement is Judgement.FAILS


def capacities(fractions=(0.0, 0.5, 1.0), batches=(8, 128)):
    """Make networks of which each measure of capacity is the test error, to a sign that the measure has."""
    signs = {"frobenius_margin_mean": -1, "spectral_margin_mean": -1, "log_path_norm": 0}
    kinds = [(32, fraction, 0.2 + fraction / 2) for fraction in fractions]
    kinds += [(batch, 0.0, 0.2 + batch / 1000) for batch in batches]
    rows = []
    for batch, fraction, final in kinds:
        for epoch, error in zip(EPOCHS, (0.9, final + 0.1, final + 0.05, final), strict=True):
            trial = f"b{batch}-p{fraction}"
            row = {"trial": trial, "seed": 0, "batch": batch, "randomised": fraction, "epoch": epoch}
            told = {name: signs.get(name, 1) * error for name in CAPACITIES if not name.startswith("alpha")}
            rows.append(row | {"layer": "", "test_accuracy": 1 - error} | told)
            for layer, shift in (("fc1", -1), ("fc2", 1)):  # neither of them follows the error, their mean does
                alpha = error + shift * (1 + epoch)
                rows.append(row | {"layer": layer, "alpha": alpha, "alpha_weighted": -alpha})
    return pd.DataFrame(rows)


def test_measures_that_are_the_test_error_follow_it_and_constants_do_not():
    measured = values(T15.measure(capacities()))
    for where in ("across noise", "across batches", "along training"):
        for name in ("normalised_loss", "log_frobenius_product", "log_spectral_product", "alpha"):
            assert measured[f"tau of {CAPACITIES[name]} {where}"] == pytest.approx(1)
        for name in ("frobenius_margin_mean", "spectral_margin_mean", "alpha_weighted"):
            assert measured[f"tau of {CAPACITIES[name]} {where}"] == pytest.approx(-1)
        assert isnan(measured[f"tau of {CAPACITIES['log_path_norm']} {where}"])


def test_the_initial_network_has_no_part_in_what_is_followed_along_training():
    table = capacities()
    table.loc[(table["epoch"] == 0) & (table["layer"] == ""), "normalised_loss"] = -100.0
    assert values(T15.measure(table))["tau of the normalised loss along training"] == pytest.approx(1)


def test_without_noisy_networks_only_batches_are_compared():
    found = judged(T15, capacities(fractions=(0.0,)))
    for name, finding in found.items():
        assert (finding.judgement is Judgement.MISSING) == (not name.endswith("across batches"))


def test_a_measure_that_lacks_is_not_measured():
    table = capacities().assign(log_spectral_product=nan)
    assert judged(T15, table)["tau of the spectral product across noise"].judgement is Judgement.MISSING


@pytest.mark.slow
def test_mlp3_begins_as_noise_and_leaves_it(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from heavytail.lab.runner import run_experiment

    run = run_experiment("E1", tmp_path / "run", "quick", seeds=1, jobs=1)
    measured = values(E1.measure(run.table))
    for layer in ("FC2", "FC3"):
        # the largest eigenvalue of noise fluctuates by 1.27 M^(-2/3) 2^(4/3) / 4 of itself, here 1.3 %
        assert abs(measured[f"initial soft rank, {layer}"] - 1) < 0.05
        assert measured[f"change of entropy, {layer}"] < 0
    assert measured["distance from the quarter circle, FC2"] < 0.02
    assert abs(measured["initial largest singular value, FC2"] - 2 * 0.8796) < 0.05
    assert measured["training accuracy"] > 0.9
