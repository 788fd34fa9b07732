from decimal import Decimal, getcontext
from math import pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from heavytail.errors import RequestError
from heavytail.learning.ridge import RidgeRegression
from heavytail.rmt.marchenko_pastur import MarchenkoPastur

LOADS = [0.2, 0.9, 1.0, 1.1, 2.0, 7.0]


def average(load, f):
    """Mean of f over the eigenvalues of X^T X, those at zero included."""
    radius = 2 * sqrt(load)

    def integrand(angle):
        x = (1 - sqrt(load)) ** 2 + 2 * radius * np.cos(angle / 2) ** 2
        return (radius * np.sin(angle)) ** 2 / (2 * pi * x) * f(x)

    return quad(integrand, 0, pi, epsabs=1e-13, epsrel=1e-12, limit=500, points=[3.0, 3.1])[0] + max(0, 1 - load) * f(
        0.0
    )


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("penalty", [0.03, 0.4, 5.0])
def test_every_quantity_is_its_average_over_the_marchenko_pastur_law(load, penalty):
    noise, temperature = 0.3, 0.7
    state = RidgeRegression(noise, penalty).solve(load, temperature)
    error = average(load, lambda x: (penalty**2 + noise * x) / (x + penalty) ** 2 + temperature / (x + penalty))
    training = average(
        load,
        lambda x: (penalty**2 * x + noise * penalty**2) / (x + penalty) ** 2 - noise + temperature * x / (x + penalty),
    )
    assert state.error == pytest.approx(error, rel=1e-9)
    assert state.training_error == pytest.approx(training / load + noise, rel=1e-9)
    assert state.degrees_of_freedom == pytest.approx(average(load, lambda x: x / (x + penalty)), rel=1e-9)
    assert (state.load, state.temperature, state.penalty, state.residual) == (load, temperature, penalty, 0.0)


@pytest.mark.parametrize("load", LOADS)
def test_the_error_is_that_of_the_stieltjes_transform_and_its_derivative(load):
    law, noise, penalty, step = MarchenkoPastur(Q=load, sigma=sqrt(load)), 0.3, 0.4, 1e-4
    g = lambda lam: -law.stieltjes(-lam).real  # noqa: E731
    slope = (g(penalty + step) - g(penalty - step)) / (2 * step)
    expected = -(penalty**2) * slope + noise * (g(penalty) + penalty * slope)
    assert RidgeRegression(noise, penalty).solve(load).error == pytest.approx(expected, rel=1e-6)


def test_reference_values():
    assert RidgeRegression(0.2).solve(2.0).error == pytest.approx(0.14833148, abs=5e-9)
    assert RidgeRegression(0.2, 0.2).solve(2.0).error == RidgeRegression(0.2).solve(2.0).error
    assert RidgeRegression(0.2, 1e-4).solve(1.0).error == pytest.approx(9.905, abs=5e-4)
    assert RidgeRegression(1.0).solve(2.0).error == pytest.approx(sqrt(2) - 1, rel=1e-14)
    assert RidgeRegression(0.2).solve(1.0).error == pytest.approx(0.3583, abs=5e-5)


@pytest.mark.parametrize("noise", [0.01, 0.2, 3.0])
def test_the_best_penalty_is_the_noise_at_every_load(noise):
    for load in LOADS:
        best = minimize_scalar(
            lambda u, a=load: float(RidgeRegression(noise, np.exp(u)).solve(a).error),
            bracket=(np.log(noise) - 1, np.log(noise) + 1),
        )
        assert np.exp(best.x) == pytest.approx(noise, rel=1e-5)
        q = RidgeRegression(noise).solve(load).error
        assert q == pytest.approx(best.fun, rel=1e-10)
        assert q == pytest.approx((noise + q) / (noise + q + load), rel=1e-12)


def test_digits_survive_large_and_small_penalties():
    getcontext().prec = 60
    for load in ("0.3", "1", "1.0000001", "4"):
        for penalty in ("1e-12", "1e-4", "1", "1e6", "1e15"):
            a, lam, noise = Decimal(load), Decimal(penalty), Decimal("0.25")
            root = ((lam + a - 1) ** 2 + 4 * lam).sqrt()
            g = (root - (lam + a - 1)) / (2 * lam)
            slope = ((lam + a + 1) / root - 1) / (2 * lam) - g / lam
            expected = -(lam**2) * slope + noise * (g + lam * slope)
            state = RidgeRegression(0.25, float(penalty)).solve(float(load))
            assert state.error == pytest.approx(float(expected), rel=1e-9 if load == "1.0000001" else 1e-13)
            assert state.degrees_of_freedom == pytest.approx(
                float(1 - lam * g), rel=1e-9 if load == "1.0000001" else 1e-13
            )


def test_without_penalty_the_error_has_two_descents_around_load_one():
    noise = 0.2
    state = RidgeRegression(noise, 0.0).solve([0.25, 0.5, 1.0, 1.5, 4.0])
    assert state.error == pytest.approx([0.75 + noise / 3, 0.5 + noise, np.inf, noise / 0.5, noise / 3], rel=1e-14)
    assert state.training_error == pytest.approx([0, 0, 0, noise / 3, noise * 0.75], abs=1e-15)
    assert list(state.degrees_of_freedom) == pytest.approx([0.25, 0.5, 1, 1, 1])
    near = RidgeRegression(noise, 1e-11).solve([0.25, 0.5, 1.5, 4.0])
    assert near.error == pytest.approx(np.delete(state.error, 2), rel=1e-9)
    clean = RidgeRegression(0.0, 0.0).solve([0.25, 1.0, 3.0])
    assert clean.error == pytest.approx([0.75, 0, 0], abs=1e-15)


def test_a_residual_of_the_fit_is_that_of_a_new_example_times_the_share_not_fitted():
    loads = np.geomspace(0.05, 20, 50)
    for penalty in (0.01, 1.0, 30.0):
        state = RidgeRegression(0.4, penalty).solve(loads)
        left = 1 - state.degrees_of_freedom / loads
        assert state.training_error == pytest.approx(left**2 * (state.error + 0.4), rel=1e-9)


def test_the_penalty_works_against_the_norm_it_leaves():
    load, noise, step = np.array([0.5, 1.0, 3.0]), 0.3, 1e-5

    def cost(penalty):
        state = RidgeRegression(noise, penalty).solve(load)
        norm = state.error - 1 + 2 * state.degrees_of_freedom
        return load * state.training_error + penalty * norm, norm

    slope = (cost(0.6 + step)[0] - cost(0.6 - step)[0]) / (2 * step)
    assert slope == pytest.approx(cost(0.6)[1], rel=1e-8)


def test_heat_adds_its_resolvent_and_the_posterior_errs_twice_as_much_as_its_mean():
    law = MarchenkoPastur(Q=2.0, sigma=sqrt(2))
    cold, warm = (RidgeRegression(0.3, 0.5).solve(2.0, t) for t in (0.0, 0.8))
    assert warm.error - cold.error == pytest.approx(-0.8 * law.stieltjes(-0.5).real, rel=1e-12)
    posterior = RidgeRegression(0.3).solve(LOADS, 0.3)
    assert posterior.error == pytest.approx(2 * RidgeRegression(0.3).solve(LOADS).error, rel=1e-12)
    assert posterior.training_error == pytest.approx(0.3, rel=1e-12)  # a Nishimori identity
    assert np.isinf(RidgeRegression(0.3, 0.0).solve(0.5, 0.1).error)
    assert RidgeRegression(0.3, 0.0).solve(3.0, 0.1).error == pytest.approx(0.2)


def assert_agrees(values, theory):
    """The mean of runs is within 3 of its standard errors, and that is small."""
    spread = np.std(values, ddof=1) / sqrt(len(values))
    assert abs(np.mean(values) - theory) < 3 * spread + 1e-12
    assert spread < 0.05 * theory + 1e-12


@pytest.mark.parametrize(("load", "penalty"), [(2.0, 0.2), (0.5, 0.2), (0.5, 0.0)])
def test_simulated_ridge_at_600_parameters_is_within_five_percent(load, penalty):
    ridge = RidgeRegression(0.2, penalty)
    runs, state = ridge.simulate(600, load, seed=1, runs=12), ridge.solve(load)
    assert runs.mean("error") == pytest.approx(state.error, rel=0.05)
    assert runs.mean("training_error") == pytest.approx(state.training_error, rel=0.05, abs=1e-12)


@pytest.mark.parametrize(
    ("load", "penalty", "temperature"), [(1.5, 0.0, 0.0), (1.5, 0.0, 0.3), (2.0, 0.4, 0.5), (0.6, 0.4, 0.3)]
)
def test_simulated_draws_of_the_gibbs_measure_have_its_errors(load, penalty, temperature):
    ridge = RidgeRegression(0.2, penalty)
    runs, state = ridge.simulate(300, load, temperature, seed=2, runs=12), ridge.solve(load, temperature)
    assert_agrees(runs.samples["error"], state.error)
    assert_agrees(runs.samples["training_error"], state.training_error)


def test_a_heat_bath_of_the_measure_comes_to_the_errors_of_the_theory():
    rng, n, noise, penalty, temperature, load = np.random.default_rng(0), 200, 0.2, 0.5, 0.6, 1.5
    x, w = rng.standard_normal((300, n)) / sqrt(n), rng.standard_normal(n)
    residual = x @ w + sqrt(noise) * rng.standard_normal(300)
    weights, square, errors, losses = np.zeros(n), np.sum(x * x, axis=0), [], []
    for sweep in range(80):
        for i in range(n):  # one weight after the other, given all others
            stiffness = square[i] + penalty
            mean = (x[:, i] @ residual + square[i] * weights[i]) / stiffness
            new = mean + sqrt(temperature / stiffness) * rng.standard_normal()
            residual -= (new - weights[i]) * x[:, i]
            weights[i] = new
        if sweep >= 15:
            errors.append(np.mean((weights - w) ** 2))
            losses.append(np.mean(residual**2))
    state = RidgeRegression(noise, penalty).solve(load, temperature)
    assert np.mean(errors) == pytest.approx(state.error, rel=0.1)
    assert np.mean(losses) == pytest.approx(state.training_error, rel=0.1)
    assert RidgeRegression(noise, penalty).solve(load).error < 0.5 * state.error


def test_double_descent_in_the_number_of_features_is_that_of_hastie_and_others():
    noise, load = 0.1, 0.4
    seen = np.array([0.1, 0.3, 0.5, 1.0])
    state = RidgeRegression(noise, 0.0).double_descent(load, seen)
    ratio, lost = seen / load, 1 - seen  # features seen per sample, and power not seen
    over, under = np.where(ratio > 1, 1 - 1 / ratio, 0), np.where(ratio < 1, ratio, 1) / np.abs(1 - ratio)
    assert state.error == pytest.approx(seen * over + (noise + lost) * under + lost, rel=1e-13)
    assert np.isinf(RidgeRegression(noise, 0.0).double_descent(load, 0.4).error)
    whole = RidgeRegression(noise, 0.3)
    assert whole.double_descent(load, 1.0, 0.2) == whole.solve(load, 0.2)
    seen = np.linspace(0.01, 1, 100)
    best = RidgeRegression(noise).double_descent(load, seen)
    assert (np.diff(best.error) < 0).all()  # the best penalty has one descent
    assert best.penalty == pytest.approx(noise + 1 - seen)
    plain = RidgeRegression(noise, 0.0).double_descent(load, [0.05, 0.39, 1.0]).error
    assert plain[1] > 10 * plain[0] > 10 * plain[2]


@pytest.mark.parametrize(("seen", "penalty"), [(0.25, 0.0), (0.8, 0.0), (0.5, 0.3)])
def test_double_descent_is_that_of_least_squares_on_part_of_the_features(seen, penalty):
    rng, n, load, noise = np.random.default_rng(6), 400, 0.5, 0.1
    errors, losses = [], []
    for _ in range(30):
        x, w = rng.standard_normal((200, n)) / sqrt(n), rng.standard_normal(n)
        y = x @ w + sqrt(noise) * rng.standard_normal(200)
        part = x[:, : int(seen * n)]
        stacked = np.vstack([part, sqrt(penalty) * np.eye(part.shape[1])])
        fit = np.linalg.lstsq(stacked, np.r_[y, np.zeros(part.shape[1])], rcond=None)[0]
        errors.append((np.sum((fit - w[: len(fit)]) ** 2) + np.sum(w[len(fit) :] ** 2)) / n)
        losses.append(np.mean((y - part @ fit) ** 2))
    state = RidgeRegression(noise, penalty).double_descent(load, seen)
    assert_agrees(errors, state.error)
    assert_agrees(losses, state.training_error)


def test_shapes_broadcast_and_the_seed_decides():
    state = RidgeRegression(0.2).solve(np.array([[0.5], [1.0]]), [0.0, 0.1, 0.2])
    for value in (state.load, state.temperature, state.penalty, state.error, state.training_error):
        assert value.shape == (2, 3)
    assert isinstance(RidgeRegression(0.2).solve(2.0).error, float)
    draws = [RidgeRegression(0.2).simulate(20, 2.0, 0.1, seed=s).samples["error"].tolist() for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RidgeRegression(-0.1), "noise is -0.1; it must be at least 0 and finite"),
        (lambda: RidgeRegression(0.1, -2.0), "penalty is -2; it must be at least 0 and finite"),
        (lambda: RidgeRegression(0.1).solve([1, 0]), "load is 0; it must be above 0 and finite"),
        (lambda: RidgeRegression(0.1).solve(1, -1), "temperature is -1; it must be at least 0 and finite"),
        (lambda: RidgeRegression(0.1).double_descent(1, 1.5), "seen is 1.5; it must be above 0 and at most 1"),
        (
            lambda: RidgeRegression(0.1, 0.0).simulate(10, 0.5, 0.2),
            "penalty is 0 at temperature 0.2 and load 0.5; it must be above 0 there",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(call, message):
    with pytest.raises(RequestError) as caught:
        call()
    assert str(caught.value) == message
