import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from heavytail import lab
from heavytail.errors import RequestError, SourceError
from heavytail.lab import Recipe, Run, build, run_experiment
from heavytail.lab.experiments import experiment_of
from heavytail.lab.looking import look_errors
from heavytail.lab.losses import loss_of
from heavytail.lab.training import examples_of, parts_of
from heavytail.trends import read_table, trends

pytest.importorskip("sklearn", reason="needs scikit-learn's digits")

SMALL = Recipe(network="mlp3", data="digits", batch=100, rate=0.1, epochs=2, train=300, test=200, looks=3)
TRIALS = {f"b{batch}-s{seed}": replace(SMALL, batch=batch, seed=seed) for seed in (0, 1) for batch in (50, 100, 300)}


@pytest.fixture
def small(monkeypatch):
    """E21 with six trainings of a moment each."""
    experiment = replace(experiment_of("E21"), trials=lambda size: TRIALS)
    for module in ("run", "runner"):
        monkeypatch.setattr(f"heavytail.lab.{module}.experiment_of", lambda name: experiment)
    return experiment


def test_a_run_leaves_a_table_and_the_weights_of_every_training(small, tmp_path):
    run = run_experiment("E21", tmp_path / "run", "quick", jobs=1)
    assert run.done == tuple(TRIALS)
    table = pd.read_parquet(tmp_path / "run" / "results.parquet")
    pd.testing.assert_frame_equal(table, run.table)
    assert table.groupby("trial").size().to_dict() == dict.fromkeys(TRIALS, 3 * 4)  # 3 looks at a network of 3 layers
    assert set(table["trial"][table["batch"] == 50]) == {"b50-s0", "b50-s1"}
    assert not list((tmp_path / "run").rglob("*.part")) + list((tmp_path / "run").rglob("*.state"))
    last = table[(table["trial"] == "b50-s1") & (table["layer"] == "") & (table["epoch"] == 2)].iloc[0]
    network = build("mlp3", (1, 8, 8), 10)
    network.load_state_dict(load_file(run.model_of("b50-s1")))
    _, accuracy = look_errors(network, parts_of(examples_of(TRIALS["b50-s1"]))["test"], loss_of("mse"))
    assert accuracy == last["test_accuracy"]


def test_a_run_goes_on_with_what_is_not_finished_and_leaves_the_rest(small, tmp_path):
    folder = tmp_path / "run"
    first = run_experiment("E21", folder, "quick", jobs=1, seeds=1)
    assert first.done == ("b50-s0", "b100-s0", "b300-s0")
    times = {name: first.rows_of(name).stat().st_mtime_ns for name in first.done}
    heard = []
    run = run_experiment("E21", folder, "quick", jobs=1, progress=lambda *news: heard.append(news))
    assert run.done == tuple(TRIALS)
    assert times == {name: run.rows_of(name).stat().st_mtime_ns for name in first.done}
    assert {name for name, _, _ in heard} == set(TRIALS) - set(first.done)
    assert heard[-1][1:] == (12.0, 12.0)
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)


def test_side_by_side_and_one_after_the_other_give_the_same_numbers(tmp_path, monkeypatch):
    few = {"quick": {name: TRIALS[name] for name in ("b50-s0", "b300-s1")}}
    experiment = replace(experiment_of("E21"), trials=few.__getitem__)  # which goes to other processes
    monkeypatch.setattr("heavytail.lab.runner.experiment_of", lambda name: experiment)
    alone = run_experiment("E21", tmp_path / "alone", "quick", jobs=1)
    together = run_experiment("E21", tmp_path / "together", "quick", jobs=2)
    assert alone.done == together.done == tuple(few["quick"])
    pd.testing.assert_frame_equal(alone.table.drop(columns="seconds"), together.table.drop(columns="seconds"))


def test_a_folder_of_something_else_is_refused(small, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(RequestError, match="full: is neither empty nor a run"):
        run_experiment("E21", tmp_path / "full", "quick")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"


def test_a_run_of_other_recipes_or_another_size_is_refused(small, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    run_experiment("E21", folder, "quick", jobs=1, seeds=1)
    with pytest.raises(RequestError, match="is a quick run of E21"):
        run_experiment("E21", folder, "full", jobs=1)
    other = replace(small, trials=lambda size: {name: replace(r, rate=0.3) for name, r in TRIALS.items()})
    monkeypatch.setattr("heavytail.lab.runner.experiment_of", lambda name: other)
    with pytest.raises(RequestError, match="with other recipes; use another folder"):
        run_experiment("E21", folder, "quick", jobs=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "is no run of the laboratory"),
        ("{", "run.json: "),
        ("[]", "is no description of a run"),
        ('{"schema_version": 1}', "lacks experiment, size, trials"),
        ('{"schema_version": 7, "experiment": "E21", "size": "full", "trials": {}}', "of version 1"),
    ],
)
def test_a_damaged_description_is_one_clear_line(tmp_path, text, says):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(SourceError, match=says) as refused:
        Run.open(tmp_path)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_run_without_a_finished_training_says_so(tmp_path):
    run = Run.create(tmp_path / "run", experiment_of("E21"), "quick", TRIALS)
    with pytest.raises(SourceError, match="none of 6 trainings is finished"):
        run.table  # noqa: B018


def test_a_run_describes_itself(small, tmp_path):
    run_experiment("E21", tmp_path / "run", "quick", jobs=1, seeds=1)
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert described["experiment"] == "E21"
    assert described["trials"]["b50-s0"]["rate"] == 0.1
    again = Run.open(tmp_path / "run")
    assert repr(again.trials["b50-s0"]) == repr(TRIALS["b50-s0"])


def test_missing_data_end_a_run_before_it_begins(small, tmp_path, monkeypatch):
    lost = {"b1": replace(SMALL, data="mnist")}
    monkeypatch.setattr("heavytail.lab.runner.experiment_of", lambda name: replace(small, trials=lambda size: lost))
    with pytest.raises((RequestError, SourceError), match="mnist"):
        run_experiment("E21", tmp_path / "run", "quick", jobs=2)
    assert not (tmp_path / "run").exists()


def test_the_laboratory_is_named_without_torch():
    code = "import sys, heavytail.lab.experiments, heavytail.reproduce; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_table_holds_the_eigenvalues_of_each_look(small, tmp_path):
    table = run_experiment("E21", tmp_path / "run", "quick", jobs=1, seeds=1).table
    row = table[(table["layer"] == "fc2") & (table["epoch"] == 2)].iloc[0]
    assert len(row["evals"]) == row["num_evals"] == 512
    assert np.max(row["evals"]) == pytest.approx(row["lambda_max"], rel=1e-6)


def test_the_models_of_a_run_are_a_series_for_trends(small, tmp_path):
    run = run_experiment("E21", tmp_path / "run", "quick", jobs=1)
    table = read_table([str(run.model_of(name)) for name in TRIALS], quality=str(run.folder / "quality.csv"))
    report = trends(table)
    (alpha_hat,) = report.frame.query("metric == 'alpha_weighted' and group == 'E21'").to_dict("records")
    assert alpha_hat["n"] == len(TRIALS)
    ends = run.table[(run.table["layer"] == "") & (run.table["epoch"] == 2)].set_index("trial")["test_accuracy"]
    quality = pd.read_csv(run.folder / "quality.csv", index_col="model")["test_error"]
    np.testing.assert_allclose(quality, 100 * (1 - ends[quality.index]))


def test_public_names_are_what_they_were_whatever_was_imported_before():
    """A module of a name would hide a function of the same name once it was imported."""
    for module in pkgutil.walk_packages(lab.__path__, "heavytail.lab."):
        importlib.import_module(module.name)
    for name in lab.__all__:
        assert not inspect.ismodule(getattr(lab, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lab.nothing  # noqa: B018
