"""The two knobs of the very simple deep learning model, and where its effective load is exact."""

import numpy as np
import pytest

from heavytail.errors import RequestError
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.phases import transitions
from heavytail.learning.vsdl import VSDL

RATIOS = {  # randomised fraction: at temperatures 20, 5, 1, 0.5, 0.3, as replica symmetry has them
    0.1: (1.0018, 1.0075, 1.046, 1.114, 1.25),
    0.2: (1.0041, 1.0171, 1.108, 1.286, 1.65),
    0.4: (1.0110, 1.0467, 1.333, 2.03, 3.33),
}


@pytest.mark.parametrize("randomised", RATIOS)
def test_random_labels_cost_more_than_the_model_says_except_at_high_temperature(randomised):
    T = np.array([20, 5, 1, 0.5, 0.3])
    published = np.array(RATIOS[randomised])
    noisy, clean = transitions(Perceptron("ising", randomised / 2), T), transitions(Perceptron("ising"), T)
    as_published = (1 - randomised) * noisy.replica_transition / clean.transition
    assert as_published == pytest.approx(published, abs=6e-3)
    assert as_published[:2] == pytest.approx(published[:2], abs=6e-5)
    ours = VSDL().load_ratio(T, randomised)
    nishimori = Perceptron("ising", randomised / 2).nishimori_temperature
    assert ours[nishimori <= T] == pytest.approx(published[nishimori <= T], abs=6e-3)
    assert (ours[nishimori > T] < published[nishimori > T]).all()  # replica symmetry fails there: it freezes before


def test_transitions_of_noisy_labels_are_the_published_ones():
    ours = [transitions(Perceptron("ising", p / 2), [1.0]).transition[0] for p in (0, 0.1, 0.2, 0.4)]
    assert ours == pytest.approx([2.3328, 2.7105, 3.2303, 5.1827], abs=6e-5)


def test_noise_leads_into_the_glass_and_early_stopping_out_of_it():
    a, b, c = VSDL().path(load=2.0, randomised=0.4, cold=0.15, warm=0.6).stops
    assert [str(stop.exact.phase) for stop in (a, b, c)] == ["perfect", "spin glass", "poor"]
    assert a.exact.training_error == 0
    assert b.effective_load == pytest.approx(1.2)
    assert b.model.error > 0  # the effective load fell below the transition
    assert c.exact.training_error > 0.1


def test_the_path_goes_through_the_glass_at_temperature_zero_too():
    for weights in ("ising", "spherical"):
        phases = [str(stop.exact.phase) for stop in VSDL(weights).path(3.0, 0.5, cold=0.0, warm=1.0).stops]
        assert phases == [{"ising": "perfect", "spherical": "smooth"}[weights], "spin glass", phases[2]]
        assert phases[2] in ("poor", "smooth")


def test_the_curve_of_the_model_is_that_of_clean_labels_with_the_loads_shrunk():
    curve = VSDL().learning_curve([2.0, 3.0], randomised=0.5)
    assert curve.loads.tolist() == [2.0, 3.0]
    assert curve.error == pytest.approx([0.310526, 0.0], abs=1e-6)  # of clean labels at 1 and 1.5


def test_the_model_is_a_student_of_clean_labels_at_the_effective_load():
    ours = VSDL("spherical").solve(3.0, 0.5, randomised=0.2)
    assert ours.error == pytest.approx(Perceptron("spherical").solve(2.4, 0.5).error, rel=1e-14)


def test_the_expansion_for_small_errors_has_a_maximum_that_is_no_transition():
    errors = np.linspace(0.01, 0.99, 9801)
    loads = VSDL().small_error_load(errors)
    assert loads.max() == pytest.approx(3.6308, abs=5e-5)  # pi^2 / e
    assert VSDL("spherical").small_error_load(0.1) == pytest.approx(10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"randomised": 0.0}, "randomised is 0; it must be above 0 and below 1"),
        ({"randomised": 1.5}, "randomised is 1.5; it must be above 0 and below 1"),
        ({"warm": 0.1}, "warm is 0.1; it must be above cold, 0.2"),
        ({"load": -1.0}, "load is -1; it must be above 0"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(arguments, message):
    with pytest.raises(RequestError, match=message):
        VSDL().path(**({"load": 2.0, "randomised": 0.4, "cold": 0.2, "warm": 0.6} | arguments))
