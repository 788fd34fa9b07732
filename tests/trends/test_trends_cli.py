import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import student
from rich.cells import cell_len
from rich.console import Console
from trends.model_rows import network

import heavytail
from heavytail.cli import main
from heavytail.terminal.trends import print_ranking, print_trends
from heavytail.trends import trends
from heavytail.trends.rank import rank
from heavytail.trends.table import ModelTable

PUBLISHED = Path(__file__).parents[3] / "shared" / "published"
NAMES = (
    *("log_norm", "log_spectral_norm", "alpha", "alpha_weighted", "log_alpha_norm", "log_stable_rank", "mp_softrank"),
)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A table of two series of eight models, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    quality = np.tile(np.arange(8.0), 2)
    frame = pd.DataFrame(
        {
            "model": [f"m{k}" for k in range(16)],
            "series": ["shallow"] * 8 + ["deep"] * 8,
            "accuracy": 70 + quality,
            "alpha": 5 - 0.2 * quality + 0.01 * rng.standard_normal(16),
            "log_norm": rng.standard_normal(16),
        }
    )
    frame.to_csv("models.csv", index=False)
    return tmp_path


@pytest.fixture
def checkpoints(models):
    """Three models of one family and one of another, as weights."""
    for k, name in enumerate(("net10", "net20", "net30", "other")):
        part = "stage" if name == "other" else "blocks"
        np.savez(models / f"{name}.npz", **{f"{part}.{i}.fc.weight": student(60, 50, seed=9 * k + i) for i in range(2)})
    (models / "quality.csv").write_text("model,series,top1_error\nnet10,net,9\nnet20,net,8\nnet30,net,7\nother,b,1\n")
    return models


def printed(show, result, width):
    text = io.StringIO()
    show(result, Console(file=text, width=width))
    lines = text.getvalue().splitlines()
    assert all(cell_len(line.rstrip()) <= width for line in lines), [one for one in lines if cell_len(one) > width]
    return text.getvalue()


def table_of(groups, size=6, names=NAMES):
    rng = np.random.default_rng(0)
    labels = tuple(f"collection · dataset-{k % 2} · Series/Other-{k}" for k in range(groups) for _ in range(size))
    count = groups * size
    metrics = {name: rng.standard_normal(count) for name in names}
    return ModelTable(tuple(f"m{k}" for k in range(count)), labels, metrics, rng.normal(70, 5, count), "accuracy", True)


def test_trends_prints_every_group_and_every_metric(models, capsys):
    assert main(["trends", "models.csv"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("16 models in 2 groups", "shallow", "deep", "alpha", "log_norm", "supported"))
    assert "All groups together" in out


def test_trends_writes_what_was_asked_for_and_nothing_else(models, capsys):
    before = {path.name for path in models.iterdir()}
    targets = {name: f"t.{name}" for name in ("json", "csv", "html")}
    options = [word for name, path in targets.items() for word in (f"--{name}", path)]
    assert main(["trends", "models.csv", "--quiet", *options]) == 0
    assert capsys.readouterr().out == ""
    assert {path.name for path in models.iterdir()} == before | set(targets.values())
    assert [trend["metric"] for trend in json.loads(Path("t.json").read_text())["trends"]] == ["log_norm", "alpha"]
    assert set(pd.read_csv("t.csv").group) == {"shallow", "deep", "(pooled)", "(within)"}


def test_trends_to_standard_output_is_json_and_the_same_for_the_same_seed(models, capsys):
    texts = []
    for seed in ("1", "1", "2"):
        assert main(["trends", "models.csv", "--json", "-", "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert json.loads(texts[0])["quality"] == {"name": "accuracy", "higher_is_better": True}


def test_trends_heeds_every_option(models, capsys):
    options = ["--target", "log_norm", "--lower-is-better", "--metrics", "ln(alpha), alpha", "--group", "model,series"]
    assert (
        main(["trends", "models.csv", "--json", "-", *options, "--where", "series=deep", "--where", "model!=m9"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["quality"] == {"name": "log_norm", "higher_is_better": False}
    assert list(found["models"][0]["metrics"]) == ["ln(alpha)", "alpha"]
    assert [one["group"] for one in found["models"]] == [f"m{k} · deep" for k in (8, *range(10, 16))]


def test_trends_of_checkpoints_are_those_of_their_metrics(checkpoints, capsys):
    names = ["net10.npz", "net20.npz", "net30.npz"]
    assert main(["trends", *names, "--quality", "quality.csv", "--json", "-", "--jobs", "1", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    for one, name in zip(found["models"], names, strict=True):
        assert one["metrics"]["alpha"] == heavytail.analyze(name).summary["alpha"]
    assert any("even a perfect order of 3 comes by chance" in text for text in found["warnings"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trends"], "SOURCE"),
        (["trends", "nope.csv"], "nope.csv"),
        (["trends", "models.csv", "--target", "nope"], "--target nope"),
        (["trends", "models.csv", "--metrics", "nope"], "'nope'"),
        (["trends", "models.csv", "--where", "nope"], "COLUMN=GLOB"),
        (["trends", "models.csv", "--seed", "-1"], "--seed is -1"),
        (["trends", "models.csv", "--lower-is-better", "--higher-is-better"], "not allowed with"),
        (["trends", "models.csv", "--json", "nowhere/t.json"], "there is no folder nowhere"),
        (["trends", "models.csv", "--html", "-"], "only --json"),
        (["trends", "net10.npz"], "--quality FILE"),
        (["rank"], "MODEL"),
        (["rank", "net10.npz"], "at least two"),
        (["rank", "net10.npz", "nope.npz"], "nope.npz"),
        (["rank", "net10.npz", "other.npz"], "net10 and other are not of one family"),
        (["rank", "net10.npz", "net20.npz", "--metric", "nope"], "'nope'"),
        (["rank", "net10.npz", "net20.npz", "--evidence", "models.csv"], "not what trends --json writes"),
        (["rank", "net10.npz", "net20.npz", "--metric", "alpha"], "do not support 'alpha'"),
        (["rank", "net10.npz", "net20.npz", "--json", "nowhere/r.json"], "there is no folder nowhere"),
    ],
)
def test_a_request_that_is_not_understood_is_one_line_and_code_2(checkpoints, capsys, arguments, words):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("heavytail: ")
    assert err.count("\n") == 1
    assert words in err


def test_rank_prints_the_order_and_how_far_to_trust_it(checkpoints, capsys):
    for name in ("net10", "net20", "net30"):
        heavytail.analyze(f"{name}.npz").to_json(f"{name}.json")
    assert main(["rank", "net10.npz", "net20.npz", "net30.json"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    means = {name: heavytail.analyze(f"{name}.npz").summary["alpha_weighted"] for name in ("net10", "net20", "net30")}
    places = sorted(means, key=means.__getitem__)
    assert [out.index(f"{k} {name}") for k, name in enumerate(places, 1)] == sorted(
        out.index(f"{k} {name}") for k, name in enumerate(places, 1)
    )
    assert f"{places[0]} is the best of 3" in out
    assert "81% of pairs rightly in the mean over series (worst series 33%; all pairs 86%)" in out


def test_rank_as_json_and_across_families(checkpoints, capsys):
    assert main(["rank", "net10.npz", "other.npz", "--across-families", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not found["one_family"]
    assert {one["model"] for one in found["models"]} == {"net10", "other"}


def test_trends_are_the_evidence_of_a_ranking(checkpoints, capsys):
    assert main(["trends", "models.csv", "--json", "t.json", "--quiet"]) == 0
    assert main(["rank", "net10.npz", "net20.npz", "--evidence", "t.json", "--json", "r.json", "--quiet"]) == 0
    found = json.loads(Path("r.json").read_text())
    assert found["metric"] == "alpha"
    assert found["evidence"]["source"] == "the series of t.json"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("size", [2, 3])
def test_the_fit_of_a_line_to_two_models_says_nothing_and_is_not_shown(size):
    out = printed(print_trends, trends(table_of(1, size, ("alpha",)), resamples=200), 120)
    [cells] = [line.split() for line in out.splitlines() if line.startswith("alpha ")]
    assert cells[1] == str(size)
    assert (cells[3:5] == ["–", "–"]) == (size == 2)  # R2 and RMSE
    assert cells[2] != "–"


@pytest.mark.parametrize(("groups", "size"), [(1, 8), (2, 8), (20, 6), (30, 3), (30, 1)])
def test_any_number_of_groups_fits_in_a_hundred_columns(groups, size):
    report = trends(table_of(groups, size), resamples=200)
    out = printed(print_trends, report, 100)
    assert all(name in out for name in NAMES) or (groups, size) == (30, 1)
    assert ("\ndataset-1 · Series" in out) == (groups == 20)  # without what all begin with
    assert out.count("supported") >= 1  # the legend says what it means
    assert ("All groups together" in out) == (groups > 1)


@pytest.mark.parametrize("width", [100, 80, 60, 40])
@pytest.mark.parametrize(("groups", "size"), [(1, 8), (2, 8), (9, 6)])
def test_where_there_is_little_room_columns_go_and_numbers_are_whole(groups, size, width):
    report = trends(table_of(groups, size), resamples=200)
    wide, narrow = (printed(print_trends, report, room) for room in (400, width))
    numbers = re.compile(r"(?<=[ \[(])[<-]?\d*\.\d[^ \])]*")
    lines = [line for line in narrow.splitlines() if re.search(r" (supported|open|reversed)( |$)", line)]
    assert len(lines) >= groups * len(NAMES)
    assert all(numbers.findall(line) for line in lines) or width < 60
    assert {word for line in lines for word in numbers.findall(line)} <= set(numbers.findall(wide))
    assert ("no room for" in narrow) == (width < 100)


@pytest.mark.parametrize("width", [80, 60, 50])
def test_a_ranking_in_little_room_has_whole_numbers(width):
    ranking = rank([network(f"a-network-with-a-long-name-{k}", 3.0 + k) for k in range(3)])
    wide, narrow = (printed(print_ranking, ranking, room) for room in (400, width))
    for one in ranking.models:
        [line] = [line for line in narrow.splitlines() if line.startswith(f"{one.place} a-net")]
        assert f"{one.value:.3f} ± {one.standard_error:.3f}" in line
        assert all(word in wide.split() for word in line.split()[2:])


def test_with_many_groups_those_of_too_few_models_are_counted(capsys):
    few, many = table_of(20, 3, ("alpha",)), table_of(1, 8, ("alpha",))
    both = ModelTable(
        few.models + tuple(f"n{k}" for k in range(8)),
        few.groups + ("large",) * 8,
        {"alpha": np.concatenate([few.metrics["alpha"], many.metrics["alpha"]])},
        np.concatenate([few.quality, many.quality]),
        "accuracy",
        True,
    )
    out = printed(print_trends, trends(both, resamples=200), 100)
    assert "20 groups of too few models to say anything are not shown" in out
    assert "large" in out


def test_opposed_slopes_are_flagged_beside_each_other():
    x = np.concatenate([np.linspace(0, 1, 8) + k for k in range(4)])
    y = np.concatenate([-np.linspace(0, 1, 8) + 3 * k for k in range(4)])
    table = ModelTable(
        tuple(map(str, range(32))), tuple("aaaaaaaabbbbbbbbccccccccdddddddd"), {"alpha": x}, y, "score", True
    )
    out = printed(print_trends, trends(table, resamples=200), 100)
    [line] = [line for line in out.splitlines() if line.startswith("alpha ")]
    assert "4/0" in line
    assert "opposite" in line
    straight = ModelTable(table.models, table.groups, {"alpha": -y}, y, "score", True)
    assert "opposite" not in printed(print_trends, trends(straight, resamples=200), 100)


def test_names_from_files_neither_move_the_terminal_nor_its_markup():
    hostile = "[red]x\x1b[2J"
    table = ModelTable(
        ("a", "b", "c"), (hostile,) * 3, {"alpha": np.arange(3.0)}, np.arange(3.0), hostile, True, (hostile,)
    )
    ranking = rank([network(f"{hostile}{k}", 3.0 + k) for k in range(2)])
    for out in (printed(print_trends, trends(table, resamples=200), 100), printed(print_ranking, ranking, 100)):
        assert "\x1b" not in out
        assert "[red]x" in out


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published tables beside this checkout")
def test_the_published_series_are_recomputed(tmp_path):
    path = tmp_path / "t.csv"
    source = str(PUBLISHED / "model_metrics.csv")
    assert main(["trends", source, "--where", "collection=ww-trends-2020", "--csv", str(path), "--quiet"]) == 0
    found = pd.read_csv(path).set_index(["group", "metric"])
    for target in pd.read_csv(PUBLISHED / "targets_series.csv").itertuples():
        row = found.loc[(target.series, target.metric)]
        assert row.n == target.n
        assert float(f"{row.rmse:.2g}") == target.rmse
        assert round(row.r2, 2) == target.r2
        assert round(row.kendall_tau, 2) == target.kendall_tau_vs_accuracy


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published tables beside this checkout")
def test_the_published_errors_of_the_regressions_are_recomputed(tmp_path):
    columns = {
        **{"lognorm": "log_norm", "spectralnormlog": "ln(spectral_norm)"},
        **{"alpha_weighted": "alpha_weighted", "logpnorm": "log_alpha_norm"},
    }
    path = tmp_path / "t.csv"
    where = ["--where", "collection=osmr*", "--where", "model!=efficientnet_b[01]"]
    options = ["--target", "top1_error", "--group", "dataset,series", "--metrics", ",".join(columns.values())]
    source = str(PUBLISHED / "model_metrics.csv")
    assert main(["trends", source, *where, *options, "--csv", str(path), "--quiet"]) == 0
    found = pd.read_csv(path)
    found = found.assign(series=found.group.str.partition("/")[0]).set_index(["series", "metric"])
    targets = pd.read_csv(PUBLISHED / "targets_osmr_mse.csv")
    assert len(targets) == 80
    for target in targets.itertuples():
        row = found.loc[(f"{target.dataset} · {target.series}", columns[target.metric])]
        assert row.n == target.n
        assert row.rmse**2 == pytest.approx(target.mse, abs=0.0051)
