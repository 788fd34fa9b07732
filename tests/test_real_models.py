"""Real, pretrained models: the numbers of WeightWatcher, the traps of real files, the whole job on the command line."""

import csv
import json
from math import isclose, isfinite
from pathlib import Path

import numpy as np
import pytest
from models import lite0, minilm, model, shared
from odd_layers import odd_layers

import heavytail as ht
from heavytail.cli import main

DATA = Path(__file__).parent / "data"
FITTED = {"alpha", "xmin", "D", "sigma", "alpha_weighted", "log_alpha_norm"}


@pytest.mark.parametrize(
    ("name", "path"), [("minilm", minilm), ("efficientnet-lite0", lite0), ("odd-layers", odd_layers)]
)
def test_the_weightwatcher_convention_gives_weightwatchers_table(name, path):
    """The reference tables were computed with WeightWatcher 0.7.7 (benchmarks/parity.py makes them)."""
    with (DATA / f"weightwatcher-0.7.7-{name}.csv").open() as file:
        reference = list(csv.DictReader(file))
    table = ht.analyze(path(), convention="weightwatcher").weightwatcher_table()
    assert list(table["name"]) == [row["name"] for row in reference]
    assert list(table.columns) == list(reference[0])
    for ours, theirs in zip(table.to_dict("records"), reference, strict=True):
        for column, text in theirs.items():
            assert same(column, ours[column], text), (ours["name"], column, ours[column], text)


def same(column, value, text):
    if isinstance(value, str | bool | np.bool_):
        return str(value) == text
    if text == "" or text == "nan":  # missing, or not a number
        return value != value
    return isclose(value, float(text), rel_tol=1e-6 if column in FITTED else 1e-8)


def test_the_default_convention_gives_every_matrix_of_minilm_its_numbers():
    report = ht.analyze(minilm())
    assert report.summary["ok"] == 40
    assert report.summary["failed"] == 0
    rows = {row.name: row for row in report.rows}
    assert not isfinite(rows["embeddings.token_type_embeddings"].alpha)
    assert "too narrow" in rows["embeddings.token_type_embeddings"].reason
    assert rows["embeddings.token_type_embeddings"].norm > 0
    assert rows["embeddings.word_embeddings"].N == 30522


def test_depthwise_filters_are_never_pooled_across_channels():
    rows = [row for row in ht.analyze(lite0()).rows if row.kind == "depthwise"]
    assert len(rows) == 16
    assert all(row.M == 1 and row.N in (9, 25) and not isfinite(row.alpha) for row in rows)
    assert sum(row.num_matrices for row in rows) == sum(row.num_evals for row in rows)


def test_the_cifar_resnets_are_read_from_the_legacy_format():
    """Counts of matrices with at least 50 eigenvalues as the reference list of models states them: 6, 10, 18."""
    for depth, digest, tensors in ((20, "12fca82f", 20), (32, "d509ac18", 32), (56, "4bfd9763", 56)):
        report = ht.analyze(shared(f"resnet_cifar10/resnet{depth}-{digest}.th"))
        assert report.summary["ok"] == tensors
        assert report.summary["failed"] == 0


@pytest.mark.parametrize(
    ("package", "path", "matrices", "left_out"),
    [
        ("chgnet", "chgnet/pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar", 52, "optimizer"),
        ("resemblyzer", "resemblyzer/pretrained.pt", 7, "optimizer"),
    ],
)
def test_optimizer_state_is_left_out_and_said_so(package, path, matrices, left_out):
    report = ht.analyze(model(package, path))
    tensors = {row.name.split(":")[0] for row in report.rows if row.status == "ok"}
    assert len(tensors) == matrices
    assert any(left_out in note for note in report.source["notes"])


def test_the_gates_of_a_gru_are_split():
    rows = {row.name: row for row in ht.analyze(model("g2p-en", "g2p_en/checkpoint20.npz")).rows}
    assert {name for name in rows if name.startswith("enc_w_hh")} == {"enc_w_hh:r", "enc_w_hh:z", "enc_w_hh:n"}
    assert all(rows[f"enc_w_hh:{gate}"].N == 256 for gate in "rzn")


def test_the_same_weights_in_two_containers_give_the_same_table():
    """Both containers hold the same bfloat16 numbers, in one file and in three."""
    one, three = (ht.analyze(shared(f"formats/{name}")) for name in ("g2p_bf16.safetensors", "g2p_sharded"))
    by_name = {row.name: row for row in three.rows}
    assert len(one.rows) == len(three.rows)
    assert all(row.as_dict() == by_name[row.name].as_dict() or row.alpha != row.alpha for row in one.rows)


def test_the_command_line_analyses_a_real_model(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = main(
        ["analyze", str(minilm()), "--json", "r.json", "--html", "r.html", "--csv", "r.csv", "--parquet", "r.pq"]
    )
    assert code == 0
    out, err = capsys.readouterr()
    assert "encoder.layer.5.attention.self.key" in out
    assert err == ""
    assert json.loads(Path("r.json").read_text())["summary"]["ok"] == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "r.html", "r.json", "r.pq"]
