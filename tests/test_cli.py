import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from cases import gaussian, student
from rich.cells import cell_len
from rich.console import Console

import heavytail
from heavytail.cli import main
from heavytail.rmt.ensembles.phases import PHASES
from heavytail.terminal.analysis import print_report

COMMAND = [sys.executable, "-c", "import sys; from heavytail.cli import main; sys.exit(main())"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with two models, one whole and one with a bad layer."""
    models = tmp_path / "models"
    work = tmp_path / "work"
    models.mkdir()
    work.mkdir()
    whole = {"a.weight": student(80, 60, seed=1), "b.weight": gaussian(50, 40), "b.bias": np.ones(50)}
    np.savez(models / "whole.npz", **whole)
    bad = gaussian(30, 20)
    bad[0, 0] = np.nan
    np.savez(models / "part.npz", **whole, **{"bad.weight": bad})
    (models / "text.bin").write_text("not a model")
    monkeypatch.chdir(work)
    return models


def files():
    return sorted(path for _, _, names in os.walk(".") for path in names)


def run(*arguments, **options):
    """The command in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert "Traceback" not in done.stderr
    return done


def one_line(text):
    assert text.startswith("heavytail: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text


# ------------------------------------------------------------------------------------------------- what it gives out


def test_a_whole_model_is_done_and_leaves_no_files(here, capsys):
    assert main(["analyze", str(here / "whole.npz")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["a", "b"]
    assert "80 × 60" in out
    assert "6,800 parameters in 2 rows" in out
    assert "skipped: 1 vector" in out
    assert files() == []


def test_a_model_with_a_failed_row_is_done_in_part(here, capsys):
    assert main(["analyze", str(here / "part.npz")]) == 3
    out, err = capsys.readouterr()
    assert err == ""
    assert "1 NaN among 600 entries" in out


def test_quiet_is_silent(here, capfd):
    assert main(["analyze", str(here / "whole.npz"), "--quiet"]) == 0
    assert main(["analyze", str(here / "part.npz"), "--quiet", "--json", "r.json"]) == 3
    assert capfd.readouterr() == ("", "")
    assert files() == ["r.json"]


def test_json_on_standard_output_is_nothing_but_json(here, capsys):
    assert main(["analyze", str(here / "part.npz"), "--json", "-"]) == 3
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert [layer["name"] for layer in data["layers"]] == ["a", "b", "b.bias", "bad"]
    assert data["summary"]["failed"] == 1
    assert err == ""
    assert files() == []


def test_files_are_written_where_asked_and_nowhere_else(here, tmp_path, capsys):
    arguments = ["--json", "r.json", "--csv", str(tmp_path / "out.csv"), "--parquet", "r.parquet"]
    assert main(["analyze", str(here / "whole.npz"), *arguments]) == 0
    assert files() == ["r.json", "r.parquet"]
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [line["name"] for line in csv.DictReader(file)] == ["a", "b", "b.bias"]
    layers = json.loads((tmp_path / "work" / "r.json").read_text())["layers"]
    assert [layer["name"] for layer in layers] == ["a", "b", "b.bias"]
    assert sorted(p.name for p in here.iterdir()) == ["part.npz", "text.bin", "whole.npz"]


def test_the_command_and_the_library_give_the_same_report(here, capsys):
    assert main(["analyze", str(here / "whole.npz"), "--json", "-", "--conv", "unfold", "--jobs", "2"]) == 0
    assert capsys.readouterr().out == heavytail.analyze(here / "whole.npz", conv="unfold").to_json()


def test_layers_may_be_repeated(here, capsys):
    assert main(["analyze", str(here / "part.npz"), "--layers", "a", "--layers", "*.bias", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in data["layers"]] == ["a", "b.bias"]
    assert data["settings"]["layers"] == ["a", "*.bias"]


@pytest.mark.parametrize("convention", ["default", "weightwatcher"])
def test_the_convention_is_handed_on(here, capsys, convention):
    assert main(["analyze", str(here / "whole.npz"), "--convention", convention, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["convention"] == convention


def test_shuffles_vectors_and_their_seed_are_handed_on(here, capsys):
    options = ["--nulls", "2", "--vectors", "--seed", "7", "--json", "-"]
    assert main(["analyze", str(here / "whole.npz"), *options]) == 0
    report = json.loads(capsys.readouterr().out)
    expected = heavytail.analyze(here / "whole.npz", nulls=2, vectors=True, seed=7)
    assert report == json.loads(expected.to_json())
    assert report["noise"]["b"]["shuffles"]["count"] == 2
    assert report["vectors"]["b"]


def test_the_table_says_what_noise_explains(here, capsys):
    assert main(["analyze", str(here / "whole.npz"), "--nulls", "2"]) == 0
    out = capsys.readouterr().out
    header = out.splitlines()[0].split()
    assert {"spikes", "traps", "distance"} <= set(header)
    assert "bulk of noise: 2 rows, 1 of them with spikes beyond it; none: 0; " in out
    null = heavytail.analyze(here / "whole.npz", nulls=2).noise["b"].shuffles.distance_null
    assert f"({null:.2f})" in out.splitlines()[2]
    assert "distance: from the spectra of shuffled copies, 0 to 1 (of one copy from another)" in out


def table(report, width):
    """The report as lines of a terminal, the table first."""
    console = Console(width=width, file=io.StringIO())
    print_report(report, console)
    return console.file.getvalue().splitlines()


@pytest.fixture(scope="module")
def reports():
    """Reports without and with what is asked for, of rows with long names, long reasons and a failure."""
    rng = np.random.default_rng(0)
    heavy = student(80, 60, seed=1) * rng.lognormal(0, 2, 60)
    bad = gaussian(30, 20)
    bad[0, 0] = np.nan
    names = (f"encoder.layer.{i}.attention.output.dense.weight" for i in range(3))
    model = dict(zip(names, (heavy, gaussian(3000, 40), bad), strict=True)) | {"thin.weight": gaussian(300, 3)}
    wanted = {"nothing": {}, "nulls": {"nulls": 2}, "bootstrap": {"bootstrap": 39}}
    return {name: heavytail.analyze(model, **options) for name, options in wanted.items()}


@pytest.mark.parametrize("asked", ["nothing", "nulls", "bootstrap"])
@pytest.mark.parametrize("width", [80, 100, 119, 120, 130, 132, 160, 200, 230])
def test_the_table_fits_its_terminal(reports, width, asked):
    lines = table(reports[asked], width)
    end = next(i for i, line in enumerate(lines) if not line.strip())
    head, body = lines[0], lines[1:end]
    assert all(cell_len(line) <= width for line in lines)
    assert {"layer", "α (95 %)", "spikes", "remark"} <= set(re.split(" {2,}", head.strip()))
    assert ("traps" in head) == (asked == "nulls")
    assert ("distance" in head) == (asked == "nulls" and width >= 100)
    assert (" p " in head) == (asked == "bootstrap")
    assert (" tail " in head) == (asked == "bootstrap" and width >= 100)
    rows = [line for line in body if not line.startswith(" ")]
    assert len(rows) == 4
    for i in range(3):  # the end of a name tells it from the others
        assert rows[i].split()[0].endswith(f".{i}.attention.output.dense")
    assert not any("…" in line[30:] for line in rows)  # no number is cut off
    if width < 120:
        assert len(body) == len(rows)
        assert rows[2].rstrip().endswith("failed")
        assert "encoder.layer.2.attention.output.dense: 1 NaN among 600 entries" in " ".join(lines)
    else:
        assert not re.search(r"\n +\S.*\n +\S", "\n".join(body))  # at most two lines
    if width == 230:
        titles = ("N × M", "phase", "prob.", "D", "α̂", "log‖W‖²", "log λmax", "stable rank", "rank", "soft rank")
        for title in titles:
            assert title in re.split(" {2,}", head.strip())


@pytest.mark.parametrize("width", [1, 10, 30, 50])
def test_the_narrowest_terminal_has_a_table_too(reports, width):
    assert table(reports["nulls"], width)
    assert table(reports["bootstrap"], width)


def test_alpha_comes_with_its_interval_in_the_table_and_the_mean_without(reports):
    report = reports["nothing"]
    row, summary = report.rows[0], report.summary
    lines = table(report, 200)
    assert f" {row.alpha:.2f} ({row.alpha_lo:.2f}–{row.alpha_hi:.2f}) " in lines[1]
    assert f"mean α {summary['alpha']:.2f}, mean α̂ " in " ".join(lines)
    assert not any(line.startswith("tails: ") for line in lines)


def test_verdicts_are_counted_below_the_table(reports):
    report = reports["bootstrap"]
    rows = [row for row in report.rows if row.tail]
    counts = {law: sum(row.tail == law for row in rows) for law in {row.tail for row in rows}}
    (line,) = [line for line in table(report, 200) if line.startswith("tails: ")]
    listed, rejected = line.removeprefix("tails: ").split("; ")
    assert {law: int(count) for count, law in (part.split(" ", 1) for part in listed.split(", "))} == counts
    verdicts = [tail.evidence.verdict for tail in report.tails.values() if tail.evidence is not None]
    assert rejected == f"power law rejected in {sum(verdict.rejected for verdict in verdicts)}"


@pytest.mark.parametrize(("width", "word"), [(110, "heavy"), (230, "heavy-tailed")])
def test_phases_are_words_in_the_table_short_ones_where_it_is_narrow(reports, width, word):
    report = reports["nothing"]
    row = replace(report.rows[0], phase="heavy-tailed", phase_probability=0.87)
    lines = table(replace(report, rows=(row, *report.rows[1:])), width)
    assert " phase " in lines[0]
    assert f" {word} " in lines[1]
    assert (" 0.87 " in lines[1]) == (width == 230)
    rows = tuple(replace(row, phase="", phase_probability=np.nan) for row in report.rows)
    assert " phase " not in table(replace(report, rows=rows), width)[0]


@pytest.mark.parametrize("phase", [*PHASES, "undecided"])
def test_a_short_word_for_a_phase_is_how_it_begins(reports, phase):
    report = reports["nothing"]
    row = replace(report.rows[0], phase=phase, phase_probability=np.nan)
    lines = table(replace(report, rows=(row, *report.rows[1:])), 110)
    (word,) = [word for word in lines[1].split() if phase.startswith(word)]
    assert [name for name in (*PHASES, "undecided") if fnmatch(name, f"{word}*")] == [phase]


def test_phases_are_counted_in_one_line_the_most_frequent_first(reports):
    report = reports["nothing"]
    counts = {"random-like": 1, "bulk-decay": 3, "heavy-tailed": 35, "undecided": 0}
    lines = table(replace(report, summary=report.summary | {"phases": counts, "ok": 40}), 200)
    assert "phases: 35 heavy-tailed, 3 bulk-decay, 1 random-like; none: 1" in lines
    lines = table(replace(report, summary=report.summary | {"phases": {}}), 200)
    assert not any(line.startswith("phases: ") for line in lines)


def test_laws_have_short_names_in_the_table(reports):
    report = reports["bootstrap"]
    laws = ("truncated power law", "stretched exponential")
    rows = tuple(replace(row, tail=law) for row, law in zip(report.rows, laws, strict=False))
    lines = table(replace(report, rows=rows), 200)
    assert " truncated " in lines[1]
    assert " stretched " in lines[2]
    assert "tails: 1 truncated power law, 1 stretched exponential; " in " ".join(lines)


def test_one_copy_has_a_distance_and_nothing_to_hold_it_against(here):
    lines = table(heavytail.analyze(here / "whole.npz", nulls=1), 200)
    assert not any("(nan)" in line for line in lines)


def test_claims_are_listed(capsys):
    assert main(["reproduce"]) == 0
    out = capsys.readouterr().out
    assert "E4a" in out
    assert "B5" in out


def test_a_claim_is_recomputed_and_its_numbers_stand_beside_the_published_ones(here, capsys):
    assert main(["reproduce", "f7", "--json", "claims.json"]) == 0
    out = capsys.readouterr().out
    assert "published value wrong" in out
    (outcome,) = json.loads(Path("claims.json").read_text())
    assert outcome["id"] == "F7"
    assert main(["reproduce", "F7", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == [outcome]


def test_a_claim_that_comes_out_otherwise_than_expected_fails(capsys, monkeypatch):
    from heavytail.reproduce import Check, Claim, ledger

    claim = Claim("X", "t", "s", "w", "z", lambda rng: {"one": 1.0}, (Check("one", 2.0, 0.5),), 0.1)
    monkeypatch.setattr(ledger, "_LEDGER", (claim,))
    assert main(["reproduce", "all", "x"]) == 1
    out = capsys.readouterr().out
    assert out.count("not reproduced !") == 1
    assert "s. w Size: z." in out


def test_a_dry_run_has_no_report_to_write(here, capsys):
    assert main(["analyze", str(here / "whole.npz"), "--dry-run", "--json", "r.json"]) == 2
    assert "--dry-run makes no report" in one_line(capsys.readouterr().err)
    assert files() == []


def test_a_dry_run_reads_no_weights_and_writes_nothing(here, capsys):
    # The numbers of the matrix are cut off: whoever reads them fails.
    path = here / "whole.npz"
    size = path.stat().st_size
    before = path.read_bytes()
    start = before.find(student(80, 60, seed=1).tobytes()[:64])
    assert 0 < start < size
    path.write_bytes(before[: start + 8] + b"\xff" * 5000 + before[start + 5008 :])
    assert main(["analyze", str(path)]) in (2, 3)
    capsys.readouterr()
    assert main(["analyze", str(path), "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "2 from 2 tensors" in out
    assert "54.4 kB" in out  # (80 * 60 + 50 * 40) * 8
    assert files() == []


# --------------------------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["VERB", "--help"]),
        (["analyse", "x"], ["analyse", "--help"]),
        (["analyze"], ["SOURCE"]),
        (["analyze", "{whole}", "--jobs", "many"], ["--jobs", "many"]),
        (["analyze", "{whole}", "--jobs", "0"], ["jobs is 0", "at least 1"]),
        (["analyze", "{whole}", "--conv", "fft"], ["'fft'", "slices, unfold, operator"]),
        (["analyze", "{whole}", "--convention", "mine"], ["'mine'", "default, weightwatcher"]),
        (["analyze", "{whole}", "--layers", "zzz"], ["'zzz'", "'a', 'b'"]),
        (["analyze", "{whole}", "--nonsense"], ["--nonsense"]),
        (["analyze", "{none}"], ["none.npz", "no such file"]),
        (["analyze", "{text}"], ["text.bin"]),
        (["analyze", "{none}", "--dry-run"], ["none.npz"]),
        (["analyze", "{whole}", "--nulls", "-1"], ["nulls is -1", "at least 0"]),
        (["analyze", "{whole}", "--seed", "-1"], ["seed is -1", "at least 0"]),
        (["analyze", "{whole}", "--nulls", "2", "--convention", "weightwatcher"], ["'weightwatcher'", "nulls"]),
        (["reproduce", "F7", "E99"], ["'E99'", "F7"]),
        (["reproduce", "--json", "x.json"], ["all"]),
        (["reproduce", "F7", "--seed", "-1"], ["--seed is -1"]),
    ],
)
def test_what_cannot_be_understood_is_one_line_that_says_what_and_where(here, capsys, arguments, words):
    places = {"whole": here / "whole.npz", "none": here / "none.npz", "text": here / "text.bin"}
    assert main([argument.format(**places) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    for word in words:
        assert word in one_line(err)
    assert files() == []


@pytest.mark.parametrize("option", ["--json", "--csv", "--parquet", "--html"])
def test_a_target_that_cannot_be_written_fails_before_the_work(here, capsys, monkeypatch, option):
    def work(*_, **__):
        raise AssertionError("the work was done")

    monkeypatch.setattr("heavytail.analysis.analyze", work)
    for target, word in (("no/such/folder/r", "folder"), (".", "cannot be written"), (str(here), "cannot be written")):
        assert main(["analyze", str(here / "whole.npz"), option, target]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert option in one_line(err)
        assert target in err
        assert word in err
    assert files() == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_not_a_fault_of_the_program(here, capsys):
    assert main(["analyze", str(here / "whole.npz"), "--quiet", "--json", "/dev/full"]) == 2
    assert "/dev/full" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("option", ["--csv", "--parquet", "--html"])
def test_a_dash_is_no_file_name(here, capsys, option):
    main(["analyze", str(here / "whole.npz"), "--quiet", option, "-"])
    assert files() == []


def test_a_fault_of_the_program_is_one_line_too(here, capsys, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("heavytail.analysis.analyze", broken)
    monkeypatch.delenv("HEAVYTAIL_TRACEBACK", raising=False)
    code = main(["analyze", str(here / "whole.npz")])
    assert code not in (0, 1, 2, 3)
    assert "ZeroDivisionError: two lines" in one_line(capsys.readouterr().err)
    monkeypatch.setenv("HEAVYTAIL_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["analyze", str(here / "whole.npz")])


def test_an_interruption_is_one_line(here, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("heavytail.analysis.analyze", interrupted)
    assert main(["analyze", str(here / "whole.npz")]) == 130
    assert one_line(capsys.readouterr().err) == "heavytail: interrupted\n"


# -------------------------------------------------------------------------------------------------------- processes


def test_version_and_help(capsys):
    for arguments, text in (
        (["--version"], f"heavytail {heavytail.__version__}\n"),
        (["--help"], "analyze"),
        (["analyze", "--help"], "--layers GLOB"),
    ):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capsys.readouterr()
        assert left.value.code == 0
        assert text in out
        assert err == ""


def test_the_exit_codes_reach_the_shell(here):
    whole = run("analyze", here / "whole.npz")
    assert (whole.returncode, whole.stderr) == (0, "")
    assert "parameters" in whole.stdout
    part = run("analyze", here / "part.npz", "--json", "-")
    assert (part.returncode, part.stderr) == (3, "")
    assert json.loads(part.stdout)["summary"]["failed"] == 1
    none = run("analyze", here / "none.npz")
    assert (none.returncode, none.stdout) == (2, "")
    one_line(none.stderr)


def test_names_are_printed_as_they_are_and_never_as_markup(here):
    np.savez(here / "names.npz", **{"[red]ünï[/]→.weight": gaussian(30, 20)})
    done = run("analyze", here / "names.npz", env={**os.environ, "PYTHONIOENCODING": "utf-8"}, encoding="utf-8")
    assert done.returncode == 0
    assert "[red]ünï[/]→" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_table_is_printed_in_any_encoding(here, encoding):
    # A pipe on Windows has cp1252.
    done = run("analyze", here / "whole.npz", env={**os.environ, "PYTHONIOENCODING": encoding}, encoding=encoding)
    assert done.returncode == 0
    assert done.stdout


def closed_pipe(*arguments):
    """Run with a standard output that nobody reads; give the exit code and what was said."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered
    )
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


def test_a_broken_pipe_leaves_no_traceback_for_json(here):
    np.savez(here / "large.npz", **{f"l{i}.weight": gaussian(12, 11) for i in range(60)})
    assert closed_pipe("analyze", here / "large.npz", "--json", "-") == (0, "")


def test_a_broken_pipe_leaves_no_traceback_for_a_short_json(here):
    assert closed_pipe("analyze", here / "whole.npz", "--json", "-") == (0, "")


@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["table", "dry run"])
def test_a_broken_pipe_is_no_failure_for_the_table(here, options):
    assert closed_pipe("analyze", here / "whole.npz", *options) == (0, "")


def test_no_name_reaches_the_terminal_as_a_command(here, capsys):
    evil = "a\x1b]0;owned\x07\x1b[2J\u202e\n[red]b.weight"
    np.savez(here / "evil.npz", **{evil: np.random.default_rng(0).standard_normal((40, 30))})
    assert main(["analyze", str(here / "evil.npz")]) == 0
    out, err = capsys.readouterr()
    assert not set(out + err) & {"\x1b", "\x07", "\u202e"}
    assert "\\x1b]0;owned" in out
    assert main(["analyze", str(here / "\x1b[31m.pt")]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_the_module_is_the_command(here):
    done = subprocess.run([sys.executable, "-m", "heavytail", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "heavytail")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("analyze", "{whole}", "--html", "{whole}"), "--html {whole}: would write over what is read, {whole}"),
        (("analyze", "{whole}", "--csv", "a.out", "--json", "./a.out"), "--csv a.out: would write over --json"),
        (("compare", "{whole}", "{part}", "--json", "{part}"), "--json {part}: would write over what is read, {part}"),
        (("rank", "{whole}", "{part}", "--json", "{part}"), "--json {part}: would write over what is read, {part}"),
        (("trends", "{whole}", "{part}", "--csv", "{whole}"), "--csv {whole}: would write over what is read, {whole}"),
    ],
)
def test_no_output_takes_the_place_of_what_is_read(here, capsys, arguments, said):
    paths = {name: str(here / f"{name}.npz") for name in ("whole", "part")}
    before = {name: Path(path).read_bytes() for name, path in paths.items()}
    assert main([one.format(**paths) for one in arguments]) == 2
    assert said.format(**paths) in one_line(capsys.readouterr().err)
    assert {name: Path(path).read_bytes() for name, path in paths.items()} == before
