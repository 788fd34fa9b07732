from math import exp, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from heavytail.analysis import analyze
from heavytail.lab.experiments import Judgement, experiment_of
from heavytail.lab.experiments.regularisers import bulk_scale, decayed

E18, E19, E20 = (experiment_of(name) for name in ("E18", "E19", "E20"))
_COMMON = {
    "epoch": 10,
    "step": 1000,
    "rate": 0.05,
    "momentum": 0.9,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "phase": "random-like",
}
_LAYER = {"entropy": 0.99, "stable_rank": 150.0, "mp_softrank": 0.8, "sigma_mp": 1.0, "norm": 400.0, "M": 100.0}


def rows_of(trial, network, fc1, fc2, **settings):
    """Make the first and last rows of a network: the first has nothing that any measure should see."""
    common = _COMMON | {"trial": trial, "seed": 0, "matrix_rank": 100.0, "rank_loss": 0.0} | settings
    last = [
        common | {"layer": ""} | network,
        common | {"layer": "fc1"} | _LAYER | fc1,
        common | {"layer": "fc2"} | _LAYER | fc2,
    ]
    return [*({"trial": trial, **settings, "layer": row["layer"], "epoch": 0} for row in last), *last]


def accuracies(train, test):
    return {"train_accuracy": train, "test_accuracy": test}


def three_decays():
    """Make a baseline and two decays; the factor of decay alone is 1/2 for the weaker."""
    weak = np.log(2) / (0.05 * 1000 / 0.1)
    base = rows_of("a", accuracies(1.0, 0.7), {}, {})
    fc1 = {"entropy": 0.95, "stable_rank": 50.0, "mp_softrank": 0.3, "norm": 100.0}
    fc2 = {"entropy": 0.90, "stable_rank": 30.0, "mp_softrank": 0.2, "sigma_mp": 0.5}
    one = rows_of("b", accuracies(1.0, 0.72), fc1, fc2, weight_decay=weak)
    two = rows_of("c", accuracies(0.9, 0.5), fc1 | {"entropy": 0.5}, fc2 | {"entropy": 0.95}, weight_decay=3 * weak)
    return base, one, two


def judged(experiment, table):
    return {finding.statement.measure: finding for finding in experiment.findings(table)}


def values(measured):
    return {name: value.value for name, value in measured.items()}


def test_the_scale_of_the_bulk_is_that_of_the_entries():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame([analyze({"w": rng.normal(0, 0.3 / sqrt(800), (800, 200))}).rows[0].as_dict()])
    assert bulk_scale(rows).iloc[0] == pytest.approx(0.3, rel=0.02)


def test_the_scale_of_the_bulk_leaves_spikes_out():
    rng = np.random.default_rng(0)
    W = rng.normal(0, 1 / sqrt(800), (800, 200))
    left, right = (np.linalg.qr(rng.normal(size=(size, 5)))[0] for size in W.shape)
    W += 5 * left @ right.T
    assert bulk_scale(pd.DataFrame([analyze({"w": W}).rows[0].as_dict()])).iloc[0] == pytest.approx(1, rel=0.05)


def test_decay_alone_shrinks_weights_as_torch_does():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimiser = torch.optim.SGD([weight], 0.05, 0.9, weight_decay=2e-4)
    for _ in range(5_000):
        weight.grad = torch.zeros(1, dtype=torch.float64)
        optimiser.step()
    row = pd.DataFrame([{"weight_decay": 2e-4, "rate": 0.05, "momentum": 0.9, "step": 5_000}])
    assert decayed(row).iloc[0] == pytest.approx(exp(-0.5))
    assert weight.item() == pytest.approx(exp(-0.5), rel=0.002)  # to first order in the rate times the decay


@pytest.mark.parametrize(("baseline", "bulk"), [(1.2576, 0.3814), (1.0010, 0.2903)])
def test_the_published_bulks_are_those_of_the_decay_that_is_trained_with(baseline, bulk):
    rates = 0.01 * sum(0.95**epoch for epoch in range(100)) * 50_000 / 16
    published = exp(-2 * 1e-4 * rates / (1 - 0.9))
    assert bulk / baseline == pytest.approx(published, rel=0.06)
    recipe = next(recipe for recipe in E18.trials("full").values() if recipe.weight_decay > 0)
    steps = recipe.epochs * recipe.train / recipe.batch
    row = recipe.as_dict() | {"step": steps}
    assert decayed(pd.DataFrame([row])).iloc[0] == pytest.approx(published, rel=0.02)


def test_weight_decay_is_measured_by_its_weakest_strength():
    measured = values(E18.measure(pd.DataFrame([row for rows in three_decays() for row in rows])))
    expected = {
        "gain in test accuracy": 0.02,
        "change of entropy, FC1": -0.04,
        "change of entropy, FC2": -0.09,
        "ratio of stable ranks, FC1": 1 / 3,
        "ratio of stable ranks, FC2": 0.2,
        "ratio of bulks, FC1": 0.5,
        "ratio of bulks, FC2": 0.5,
        "ratio of bulks over decay alone, FC1": 1.0,
        "ratio of bulks over decay alone, FC2": 1.0,
        "change of soft rank, FC1": -0.5,
        "change of soft rank, FC2": -0.6,
        "tau of decay and entropy, FC1": -1.0,
        "tau of decay and entropy, FC2": stats.kendalltau([0, 1, 3], [0.99, 0.90, 0.95])[0],
    }
    assert measured == pytest.approx(expected)


def test_without_a_baseline_nothing_is_said_of_weight_decay():
    _, one, two = three_decays()
    assert {finding.judgement for finding in E18.findings(pd.DataFrame([*one, *two]))} == {Judgement.MISSING}


def test_dropout_is_measured_against_the_baseline_and_against_weight_decay():
    base = rows_of("a", accuracies(1.0, 0.7), {}, {})
    l2 = rows_of("b", accuracies(1.0, 0.72), {"entropy": 0.9, "stable_rank": 50.0}, {}, weight_decay=1e-3)
    dropped = {"entropy": 0.95, "stable_rank": 75.0, "sigma_mp": 0.99}
    drop = rows_of("c", accuracies(0.9, 0.75), dropped, {"sigma_mp": 0.9}, dropout=0.5)
    measured = values(E19.measure(pd.DataFrame([*base, *l2, *drop])))
    expected = {
        "change of training accuracy": -0.1,
        "change of the gap to the test": 0.15 - 0.3,
        "gain in test accuracy": 0.05,
        "entropy below the baseline's, FC1": 0.04,
        "entropy above that of L2, FC1": 0.05,
        "ratio of stable ranks to the baseline's, FC1": 0.5,
        "ratio of stable ranks to that of L2, FC1": 1.5,
        "sigma over that of shuffled weights, FC1": 0.99,
        "sigma over that of shuffled weights, FC2": 0.9,
    }
    assert {name: measured[name] for name in expected} == pytest.approx(expected)
    found = judged(E19, pd.DataFrame([*base, *l2]))
    assert {finding.judgement for finding in found.values()} == {Judgement.MISSING}


def test_sigma_over_that_of_shuffled_weights_is_the_column_sigma_mp():
    rng = np.random.default_rng(1)
    W = rng.normal(size=(800, 200)) + 3 * np.outer(rng.normal(size=800), rng.normal(size=200)) / 10
    shuffled = rng.permutation(W.ravel()).reshape(W.shape)
    rows = pd.DataFrame([analyze({"w": matrix}).rows[0].as_dict() for matrix in (W, shuffled)])
    own, other = bulk_scale(rows)
    assert rows["sigma_mp"].iloc[0] == pytest.approx(own / other, rel=0.01)
    assert rows["sigma_mp"].iloc[0] < 0.99


def collapsing(lost, phases, **extra):
    rows = []
    for k, (loss, phase) in enumerate(zip(lost, phases, strict=True)):
        fc1 = {"rank_loss": loss, "matrix_rank": 100 - loss, "stable_rank": 50.0 - k, "entropy": 0.9 - k / 10}
        rows += rows_of(f"w{k}", accuracies(1, 1), fc1, {}, weight_decay=float(k), phase=phase, **extra)
    return rows


def test_collapse_is_measured_of_fc1():
    lost = [0.0, 0.0, 40.0]
    measured = values(E20.measure(pd.DataFrame(collapsing(lost, ["random-like", "heavy-tailed", "rank-collapse"]))))
    assert measured == pytest.approx(
        {
            "rank lost without decay": 0.0,
            "rank lost, strongest decay": 0.4,
            "rank-collapse, strongest decay": 1.0,
            "tau of decay and rank": stats.kendalltau([0, 1, 2], [-loss for loss in lost])[0],
            "tau of decay and stable rank": -1.0,
            "tau of decay and entropy": -1.0,
        }
    )


def test_a_network_that_guesses_tells_nothing_of_its_rank():
    rows = collapsing([0.0, 5.0, 40.0, 0.0], ["random-like", "heavy-tailed", "rank-collapse", "random-like"])
    dead = pd.DataFrame(rows)
    dead.loc[(dead["trial"] == "w3") & (dead["layer"] == "") & (dead["epoch"] == 10), "train_accuracy"] = 0.1
    measured = values(E20.measure(dead))
    assert measured["rank lost, strongest decay"] == pytest.approx(0.4)
    assert measured["tau of decay and rank"] == -1.0


def test_without_a_baseline_no_loss_is_stated_of_it():
    rows = [row for row in collapsing([0.0, 5.0, 40.0], ["", "", ""]) if row["weight_decay"] > 0]
    found = judged(E20, pd.DataFrame(rows))
    assert found["rank lost without decay"].judgement is Judgement.MISSING
    assert found["tau of decay and rank"].judgement is Judgement.MISSING
    assert found["rank-collapse, strongest decay"].judgement is Judgement.FAILS


def test_a_column_that_lacks_is_not_measured():
    base, one, two = three_decays()
    table = pd.DataFrame([*base, *one, *two]).assign(mp_softrank=nan)
    assert judged(E18, table)["change of soft rank, FC1"].judgement is Judgement.MISSING


@pytest.mark.slow
def test_decay_concentrates_the_spectrum_and_without_it_no_rank_is_lost(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from heavytail.lab.runner import run_experiment

    run = run_experiment("E20", tmp_path / "run", "quick", seeds=1, jobs=1)
    measured = E20.measure(run.table)
    assert measured["rank lost without decay"].value == 0
    assert measured["tau of decay and entropy"].value == -1
    assert measured["tau of decay and stable rank"].value == -1
