"""The annealed and the high-temperature theory, against theory.md and brute force."""

import numpy as np
import pytest

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning.annealed import Annealed, HighTemperature
from heavytail.learning.perceptron import Perceptron


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


def test_what_is_not_there_is_refused():
    with pytest.raises(ConvergenceError, match=r"no poor state at load 1\.8"):
        Annealed("ising").solve(1.8, 0.0, branch="poor")
    with pytest.raises(RequestError, match="only students with Ising weights"):
        Annealed("spherical").transition(0.0)
    with pytest.raises(RequestError, match="linear outputs have no labels"):
        HighTemperature(label_noise=0.1, output="linear")
    with pytest.raises(RequestError, match="temperature is 0; it must be above 0"):
        HighTemperature().solve(1.0, 0.0)
