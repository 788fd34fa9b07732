import csv
import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from lab import run_sample as sample
from scipy import stats

from heavytail.cli import main
from heavytail.lab.experiments import experiment_of, experiments
from heavytail.lab.recipe import Recipe
from heavytail.lab.run import Run

pytest.importorskip("pyarrow", reason="a run's table is Parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run."""
    return sample.write(tmp_path_factory.mktemp("lab") / "run").folder


def said(capsys, *arguments, code=0):
    assert main(["lab", *map(str, arguments)]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys, *arguments):
    """The one line of an error."""
    assert main(["lab", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("heavytail: ")
    assert err.count("\n") == 1
    return err


def document(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not json")

    return json.loads(text, parse_constant=refuse)


def student(values):
    """The mean and its 95 % interval, as scipy has it."""
    return np.mean(values), *stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


# ------------------------------------------------------------------------------------------------------------- list


def test_the_list_has_every_experiment_with_its_trainings_and_time(capsys):
    lines = said(capsys, "list").splitlines()
    for experiment in experiments():
        line = next(line for line in lines if line.split()[:1] == [experiment.id])
        assert experiment.title in line
        minutes = f"{experiment.minutes:g}" if experiment.minutes else "-"
        assert line.split()[-3:] == [str(len(experiment.trials("quick"))), str(len(experiment.trials("full"))), minutes]


def test_the_list_as_json_says_the_same(capsys, tmp_path):
    listed = document(said(capsys, "list", "--json"))
    assert [one["id"] for one in listed] == [experiment.id for experiment in experiments()]
    for one, experiment in zip(listed, experiments(), strict=True):
        assert one["trainings"] == {size: len(experiment.trials(size)) for size in ("quick", "full")}
        assert one["minutes"] == (experiment.minutes or None)
        assert one["statements"] == [statement.says for statement in experiment.statements]
    assert said(capsys, "list", "--json", tmp_path / "list.json") == ""
    assert document((tmp_path / "list.json").read_text()) == listed


@pytest.mark.parametrize("command", ["list", "show"])
def test_listing_and_showing_need_no_torch(command, folder):
    arguments = ["lab", "list"] if command == "list" else ["lab", "show", str(folder)]
    code = f"import sys; from heavytail.cli import main; main({arguments!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------------------- show


def test_the_table_goes_along_the_axis_with_means_and_intervals(folder, capsys):
    lines = said(capsys, "show", folder).splitlines()
    for batch in sample.BATCHES:
        cells = next(line for line in lines if line.split()[:2] == [str(batch), "3"]).split()
        test, soft = (
            student([measure(batch, seed, 20) for seed in sample.SEEDS])
            for measure in (sample.accuracy, sample.softrank)
        )
        assert cells[2] == "20"
        assert cells[6:9] == [f"{100 * test[0]:.1f}", "±", f"{100 * (test[2] - test[0]):.1f}"]
        assert cells[9:12] == [f"{soft[0]:.3f}", "±", f"{soft[2] - soft[0]:.3f}"]
    assert any(line.rstrip().endswith("random-like 2, bleeding-out 1") for line in lines)


def test_every_statement_is_told_with_its_judgement_and_what_was_published(folder, capsys):
    text = " ".join(said(capsys, "show", folder).split())
    for finding in Run.open(folder).findings:
        assert f"{finding.judgement} {finding.statement.says} {finding.statement.measure}: " in text
        assert finding.statement.figures in text
    gains = [sample.accuracy(8, seed, 20) - sample.accuracy(500, seed, 20) for seed in sample.SEEDS]
    assert f"gain in test accuracy: {np.mean(gains):.3g} (" in text
    assert "it would hold above 0" in text


def test_the_json_has_the_numbers_and_the_findings(folder, capsys):
    found = document(said(capsys, "show", folder, "--json", "-"))
    assert (found["experiment"], found["size"], found["trainings"], found["finished"]) == ("E21", "quick", 9, 9)
    places = [(line["setting"]["batch"], line["layer"]) for line in found["lines"]]
    assert places == [(batch, layer) for batch in sample.BATCHES for layer in ("", *sample.LAYERS)]
    for line in found["lines"]:
        (batch,) = line["setting"].values()
        if line["layer"]:
            values = [sample.softrank(batch, seed, 20, line["layer"]) for seed in sample.SEEDS]
            assert list(line["measured"]["mp_softrank"].values()) == pytest.approx([*student(values), 3])
            assert line["phases"] == {
                name: sum(sample.phase(batch, seed, 20) == name for seed in sample.SEEDS) for name in line["phases"]
            }
            assert sum(line["phases"].values()) == 3
        else:
            values = [sample.accuracy(batch, seed, 20) for seed in sample.SEEDS]
            assert list(line["measured"]["test_accuracy"].values()) == pytest.approx([*student(values), 3])
    judged = {one["measure"]: one["judgement"] for one in found["findings"]}
    assert judged == {one.statement.measure: one.judgement.value for one in Run.open(folder).findings}


def test_the_csv_has_a_line_a_setting_and_layer(folder, capsys, tmp_path):
    said(capsys, "show", folder, "--csv", tmp_path / "run.csv")
    with (tmp_path / "run.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["batch"], line["layer"]) for line in lines] == [
        (str(batch), layer) for batch in sample.BATCHES for layer in ("", *sample.LAYERS)
    ]
    values = student([sample.accuracy(2, seed, 20) for seed in sample.SEEDS])
    assert [float(lines[0][f"test_accuracy{end}"]) for end in ("", "_lo", "_hi")] == pytest.approx(values)
    assert lines[0]["seeds"] == "3"
    assert lines[0]["mp_softrank"] == ""


def test_an_unfinished_run_is_shown_as_far_as_it_is(tmp_path, capsys):
    missing = [name for name in sample.trials() if name != "b8-s0"]
    sample.write(tmp_path / "run", missing=missing)
    text = said(capsys, "show", tmp_path / "run")
    assert "1 of 9 trainings of the quick run are finished; what follows is of these" in text
    assert [line.split()[0] for line in text.partition("By batch")[2].splitlines() if " 20 " in line] == ["8"]
    assert "±" not in text.partition("mean ±")[0]  # one seed has no interval


def test_a_run_without_a_finished_training_has_statements_and_no_table(tmp_path, capsys):
    sample.write(tmp_path / "run", missing=sample.trials())
    text = said(capsys, "show", tmp_path / "run")
    assert "0 of 9 trainings" in text
    assert text.count("not measured  ") == len(experiment_of("E21").statements)
    assert document(said(capsys, "show", tmp_path / "run", "--json", "-"))["lines"] == []
    assert "none of 9 trainings is finished" in refused(capsys, "show", tmp_path / "run", "--html", tmp_path / "p.html")


def test_trainings_of_one_setting_are_told_along_time(tmp_path, capsys):
    sample.write(tmp_path / "run", recipes=sample.trials(batches=(8,)), identity="E16")
    lines = said(capsys, "show", tmp_path / "run").splitlines()
    assert "By epoch; spectra of fc1" in lines
    for epoch in sample.EPOCHS:
        cells = next(line for line in lines if line.split()[:2] == [str(epoch), "3"]).split()
        assert cells[5] == f"{100 * np.mean([sample.accuracy(8, seed, epoch) for seed in sample.SEEDS]):.1f}"


def test_a_check_fails_where_a_statement_does_not_hold(folder, capsys):
    judgements = {finding.judgement.value for finding in Run.open(folder).findings}
    assert "does not hold" in judgements
    assert said(capsys, "show", folder, "--check", code=1) == said(capsys, "show", folder)


def test_a_check_passes_where_nothing_fails(tmp_path, capsys):
    sample.write(tmp_path / "run", missing=sample.trials())
    said(capsys, "show", tmp_path / "run", "--check")


def test_the_page_is_written_where_it_was_asked_for(folder, capsys, tmp_path):
    said(capsys, "show", folder, "--html", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert experiment_of("E21").title in text


# ----------------------------------------------------------------------------------------------------------- errors


def test_a_folder_that_is_no_run_is_refused_in_a_line(tmp_path, capsys):
    assert f"{tmp_path}: is no run of the laboratory" in refused(capsys, "show", tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"schema_version": 1}', '"run"'])
def test_a_damaged_description_is_refused_in_a_line(text, tmp_path, capsys):
    (tmp_path / "run.json").write_text(text)
    assert str(tmp_path / "run.json") in refused(capsys, "show", tmp_path)


@pytest.mark.parametrize("values", [{"trials": []}, {"trials": {"a": 3}}, {"experiment": 4}, {"experiment": "E0"}])
def test_a_description_of_other_things_is_refused_in_a_line(values, tmp_path, capsys):
    sample.write(tmp_path, recipes=sample.trials(batches=(2,), seeds=(0,)))
    sample.spoil(tmp_path, **values)
    refused(capsys, "show", tmp_path)


def test_results_that_are_no_parquet_are_refused_in_a_line(tmp_path, capsys):
    run = sample.write(tmp_path, recipes=sample.trials(batches=(2,), seeds=(0, 1)))
    run.rows_of("b2-s1").write_text("no table")
    assert str(run.rows_of("b2-s1")) in refused(capsys, "show", tmp_path)


def test_results_of_another_table_are_refused_in_a_line(tmp_path, capsys):
    run = sample.write(tmp_path, recipes=sample.trials(batches=(2,), seeds=(0,)))
    sample.rows("b2-s0", sample.trials()["b2-s0"])[["trial", "seed"]].to_parquet(run.rows_of("b2-s0"))
    assert f"{run.rows_of('b2-s0')}: has no column epoch, layer, step" in refused(capsys, "show", tmp_path)


def test_an_unknown_experiment_is_refused_with_those_there_are(tmp_path, capsys):
    line = refused(capsys, "run", "E0", "--out", tmp_path / "run")
    assert all(experiment.id in line for experiment in experiments())
    assert not (tmp_path / "run").exists()


def test_results_go_only_where_they_are_asked_for(capsys):
    assert "--out" in refused(capsys, "run", "E21")


@pytest.mark.parametrize("missing", ["torch", "sklearn", "pyarrow", "safetensors"])
def test_what_is_not_installed_is_named_with_its_extra(missing, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("heavytail.cli.lab.find_spec", lambda name: None if name == missing else find_spec(name))
    line = refused(capsys, "run", "E21", "--out", tmp_path / "run")
    assert {"sklearn": "scikit-learn"}.get(missing, missing) in line
    assert "pip install 'heavytail[lab]'" in line
    assert not (tmp_path / "run").exists()


def test_seeds_are_at_least_one(tmp_path, capsys):
    assert "--seeds is 0" in refused(capsys, "run", "E21", "--out", tmp_path / "run", "--seeds", "0")


def test_a_folder_of_other_things_is_left_alone(tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    assert "neither empty nor a run" in refused(capsys, "run", "E21", "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


# -------------------------------------------------------------------------------------------------------------- run


@pytest.fixture
def small(monkeypatch):
    """E21 with trainings of a moment."""
    pytest.importorskip("sklearn", reason="needs scikit-learn's digits")
    recipe = Recipe(network="mlp3", data="digits", epochs=2, train=60, test=30, looks=3, layers="fc1")
    made = {f"b{b}-s{seed}": replace(recipe, batch=b, seed=seed) for seed in (0, 1) for b in (20, 60)}
    experiment = replace(experiment_of("E21"), trials=lambda size: made)
    for module in ("heavytail.lab.runner", "heavytail.lab.run", "heavytail.lab.experiments"):
        monkeypatch.setattr(f"{module}.experiment_of", lambda name: experiment)
    return made


def test_a_run_ends_with_what_show_says_and_goes_on_where_it_was(small, tmp_path, capsys, monkeypatch):
    arguments = ("run", "E21", "--quick", "--jobs", "1", "--out", str(tmp_path / "run"))
    first = said(capsys, *arguments, "--seeds", "1", "--html", tmp_path / "run" / "page.html")
    assert (tmp_path / "run" / "page.html").stat().st_size > 10_000
    assert "all 2 trainings of the quick run are finished" in first
    second = said(capsys, *arguments)
    assert "all 4 trainings of the quick run are finished" in second
    assert second == said(capsys, "show", tmp_path / "run")

    def trained(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("heavytail.lab.runner._one", trained)
    assert said(capsys, *arguments) == second
    assert said(capsys, *arguments, "--quiet") == ""


def test_an_interruption_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("heavytail.lab.runner.run_experiment", interrupted)
    assert main(["lab", "run", "E21", "--out", str(tmp_path / "run")]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "heavytail: interrupted; the same command goes on where it was\n"


def test_progress_counts_from_where_a_run_goes_on(tmp_path, monkeypatch):
    from heavytail.cli.lab import _of_what_is_left

    heard = []
    tell = _of_what_is_left(lambda *news: heard.append(news))
    for done in (91, 95, 100):
        tell("b2-s0", done, 100)
    assert heard == [("b2-s0", 1, 10), ("b2-s0", 5, 10), ("b2-s0", 10, 10)]
