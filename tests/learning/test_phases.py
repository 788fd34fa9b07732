"""Transitions and phase diagrams, against published tables and single solutions."""

import numpy as np
import pytest

from heavytail.learning.perceptron import Perceptron
from heavytail.learning.phases import phase_diagram, transitions

TABLE = {  # temperature: transition, spinodal, zero entropy
    0.05: (1.2447, 1.4926, 1.2447),
    0.2: (1.2634, 1.5161, 1.3552),
    0.3: (1.3335, 1.6054, 1.5915),
    0.5: (1.5708, 1.9026, np.nan),
    1.0: (2.3328, 2.8456, np.nan),
    5.0: (9.0447, 11.0959, np.nan),
}


def test_the_lines_of_clean_labels_are_the_published_ones():
    lines = transitions(Perceptron("ising"), list(TABLE))
    ours = np.transpose([lines.transition, lines.spinodal, lines.glass])
    assert ours == pytest.approx(np.array(list(TABLE.values())), abs=6e-5, nan_ok=True)


def test_at_temperature_zero_the_transition_and_the_spinodal_have_seven_digits():
    lines = transitions(Perceptron("ising"), 0.0)
    assert lines.transition[0] == pytest.approx(1.2446840, abs=5e-8)
    assert lines.spinodal[0] == pytest.approx(1.4926318, abs=5e-8)


def test_a_spinodal_is_the_last_load_of_the_poor_state():
    model = Perceptron("ising", 0.05)
    spinodal = transitions(model, [1.0]).spinodal[0]
    assert model.solve(spinodal * (1 - 1e-9), 1.0, branch="poor").residual < 1e-9
    curve = model.learning_curve([spinodal * (1 - 1e-9), spinodal * (1 + 1e-9)], 1.0, branch="poor")
    assert curve.phase.tolist() == ["poor", "none"]


def test_with_noise_the_lines_of_transition_and_glass_meet_at_the_nishimori_temperature():
    for noise in (0.01, 0.1, 0.3):
        model = Perceptron("ising", noise)
        lines = transitions(model, model.nishimori_temperature * np.array([0.6, 0.9, 1.0, 1.05]))
        assert lines.glass[2] == pytest.approx(lines.transition[2], rel=1e-9)
        assert (lines.glass[:2] < lines.transition[:2]).all()
        assert lines.transition[:2] == pytest.approx(lines.transition[2], rel=1e-12)  # frozen: at one load
        assert (lines.replica_transition[[0, 1, 3]] > lines.replica_transition[2]).all()  # a minimum: no entropy there


def test_spherical_students_have_no_transition_and_with_noise_a_glass():
    lines = transitions(Perceptron("spherical", 0.1), [0.05, 0.1, 0.5])
    assert np.isnan([lines.transition, lines.spinodal]).all()
    assert np.isfinite(lines.glass).tolist() == [True, True, False]
    assert np.isnan(transitions(Perceptron(), [0.0, 0.1]).glass).all()


def test_the_glass_of_spherical_students_begins_where_noisy_labels_cease_to_be_separable():
    assert transitions(Perceptron("spherical", 0.1), 0.0).glass[0] == pytest.approx(2.9923, abs=1e-4)


@pytest.mark.parametrize(("weights", "noise"), [("ising", 0.0), ("ising", 0.1), ("spherical", 0.1)])
def test_a_diagram_has_what_single_solutions_have(weights, noise):
    model = Perceptron(weights, noise)
    loads, temperatures = np.linspace(0.1, 3.5, 18), np.array([0.0, 0.15, 0.4, 1.0])
    diagram = phase_diagram(model, loads, temperatures)
    for row, temperature in enumerate(temperatures):
        curve = model.learning_curve(loads, temperature)
        assert (diagram.phase[row] == curve.phase).all()
        assert diagram.error[row] == pytest.approx(curve.error, abs=1e-4, nan_ok=True)
        start = model.learning_curve(loads, temperature, branch="poor").phase
        assert (diagram.random_start[row] == np.where(start == "none", "perfect", start)).all()


def test_the_wedge_of_the_glass_ends_near_a_temperature_of_three_tenths():
    temperatures = np.array([0.05, 0.2, 0.35, 0.5])
    diagram = phase_diagram(Perceptron("ising"), np.linspace(0.5, 2.5, 81), temperatures)
    assert (diagram.region == "metastable glass").any(axis=1).tolist() == [True, True, False, False]
