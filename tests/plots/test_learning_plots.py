import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from heavytail import plots
from heavytail.errors import RequestError
from heavytail.learning.early_stopping import GradientFlow
from heavytail.learning.hopfield import Hopfield
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.phases import phase_diagram, transitions
from heavytail.learning.results import Simulation
from heavytail.learning.ridge import RidgeRegression
from heavytail.learning.rules import Hebb, PseudoInverse
from heavytail.learning.sampling import Hysteresis
from heavytail.learning.stability import MaximumStability
from heavytail.learning.vsdl import VSDL
from heavytail.plots.phases import deepest
from heavytail.plots.style import COLOURS, of_students, shades, spread, with_gaps

LOADS = np.linspace(0.2, 5, 25)


def line(figure, name, panel=0):
    """Data of the line of that name, without gaps."""
    (found,) = [one for one in figure.axes[panel].lines if one.get_gid() == name]
    x, y = (np.asarray(data, dtype=float) for data in found.get_data())
    return x[np.isfinite(y)], y[np.isfinite(y)]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_learning_curves_draws_the_numbers_of_the_theory():
    curves = [Hebb().learning_curve(LOADS), PseudoInverse().learning_curve(LOADS)]
    figure = plots.learning_curves(curves)
    for curve in curves:
        x, y = line(figure, curve.name)
        assert np.array_equal(x, curve.loads)
        assert np.array_equal(y, curve.error)
        assert curve.name in texts(figure)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("load (examples per weight)", "generalisation error")


def test_what_has_no_answer_is_not_drawn_but_its_range_is():
    curve = MaximumStability(label_noise=0.1).learning_curve(LOADS)
    figure = plots.learning_curves([curve])
    x, y = line(figure, curve.name)
    assert np.array_equal(y, curve.error[np.isfinite(curve.error)])
    assert x.max() < 3
    (strip,) = [patch for patch in figure.axes[0].patches if patch.get_gid() == f"empty: {curve.name}"]
    empty = LOADS[curve.phase == "none"]
    assert strip.get_x() == pytest.approx(empty.min())
    assert strip.get_x() + strip.get_width() == pytest.approx(empty.max())
    assert strip.get_hatch()
    assert "no solution" in texts(figure)


def test_the_spin_glass_is_named():
    curve = Perceptron(label_noise=0.1).learning_curve(LOADS, 0.1)
    assert "spin glass" in curve.phase
    figure = plots.learning_curves([curve])
    assert "spin glass: replica symmetry fails" in texts(figure)
    assert len(line(figure, "Gibbs")[1]) == np.sum(curve.phase == "smooth")


def test_a_jump_is_not_joined_by_the_line():
    curve = Perceptron("ising").learning_curve(np.linspace(0.1, 3, 30))
    figure = plots.learning_curves([curve])
    (found,) = [one for one in figure.axes[0].lines if one.get_gid() == "Gibbs"]
    y = np.asarray(found.get_ydata(), dtype=float)
    steps = np.abs(np.diff(y))
    assert np.nanmax(steps) < 0.05
    assert np.isnan(y).sum() == 1


def test_simulations_are_points_with_their_errors():
    curve = Hebb().learning_curve(LOADS)
    point = Simulation("Hebb", 50, 2.0, {"error": np.array([0.2, 0.24, 0.25])})
    figure = plots.learning_curves([curve], {"Hebb": [point]})
    (container,) = figure.axes[0].containers
    assert container.lines[0].get_xydata().tolist() == [[2.0, point.mean("error")]]
    (segment,) = container.lines[2][0].get_segments()
    assert np.diff(segment[:, 1])[0] == pytest.approx(2 * point.standard_error("error"))


def test_error_against_load_names_the_noises():
    curves = {noise: Hebb(noise).learning_curve(LOADS) for noise in (0.0, 0.1, 0.3)}
    figure = plots.error_against_load(curves)
    for noise, curve in curves.items():
        assert np.array_equal(line(figure, f"label noise {noise:g}")[1], curve.error)


def test_the_transition_has_its_branches_and_its_walks():
    model, loads = Perceptron("ising"), np.linspace(0.1, 4, 60)
    lines = transitions(model, [1.0])
    poor = model.learning_curve(loads[loads < lines.spinodal[0]], 1.0, branch="poor")
    errors = np.array([[0.4, 0.3], [0.42, 0.34]])
    walk = Hysteresis(51, 1.0, np.array([1.0, 2.0]), errors, errors / 2)
    figure = plots.ising_transition(model.learning_curve(loads, 1.0), poor, lines, walk)
    assert line(figure, "poor")[0].max() < lines.transition[0] <= line(figure, "metastable")[0].min()
    assert np.all(line(figure, "perfect")[1] == 0)
    assert any(f"transition\n{lines.transition[0]:.3f}" in text for text in texts(figure))
    drawn = [container.lines[0].get_ydata().tolist() for container in figure.axes[0].containers]
    assert drawn == [pytest.approx([0.41, 0.32]), pytest.approx([0.205, 0.16])]


@pytest.fixture(scope="module")
def diagram():
    return phase_diagram(Perceptron("ising"), np.linspace(0.1, 4, 40), np.linspace(0.05, 1.2, 24))


def test_the_phase_diagram_has_its_regions_named_inside_them(diagram):
    figure = plots.phase_diagram(diagram)
    names = [text for text in figure.axes[0].texts if (text.get_gid() or "").startswith("region: ")]
    assert {text.get_gid()[8:] for text in names} == {"poor", "metastable", "metastable glass", "perfect"}
    for text in names:
        load, heat = text.xy
        row, column = np.argmin(abs(diagram.temperatures - heat)), np.argmin(abs(diagram.loads - load))
        assert diagram.region[row, column] == text.get_gid()[8:]
    for name, loads in (("transition", diagram.lines.transition), ("spinodal", diagram.lines.spinodal)):
        x, y = line(figure, name)
        assert np.array_equal(x, loads)
        assert np.array_equal(y, diagram.temperatures)
    x, _ = line(figure, "spin glass")
    assert np.array_equal(x, diagram.lines.glass[np.isfinite(diagram.lines.glass)])


def test_every_cell_of_the_diagram_has_the_colour_of_its_phase(diagram):
    mesh = plots.phase_diagram(diagram).axes[0].collections[0]
    mesh.update_scalarmappable()
    rows, columns = ((size - 1) * 6 + 1 for size in diagram.region.shape)
    colours = mesh.get_facecolors().reshape(rows, columns, 4)[::6, ::6]
    seen = {}
    for phase, colour in zip(diagram.region.ravel(), colours.reshape(-1, 4), strict=True):
        assert seen.setdefault(phase, tuple(colour)) == tuple(colour)
    assert len(set(seen.values())) == len(seen)


def test_the_path_is_drawn_at_its_effective_loads(diagram):
    path = VSDL().path(3.0, 0.5, 0.2, 0.8)
    one, two = plots.phase_diagram(diagram, path), plots.vsdl_planes(path, diagram, diagram)
    for axes in (*one.axes, *two.axes):
        stops = {text.get_text(): text.xy for text in axes.texts if text.get_text() in ("A", "B", "C")}
        assert stops == {"A": (3.0, 0.2), "B": (1.5, 0.2), "C": (1.5, 0.8)}
        arrows = [(text.xyann, text.xy) for text in axes.texts if text.arrow_patch and not text.get_gid()]
        assert arrows == [((3.0, 0.2), (1.5, 0.2)), ((1.5, 0.2), (1.5, 0.8))]


def test_the_two_glasses_are_told_apart():
    plane = phase_diagram(Perceptron("ising", 0.1), np.linspace(0.1, 4, 60), np.linspace(0.02, 0.6, 40))
    assert {"spin glass", "metastable glass"} < set(plane.region.ravel())
    figure = plots.phase_diagram(plane)
    names = {text.get_gid(): text.get_text() for text in figure.axes[0].texts if text.get_gid()}
    assert names["region: spin glass"] == "spin\nglass"
    assert names["region: metastable glass"] == "glass,\nmetastable"
    mesh = figure.axes[0].collections[0]
    mesh.update_scalarmappable()
    rows, columns = ((size - 1) * 6 + 1 for size in plane.region.shape)
    colours = mesh.get_facecolors().reshape(rows, columns, 4)[::6, ::6]
    kinds = [{tuple(one) for one in colours[plane.region == kind]} for kind in ("spin glass", "metastable glass")]
    assert len(kinds[0]) == len(kinds[1]) == 1
    assert kinds[0] != kinds[1]


def test_a_name_without_room_stands_beside_its_region(diagram):
    (name,) = [
        text for text in plots.phase_diagram(diagram).axes[0].texts if text.get_gid() == "region: metastable glass"
    ]
    assert name.arrow_patch
    wide = replace(diagram, phase=np.full_like(diagram.phase, "poor"), random_start=np.full_like(diagram.phase, "poor"))
    (name,) = [text for text in plots.phase_diagram(wide).axes[0].texts if text.get_gid()]
    assert not name.arrow_patch


def test_the_name_of_a_line_that_ends_stands_at_its_end():
    curve = MaximumStability(label_noise=0.1).learning_curve(LOADS)
    figure = plots.learning_curves([curve, Hebb(0.1).learning_curve(LOADS)])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    places = {text.get_text(): axes.transData.inverted().transform(text.get_window_extent()) for text in axes.texts}
    x, y = line(figure, curve.name)
    (left, bottom), (_, top) = places[curve.name]
    assert 0 < left - x[-1] < 0.3
    assert bottom < y[-1] < top
    assert places["Hebb"][0][0] > LOADS[-1]
    assert not [one for one in axes.lines if one.get_gid() == "leader"]


def test_a_jump_is_drawn_upright():
    figure = plots.learning_curves([Perceptron("ising").learning_curve(np.linspace(0.5, 3, 6))])
    (jump,) = [one for one in figure.axes[0].lines if one.get_gid() == "jump"]
    assert len(set(jump.get_xdata())) == 1


def test_marks_are_where_they_were_asked_for_if_they_are_few():
    curve = Hebb().learning_curve(LOADS)
    figure = plots.learning_curves([curve], marks=LOADS[[2, 5]])
    assert line(figure, "marks")[1].tolist() == curve.error[[2, 5]].tolist()
    many = plots.learning_curves([curve], marks=LOADS)
    assert "marks" not in [one.get_gid() for one in many.axes[0].lines]


def test_students_have_colours_and_their_lines_shades():
    alone, several = of_students(["a", "b", "c"]), of_students(["a", "a", "b", "b"])
    assert alone == list(COLOURS[:3])
    assert [several[1], several[3]] == list(COLOURS[:2])
    assert len(set(several)) == 4
    assert of_students(["a"]) == [COLOURS[0]]


def test_diagrams_that_do_not_ascend_are_refused(diagram):
    with pytest.raises(RequestError, match="loads of a figure must ascend"):
        plots.phase_diagram(replace(diagram, loads=diagram.loads[::-1]))


def test_error_against_temperature_marks_the_best_of_each():
    model, heat = Perceptron(label_noise=0.1), np.linspace(0.3, 1, 15)
    state = model.solve(3.0, heat)
    found = {
        "label_noise": 0.1, "nishimori_temperature": model.nishimori_temperature, "temperature": heat,
        "error": state.error, "vote_error": state.vote_error, "phase": state.phase,
    }  # fmt: skip
    figure = plots.error_against_temperature([found])
    assert np.array_equal(line(figure, "vote of all students")[1], state.vote_error)
    assert np.array_equal(line(figure, "one student (Gibbs)")[1], state.error)
    verticals = [one.get_xdata()[0] for one in figure.axes[0].lines if len(set(one.get_xdata())) == 1]
    assert model.nishimori_temperature in verticals
    assert heat[np.argmin(state.vote_error)] in verticals


def test_bounds_are_drawn_with_the_truth():
    truth = Perceptron("ising").learning_curve(LOADS)
    limit, finite = {"Occam": 1 - np.exp(-np.log(2) / LOADS)}, {"Occam": np.ones_like(LOADS)}
    figure = plots.bounds(truth, limit, finite, 30)
    assert np.array_equal(line(figure, "Occam")[1], limit["Occam"])
    assert np.array_equal(line(figure, "Occam, n = 30")[1], finite["Occam"])
    assert np.array_equal(line(figure, truth.name)[1], truth.error)


def test_hopfield_phases_end_where_they_end():
    phases = Hopfield().phases(np.linspace(0, 0.2, 81))
    figure = plots.hopfield_phases(phases)
    x, y = line(figure, "retrieval")
    known = np.isfinite(phases.retrieval)
    assert np.array_equal(y[:-1], phases.retrieval[known])
    assert (x[-1], y[-1]) == (phases.load[known][-1], 0)
    for name in ("paramagnet", "spin glass", "retrieval"):
        assert any(name in text for text in texts(figure))


def test_double_descent_and_capacities_and_memories_draw_their_numbers():
    state = RidgeRegression(0.2, 0.0).solve(LOADS + 0.05)  # at load 1 it is infinite
    assert np.array_equal(line(plots.double_descent({"none": state}), "none")[1], state.error)
    found = {"margin": np.array([0.0, 1.0]), "spherical": np.array([2.0, 0.52]), "ising": np.array([0.83, 0.27])}
    found |= {"label_noise": np.array([0.0, 0.1, 0.5]), "separable_load": np.array([np.inf, 2.99, 2.0])}
    figure = plots.capacity_curves(found)
    assert line(figure, "ising")[1].tolist() == [0.83, 0.27]
    assert line(figure, "separable load", 1)[1].tolist() == [2.99, 2.0]
    overlap = np.where(LOADS < 2, 1.0, np.nan)
    assert len(line(plots.memory_curves({0.0: (LOADS, overlap)}), "temperature 0")[1]) == np.sum(LOADS < 2)
    nothing = plots.memory_curves({0.0: (LOADS, overlap), 0.9: (LOADS, np.full_like(LOADS, np.nan))})
    assert "no retrieval at these loads: T = 0.9" in texts(nothing)


def test_early_stopping_has_the_temperature_beside_it():
    model, times = GradientFlow(0.2), np.geomspace(0.1, 30, 20)
    flow, heat = model.solve(2.0, times), model.temperature(2.0, times)
    figure = plots.early_stopping(flow, heat, model.best(2.0), 0.148)
    assert np.array_equal(line(figure, "error")[1], flow.error)
    assert np.array_equal(line(figure, "temperature", 1)[1], heat)
    assert figure.axes[1].get_ylabel() == "temperature"


def test_labels_do_not_overlap():
    curves = [Hebb(noise).learning_curve(LOADS) for noise in np.linspace(0, 0.02, 9)]
    figure = plots.error_against_load({k / 10: curve for k, curve in enumerate(curves)})
    figure.draw_without_rendering()
    boxes = sorted(
        (text.get_window_extent() for text in figure.axes[0].texts if text.get_text().startswith("label noise")),
        key=lambda box: box.y0,
    )
    assert len(boxes) == 9
    for below, above in pairwise(boxes):
        assert below.y1 <= above.y0 + 1
    assert boxes[0].y0 >= 0


def test_spread_is_the_nearest_arrangement_with_gaps():
    from scipy.optimize import LinearConstraint, minimize

    rng = np.random.default_rng(5)
    for _ in range(5):
        wanted = np.sort(rng.random(6))
        found = spread(wanted, 0.12)
        gaps = LinearConstraint(np.diff(np.eye(6), axis=0), 0.12, np.inf)
        best = minimize(lambda x, w=wanted: np.sum((x - w) ** 2), wanted, constraints=gaps, method="SLSQP", tol=1e-12)
        assert found == pytest.approx(best.x, abs=1e-5)
    assert spread(np.array([]), 0.1).size == 0


def test_small_pieces():
    x, y = with_gaps(np.arange(4.0), np.arange(4.0), np.array(["a", "a", "b", "b"]))
    assert np.isnan(y).tolist() == [False, False, True, False, False]
    assert x[~np.isnan(x)].tolist() == [0, 1, 2, 3]
    assert len(set(shades(5))) == 5
    inside = np.zeros((9, 9), dtype=bool)
    inside[2:7, 2:7] = True
    assert deepest(inside) == (4, 4)


def test_no_pyplot_and_no_setting_is_touched(tmp_path):
    code = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
import numpy as np
from heavytail import plots
from heavytail.learning.rules import Hebb
figure = plots.learning_curves([Hebb().learning_curve(np.array([1.0, 2.0]))])
for suffix in ("png", "svg", "pdf"):
    plots.save(figure, sys.argv[1] + "/figure." + suffix)
assert matplotlib.rcParams.copy() == before
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.pdf", "figure.png", "figure.svg"]


def test_save_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(RequestError, match=r"figure.gif: the name of a figure ends in .png, .svg, .pdf"):
        plots.save(Figure(), tmp_path / "figure.gif")
    with pytest.raises(RequestError, match="No such file or directory"):
        plots.save(Figure(), tmp_path / "nowhere" / "figure.png")
