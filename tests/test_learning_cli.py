import json
import subprocess
import sys
from math import isclose

import numpy as np
import pytest
from rich.cells import cell_len

from heavytail.cli import main
from heavytail.cli.learning.grids import dense, traced
from heavytail.cli.learning.shared import number_list, solve_where_possible
from heavytail.cli.learning.simulated import out_of_equilibrium
from heavytail.errors import ConvergenceError
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.results import LearningCurve, Simulation
from heavytail.terminal.learning import Column

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


def document(capsys, *arguments):
    """What `heavytail learning ... --json -` writes, read strictly."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not json")

    assert main(["learning", *arguments, "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out, parse_constant=refuse)


def curves_of(capsys, *arguments):
    results = document(capsys, "curve", *arguments)["results"]
    return results["loads"], {curve["name"]: curve for curve in results["curves"]}


def refused(capsys, *arguments):
    """The one line of an error."""
    assert main(["learning", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("heavytail: ")
    assert err.count("\n") == 1
    return err


# --------------------------------------------------------------------------------------------------------- numbers


def test_the_curves_are_those_of_the_reference(capsys):
    loads, curves = curves_of(capsys, "--loads", "0.5,1,2,5,10")
    expected = {
        "Gibbs": [0.409558, 0.338359, 0.240312, 0.118006, 0.061525],
        "Bayes": [0.322395, 0.254373, 0.174534, 0.083935, 0.043573],
        "Hebb": [0.336493, 0.285634, 0.230823, 0.162614, 0.120111],
        "pseudo-inverse": [0.339479, 0.5, 0.205952, 0.114968, 0.078529],
        "maximum stability": [0.328850, 0.265712, 0.188479, 0.093827, 0.049183],
    }
    assert loads == [0.5, 1, 2, 5, 10]
    assert {"best ridge", "optimal online", "online perceptron"} < set(curves)
    assert not any("annealed" in name for name in curves)  # a theory, no student
    for name, errors in expected.items():
        assert curves[name]["error"] == pytest.approx(errors, abs=1e-5)
        assert curves[name]["residual"] < 1e-8


def test_ising_students_jump_to_the_teacher(capsys):
    loads, curves = curves_of(
        capsys, "gibbs", "bayes", "annealed", "--weights", "ising", "--loads", "0.5,1,1.2,1.244,1.245,1.45"
    )
    assert curves["Gibbs"]["error"][:3] == pytest.approx([0.405317, 0.310526, 0.266868], abs=1e-5)
    assert curves["Bayes"]["error"][:3] == pytest.approx([0.317903, 0.230626, 0.195239], abs=1e-5)
    assert curves["Gibbs"]["phase"] == ["poor"] * 4 + ["perfect"] * 2
    assert curves["annealed (approximation)"]["phase"] == ["poor"] * 5 + ["perfect"]
    assert curves["Gibbs"]["overlap"][-1] == 1
    assert loads[-1] == 1.45


def test_label_noise_and_temperature_lists_give_one_curve_each(capsys):
    _, curves = curves_of(
        capsys, "hebb", "gibbs", "--loads", "3", "--label-noise", "0,0.1", "--temperature", "0.45512,1"
    )
    assert len(curves) == 2 + 4
    assert curves["Gibbs, label noise 0.1, temperature 0.45512"]["error"] == pytest.approx([0.27374], abs=1e-5)
    # label noise is an effective load for Hebb's rule, exactly
    same = curves_of(capsys, "hebb", "--loads", str(3 * 0.8**2))[1]["Hebb"]["error"]
    assert curves["Hebb, label noise 0.1"]["error"] == pytest.approx(same, rel=1e-12)


def test_bayes_knows_the_label_noise(capsys):
    for load, noise, error in ((2, 0.1, 0.243), (2, 0.2, 0.302168), (1, 0.1, 0.308058)):
        _, curves = curves_of(capsys, "bayes", "--loads", str(load), "--label-noise", str(noise))
        assert curves["Bayes"]["error"] == pytest.approx([error], abs=1e-5)


def test_what_has_no_solution_is_empty_and_its_reason_told(capsys):
    arguments = ["curve", "maximum-stability", "gibbs", "--label-noise", "0.1", "--loads", "1,2.99,3,5"]
    found = document(capsys, *arguments)
    for curve, why in zip(found["results"]["curves"], ("none", "spin glass"), strict=True):
        assert curve["phase"][2:] == [why, why]
        assert curve["error"][2:] == [None, None]
        assert all(0 < error < 0.5 for error in curve["error"][:2])
    assert any("2.99229" in note for note in found["notes"])
    assert main(["learning", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "no answer at loads 3 to 5" in out
    assert out.count("–") >= 4


def test_nothing_but_loads_without_a_solution_is_no_failure(capsys, tmp_path):
    for arguments in (
        ["memory", "--loads", "0.2,0.3"],
        ["curve", "gibbs", "maximum-stability", "--label-noise", "0.1", "--loads", "5,6"],
        ["curve", "--against", "temperature", "--loads", "5", "--label-noise", "0.1", "--temperatures", "0.01,0.05"],
    ):
        assert main(["learning", *arguments, "--plot", str(tmp_path / "figure.png")]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert "no answer at" in out


def test_the_spin_glass_is_empty_and_named(capsys):
    found = document(capsys, "curve", "gibbs", "--label-noise", "0.1", "--temperature", "0.1", "--loads", "0.5,8")
    curve = found["results"]["curves"][0]
    assert curve["phase"] == ["smooth", "spin glass"]
    assert curve["error"][1] is None
    assert found["notes"] == ["Gibbs: no answer at load 8: replica symmetry fails there"]


def test_the_vote_is_best_at_the_nishimori_temperature(capsys):
    found = document(
        capsys, "curve", "--against", "temperature", "--loads", "3", "--label-noise", "0.1", "--temperatures",
        "0.25512:0.65512:41",
    )  # fmt: skip
    curve = found["results"]["curves"][0]
    assert isclose(curve["nishimori_temperature"], 1 / np.log(9), rel_tol=1e-12)
    heat = np.array(found["results"]["temperatures"])
    assert abs(heat[np.argmin(curve["vote_error"])] - 0.45512) < 1e-4
    assert np.argmin(curve["error"]) == 0
    assert curve["error"][20] == pytest.approx(0.27374, abs=1e-5)


def test_regression_has_its_double_descent(capsys):
    loads, curves = curves_of(capsys, "regression", "--noise", "0.2", "--penalty", "0,best", "--loads", "0.5,1,2")
    assert curves["best penalty"]["error"][2] == pytest.approx(0.14833148, abs=1e-8)
    # the closed forms of least squares: 1 - a + s2 a / (1 - a), infinite, s2 / (a - 1)
    assert curves["penalty 0"]["error"] == [pytest.approx(0.7), None, pytest.approx(0.2)]
    assert loads == [0.5, 1, 2]


def test_phases_are_those_of_the_reference(capsys):
    found = document(capsys, "phases", "--loads", "1,2,4", "--temperatures", "0,0.2,0.5,1")["results"]
    assert found["lines"]["transition"] == pytest.approx([1.2447, 1.2634, 1.5708, 2.3328], abs=2e-3)
    assert found["lines"]["spinodal"] == pytest.approx([1.4926, 1.5161, 1.9026, 2.8456], abs=2e-3)
    assert found["lines"]["glass"][:2] == pytest.approx([1.2447, 1.3552], abs=2e-3)
    assert found["lines"]["glass"][2:] == [None, None]
    assert found["phase"][3] == ["poor", "poor", "perfect"]
    assert found["path"] is None


def test_the_path_has_the_model_and_the_exact_phases(capsys):
    path = document(capsys, "phases", "--loads", "1,2", "--temperatures", "0.5,1", "--path", "2,0.5,0.2,0.8")[
        "results"
    ]["path"]
    assert [stop["name"] for stop in path["stops"]] == ["A", "B", "C"]
    assert [stop["effective_load"] for stop in path["stops"]] == [2, 1, 1]
    assert [stop["exact"]["phase"] for stop in path["stops"]] == ["perfect", "spin glass", "poor"]
    assert path["stops"][1]["exact"]["error"] is None


def test_capacities_are_those_of_the_reference(capsys):
    found = document(
        capsys,
        "capacity",
        "--margin",
        "0,0.5,1,2",
        "--label-noise",
        "0,0.05,0.1,0.2,0.5",
        "--patterns",
        "45,60,75",
        "--n",
        "30",
    )["results"]
    assert found["spherical"] == pytest.approx([2, 0.961205, 0.519572, 0.200231], abs=1e-6)
    assert found["ising"][0] == pytest.approx(0.8330786, abs=1e-6)
    assert found["separable_load"][0] is None
    assert found["separable_load"][1:] == pytest.approx([3.8097, 2.9923, 2.3913, 2], abs=1e-3)
    assert found["cover"]["probability"] == pytest.approx([0.98869, 0.5, 0.04025], abs=1e-5)


def test_retrieval_is_that_of_the_reference(capsys):
    found = document(capsys, "memory", "--loads", "0.05,0.1,0.13,0.1379,0.138", "--temperature", "0,0.3")
    cold, warm = found["results"]["states"]
    wrong = [(1 - overlap) / 2 for overlap in cold["overlap"][1:3]]
    assert wrong == pytest.approx([0.001, 0.00639], abs=5e-6)
    assert cold["overlap"][-1] is None
    assert cold["overlap"][-2] > 0.96
    assert warm["overlap"][0] == pytest.approx(0.99116, abs=1e-5)
    assert any("0.137906" in note for note in found["notes"])


def test_the_phases_of_a_memory_are_those_of_the_reference(capsys):
    found = document(capsys, "memory", "--phases", "--loads", "0.05,0.1,0.2")["results"]
    assert found["retrieval"][:2] == pytest.approx([0.5423, 0.3154], abs=2e-3)
    assert found["retrieval"][2] is None
    assert found["glass"] == pytest.approx(1 + np.sqrt([0.05, 0.1, 0.2]))


def test_bounds_are_those_of_the_reference_and_above_the_truth(capsys):
    found = document(capsys, "bound", "--loads", "1,1.2,1.4,1.6,2", "--n", "1000")["results"]
    assert found["limit"]["version space"] == pytest.approx([0.5, 0.426158, 0.323788, 0, 0], abs=1e-6)
    assert found["finite"]["version space"] == pytest.approx([0.4994, 0.4255, 0.3244, 0, 0], abs=1e-4)
    for bounds in (found["limit"], found["finite"]):
        assert set(bounds) == {"version space", "Occam", "VC dimension"}
        for values in bounds.values():
            assert np.all(np.array(values) >= found["true_error"])
    assert document(capsys, "bound", "--loads", "1", "--weights", "spherical")["results"]["finite"] is None


# ------------------------------------------------------------------------------------------------------ simulations


def test_a_simulation_is_near_the_theory_and_is_its_seed(capsys):
    arguments = ["curve", "hebb", "--loads", "1:4:4", "--simulate", "200"]
    first, again, other = (document(capsys, *arguments, "--seed", seed) for seed in ("3", "3", "4"))
    assert first == again
    assert first["results"]["curves"] != other["results"]["curves"]
    curve = first["results"]["curves"][0]
    theory = dict(zip(first["results"]["loads"], curve["error"], strict=True))
    assert len(curve["simulations"]) == 4
    for point in curve["simulations"]:
        assert point["n"] == 200
        assert abs(point["error"] - theory[point["load"]]) < 4 * point["standard_error"] + 0.003


def test_simulated_memories_retrieve_below_the_capacity(capsys):
    found = document(capsys, "memory", "--loads", "0.02:0.1:3", "--simulate", "400")["results"]["states"][0]
    assert all(point["overlap"] > 0.97 for point in found["simulations"])


@pytest.mark.slow
def test_every_student_that_can_be_simulated_is(capsys):
    for weights, load in (("spherical", "2"), ("ising", "1")):  # of Ising ones below the transition
        found = document(
            capsys, "curve", "--weights", weights, "--temperature", "1", "--loads", load, "--label-noise", "0.05",
            "--simulate", "101",
        )  # fmt: skip
        for curve in found["results"]["curves"]:
            assert curve["simulations"]
            for point in curve["simulations"]:
                assert abs(point["error"] - curve["error"][0]) < 0.04


def test_walks_that_are_not_in_equilibrium_are_named(capsys):
    # from random weights at temperature 0, Ising walks freeze with errors, where the theory has none
    arguments = ["curve", "gibbs", "--weights", "ising", "--loads", "0.5,2,3", "--simulate", "60", "--sweeps", "100"]
    found = document(capsys, *arguments)
    assert any("walks from random weights that are not in equilibrium: load" in note for note in found["notes"])
    assert all(point["training_error"] > 0 for point in found["results"]["curves"][0]["simulations"][1:])
    assert main(["learning", *arguments]) == 0
    assert "training" in capsys.readouterr().out
    # from the teacher they stay with it
    found = document(capsys, *arguments[:5], "2,3", *arguments[6:], "--start", "teacher", "--runs", "4")
    points = found["results"]["curves"][0]["simulations"]
    assert [(point["error"], point["training_error"], point["runs"]) for point in points] == [(0, 0, 4)] * 2
    assert found["notes"] == []
    assert found["settings"]["start"] == "teacher"


def test_walks_that_are_in_equilibrium_are_not_named(capsys):
    found = document(
        capsys, "curve", "gibbs", "--weights", "ising", "--temperature", "1", "--loads", "0.5,1", "--simulate", "200",
    )  # fmt: skip
    assert found["notes"] == []


def test_two_students_further_from_each_other_than_from_the_teacher_are_not_in_equilibrium():
    noise = np.linspace(-0.01, 0.01, 8)
    load, model = 2.0, Perceptron(label_noise=0.1)
    right = model.solve(load, model.nishimori_temperature)

    def walked(training_error, gap):
        samples = {
            "training_error": training_error + noise, "overlap": 0.5 + noise[::-1], "self_overlap": 0.5 + noise + gap,
        }  # fmt: skip
        point = Simulation("walk", 50, load, samples)
        return out_of_equilibrium(model, model.nishimori_temperature, [point])

    assert walked(right.training_error, 0.0) == []
    assert walked(right.training_error + 0.05, 0.0) == [load]
    assert walked(right.training_error, 0.1) == [load]


# ---------------------------------------------------------------------------------------------------------- tables


def test_only_what_was_asked_for_is_in_a_table(capsys):
    assert main(["learning", "capacity", "--margin", "0,1"]) == 0
    out = capsys.readouterr().out
    assert "margin" in out
    assert "noise" not in out
    assert main(["learning", "phases", "--weights", "spherical", "--temperatures", "0,1"]) == 0
    out = capsys.readouterr().out
    assert "spherical weights learn smoothly" in out
    assert out.splitlines()[1].split() == ["temperature", "glass"]


def test_small_numbers_keep_their_digits_and_zero_has_none():
    column = Column("x", [0.0, 1.23456e-5, 0.5, -2e-4], ".4f")
    assert column.cells(range(4)) == ["0", "1.235e-05", "0.5000", "-0.0002"]
    assert Column("x", [0.0, 1.23456e-8, 0.5], ".3%").cells(range(3)) == ["0%", "1.235e-06%", "50.000%"]


def test_the_bound_of_vapnik_and_chervonenkis_falls_below_one_by_default(capsys):
    found = document(capsys, "bound")["results"]
    assert (found["loads"][0], found["loads"][-1]) == (0.1, 100)
    assert found["limit"]["VC dimension"][0] == 1
    assert found["limit"]["VC dimension"][-1] < 1


def test_a_long_table_is_thinned_and_says_so(capsys):
    assert main(["learning", "curve", "gibbs", "hebb", "--loads", "0.1:10:200"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Generalisation error, spherical weights"
    assert lines[1].split() == ["load", "Gibbs", "Hebb"]
    assert lines[-1] == "25 of 200 rows; --json has all"
    rows = lines[2:-1]
    assert len(rows) == 25
    assert rows[-1].split() == ["10", "0.0615", "0.1201"]


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_has_the_columns_below_each_other(capsys, monkeypatch, width):
    from rich.console import Console

    monkeypatch.setattr("heavytail.cli.learning.shared.open_console", lambda: Console(width=width))
    assert main(["learning", "curve", "--loads", "1,2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    for error in ("0.3384", "0.2544", "0.2856", "0.5000", "0.2657"):
        assert error in text
    assert text.count("load") >= 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["phases", "--temperatures", "1,2", "--loads", "1", "--path", "2,.5,.2,.8"], ["2.3328", "spin glass", "B"]),
        (["capacity", "--margin", "0", "--label-noise", "0"], ["2.0000", "0.8331", "∞"]),
        (["memory", "--loads", "0.1,0.2"], ["0.100%", "no answer at load 0.2"]),
        (["memory", "--phases", "--loads", "0.1"], ["0.3154"]),
        (["bound", "--loads", "1.2"], ["0.2669", "0.4262"]),
        (["curve", "regression", "--loads", "1"], ["∞", "0.3583"]),
        (
            ["curve", "--against", "temperature", "--loads", "3", "--label-noise", "0.1", "--temperatures", "1"],
            ["0.45512"],
        ),
        (["curve", "hebb", "--loads", "1", "--simulate", "50"], ["Simulation of Hebb: n = 50, 20 runs"]),
    ],
)  # fmt: skip
def test_every_question_has_its_table(capsys, arguments, expected):
    assert main(["learning", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for text in expected:
        assert text in out


# ----------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", MAGIC)
def test_a_figure_is_what_its_name_says(tmp_path, capsys, suffix):
    path = tmp_path / f"figure.{suffix}"
    assert main(["learning", "curve", "hebb", "--loads", "1,2", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(MAGIC[suffix])
    first = path.read_bytes()
    assert main(["learning", "curve", "hebb", "--loads", "1,2", "--plot", str(path)]) == 0
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "arguments",
    [
        ["curve", "--loads", "0.1:5:20"],
        ["curve", "gibbs", "--label-noise", "0.1", "--loads", "1:5:9"],
        ["curve", "--weights", "ising", "--loads", "0.1:3:30"],
        ["curve", "regression", "--simulate", "50", "--loads", "0.5:3:9"],
        ["curve", "--against", "temperature", "--loads", "3", "--label-noise", "0.1,0.2", "--temperatures", "0.3:1:5"],
        ["phases", "--temperatures", "0.1:1:5", "--loads", "0.5:3:9", "--path", "2,.5,.2,.8"],
        ["capacity", "--margin", "0,1", "--label-noise", "0.1,0.2"],
        ["memory", "--loads", "0.01:0.2:9", "--temperature", "0,0.3"],
        ["memory", "--phases", "--loads", "0:0.2:9"],
        ["bound", "--n", "50", "--loads", "0.1:5:9"],
    ],
)
def test_every_question_has_its_figure(tmp_path, capsys, arguments):
    path = tmp_path / "figure.png"
    assert main(["learning", *arguments, "--plot", str(path), "--json", str(tmp_path / "data.json")]) == 0
    assert path.read_bytes().startswith(MAGIC["png"])
    found = json.loads((tmp_path / "data.json").read_text())
    assert found["schema_version"] == 1
    assert found["question"] == arguments[0]
    assert capsys.readouterr().err == ""


def test_without_matplotlib_a_figure_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("heavytail.cli.learning.shared.find_spec", lambda name: None)
    path = tmp_path / "figure.png"
    assert "--plot needs matplotlib: pip install 'heavytail[plot]'" in refused(capsys, "curve", "--plot", str(path))
    assert not path.exists()


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["curve", "--loads", "-1"], "load is -1; it must be above 0"),
        (["curve", "--loads=-1:2:3"], "load is -1; it must be above 0"),
        (["curve", "--loads", "1:2"], "argument --loads: '1:2' is not START:STOP:COUNT"),
        (["curve", "--loads", "1:2:x"], "argument --loads: '1:2:x' is not"),
        (["curve", "--loads", "0:2:5:log"], "START and STOP are 0 and 2; with :log both must be above 0"),
        (["curve", "--loads", "1:2:5:lin"], "argument --loads: '1:2:5:lin' is not"),
        (["curve", "--loads", "one"], "argument --loads: 'one' is not"),
        (["curve", "--loads", ""], "argument --loads: '' is not"),
        (["curve", "--loads", "1,nan"], "argument --loads: '1,nan' has a number that is not finite"),
        (["curve", "--loads", "1:2:1"], "argument --loads: COUNT is 1; it must be from 2 to 100000"),
        (["curve", "--loads", "1:2:1000000"], "argument --loads: COUNT is 1000000; it must be from 2 to 100000"),
        (["curve", "--label-noise", "0.6"], "label_noise is 0.6; it must be at least 0 and at most 0.5"),
        (["curve", "--label-noise", "0.5"], "label_noise is 0.5"),
        (["curve", "--temperature", "-1"], "temperature is -1"),
        (["curve", "nobody"], "there is no student 'nobody'; there are gibbs, vote, bayes, hebb"),
        (["curve", "pseudo-inverse", "--weights", "ising"], "pseudo-inverse has spherical weights; --weights is ising"),
        (["curve", "high-temperature"], "high-temperature needs --temperature above 0; it is 0"),
        (["curve", "hebb", "regression"], "regression has another kind of error; ask for it alone"),
        (["curve", "regression", "--weights", "ising"], "regression has no --weights"),
        (["curve", "regression", "--penalty", "a"], "--penalty is 'a'; it must be numbers with commas, or best"),
        (["curve", "regression", "--noise", "-1"], "noise is -1; it must be at least 0"),
        (["curve", "gibbs", "--noise", "1"], "--noise and --penalty are of regression; perceptrons have --label-noise"),
        (["curve", "--weights", "cubic"], "argument --weights: invalid choice: 'cubic'"),
        (["curve", "--against", "temperature"], "--against temperature needs one load"),
        (["curve", "--against", "temperature", "--loads", "1,2"], "--against temperature needs one load"),
        (["curve", "hebb", "--against", "temperature", "--loads", "1"], "has the students gibbs and vote; got 'hebb'"),
        (["curve", "--temperatures", "0,1"], "--temperatures goes with --against temperature"),
        (["curve", "--seed", "-1"], "argument --seed: '-1' is not a whole number"),
        (["curve", "hebb", "--simulate", "x"], "argument --simulate: 'x' is not a whole number"),
        (["curve", "hebb", "--simulate", "0"], "n is 0; it must be at least 1"),
        (["curve", "--plot", "figure.gif"], "--plot figure.gif: the name of a figure ends in .png, .svg, .pdf"),
        (["curve", "--plot", "-"], "--plot -: only --json can go to standard output"),
        (["curve", "--plot", "nowhere/figure.png"], "there is no folder nowhere"),
        (["curve", "--json", "nowhere/data.json"], "there is no folder nowhere"),
        (["phases", "--path", "1,2"], "--path has 2 numbers; it must be LOAD,RANDOMISED,COLD,WARM"),
        (["phases", "--path", "2,1.5,.2,.8"], "randomised is 1.5; it must be above 0 and below 1"),
        (["phases", "--path", "2,.5,.2,.1"], "warm is 0.1; it must be above cold, 0.2"),
        (["phases", "--path", "2,.5,.2,.8", "--label-noise", ".1"], "leave out --label-noise"),
        (["phases", "--label-noise", "0.7"], "label_noise is 0.7"),
        (["phases", "--temperatures", "1", "--plot", "figure.png"], "--plot needs a range of temperatures; 1 is one"),
        (["curve", "--loads", "1", "--plot", "figure.png"], "--plot needs a range of loads; 1 is one value"),
        (["capacity", "--margin", "1", "--plot", "figure.png"], "--plot needs a range of margin; 1 is one value"),
        (
            ["curve", "hebb", "--loads", "1,2", "--label-noise", "0:0.4:10", "--plot", "figure.png"],
            "--plot draws at most 9 lines that can be told apart; this asks for 10",
        ),
        (["curve", "hebb", "--temperature", "0.5"], "hebb: no temperature to choose"),
        (["curve", "--seed", "1"], "--seed goes with --simulate N"),
        (["curve", "gibbs", "--sweeps", "100"], "--sweeps goes with --simulate N"),
        (["memory", "--runs", "3"], "--runs goes with --simulate N"),
        (["memory", "--phases", "--seed", "3"], "--seed goes with --simulate N"),
        (["curve", "hebb", "--simulate", "9", "--runs", "1"], "--runs is 1; it must be at least 2"),
        (["curve", "hebb", "--simulate", "9", "--start", "teacher"], "--start and --sweeps are of walks"),
        (["curve", "gibbs", "--simulate", "9", "--start", "random"], "are walked from the teacher"),
        (["curve", "annealed", "--simulate", "9"], "annealed is an approximate theory"),
        (["curve", "regression", "--simulate", "9", "--sweeps", "4"], "regression has no --sweeps"),
        (["curve", "hebb", "--simulate", "1000000000"], "the limit, 2.5e+08, allows n up to 1066"),
        (["memory", "--simulate", "10000000"], "the limit, 2.5e+08, allows n up to"),
        (["curve", "regression", "--simulate", "1000000"], "the limit, 2.5e+08, allows n up to"),
        (["bound", "--n", "1000000000"], "--n is 1000000000; it must be at most 1000000"),
        (["bound", "--delta", "0.1"], "--delta is of bounds for N weights: it goes with --n N"),
        (["curve", "--json", ""], "--json is empty; it must be the name of a file"),
        (["capacity", "--margin=-1,0"], "replica symmetry, on which the capacity rests, fails"),
        (["capacity", "--margin", "-1"], "margin is -1"),
        (["capacity", "--patterns", "10"], "--patterns and --n go together"),
        (["capacity", "--patterns", "10.5", "--n", "5"], "patterns is 10.5; it must be whole"),
        (["memory", "--loads", "-0.1"], "load is -0.1"),
        (["memory", "--phases", "--simulate", "10"], "leave out --simulate and --temperature"),
        (["bound", "--n", "1"], "n is 1; it must be at least 2"),
        (["bound", "--delta", "2", "--n", "10"], "delta is 2"),
        ([], "the following arguments are required: WHAT"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_help_needs_nothing_heavy():
    code = """
import sys
from heavytail.cli import main
try:
    main(["learning", "curve", "--help"])
except SystemExit:
    pass
print(sorted({"numpy", "scipy", "matplotlib", "rich", "pandas"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "online-perceptron" in done.stdout


def test_a_closed_standard_output_is_no_fault(tmp_path):
    path = tmp_path / "data.json"
    command = f'"{sys.executable}" -m heavytail learning curve hebb --loads 1 --json "{path}" >&-'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(path.read_text())["question"] == "curve"


# ---------------------------------------------------------------------------------------------------------- pieces


def test_a_dense_grid_has_what_was_asked_for_and_is_spaced_like_it():
    even = dense([0.5, 1.0, 2.0, 4.0])
    assert {0.5, 1.0, 2.0, 4.0} < set(even)
    assert np.max(np.diff(even)) < 0.02
    assert np.min(np.diff(even)) > 1e-9
    wide = dense(np.geomspace(0.1, 100, 7))
    assert np.max(np.diff(np.log(wide))) < 0.04
    assert (wide[0], wide[-1]) == (0.1, 100)


def test_a_jump_is_found_exactly():
    def solve(loads):
        return {"phase": np.where(loads < np.sqrt(2), "a", "b")}

    values, found = traced(solve, np.linspace(1, 2, 50), lambda found: found["phase"])
    assert np.all(np.diff(values) > 0)
    k = np.flatnonzero(found["phase"] == "b")[0]
    assert values[k - 1] < np.sqrt(2) <= values[k]
    assert values[k] - values[k - 1] < 1e-5


def test_a_figure_of_few_loads_has_the_transition_where_it_is(tmp_path, capsys, monkeypatch):
    figures = []
    monkeypatch.setattr("heavytail.plots.save", lambda figure, path: figures.append(figure))
    path = str(tmp_path / "figure.png")
    assert main(["learning", "curve", "gibbs", "--weights", "ising", "--loads", "0.5,1,3", "--plot", path]) == 0
    (jump,) = [one for one in figures[0].axes[0].lines if one.get_gid() == "jump"]
    assert jump.get_xdata()[0] == pytest.approx(1.2447, abs=1e-4)
    assert main(["learning", "curve", "pseudo-inverse", "--loads", "0.5,3", "--plot", path]) == 0
    assert max(figures[1].axes[0].lines[0].get_ydata()) == 0.5
    assert (
        main(
            [
                "learning",
                "phases",
                "--temperatures",
                "0.3,0.2",
                "--loads",
                "0.5,1",
                "--path",
                "2,.5,.2,.8",
                "--plot",
                path,
            ]
        )
        == 0
    )
    axes = figures[2].axes[0]
    assert axes.get_xlim()[1] > 2
    assert axes.get_ylim()[1] > 0.8
    assert main(["learning", "memory", "--loads", "0.1,0.2", "--plot", path]) == 0
    (end,) = [one for one in figures[3].axes[0].lines if one.get_gid() == "end"]
    assert end.get_xdata()[0] == pytest.approx(0.137906, abs=1e-5)
    assert capsys.readouterr().err == ""


def test_grids_are_those_of_numpy():
    assert number_list("0.1:10:200") == pytest.approx(np.linspace(0.1, 10, 200), rel=1e-14)
    assert number_list("0.1:10:50:log") == pytest.approx(np.geomspace(0.1, 10, 50), rel=1e-12)
    assert number_list("3:1:3") == (3, 2, 1)
    assert number_list("1e-2") == (0.01,)


def test_values_without_a_solution_are_found_wherever_they_are():
    bad = {3.0, 7.0, 8.0}

    def solve(loads):
        if bad & set(loads):
            raise ConvergenceError(f"none at {min(bad & set(loads)):g}")
        return LearningCurve("x", loads, loads**2, loads, np.full(loads.shape, "smooth"), 1e-12)

    found, reason = solve_where_possible(solve, np.arange(10.0), LearningCurve)
    solved = ~np.isin(np.arange(10), list(bad))
    assert np.array_equal(np.isfinite(found["error"]), solved)
    assert np.array_equal(found["error"][solved], np.arange(10.0)[solved] ** 2)
    assert np.array_equal(found["phase"] == "none", ~solved)
    assert reason == "none at 3"
    nothing, reason = solve_where_possible(solve, np.array([3.0, 7.0]), LearningCurve)
    assert np.isnan(nothing["error"]).tolist() == [True, True]
    assert nothing["phase"].tolist() == ["none", "none"]
    assert reason == "none at 3"


def test_infinite_numbers_are_not_lost_from_a_table(capsys):
    assert main(["learning", "capacity", "--label-noise", "0", "--margin", "0"]) == 0
    assert "∞" in capsys.readouterr().out
    found = document(capsys, "capacity", "--label-noise", "0", "--margin", "0")
    assert found["results"]["separable_load"] == [None]
    assert found["infinite"] == ["results.separable_load[0]"]
    found = document(capsys, "curve", "regression", "--loads", "0.5,1")
    assert found["infinite"] == ["results.curves[0].error[1]"]
