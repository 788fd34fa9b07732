import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import gaussian, student
from rich.cells import cell_len
from rich.console import Console
from safetensors.numpy import save_file

import heavytail as ht
from heavytail.cli import main
from heavytail.comparison.row import COLUMNS
from heavytail.terminal.compare import print_comparison


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model, what was made of it, an adapter of it, and a model of another kind."""
    base = {f"layers.{i}.weight": student(120, 80, seed=i) for i in range(3)} | {"layers.0.bias": np.ones(80)}
    tuned = dict(base)
    tuned["layers.0.weight"] = base["layers.0.weight"] + 0.01 * gaussian(120, 80, seed=9)
    tuned["head.weight"] = gaussian(40, 30, seed=5)
    np.savez(tmp_path / "base.npz", **base)
    np.savez(tmp_path / "tuned.npz", **tuned)
    bad = dict(tuned)
    bad["layers.1.weight"] = base["layers.1.weight"] * np.nan
    np.savez(tmp_path / "bad.npz", **bad)
    np.savez(tmp_path / "other.npz", **{"stem.weight": gaussian(60, 50, seed=7)})
    (tmp_path / "adapter").mkdir()
    factors = {
        "base_model.model.layers.0.lora_A.weight": gaussian(4, 80, seed=1).astype(np.float32),
        "base_model.model.layers.0.lora_B.weight": 0.01 * gaussian(120, 4, seed=2).astype(np.float32),
    }
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8})
    )
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_every_matrix_has_a_line_and_the_whole_is_said(here, capsys):
    assert main(["compare", str(here / "base.npz"), str(here / "tuned.npz")]) == 0
    out = lines(capsys)
    row = {line.split()[0]: line for line in out if line.startswith("layers")}
    assert list(row) == ["layers.0", "layers.1", "layers.2"]
    assert " noise " in row["layers.0"]
    assert " none " in row["layers.1"]
    text = "\n".join(out)
    assert "3 matrices compared, 28,800 parameters: 2 unchanged, 1 noise" in text
    assert "0 of 1 vectors changed" in text
    assert "unmatched: head is in the second model alone" in text
    assert list(Path().iterdir()) == []


def test_the_files_hold_what_python_has(here, capsys):
    targets = {name: f"c.{name}" for name in ("json", "csv", "html")}
    options = [part for name, path in targets.items() for part in (f"--{name}", path)]
    assert main(["compare", str(here / "base.npz"), str(here / "tuned.npz"), "--quiet", *options]) == 0
    assert capsys.readouterr().out == ""
    comparison = ht.compare(here / "base.npz", here / "tuned.npz")
    assert json.loads(Path("c.json").read_text()) == json.loads(comparison.to_json())
    with Path("c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["name"] for row in rows] == [row.name for row in comparison.rows]
    assert float(rows[0]["relative_change"]) == comparison.rows[0].relative_change
    assert "tuned.npz" in Path("c.html").read_text()


def test_json_goes_to_standard_output_alone(here, capsys):
    assert main(["compare", str(here / "base.npz"), str(here / "tuned.npz"), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["ok"] == 3


def test_a_bad_layer_is_told_and_the_others_are_compared(here, capsys):
    assert main(["compare", str(here / "base.npz"), str(here / "bad.npz")]) == 3
    text = "\n".join(lines(capsys))
    assert "layers.1: failed: 9600 NaN among 9600 entries" in text
    assert "2 matrices compared" in text


def test_of_an_adapter_only_what_it_changes_is_listed(here, capsys):
    assert main(["compare", str(here / "base.npz"), str(here / "adapter")]) == 0
    out = lines(capsys)
    assert [line.split()[0] for line in out if line.startswith("layers")] == ["layers.0"]
    text = "\n".join(out)
    assert "low rank" in text
    assert "4 (100%)" in text
    assert "over the adapted ones" in text
    assert "note: a LoRA adapter of 1 layer, rank 4, scaling 2" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["base.npz", "other.npz"],
            "have no tensor in common: 'layers.0.weight', ",
        ),
        (["base.npz", "none.npz"], "none.npz: no such file or directory"),
        (["base.npz", "tuned.npz", "--conv", "operator"], "conv is 'operator'; it can be slices, unfold"),
        (["base.npz", "tuned.npz", "--layers", "conv*"], "no layer of"),
        (["base.npz", "tuned.npz", "--bootstrap", "5"], "bootstrap is 5; it must be 0, or at least 39"),
        (["base.npz", "tuned.npz", "--directions", "0"], "directions is 0; it must be a whole number of at least 1"),
        (["base.npz"], "the following arguments are required: TUNED"),
    ],
)
def test_what_cannot_be_done_is_one_line(here, capsys, arguments, said):
    paths = [str(here / one) if one.endswith(".npz") else one for one in arguments]
    assert main(["compare", *paths]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("heavytail: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(here, width, tmp_path):
    comparison = ht.compare(here / "base.npz", here / "tuned.npz")
    path = tmp_path / "out.txt"
    with path.open("w") as file:
        print_comparison(comparison, Console(file=file, width=width))
    out = path.read_text().splitlines()
    table = [line for line in out if line.startswith(("layer", "…"))]
    assert len(table) == 4
    assert max(map(cell_len, out)) <= width


def test_names_from_a_file_reach_no_terminal_as_they_are(tmp_path, capsys):
    hostile = {"[red]a\x1b[2J.weight": student(60, 50), "gone\x1b[2J.weight": student(60, 50, seed=2)}
    tuned = {"[red]a\x1b[2J.weight": student(60, 50) + 0.1 * gaussian(60, 50)}
    print_comparison(ht.compare(hostile, tuned), Console(width=100, color_system=None))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]a\\x1b[2J" in out


def test_the_command_needs_no_pandas_to_print(here):
    code = (
        "import sys; from heavytail.cli import main; "
        f"main(['compare', {str(here / 'base.npz')!r}, {str(here / 'tuned.npz')!r}]); "
        "print('pandas' in sys.modules, 'jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
