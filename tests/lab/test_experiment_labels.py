from math import nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from heavytail.lab.experiments import Judgement, experiment_of
from heavytail.lab.experiments.labels import early_stopped, predicted_gains
from heavytail.learning import EarlyStoppedPerceptron, Hebb, separable_load

T6, PIXELS, ALEXNET = (experiment_of(name) for name in ("T6", "T6-pixels", "T6-minialexnet"))


def rows_of(trial, validation, test, train=(0.1, 0.5, 1.0), **settings):
    """Make the rows of a network that was looked at at epochs 0, 1 and 2, and of its layer."""
    common = {"trial": trial, "seed": 0, "mp_softrank": 0.5, "pixels": "true", "randomised": 0.0} | settings
    network = [
        {**common, "layer": "", "epoch": k, "train_accuracy": a, "validation_accuracy": v, "test_accuracy": t}
        for k, (a, v, t) in enumerate(zip(train, validation, test, strict=True))
    ]
    return [*network, *({**common, "layer": "fc2", "epoch": k} for k in range(3))]


def noisy_table(seeds=3):
    """Make networks whose gain is that of the fraction of random labels, but for the last."""
    rows = []
    for seed in range(seeds):
        for k, fraction in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.0)):
            last = 0.9 - 0.7 * fraction if fraction < 1 else 0.1
            best = last + fraction / 2 if fraction < 1 else 0.1
            train = (0.1, 0.96 if k < 3 else 0.5, 1.0)
            settings = {"seed": seed, "randomised": fraction, "mp_softrank": 1 - fraction}
            rows += rows_of(f"p{fraction}-s{seed}", (0.1, best, last), (0.1, best, last), train, **settings)
    return pd.DataFrame(rows)


def judged(experiment, table):
    return {finding.statement.measure: finding for finding in experiment.findings(table)}


def test_the_epoch_to_stop_at_is_chosen_by_validation_and_not_by_the_test():
    table = pd.DataFrame(rows_of("a", validation=(0.1, 0.8, 0.7), test=(0.2, 0.5, 0.6)))
    stopped = early_stopped(table).loc["a"]
    assert stopped["stopped_epoch"] == 1
    assert stopped["gain"] == pytest.approx(0.5 - 0.6)


def test_a_network_is_fitted_at_the_first_look_with_95_percent_of_its_labels():
    never = rows_of("never", (0.1, 0.1, 0.1), (0.1, 0.1, 0.1), (0.1, 0.9, 0.94))
    soon = rows_of("soon", (0.1, 0.1, 0.1), (0.1, 0.1, 0.1), (0.1, 0.95, 0.99))
    fitted = early_stopped(pd.DataFrame([*never, *soon]))["fitted_epoch"]
    assert np.isnan(fitted["never"])
    assert fitted["soon"] == 1


def test_without_validation_examples_there_is_no_gain():
    stopped = early_stopped(pd.DataFrame(rows_of("a", (nan, nan, nan), (0.1, 0.2, 0.3))))
    assert np.isnan(stopped.loc["a", "gain"])


def test_noise_is_measured_as_the_table_was_made():
    measured = T6.measure(noisy_table())
    fractions = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    gains = [fraction / 2 for fraction in fractions[:-1]] + [0.0]
    expected = {
        "training accuracy, all labels random": 1.0,
        "test accuracy, all labels random": 0.1,
        "gain at 0.4": 0.2,
        "gain, all labels random": 0.0,
        "tau of noise and gain": 1.0,
        "tau of noise and test accuracy": -1.0,
        "tau of noise and time to fit": stats.kendalltau(fractions, [1, 1, 1, 2, 2, 2])[0],
        "tau of the model's gain and the gain": stats.kendalltau(list(predicted_gains(fractions).values()), gains)[0],
        "tau of noise and soft rank": -1.0,
    }
    assert {name: value.value for name, value in measured.items()} == pytest.approx(expected)
    assert all(value.runs == 3 for value in measured.values())


def test_fractions_that_were_not_run_are_not_measured():
    table = noisy_table()
    found = judged(T6, table[~table["randomised"].isin([0.4, 1.0])])
    for name in ("gain at 0.4", "gain, all labels random", "training accuracy, all labels random"):
        assert found[name].judgement is Judgement.MISSING
    assert found["tau of noise and gain"].judgement is Judgement.HOLDS


def test_the_model_gains_nothing_of_random_labels_and_something_of_any_others():
    gains = predicted_gains([0.0, 0.1, 0.5, 0.9, 1.0])
    assert gains[1.0] == pytest.approx(0, abs=1e-12)
    assert all(gain > 0 for fraction, gain in gains.items() if fraction < 1)


def test_the_model_is_at_the_largest_load_at_which_random_labels_are_fitted():
    assert separable_load(0.5) == pytest.approx(2.0)
    assert predicted_gains([0.4]) == predicted_gains([0.4], load=2.0)


def test_the_models_gain_is_nearly_that_of_a_descent_that_is_stopped():
    noise, load = 0.2, 2.0
    path = EarlyStoppedPerceptron(noise).simulate(100, load, runs=50)
    simulated = path.error[-1] - path.error.min()
    assert simulated < predicted_gains([2 * noise])[2 * noise]  # the descent is not at its end
    assert path.error.min() < Hebb(noise).solve(load).error
    assert simulated == pytest.approx(predicted_gains([2 * noise])[2 * noise], rel=0.4)


def test_pixels_are_measured_by_their_kind():
    kinds = {"true": 0.9, "shuffled": 0.8, "random": 0.4, "gaussian": 0.1}
    rows = [row for kind, end in kinds.items() for row in rows_of(kind, (0, 0, 0), (0.1, 0.1, end), pixels=kind)]
    measured = PIXELS.measure(pd.DataFrame(rows))
    for kind, end in kinds.items():
        assert measured[f"training accuracy, {kind} pixels"].value == 1.0
        assert measured[f"test accuracy, {kind} pixels"].value == end
    without = pd.DataFrame([row for row in rows if row["pixels"] != "gaussian"])
    assert judged(PIXELS, without)["test accuracy, gaussian pixels"].judgement is Judgement.MISSING


def test_minialexnet_is_measured_on_true_and_random_labels():
    true = rows_of("p0", (0, 0, 0), (0.1, 0.7, 0.8), (0.1, 0.6, 0.999))
    random = rows_of("p1", (0, 0, 0), (0.1, 0.1, 0.11), (0.1, 0.2, 0.997), randomised=1.0)
    measured = ALEXNET.measure(pd.DataFrame([*true, *random]))
    assert {name: value.value for name, value in measured.items()} == {
        "training accuracy, true labels": 0.999,
        "training accuracy, random labels": 0.997,
        "test accuracy, true labels": 0.8,
        "test accuracy, random labels": 0.11,
    }
    assert judged(ALEXNET, pd.DataFrame(true))["test accuracy, random labels"].judgement is Judgement.MISSING


@pytest.mark.slow
def test_a_network_fits_random_labels_and_learns_nothing_of_them(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from heavytail.lab.runner import run_experiment

    run = run_experiment("T6", tmp_path / "run", "quick", seeds=1, jobs=1)
    measured = T6.measure(run.table)
    assert measured["training accuracy, all labels random"].value == 1.0
    # 597 test examples and ten classes: four standard deviations of chance
    assert abs(measured["test accuracy, all labels random"].value - 0.1) < 4 * np.sqrt(0.09 / 597)
    assert measured["gain at 0.4"].value > 0
