from math import pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

from heavytail.errors import RequestError
from heavytail.learning.online import OnlinePerceptron, OptimalOnline
from heavytail.learning.rules import Hebb

C = quad(lambda t: np.exp(-t * t - norm.logsf(t)) / sqrt(2 * pi), -30, 12)[0]
MODELS = [OptimalOnline, OnlinePerceptron]


def derivative(f, a):
    """Derivative by a symmetric difference of fourth order."""
    h = 1e-3 * a
    return (8 * (f(a + h) - f(a - h)) - f(a + 2 * h) + f(a - 2 * h)) / (12 * h)


def information(slope, lam):
    """int Du phi(k)^2 / (lam + (1 - 2 lam) H(-k)) with k = slope u."""

    def law(u):
        likely = np.logaddexp(np.log(lam) if lam else -np.inf, np.log(1 - 2 * lam) + norm.logcdf(slope * u))
        return np.exp(norm.logpdf(u) + 2 * norm.logpdf(slope * u) - likely)

    reach = 12 / max(1, slope)
    return quad(law, -reach, reach, epsabs=1e-13, limit=200)[0]


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.4])
def test_the_optimal_rule_follows_its_differential_equation(lam):
    model = OptimalOnline(lam)
    for a in (0.01, 40.0):
        r = float(model.solve(a).overlap)
        expected = (1 - r**2) / r * (1 - 2 * lam) ** 2 * information(r / sqrt(1 - r**2), lam)
        assert derivative(lambda x: model.solve(x).overlap, a) == pytest.approx(expected, rel=1e-7)


def test_the_optimal_rule_is_the_inverse_of_its_integral():
    # the load as an integral over the overlap R = sin v
    nodes, weight = np.polynomial.legendre.leggauss(24)
    for a in (0.3, 5.0):
        half = (pi / 2 - pi * OptimalOnline().solve(a).error) / 2
        slowness = [np.tan(v) / information(np.tan(v), 0.0) for v in half * (1 + nodes)]
        assert half * weight @ slowness == pytest.approx(a, rel=1e-10)


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.4])
def test_the_perceptron_rule_follows_the_gaussian_averages_of_one_step(lam):
    # d(Q R) = <f u>, dQ^2 = 2 Q <f h> + <f^2>, f the label where the student's field h has the other sign
    nodes, weight = np.polynomial.legendre.leggauss(80)
    h, weight = 6 * (1 + nodes), 6 * weight * norm.pdf(6 * (1 + nodes)) * 2

    def averages(r):  # by symmetry with h > 0 and the label -1
        d = sqrt(1 - r * r)
        wrong = weight * (lam + (1 - 2 * lam) * ndtr(-r * h / d))
        student = -np.sum(wrong * h)
        teacher = r * student + (1 - 2 * lam) * d * np.sum(weight * np.exp(-0.5 * (r * h / d) ** 2)) / sqrt(2 * pi)
        return teacher, student, np.sum(wrong)

    def rate(s, y):  # in s = log load
        teacher, student, wrong = averages(y[0] / sqrt(y[1]))
        return np.exp(s) * np.array([teacher, 2 * sqrt(y[1]) * student + wrong])

    a, end, steps = 1e-6, 8.0, 2000
    y, s, step = np.array([(1 - 2 * lam) * a / sqrt(2 * pi), a / 2]), np.log(a), np.log(end / a) / steps
    for _ in range(steps):  # Runge and Kutta
        k1 = rate(s, y)
        k2 = rate(s + step / 2, y + step / 2 * k1)
        k3 = rate(s + step / 2, y + step / 2 * k2)
        k4 = rate(s + step, y + step * k3)
        y, s = y + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4), s + step
    assert OnlinePerceptron(lam).solve(end).overlap == pytest.approx(y[0] / sqrt(y[1]), rel=1e-8)


def test_the_optimal_error_falls_as_twice_that_of_bayes():
    assert pytest.approx(2.26397985, abs=1e-8) == C
    assert 150 * OptimalOnline().solve(150.0).error == pytest.approx(0.8692, abs=5e-5)
    assert 1e8 * OptimalOnline().solve(1e8).error == pytest.approx(2 / C, rel=1e-6)


def test_the_error_of_the_perceptron_rule_falls_with_the_power_one_third():
    a = 1e9
    assert (2 / 3) ** (1 / 3) / pi == pytest.approx(0.278069, abs=1e-6)
    assert OnlinePerceptron().solve(a).error * a ** (1 / 3) == pytest.approx((2 / 3) ** (1 / 3) / pi, rel=1e-5)


@pytest.mark.parametrize("lam", [0.05, 0.2])
def test_noisy_labels_stop_the_perceptron_rule_short_but_not_the_optimal_one(lam):
    assert OnlinePerceptron(lam).solve(1e7).overlap == pytest.approx(1 - 2 * lam, abs=1e-9)
    assert OptimalOnline(lam).solve(1e7).error < 1e-5


@pytest.mark.parametrize("lam", [0.0, 0.2, 0.5])
def test_few_examples_teach_the_optimal_rule_like_hebb_and_the_perceptron_half_as_much(lam):
    a = np.array([1e-9, 1e-8])
    hebb = Hebb(lam).solve(a).overlap
    assert OptimalOnline(lam).solve(a).overlap == pytest.approx(hebb, rel=1e-7)
    assert OnlinePerceptron(lam).solve(a).overlap == pytest.approx(hebb / sqrt(2), rel=1e-4)


@pytest.mark.parametrize("lam", [0.0, 0.2])
def test_no_online_rule_is_better_than_the_optimal_one(lam):
    loads = np.geomspace(1e-2, 1e3, 50)
    best = OptimalOnline(lam).solve(loads).error
    assert np.all(best < Hebb(lam).solve(loads).error)
    assert np.all(best < OnlinePerceptron(lam).solve(loads).error)


@pytest.mark.parametrize("model", MODELS)
def test_a_long_curve_is_its_points_one_by_one_within_its_residual(model):
    loads = np.geomspace(1e-3, 1e4, 200)
    curve = model(0.1).learning_curve(loads)
    assert curve.residual < 1e-9
    for i in (0, 57, 123, 199):
        assert curve.error[i] == pytest.approx(model(0.1).solve(loads[i]).error, rel=1e-10)


def test_labels_without_a_teacher_teach_nothing():
    for model in MODELS:
        assert np.all(model(0.5).solve([0.1, 10.0]).overlap == 0)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("lam", "load"), [(0.0, 1.0), (0.0, 5.0), (0.1, 3.0)])
def test_simulations_agree_with_theory(model, lam, load):
    state, runs = model(lam).solve(load), model(lam).simulate(300, load, seed=2, runs=20)
    for quantity in ("overlap", "error"):
        assert abs(runs.mean(quantity) - getattr(state, quantity)) < 3 * runs.standard_error(quantity)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_simulations_of_a_thousand_weights_agree_with_theory(model):
    state, runs = model(0.1).solve(20.0), model(0.1).simulate(1000, 20.0, seed=2, runs=20)
    assert abs(runs.mean("error") - state.error) < 3 * runs.standard_error("error")


@pytest.mark.parametrize("model", MODELS)
def test_a_seed_fixes_a_simulation(model):
    first, again, other = (model().simulate(20, 2.0, seed=seed, runs=3).samples["overlap"] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_curves_carry_the_names_of_the_legend():
    assert [model().learning_curve([1.0, 2.0]).name for model in MODELS] == ["optimal online", "online perceptron"]


@pytest.mark.parametrize("model", MODELS)
def test_loads_keep_their_shape_and_order(model):
    assert np.ndim(model().solve(1.0).error) == 0
    state = model().solve([[3.0, 1.0], [1.0, 2.0]])
    assert state.error.shape == (2, 2)
    assert state.error[0, 1] == state.error[1, 0] > state.error[1, 1] > state.error[0, 0]
    assert np.isnan(state.training_error).all()


@pytest.mark.parametrize("model", MODELS)
def test_arguments_out_of_range_are_refused(model):
    with pytest.raises(RequestError, match=r"^label_noise is 0.7; it must be at least 0 and at most 0.5$"):
        model(0.7)
    with pytest.raises(RequestError, match=r"^load is -1; it must be above 0 and finite$"):
        model().solve([1.0, -1.0])


@pytest.mark.parametrize("model", [OptimalOnline(), OnlinePerceptron()])
def test_loads_that_differ_by_rounding_have_one_error(model):
    error = model.solve([5.0, np.nextafter(5.0, 6), np.nextafter(5.0, 0), 1.0]).error
    assert error[:3] == pytest.approx(error[0], rel=1e-12)
