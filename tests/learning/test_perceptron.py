"""The replica-symmetric perceptron, against reference numbers, quadrature, identities and limits."""

from math import exp, log, pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning.annealed import HighTemperature
from heavytail.learning.perceptron import Perceptron

GIBBS = {
    0.5: (0.409558, 0.322395),
    1: (0.338359, 0.254373),
    2: (0.240312, 0.174534),
    5: (0.118006, 0.083935),
    10: (0.061525, 0.043573),
}
ISING = {
    0.5: (0.293089, 0.405317, 0.317903, 0.372133),
    1.0: (0.560715, 0.310526, 0.230626, 0.106108),
    1.2: (0.668661, 0.266868, 0.195239, 0.017965),
}


def test_spherical_students_without_errors_have_the_published_errors():
    state = Perceptron().solve(list(GIBBS))
    assert np.transpose([state.error, state.vote_error]) == pytest.approx(np.array(list(GIBBS.values())), abs=1e-6)


def test_ising_students_without_errors_have_the_published_overlaps_and_entropies():
    state = Perceptron("ising").solve(list(ISING))
    ours = np.transpose([state.overlap, state.error, state.vote_error, state.entropy])
    assert ours == pytest.approx(np.array(list(ISING.values())), abs=1e-6)


def test_errors_fall_off_as_one_over_the_load():
    c = quad(lambda t: exp(-t * t - norm.logsf(t)) / sqrt(2 * pi), -30, 30, epsabs=1e-13)[0]
    state = Perceptron().solve(1e6)
    assert state.error * 1e6 == pytest.approx(sqrt(2) / c, rel=1e-5)
    assert state.vote_error * 1e6 == pytest.approx(1 / c, rel=1e-5)


@pytest.mark.parametrize(("load", "noise", "error"), [(2, 0.1, 0.243000), (2, 0.2, 0.302168), (1, 0.1, 0.308058)])
def test_bayes_errors_of_noisy_labels_are_the_published_ones(load, noise, error):
    model = Perceptron(label_noise=noise)
    assert model.solve(load, model.nishimori_temperature).vote_error == pytest.approx(error, abs=1e-6)


def test_at_the_nishimori_temperature_a_student_is_as_far_from_another_as_from_the_teacher():
    for weights in ("spherical", "ising"):
        for noise in (0.0, 0.01, 0.1, 0.3, 0.45):
            model = Perceptron(weights, noise)
            state = model.solve(np.linspace(0.1, 1.2, 12), model.nishimori_temperature)
            assert state.self_overlap == pytest.approx(state.overlap, abs=1e-10)
            assert state.training_error == pytest.approx(noise, abs=1e-10)
            assert (state.replicon > 0).all()  # no glass on that line (Nishimori 2001)


def test_the_published_states_at_the_nishimori_temperature():
    spherical, ising = Perceptron(label_noise=0.1), Perceptron("ising", 0.1)
    assert spherical.nishimori_temperature == pytest.approx(0.45512, abs=5e-6)
    assert spherical.solve(3, spherical.nishimori_temperature).error == pytest.approx(0.27374, abs=5e-6)
    assert ising.solve(1.5, ising.nishimori_temperature).error == pytest.approx(0.34167, abs=5e-6)


@pytest.mark.parametrize("weights", ["spherical", "ising"])
@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_the_vote_is_best_at_the_nishimori_temperature(weights, noise):
    model = Perceptron(weights, noise)
    temperatures = model.nishimori_temperature * np.geomspace(0.1, 10, 41)
    errors = model.solve(0.9, temperatures, branch="poor").vote_error
    assert np.argmin(errors) == 20


@pytest.mark.parametrize("weights", ["spherical", "ising"])
@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize(("load", "temperature"), [(0.3, 0.2), (1.1, 0.7), (1.2, 3.0)])
def test_entropy_and_energy_are_derivatives_of_the_free_energy(weights, noise, load, temperature):
    model, h = Perceptron(weights, noise), 1e-4
    up, here, down = model.solve(load, [temperature + h, temperature, temperature - h]).free_energy
    state = model.solve(load, temperature)
    assert state.entropy == pytest.approx(-(up - down) / (2 * h), abs=3e-7)
    assert here + temperature * state.entropy == pytest.approx(load * state.training_error, abs=1e-12)
    more, less = model.solve([load + h, load - h], temperature).free_energy
    slope = (more - less) / (2 * h)  # df/d load: what one more example costs, by Jensen below the training error
    assert state.training_error < slope < 1


def _by_quadrature(weights, q, R, T, noise):
    """The two field equations of the reference, per unit of load, by adaptive quadrature."""
    e, g, k = (exp(-1 / T) if T else 0.0), sqrt(q / (1 - q)), R / sqrt(q - R * R)

    def G(t):
        return (1 - e) * norm.pdf(g * t) / ((e + (1 - e) * norm.sf(-g * t)) * sqrt(1 - q))

    def P(t):
        return (1 - noise) * norm.sf(-k * t) + noise * norm.sf(k * t)

    qh = quad(lambda t: 2 * norm.pdf(t) * P(t) * G(t) ** 2, -8, 8, epsabs=1e-12, limit=400)[0]
    factor = 2 * (1 - 2 * noise) * sqrt(q / (q - R * R))
    return qh, quad(lambda t: factor * norm.pdf(t) * norm.pdf(k * t) * G(t), -8, 8, epsabs=1e-12, limit=400)[0]


@pytest.mark.parametrize("weights", ["spherical", "ising"])
@pytest.mark.parametrize(("load", "T", "noise"), [(0.5, 0.0, 0.0), (1.2, 0.3, 0.1), (0.8, 1.0, 0.0), (1.1, 0.0, 0.05)])
def test_solutions_satisfy_the_equations_by_independent_quadrature(weights, load, T, noise):
    state = Perceptron(weights, noise).solve(load, T)
    q, R = state.self_overlap, state.overlap
    qh, Rh = (load * field for field in _by_quadrature(weights, q, R, T, noise))
    if weights == "spherical":
        ours = Rh * (1 - q), (Rh**2 + qh) * (1 - q) ** 2
    else:
        ours = tuple(
            quad(lambda z, k=k: norm.pdf(z) * np.tanh(sqrt(qh) * z + Rh) ** k, -9, 9, epsabs=1e-12)[0] for k in (1, 2)
        )
    assert ours == pytest.approx((R, q), abs=1e-8)


@pytest.mark.parametrize(
    ("weights", "loads"), [("spherical", [1e-9, 1.0, 10.0, 1e3, 1e6]), ("ising", [1e-9, 0.5, 1.4])]
)
def test_a_cold_student_of_clean_labels_makes_no_errors(weights, loads):
    zero = Perceptron(weights).solve(loads, branch="poor")
    for temperature in (1e-300, 1e-9, 1e-6, 1e-3, 3e-3, 1e-2):  # exp(-1/T) is below 1e-43
        cold = Perceptron(weights).solve(loads, temperature, branch="poor")
        assert cold.error == pytest.approx(zero.error, rel=1e-9)
        assert cold.replicon == pytest.approx(zero.replicon, abs=1e-9)


def test_a_cold_student_of_noisy_labels_makes_none_where_they_can_be_separated():
    model = Perceptron(label_noise=0.1)
    for temperature in (1e-9, 1e-6, 1e-4):
        assert model.solve([1.0, 2.0, 2.9], temperature).error == pytest.approx(
            model.solve([1.0, 2.0, 2.9]).error, rel=1e-9
        )


def test_no_load_is_too_small_or_too_large():
    for weights, noise in (("spherical", 0.0), ("ising", 0.4999)):
        for temperature in (0.0, 1.0, 1e6):
            assert Perceptron(weights, noise).solve(1e-12, temperature).error == pytest.approx(0.5, abs=1e-3)
    assert Perceptron().solve(1e9).error * 1e9 == pytest.approx(0.6246582, abs=1e-6)


def test_results_do_not_follow_their_arguments():
    loads = np.array([1.0, 2.0])
    state = Perceptron().solve(loads)
    loads[0] = 99
    assert state.load.tolist() == [1.0, 2.0]


def test_a_curve_of_no_loads_is_empty_and_of_one_load_has_one():
    assert Perceptron().learning_curve([]).error.shape == (0,)
    assert Perceptron("ising").learning_curve(1.0, 0.5).error.shape == (1,)


def test_a_hot_student_follows_the_high_temperature_theory():
    for weights in ("spherical", "ising"):
        for noise in (0.0, 0.2):
            ratio, T = np.array([0.3, 1.0, 1.6]), 1e5
            ours = Perceptron(weights, noise).solve(ratio * T, T).overlap
            assert ours == pytest.approx(HighTemperature(weights, noise).solve(ratio, 1.0).overlap, abs=2e-5)


def test_without_labels_students_are_as_many_as_there_are():
    state = Perceptron("ising").solve(1e-6, [0.0, 1.0])
    assert state.entropy == pytest.approx(log(2), abs=1e-5)
    assert state.error == pytest.approx(0.5, abs=1e-3)


def test_beyond_what_can_be_separated_there_is_no_student_without_errors():
    model = Perceptron(label_noise=0.1)
    assert model.solve(2.97).self_overlap > 0.997  # the version space shrinks to a point at 2.9923
    beyond = model.solve([2.0, 3.0])
    assert beyond.phase.tolist() == ["smooth", "spin glass"]
    assert np.isnan([beyond.error[1], beyond.training_error[1], beyond.residual[1]]).all()
    curve = model.learning_curve([2.0, 3.0])
    assert np.isfinite(curve.error).tolist() == [True, False]
    assert curve.phase.tolist() == ["smooth", "spin glass"]


def test_where_replica_symmetry_fails_the_curve_has_no_numbers_and_says_so():
    curve = Perceptron("ising", 0.1).learning_curve([0.5, 1.5, 2.4, 2.6], temperature=0.2)
    assert curve.phase.tolist() == ["poor", "spin glass", "spin glass", "perfect"]
    assert np.isnan(curve.error).tolist() == [False, True, True, False]


def test_the_poor_students_of_the_transition_are_metastable_up_to_the_spinodal():
    model = Perceptron("ising")
    assert model.solve(2.8, 1.0).error == 0
    assert model.solve(2.8, 1.0, branch="poor").error > 0.15
    with pytest.raises(ConvergenceError, match=r"label noise 0: there is no poor state at load 2\.9, temperature 1"):
        model.solve(2.9, 1.0, branch="poor")


def test_free_energies_of_both_states_are_equal_at_the_transition():
    model = Perceptron("ising", 0.1)
    jump = float(model.transition(1.0))
    poor = model.solve(jump, 1.0, branch="poor").free_energy
    assert poor == pytest.approx(0.1 * jump, abs=1e-10)


def test_arguments_of_any_shape_are_broadcast():
    state = Perceptron().solve(np.array([[0.5], [1.0]]), [0.0, 0.5, 1.0])
    assert state.error.shape == (2, 3)
    assert state.error[1, 0] == pytest.approx(0.338359, abs=1e-6)
    assert isinstance(Perceptron().solve(1.0).error, float)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Perceptron("cubic"), "weights are 'spherical' or 'ising'; got 'cubic'"),
        (lambda: Perceptron(label_noise=0.6), "label_noise is 0.6; it must be at least 0 and at most 0.5"),
        (lambda: Perceptron(label_noise=0.5), "label_noise is 0.5: labels that know nothing of a teacher"),
        (lambda: Perceptron().solve(-1.0), "load is -1; it must be above 0 and at most 1e+09"),
        (lambda: Perceptron().solve(1.0, float("inf")), "temperature is inf; it must be at least 0 and at most 1e+09"),
        (lambda: Perceptron(label_noise=[0.1, 0.2]), "label_noise is an array of shape (2,); it must be one number"),
        (lambda: Perceptron().solve([1, 2], [0, 1, 2]), "load of shape (2,) and temperature of shape (3,) do not fit"),
        (lambda: Perceptron().solve("much"), "load is 'much'; it must be a number or an array of numbers"),
        (lambda: Perceptron().solve(float("nan")), "load is nan; it must be above 0"),
        (lambda: Perceptron().solve(1.0, -0.5), "temperature is -0.5; it must be at least 0"),
        (lambda: Perceptron().learning_curve([1.0], [0.0, 1.0]), "temperature is an array of shape (2,)"),
        (lambda: Perceptron().solve(1.0, branch="best"), "branch is 'best'; it must be one of equilibrium, poor"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(call, message):
    with pytest.raises(RequestError) as caught:
        call()
    assert str(caught.value).startswith(message)
