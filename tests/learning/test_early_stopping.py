from itertools import pairwise
from math import pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar, nnls
from scipy.special import expit

from heavytail.errors import RequestError
from heavytail.learning._gauss import overlap_error
from heavytail.learning.early_stopping import EarlyStoppedPerceptron, GradientFlow
from heavytail.learning.ridge import RidgeRegression

LOADS = [0.2, 0.95, 1.0, 1.05, 2.0, 9.0]


def average(load, f):
    """Mean of f over the eigenvalues of X^T X, those at zero included."""
    radius = 2 * sqrt(load)

    def integrand(angle):
        x = (1 - sqrt(load)) ** 2 + 2 * radius * np.cos(angle / 2) ** 2
        return (radius * np.sin(angle)) ** 2 / (2 * pi * x) * f(x)

    cuts = [0, 2.5, 3.0, 3.1, pi]
    pieces = [quad(integrand, a, b, epsabs=1e-14, limit=500)[0] for a, b in pairwise(cuts)]
    return sum(pieces) + max(0, 1 - load) * f(1e-300)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("time", [0.01, 1.0, 30.0, 3000.0])
def test_errors_are_their_averages_over_the_marchenko_pastur_law(load, time):
    noise = 0.3
    state = GradientFlow(noise).solve(load, time)
    error = average(load, lambda x: np.exp(-2 * x * time) + noise * np.expm1(-x * time) ** 2 / x)
    training = average(load, lambda x: (x + noise) * np.exp(-2 * x * time)) / load + noise * (1 - 1 / load)
    assert state.error == pytest.approx(error, rel=1e-10)
    assert state.training_error == pytest.approx(training, rel=1e-10, abs=1e-13)


def test_reference_stopping_times_and_errors():
    for load, noise, error, time, ridge in (
        (1.0, 0.2, 0.3675, 3.067, 0.3583),
        (2.0, 0.2, 0.1541, 2.394, 0.14833),
        (2.0, 1.0, 0.4232, 0.619, 0.41421),
    ):
        best = GradientFlow(noise).best(load)
        assert best.error == pytest.approx(error, abs=5e-5)
        assert best.time == pytest.approx(time, abs=5e-4)
        assert RidgeRegression(noise).solve(load).error == pytest.approx(ridge, abs=5e-5)
    assert np.isinf(GradientFlow(0.2).solve(1.0, np.inf).error)
    scaled = [GradientFlow(s).best([0.5, 1.0, 2.0]) for s in (0.2, 1.0)]
    for s, best in zip((0.2, 1.0), scaled, strict=True):
        over = best.error / RidgeRegression(s).solve(best.load).error - 1
        assert 0.003 < over.min() < over.max() < 0.0395
        assert 0.475 < (s * best.time).min() < (s * best.time).max() < 0.705


@pytest.mark.parametrize("noise", [1e-3, 0.2, 5.0])
def test_the_best_time_is_the_minimum_over_all_times(noise):
    for load in LOADS:
        best = GradientFlow(noise).best(load)
        times = np.geomspace(1e-3, 1e3, 200) / noise
        assert best.error <= GradientFlow(noise).solve(load, times).error.min()
        found = minimize_scalar(
            lambda u, a=load: float(GradientFlow(noise).solve(a, np.exp(u)).error),
            bracket=(np.log(best.time) - 0.2, np.log(best.time) + 0.2),
        )
        assert np.exp(found.x) == pytest.approx(best.time, rel=1e-5)
        assert RidgeRegression(noise).solve(load).error < best.error < 1


def test_the_path_starts_at_zero_weights_and_ends_at_least_squares():
    noise, loads = 0.3, np.array([0.5, 0.999, 1.0, 1.001, 3.0])
    flow, least = GradientFlow(noise), RidgeRegression(noise, 0.0).solve(loads)
    start, end = flow.solve(loads, 0.0), flow.solve(loads, np.inf)
    assert start.error == pytest.approx(np.ones(5), abs=1e-15)
    assert start.training_error == pytest.approx(np.full(5, 1.3), rel=1e-14)
    assert end.error == pytest.approx(least.error, rel=1e-14)
    assert end.training_error == pytest.approx(least.training_error, abs=1e-15)
    late = flow.solve([0.5, 3.0], 300.0)
    assert late.error == pytest.approx(least.error[[0, 4]], rel=1e-9)
    clean = GradientFlow(0.0).best([0.5, 1.0, 3.0])
    assert np.isinf(clean.time).all()
    assert clean.error == pytest.approx([0.5, 0, 0], abs=1e-15)


def test_at_load_one_the_error_grows_with_the_root_of_the_time():
    # the density is 1 / (pi sqrt x) near 0: s^2 / pi int (1 - e^-xt)^2 x^-3/2 dx = s^2 (4 - 2 sqrt 2) sqrt(t / pi)
    times = np.array([1e6, 1e8])
    assert GradientFlow(0.7).solve(1.0, times).error == pytest.approx(
        0.7 * (4 - 2 * sqrt(2)) * np.sqrt(times / pi), rel=2e-3
    )


@pytest.mark.parametrize("load", [0.5, 2.0])
def test_small_steps_on_random_samples_follow_the_theory(load):
    rng, n, noise, step = np.random.default_rng(2), 200, 0.2, 0.02
    values = []
    for _ in range(16):
        x, w = rng.standard_normal((round(load * n), n)) / sqrt(n), rng.standard_normal(n)
        w *= sqrt(n) / np.linalg.norm(w)
        y, fit = x @ w + sqrt(noise) * rng.standard_normal(len(x)), np.zeros(n)
        for _ in range(75):
            fit += step * x.T @ (y - x @ fit)
        values.append((np.mean((fit - w) ** 2), np.mean((y - x @ fit) ** 2)))
    state, mean, spread = GradientFlow(noise).solve(load, 1.5), np.mean(values, axis=0), np.std(values, axis=0) / 4
    theory = np.array([state.error, state.training_error])
    assert (np.abs(mean - theory) < 3 * spread).all()
    assert (spread < 0.05 * theory).all()


@pytest.mark.parametrize(("load", "time"), [(2.0, 1.0), (1.0, 10.0), (0.5, 2.0)])
def test_simulated_flows_have_the_errors_of_the_theory(load, time):
    flow = GradientFlow(0.3)
    runs, state = flow.simulate(250, load, time, seed=2, runs=24), flow.solve(load, time)
    for quantity, value in (("error", state.error), ("training_error", state.training_error)):
        assert abs(runs.mean(quantity) - value) < 3 * runs.standard_error(quantity)
        assert runs.standard_error(quantity) < 0.05 * value
    end = flow.simulate(40, load, np.inf, seed=2, runs=1).samples["training_error"]
    assert load > 1 or end == pytest.approx([0], abs=1e-12)  # least squares fit as many samples as parameters
    assert flow.simulate(30, load, time, seed=4).samples["error"].tolist() != runs.samples["error"].tolist()


@pytest.mark.parametrize("load", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("penalty", [None, 0.05])
@pytest.mark.parametrize("match", ["training", "error"])
def test_the_gibbs_measure_of_that_temperature_has_the_matched_error(load, penalty, match):
    noise, times = 0.2, np.array([0.05, 0.2, 0.5])
    flow, temperature = GradientFlow(noise), GradientFlow(noise).temperature(load, times, match=match, penalty=penalty)
    natural = noise if match == "error" else 0.0
    state = RidgeRegression(noise, natural if penalty is None else penalty).solve(load, temperature)
    stopped = flow.solve(load, times)
    if match == "error":
        assert state.error == pytest.approx(stopped.error, rel=1e-12)
    else:
        assert state.training_error == pytest.approx(stopped.training_error, rel=1e-12)


def test_the_temperature_of_the_training_error_falls_with_the_time_to_zero():
    times = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 60)])
    for load in (0.5, 1.0, 2.0):
        temperature = GradientFlow(0.2).temperature(load, times)
        assert temperature[0] == pytest.approx(max(load, 1) + 0.2, rel=1e-13)
        falling = temperature > 1e-12
        assert (np.diff(temperature[falling]) < 0).all()
        assert falling[:40].all()
        assert (temperature[~falling] >= 0).all()
    late = GradientFlow(0.2).temperature(1.0, [1e6, 1e8])
    assert late == pytest.approx(0.2 / np.sqrt(2 * pi * np.array([1e6, 1e8])), rel=1e-5)
    assert GradientFlow(0.2).temperature([0.5, 2.0], np.inf) == pytest.approx([0, 0])


def test_the_temperature_of_the_error_is_least_at_the_best_time_and_never_zero():
    for load in (0.5, 1.0, 2.0):
        flow = GradientFlow(0.2)
        times = np.geomspace(0.01, 100, 80)
        temperature = flow.temperature(load, times, match="error")
        least = flow.temperature(load, flow.best(load).time, match="error")
        assert 0 < least <= temperature.min()
        turn = int(np.argmin(temperature))
        assert (np.diff(temperature[: turn + 1]) < 0).all()
        assert (np.diff(temperature[turn:]) > -1e-12).all()
    # a flow near its best time errs less than the measure without penalty ever does
    assert np.isnan(GradientFlow(0.2).temperature(2.0, 2.0, match="error", penalty=0.0))
    assert np.isnan(GradientFlow(0.2).temperature(0.5, 2.0, match="error", penalty=0.0))


def test_shapes_broadcast():
    state = GradientFlow(0.2).solve(np.array([[0.5], [2.0]]), [0.1, 1.0, np.inf])
    assert state.load.shape == state.time.shape == state.error.shape == state.training_error.shape == (2, 3)
    assert state.error[1, 1] == GradientFlow(0.2).solve(2.0, 1.0).error
    assert isinstance(GradientFlow(0.2).solve(2.0, 1.0).error, float)
    assert GradientFlow(0.2).temperature(np.ones((4, 1)), np.ones(3)).shape == (4, 3)
    assert GradientFlow(0.2).best([]).error.shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GradientFlow(-1.0), "noise is -1; it must be at least 0 and finite"),
        (lambda: GradientFlow(0.1).solve(0, 1), "load is 0; it must be above 0 and finite"),
        (lambda: GradientFlow(0.1).solve(1, -1), "time is -1; it must be at least 0"),
        (lambda: GradientFlow(0.1).solve(1, 1e13), "time is 1e+13; it must be at least 0 and at most 1e+12"),
        (
            lambda: GradientFlow(0.1).temperature(1, 1, match="test"),
            "match is 'test'; it must be one of training, error",
        ),
        (lambda: EarlyStoppedPerceptron(0.6), "label_noise is 0.6; it must be at least 0 and at most 0.5"),
        (
            lambda: EarlyStoppedPerceptron().simulate(9, 2.0, steps=[5, 5]),
            "steps are [5, 5]; they must be whole numbers that ascend",
        ),
        (
            lambda: EarlyStoppedPerceptron().simulate(9, 2.0, steps=[1.5, 2.5, 5]),
            "steps are [1.5, 2.5, 5]; they must be whole numbers that ascend",
        ),
        (
            lambda: EarlyStoppedPerceptron().simulate(9, 2.0, steps=[0, 1]),
            "steps is 0; it must be at least 1 and finite",
        ),
        (lambda: EarlyStoppedPerceptron().simulate(9, 0.05), "load is 0.05: less than one example for 9 weights"),
        (lambda: GradientFlow(0.1).simulate(9, 1.0, 1e13), "time is 1e+13; it must be at least 0 and at most 1e+12"),
        (lambda: EarlyStoppedPerceptron().simulate(9, 1.0, step=3.0), "step is 3; it must be above 0 and at most 2"),
    ],
)
def test_what_cannot_be_asked_is_said(call, message):
    with pytest.raises(RequestError) as caught:
        call()
    assert str(caught.value) == message


def test_the_first_step_of_classification_is_hebbs_rule():
    for label_noise, error in ((0.1, 0.2663), (0.2, 0.3106)):
        path = EarlyStoppedPerceptron(label_noise).simulate(200, 2.0, steps=[1], runs=40, seed=3)
        kept = 2.0 * (1 - 2 * label_noise) ** 2
        hebb = overlap_error(1 / sqrt(1 + pi / (2 * kept)))
        assert hebb == pytest.approx(error, abs=5e-5)
        assert abs(path.error[0] - hebb) < 3 * path.standard_error[0]
        assert path.standard_error[0] < 0.004


def test_classification_is_best_when_stopped_early():
    path = EarlyStoppedPerceptron(0.1).simulate(200, 2.0, steps=[1, 2, 5, 20, 100, 300], runs=15, seed=1)
    best = int(np.argmin(path.error))
    assert path.time[best] == 5
    # 0.2484 at N = 300 in 6 runs, of standard error 0.003 to 0.005
    assert path.error[best] == pytest.approx(0.2484, abs=0.015)
    later = path.errors[:, -1] - path.errors[:, best]
    assert later.mean() > 5 * later.std() / sqrt(15)
    assert 0.27 < path.error[-1] < 0.3067  # that of maximal stability
    assert path.error[best] > 0.2430 - 3 * path.standard_error[best]  # of Bayes
    assert (np.diff(path.training_error) < 0).all()
    assert path.training_error[-1] < 0.01


@pytest.mark.parametrize(("label_noise", "bayes", "ridge"), [(0.1, 0.2430, 0.2479), (0.2, 0.3022, 0.3047)])
def test_no_stopping_time_beats_bayes_and_the_best_is_near_the_best_ridge(label_noise, bayes, ridge):
    path = EarlyStoppedPerceptron(label_noise).simulate(300, 2.0, steps=range(1, 11), runs=30, seed=0)
    best = int(np.argmin(path.error))
    assert path.error[best] > bayes - 3 * path.standard_error[best]
    assert abs(path.error[best] - ridge) < 3 * path.standard_error[best]
    assert path.standard_error[best] < 0.003


def test_the_path_depends_on_the_time_alone_once_steps_are_small():
    perceptron = EarlyStoppedPerceptron(0.1)
    coarse = perceptron.simulate(100, 2.0, steps=[10, 40], step=0.2, seed=2)
    fine = perceptron.simulate(100, 2.0, steps=[40, 160], step=0.05, seed=2)
    assert coarse.time == pytest.approx(fine.time)
    assert coarse.errors == pytest.approx(fine.errors, abs=2e-3)


def test_one_path_is_that_of_plain_gradient_descent():
    path = EarlyStoppedPerceptron(0.2).simulate(20, 3.0, steps=[1, 4], step=0.5, seed=9, runs=2)
    rng = np.random.default_rng(9)
    x = rng.standard_normal((2, 60, 20)) / sqrt(20)
    flips = rng.random((2, 60)) < 0.2
    for run in range(2):
        y = np.where((x[run, :, 0] > 0) != flips[run], 1.0, -1.0)
        w = np.zeros(20)
        for number in range(1, 5):
            w += 0.5 * x[run].T @ (y * expit(-y * (x[run] @ w)))
            if number in (1, 4):
                column = (1, 4).index(number)
                assert path.errors[run, column] == pytest.approx(np.arccos(w[0] / np.linalg.norm(w)) / pi, rel=1e-10)
                assert path.training_errors[run, column] == np.mean(np.sign(x[run] @ w) != y)


def test_a_single_run_has_no_standard_error():
    path = EarlyStoppedPerceptron().simulate(10, 1.0, steps=[1, 2], runs=1)
    assert np.isnan(path.standard_error).all()
    assert path.error.shape == path.training_error.shape == (2,)


@pytest.mark.slow
def test_late_weights_turn_towards_maximal_stability_but_do_not_reach_it():
    rng, n = np.random.default_rng(0), 60
    z = rng.standard_normal((2 * n, n)) / sqrt(n)
    z *= np.where((z[:, :1] > 0) ^ (rng.random((2 * n, 1)) < 0.05), 1, -1)
    # least norm with z w >= 1 is a problem of nonnegative least squares (Lawson and Hanson 1974)
    dual = nnls(np.vstack([z.T, np.ones(2 * n)]), np.r_[np.zeros(n), 1.0])[0]
    gap = np.vstack([z.T, np.ones(2 * n)]) @ dual - np.r_[np.zeros(n), 1.0]
    stable = -gap[:n] / gap[n]
    assert (z @ stable).min() == pytest.approx(1, abs=1e-6)
    w, overlaps = np.zeros(n), []
    for number in range(1, 100001):
        w += z.T @ expit(-(z @ w))
        if number in (10, 100, 1000, 10000, 100000):
            overlaps.append(w @ stable / np.linalg.norm(w) / np.linalg.norm(stable))
    assert (np.diff(overlaps) > 0).all()
    assert 0.95 < overlaps[-1] < 0.9999
