"""The annealed and the high-temperature theory, against reference numbers and brute force."""

import numpy as np
import pytest

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning.annealed import Annealed, HighTemperature
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.phases import transitions


def test_the_annealed_transition_and_spinodal_are_the_published_ones():
    model = Annealed("ising")
    assert model.transition(0.0) == pytest.approx(1.44796644, abs=1e-8)
    assert model.spinodal(0.0) == pytest.approx(1.7301118, abs=5e-8)
    before = model.solve(model.transition(0.0) * (1 - 1e-10), 0.0)
    assert before.error == pytest.approx(0.254256, abs=1e-6)
    assert model.solve(model.spinodal(0.0) * (1 - 1e-12), 0.0, branch="poor").error == pytest.approx(0.153293, abs=2e-6)


def test_the_high_temperature_transition_and_spinodal_are_the_published_ones():
    model = HighTemperature("ising")
    assert model.transition(1.0) == pytest.approx(1.6959326, abs=5e-8)
    assert model.spinodal(1.0) == pytest.approx(2.0820699, abs=5e-8)
    assert model.solve(model.transition(1.0) * (1 - 1e-10), 1.0).overlap == pytest.approx(0.580237, abs=1e-6)
    assert model.solve(model.spinodal(1.0) * (1 - 1e-13), 1.0, branch="poor").overlap == pytest.approx(
        0.833557, abs=2e-6
    )


@pytest.mark.parametrize("model", [Annealed("ising", 0.1), Annealed("spherical", 0.2), HighTemperature("ising", 0.1)])
def test_a_state_maximises_the_free_entropy_over_all_overlaps(model):
    load, temperature = 1.1, 0.8
    R = np.linspace(0, 1, 400_001)[1:-1]
    error = np.arccos(R) / np.pi
    wrong = model.label_noise + (1 - 2 * model.label_noise) * error
    if model.weights == "ising":
        entropy = -sum(x * np.log(x) for x in ((1 + R) / 2, (1 - R) / 2))
    else:
        entropy = 0.5 * np.log(1 - R * R)
    hot = isinstance(model, HighTemperature)
    gain = -wrong / temperature if hot else np.log(1 - (1 - np.exp(-1 / temperature)) * wrong)
    best = np.argmax(entropy + load * gain)
    state = model.solve(load, temperature)
    assert state.overlap == pytest.approx(R[best], abs=1e-5)
    assert state.free_entropy == pytest.approx((entropy + load * gain)[best], abs=1e-10)


def test_randomised_labels_at_high_temperature_are_examples_less():
    noisy, clean = HighTemperature("ising", 0.2), HighTemperature("ising")
    assert noisy.transition(1.0) * 0.6 == pytest.approx(clean.transition(1.0), rel=1e-12)
    assert noisy.solve(1.5, 1.0).overlap == pytest.approx(clean.solve(0.9, 1.0).overlap, rel=1e-12)


def test_the_annealed_free_energy_bounds_the_replica_one():
    loads, T = np.linspace(0.1, 2.0, 20), 0.8
    for weights in ("spherical", "ising"):
        replica = Perceptron(weights, 0.1).solve(loads, T, branch="poor").free_energy
        annealed = -T * Annealed(weights, 0.1).solve(loads, T, branch="poor").free_entropy
        assert (annealed < replica).all()


def test_linear_students_learn_without_a_transition():
    ratios = np.array([0.1, 1.0, 3.0])
    ising = HighTemperature("ising", output="linear").solve(ratios, 1.0)
    assert ising.overlap == pytest.approx(np.tanh(ratios), rel=1e-12)  # closed form
    spherical = HighTemperature("spherical", output="linear").solve(ratios, 1.0)
    R = spherical.overlap
    assert R / (1 - R * R) == pytest.approx(ratios, rel=1e-10)
    assert spherical.error == pytest.approx(1 - R, abs=1e-12)
    assert set(ising.phase) == {"smooth"}


def test_the_curve_jumps_at_the_transition():
    curve = Annealed("ising").learning_curve([1.4479, 1.4480], 0.0)
    assert curve.error == pytest.approx([0.254256, 0.0], abs=1e-4)
    assert curve.phase.tolist() == ["poor", "perfect"]
    assert curve.name == "annealed"


def test_few_examples_teach_in_proportion():
    loads = np.array([1e-299, 1e-100, 1e-20, 1e-14, 1e-12, 1e-9])
    for weights in ("spherical", "ising"):
        for noise, T in ((0.0, 0.0), (0.1, 0.5)):
            price = -np.expm1(-1 / T) if T else 1.0
            # R is the load times dg/dR, at R = 0
            slope = price * (1 - 2 * noise) / np.pi / (1 - price / 2)
            state = Annealed(weights, noise).solve(loads, T)
            assert state.overlap == pytest.approx(slope * loads, rel=2e-9)
            assert (state.residual < 1e-12).all()
        hot = HighTemperature(weights).solve(loads, 2.0)
        assert hot.overlap == pytest.approx(loads / (2 * np.pi), rel=2e-9)


def test_many_examples_leave_spherical_students_an_error_of_one_over_the_load():
    loads = np.array([2e8, 1e15, 1e60, 1e129])
    state = Annealed().solve(loads, 0.0)
    assert state.error * loads == pytest.approx(np.ones(4), rel=1e-8)
    # ln sqrt(1 - R^2) = ln(pi error), and -load error
    assert state.free_entropy == pytest.approx(np.log(np.pi / loads) - 1, rel=1e-9)
    assert (state.residual < 1e-11).all()


def test_linear_students_of_many_examples_keep_the_digits_of_their_error():
    ratios = np.array([18.0, 20.0, 100.0, 299.0])
    for T in (0.05, 1.0):
        state = HighTemperature("ising", output="linear").solve(ratios * T, T)
        assert state.error == pytest.approx(2 * np.exp(-2 * ratios), rel=1e-11)  # 1 - tanh
        assert state.free_entropy == pytest.approx(np.exp(-2 * ratios), rel=1e-11)  # ln(1 + e^-2x)
    spherical = HighTemperature("spherical", output="linear").solve([1e16, 1e200], 1.0)
    assert spherical.error == pytest.approx([5e-17, 5e-201], rel=1e-12)


def test_every_temperature_that_is_a_number_has_a_state():
    for model in (Annealed("ising"), Annealed()):
        cold, hot = model.solve(1.0, [5e-324, 1e-300, 1e-9]), model.solve(1e12, [1e12, 1e12])
        assert (cold.overlap == model.solve(1.0, 0.0).overlap).all()
        assert hot.overlap == pytest.approx(HighTemperature(model.weights).solve(1.0, 1.0).overlap, rel=1e-10)
    with pytest.raises(RequestError, match="temperature is inf; it must be at least 0 and finite"):
        Annealed("ising").solve(1.0, np.inf)


def test_the_annealed_transition_is_too_late_for_clean_labels_and_too_early_for_noisier_ones():
    for noise, T, annealed, true in ((0.0, 0.0, 1.448, 1.245), (0.1, 0.0, 1.659, 2.514), (0.1, 1.0, 2.889, 3.230)):
        assert Annealed("ising", noise).transition(T) == pytest.approx(annealed, abs=6e-4)
        assert transitions(Perceptron("ising", noise), [T]).transition[0] == pytest.approx(true, abs=6e-4)


def test_curves_of_no_load_and_of_one_have_their_shapes():
    for model in (Annealed("ising"), HighTemperature("spherical")):
        empty, one = model.learning_curve([], 0.5), model.learning_curve(1.0, 0.5)
        assert empty.error.shape == empty.phase.shape == (0,)
        assert one.error.shape == one.phase.shape == (1,)
        assert model.solve([], 0.5).overlap.shape == (0,)
    assert Annealed("ising").transition([]).shape == (0,)


def test_what_is_not_there_is_refused():
    with pytest.raises(ConvergenceError, match=r"load 1\.8 is, at temperature 0, above the spinodal: there is no poor"):
        Annealed("ising").solve(1.8, 0.0, branch="poor")
    with pytest.raises(
        ConvergenceError, match=r"load 1e\+131 is, at temperature 0, too large: the error is below 1e-130"
    ):
        Annealed().solve([1.0, 1e131], 0.0)
    with pytest.raises(ConvergenceError, match="load 400 is, at temperature 1, too large"):
        HighTemperature("ising", output="linear").solve(400.0, 1.0)
    with pytest.raises(
        ConvergenceError, match=r"load 1 is, at temperature 1e\+305, too small: the overlap is below 1e-300"
    ):
        HighTemperature().solve(1.0, 1e305)
    with pytest.raises(RequestError, match="load is inf; it must be above 0 and finite"):
        Annealed().solve(np.inf, 0.0)
    with pytest.raises(RequestError, match="weights are 'spherical' or 'ising'; got 'binary'"):
        Annealed("binary")
    with pytest.raises(RequestError, match="only students with Ising weights"):
        Annealed("spherical").transition(0.0)
    with pytest.raises(RequestError, match=r"load of shape \(2,\) and temperature of shape \(3,\) do not fit"):
        Annealed().solve([1.0, 2.0], [0.0, 1.0, 2.0])
    with pytest.raises(RequestError, match="linear outputs have no labels"):
        HighTemperature(label_noise=0.1, output="linear")
    with pytest.raises(RequestError, match="temperature is 0; it must be above 0"):
        HighTemperature().solve(1.0, 0.0)
