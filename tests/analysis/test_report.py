import csv
import json
from dataclasses import replace
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
from cases import gaussian, orthogonal, student

import heavytail as ht
from heavytail.diagnosis.row import COLUMNS


@pytest.fixture(scope="module")
def report():
    bad = gaussian(30, 20)
    bad[0, 0] = np.nan
    return ht.analyze(
        {
            "a.weight": student(80, 60, seed=1),
            "b.weight": student(90, 50, seed=2).astype(np.float32),
            "flat.weight": orthogonal(40),
            "zero.weight": np.zeros((30, 20)),
            "bad.weight": bad,
            "ints": np.ones((4, 4), np.int8),
            'odd "name",\nwith\\all': gaussian(30, 21),
            "ünï.weight": gaussian(30, 22),
            "bias": np.ones(4),
        }
    )


def number(value):
    return nan if value is None else value


def test_the_summary_averages_the_ok_rows_that_have_the_number(report):
    ok = [row for row in report.rows if row.status == "ok"]
    summary = report.summary
    assert {s: summary[s] for s in ("ok", "skipped", "unsupported", "failed")} == {
        "ok": 6,
        "skipped": 1,
        "unsupported": 1,
        "failed": 1,
    }
    for column in ("alpha", "alpha_hill", "alpha_weighted", "log_alpha_norm", "log_norm", "stable_rank", "entropy"):
        values = [getattr(row, column) for row in ok if not isnan(getattr(row, column))]
        assert 0 < len(values) < 6
        assert summary[column] == pytest.approx(np.mean(values))
    assert summary["tail_fits"] == 4
    assert summary["parameters"] == 80 * 60 + 90 * 50 + 40 * 40 + 30 * 20 + 30 * 21 + 30 * 22
    assert not report.complete


def test_a_summary_of_nothing_is_missing_and_not_zero():
    summary = ht.analyze({"bias": np.ones(3)}).summary
    assert summary["ok"] == summary["tail_fits"] == summary["parameters"] == 0
    assert isnan(summary["alpha"])


def refuse(text):
    raise AssertionError(f"{text} is no JSON")


def test_the_json_is_valid_and_brings_every_number_back(report, tmp_path):
    path = tmp_path / "report.json"
    text = report.to_json(path)
    assert path.read_text(encoding="utf-8") == text
    assert text.endswith("}\n")
    data = json.loads(text, parse_constant=refuse)
    assert list(data) == [
        "schema_version",
        "heavytail",
        "source",
        "settings",
        "summary",
        "layers",
        "tails",
        "phases",
        "noise",
    ]
    assert data["schema_version"] == 1
    assert data["heavytail"] == ht.__version__
    asked = {"layers": None, "conv": "slices", "convention": "default", "nulls": 0, "vectors": False}
    assert data["settings"] == asked | {"bootstrap": 0, "seed": 0, "approximate": False}
    assert set(data["source"]) == {"name", "format", "files", "notes"}
    assert len(data["layers"]) == len(report.rows)
    for layer, row in zip(data["layers"], report.rows, strict=True):
        assert list(layer) == list(COLUMNS)
        for column, value in row.as_dict().items():
            if isinstance(value, str):
                assert layer[column] == value
            else:
                assert number(layer[column]) == value or (layer[column] is None and isnan(value))
    for key, value in report.summary.items():
        assert data["summary"][key] == value or (data["summary"][key] is None and isnan(value))


def test_the_json_says_what_was_asked_for():
    report = ht.analyze({"c.weight": gaussian(30, 20, 3, 3)}, layers=["c*"], conv="unfold")
    settings = json.loads(report.to_json())["settings"]
    asked = {"layers": ["c*"], "conv": "unfold", "convention": "default"}
    assert settings == asked | {"nulls": 0, "vectors": False, "bootstrap": 0, "seed": 0, "approximate": False}


def test_infinities_are_null_in_the_json(report):
    row = replace(report.rows[0], log_alpha_norm=-np.inf, alpha=np.inf)
    data = json.loads(replace(report, rows=(row,)).to_json(), parse_constant=refuse)
    assert data["layers"][0]["log_alpha_norm"] is None
    assert data["layers"][0]["alpha"] is None


def test_a_report_without_rows_is_valid_json(report):
    assert json.loads(replace(report, rows=()).to_json())["layers"] == []


def test_the_same_source_gives_the_same_bytes():
    arrays = {f"w{i}.weight": student(60, 40, seed=i) for i in range(5)}
    assert ht.analyze(arrays, jobs=1).to_json() == ht.analyze(arrays, jobs=2).to_json()


def check_frame(frame, report):
    assert list(frame.columns) == list(COLUMNS)
    for column in COLUMNS:
        for got, row in zip(frame[column], report.rows, strict=True):
            value = getattr(row, column)
            if isinstance(value, str):
                assert ("" if pd.isna(got) else got) == value
            else:
                assert got == value or (pd.isna(got) and isnan(value))


def test_the_csv_brings_every_number_back(report, tmp_path):
    path = tmp_path / "report.csv"
    report.to_csv(path)
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == list(COLUMNS)
    for line, row in zip(lines, report.rows, strict=True):
        for column, value in row.as_dict().items():
            if isinstance(value, str):
                assert line[column] == value
            else:
                assert float(line[column] or "nan") == value or (line[column] == "" and isnan(value))


def test_the_parquet_brings_every_number_back(report, tmp_path):
    path = tmp_path / "report.parquet"
    report.to_parquet(path)
    check_frame(pd.read_parquet(path), report)


def test_the_table_is_the_rows(report):
    check_frame(report.table, report)
    assert report.table["alpha"].dtype == np.float64


def test_a_report_is_written_only_where_it_is_told_to(report, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report.to_json()
    assert report.table is not None
    assert list(tmp_path.iterdir()) == []
    report.to_json("a.json")
    report.to_csv("a.csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.json"]


def test_a_report_cannot_be_changed_by_mistake(report):
    with pytest.raises(AttributeError):
        report.rows = ()
    with pytest.raises(AttributeError):
        report.rows[0].alpha = 3.0
