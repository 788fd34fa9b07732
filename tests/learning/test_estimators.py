from itertools import pairwise
from math import cosh, log, pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import fsolve, linprog, minimize_scalar
from scipy.stats import laplace, norm

from heavytail.errors import RequestError
from heavytail.learning._additive_noise import GaussianNoise, LaplaceNoise
from heavytail.learning._estimation import least_absolute
from heavytail.learning.estimators import BayesEstimator, MEstimator

LOADS = np.array([1.001, 1.1, 1.5, 2.5, 5.0, 20.0, 300.0])
NOISES = ["gaussian", "laplace"]
LAWS = {"gaussian": norm(), "laplace": laplace()}
NAMED = {"gaussian": GaussianNoise(), "laplace": LaplaceNoise()}


def panels(edges, nodes=60):
    """Gauss-Legendre nodes and weights on the intervals between the edges."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    mid, half = (np.array(edges[1:]) + edges[:-1]) / 2, np.diff(edges) / 2
    return (mid[:, None] + half[:, None] * t).ravel(), (half[:, None] * w).ravel()


def convolved(noise, q):
    """Density of e + sqrt(q) z as a sum over e, with its derivative."""
    e, w = panels([-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40])
    w = w * LAWS[noise].pdf(e)
    s = sqrt(q)

    def density(x):
        y = (np.asarray(x)[..., None] - e) / s
        return np.sum(w * norm.pdf(y) / s, axis=-1), np.sum(-w * y * norm.pdf(y) / s**2, axis=-1)

    return density


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("q", [0.3, 2.0, 30.0])
def test_moments_and_information_of_noise_with_a_gaussian_are_those_of_the_convolution(noise, q):
    density, model, at = convolved(noise, q), NAMED[noise], np.array(q)
    reach = 45 + 9 * sqrt(q)
    x, w = panels(np.linspace(0, reach, 40), 30)
    p, slope = density(x)
    assert 2 * np.sum(w * p) == pytest.approx(1, abs=1e-12)
    seen = p > 1e-200
    assert model.information(at) == pytest.approx(2 * np.sum((w * slope**2)[seen] / p[seen]), rel=1e-10)
    assert np.exp(model.log_density(x[::50], at)) == pytest.approx(p[::50], rel=1e-9, abs=1e-18)
    inner = x < 3
    assert model.score(x[inner], at) == pytest.approx(slope[inner] / p[inner], rel=1e-9)
    for c in (1e-6, 0.01, 0.5, 2.0, 7.0):
        y, v = panels([0, c / 2, c])
        mass = density(y)[0]
        inside = 2 * np.sum(v * mass)
        assert model.inside(np.array(c), at) == pytest.approx(inside, rel=1e-11)
        clipped = 2 * np.sum(v * mass * y * y) + c * c * (1 - inside)
        assert model.clipped(np.array(c), at) == pytest.approx(clipped, rel=1e-11)


def test_fisher_information_of_sharp_noise_is_that_of_scipy_quadrature():
    for q in (1e-6, 1e-3, 0.1):
        s = sqrt(q)

        def integrand(x, q=q):
            at, x = np.array(q), np.array(x)
            return float(np.exp(LaplaceNoise().log_density(x, at)) * LaplaceNoise().score(x, at) ** 2)

        cuts = [0, s, 3 * s, 8 * s, 1 + 8 * s, 45]
        value = 2 * sum(quad(integrand, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in pairwise(cuts))
        assert LaplaceNoise().information(np.array(q)) == pytest.approx(value, rel=1e-10)


def test_reference_errors_under_laplace_noise():
    loads = [1.5, 2.5, 5.0]
    assert MEstimator("squares", "laplace").solve(loads).error == pytest.approx([4, 4 / 3, 0.5], rel=1e-14)
    assert MEstimator("optimal", "laplace").solve(loads).error == pytest.approx([3.8571, 1.1619, 0.3813], abs=1e-4)
    expected = [5.04836207, 1.45347990, 0.45192769]
    assert MEstimator("absolute", "laplace").solve(loads).error == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("load", [1.5, 2.5, 5.0])
def test_errors_of_least_absolute_values_solve_their_equations_by_quadrature(load):
    def mismatch(logs):
        q, clip = np.exp(logs)
        density = convolved("laplace", q)
        inside, square = (
            2 * quad(lambda x, m=m: x**m * float(density(x)[0]), 0, clip, epsabs=1e-13, epsrel=1e-12)[0] for m in (0, 2)
        )
        return inside - 1 / load, q - load * (square + clip**2 * (1 - inside))

    q, clip = np.exp(fsolve(mismatch, [np.log(1.5 / (load - 1)), 0.0], xtol=1e-12))
    state = MEstimator("absolute", "laplace").solve(load)
    assert state.error == pytest.approx(q, rel=1e-9)
    assert state.proximal_scale == pytest.approx(clip, rel=1e-9)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("loss", ["absolute", "huber"])
@pytest.mark.parametrize("load", [1.5, 2.5, 5.0])
def test_equations_hold_with_the_proximal_map_and_the_density_written_out(noise, loss, load):
    estimator = MEstimator(loss, noise, threshold=0.8)
    state = estimator.solve(load)
    density, step = convolved(noise, state.error), state.proximal_scale
    if loss == "absolute":
        knee, removed, kept = step, lambda x: np.minimum(x, step), lambda x: x > step
    else:
        knee = 0.8 * (1 + step)  # where the fitted residual is the threshold
        removed = lambda x: np.where(x < knee, x * step / (1 + step), 0.8 * step)  # noqa: E731
        kept = lambda x: np.where(x < knee, 1 / (1 + step), 1)  # noqa: E731
    x, w = panels([0, knee / 2, knee, *(knee + np.linspace(1, 60, 20))])
    w = 2 * w * density(x)[0]
    assert np.sum(w * kept(x)) == pytest.approx(1 - 1 / load, rel=1e-9)
    assert load * np.sum(w * removed(x) ** 2) == pytest.approx(state.error, rel=1e-9)
    assert state.residual < 1e-12


@pytest.mark.parametrize("noise", NOISES)
def test_no_loss_beats_the_optimal_one_at_any_load(noise):
    loads = np.concatenate([np.linspace(1.01, 4, 100), np.geomspace(4, 1000, 60)])
    best = MEstimator("optimal", noise).solve(loads).error
    others = [MEstimator(loss, noise).solve(loads).error for loss in ("squares", "absolute", "huber")]
    others += [MEstimator("huber", noise, threshold=t).solve(loads).error for t in (0.1, 0.5, 4.0)]
    assert (np.array(others) >= best * (1 - 1e-12)).all()
    if noise == "gaussian":
        assert best == pytest.approx(others[0], rel=1e-12)
    else:
        squares, absolute = others[:2]
        assert (absolute > best).all()
        assert squares[0] < absolute[0]
        assert squares[-1] > absolute[-1]


def test_close_to_load_1_the_optimal_loss_loses_no_digits():
    above = np.array([2.0**-40, 2.0**-30, 1e-6, 1e-4, 1e-3])
    state = MEstimator("optimal", "laplace").solve(1 + above)
    # 1/J = q + 2 - 24/q^3 + ...: the fourth cumulant of the noise, 12, tells it from a Gaussian by 12^2 / 6 q^3
    assert state.error * ((1 + above) - 1) == pytest.approx(2 - 3 * above**3, rel=1e-11)
    assert state.residual < 1e-13
    assert (state.error < MEstimator("squares", "laplace").solve(1 + above).error * (1 + 1e-14)).all()


def test_what_noise_adds_to_a_gaussian_goes_from_its_inverse_information_to_its_variance():
    q = np.geomspace(1e-6, 1e12, 400)
    spread = LaplaceNoise().spread(q)
    assert (np.diff(spread) > -1e-14).all()
    assert (GaussianNoise().spread(q) == 1).all()
    few = q < 100
    assert spread[few] == pytest.approx(1 / LaplaceNoise().information(q[few]) - q[few], rel=1e-12)
    for edge in (1.0, 2e4):  # from one form to another
        below, above = LaplaceNoise().spread(edge * np.array([1 - 1e-9, 1 + 1e-9]))
        assert below == pytest.approx(above, rel=1e-9 if edge == 1 else 1e-13)


def test_large_loads_give_the_classical_asymptotic_variances():
    load = 1e12
    for loss, noise, variance in (
        ("squares", "laplace", 2.0),
        ("absolute", "gaussian", pi / 2),
        ("absolute", "laplace", 1.0),  # 1 / 4 p(0)^2
        ("optimal", "laplace", 1.0),  # of Cramer and Rao
    ):
        assert load * MEstimator(loss, noise).solve(load).error == pytest.approx(variance, rel=3e-6)
    inside = norm.cdf(1.345) * 2 - 1
    clipped = inside - 2 * 1.345 * norm.pdf(1.345) + 1.345**2 * (1 - inside)
    assert load * MEstimator("huber", "gaussian").solve(load).error == pytest.approx(clipped / inside**2, rel=1e-9)


def test_huber_lies_between_absolute_values_and_squares():
    for noise in NOISES:
        ends = [MEstimator(loss, noise).solve(LOADS).error for loss in ("absolute", "squares")]
        near = [MEstimator("huber", noise, threshold=t).solve(LOADS).error for t in (1e-7, 1e7)]
        assert near[0] == pytest.approx(ends[0], rel=1e-5)
        assert near[1] == pytest.approx(ends[1], rel=1e-6)


@pytest.mark.parametrize("loss", ["squares", "absolute", "huber", "optimal"])
def test_the_error_goes_with_the_square_of_the_noise(loss):
    one, three = MEstimator(loss, "laplace"), MEstimator(loss, "laplace", scale=3.0)
    assert three.solve(LOADS).error == pytest.approx(9 * one.solve(LOADS).error, rel=1e-14)
    assert three.simulate(20, 2.0, runs=2).mean("error") == pytest.approx(
        9 * one.simulate(20, 2.0, runs=2).mean("error")
    )
    r = np.linspace(-4, 4, 9)
    power = {"squares": 2, "huber": 2, "absolute": 1, "optimal": 0}[loss]
    assert three.loss_at(3 * r, 2.0) == pytest.approx(3**power * one.loss_at(r, 2.0), rel=1e-12)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("load", [1.3, 4.0])
def test_the_optimal_loss_pulls_a_residual_to_the_posterior_mean_of_its_noise(noise, load):
    estimator = MEstimator("optimal", noise)
    q = estimator.solve(load).proximal_scale
    e, w = panels(np.linspace(-40, 40, 41), 30)
    for x in (0.2, 1.0, 3.0, 6.0):
        weight = w * LAWS[noise].pdf(e) * np.exp(-((x - e) ** 2) / (2 * q))
        posterior = np.sum(weight * e) / np.sum(weight)
        proximal = minimize_scalar(
            lambda r, x=x: float(estimator.loss_at(r, load)) + (r - x) ** 2 / (2 * q),
            bounds=(-x, 2 * x),
            method="bounded",
        )
        assert proximal.x == pytest.approx(posterior, abs=1e-4 * x)


def test_the_optimal_loss_goes_from_the_rate_function_of_the_noise_to_its_log_density():
    r = np.linspace(-3, 3, 12)
    optimal = MEstimator("optimal", "laplace")
    root = np.sqrt(1 + r * r)  # the rate is max_u r u - log E exp(u e), where E exp(u e) = 1 / (1 - u^2)
    assert optimal.loss_at(r, 1.00001) == pytest.approx(root - 1 + np.log(2 * (root - 1) / r**2), abs=1e-4)
    assert optimal.loss_at(r, 1 + 1e-12) == pytest.approx(root - 1 + np.log(2 * (root - 1) / r**2), rel=1e-7)
    assert optimal.loss_at(1e-3 * r, 1.00001) == pytest.approx(1e-6 * r * r / 4, rel=1e-3)  # of the variance, 2
    assert optimal.loss_at(r, 1e6) == pytest.approx(np.abs(r), abs=2e-2)
    assert MEstimator("optimal", "gaussian", scale=2.0).loss_at(r, 3.0) == pytest.approx(r * r / 8, abs=1e-12)
    assert optimal.loss_at(0.0, 2.0) == 0
    assert isinstance(optimal.loss_at(1.0, 2.0), float)


def test_least_absolute_fits_are_those_of_the_primal_program():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((40, 8)), rng.standard_normal(40)
    eye = np.eye(40)
    primal = linprog(
        np.r_[np.zeros(8), np.ones(80)],
        A_eq=np.hstack([x, eye, -eye]),
        b_eq=y,
        bounds=[(None, None)] * 8 + [(0, None)] * 80,
    )
    assert least_absolute(x, y) == pytest.approx(primal.x[:8], abs=1e-9)


@pytest.mark.parametrize("loss", ["squares", "huber", "optimal"])
def test_simulated_errors_are_those_of_the_theory(loss):
    estimator = MEstimator(loss, "laplace")
    runs = estimator.simulate(80, 2.5, seed=5, runs=16)
    assert (runs.n, runs.load, runs.runs) == (80, 2.5, 16)
    assert abs(runs.mean("error") - estimator.solve(2.5).error) < 3 * runs.standard_error("error")
    assert runs.standard_error("error") < 0.1


def test_simulated_least_absolute_errors_are_those_of_the_theory():
    runs = MEstimator("absolute", "laplace").simulate(100, 2.5, seed=2, runs=16)
    error = MEstimator("absolute", "laplace").solve(2.5).error
    assert abs(runs.mean("error") - error) < 3 * runs.standard_error("error")
    assert runs.standard_error("error") < 0.085


def test_on_the_same_samples_the_losses_rank_as_in_theory():
    means = [
        MEstimator(loss, "laplace").simulate(60, 5.0, seed=8, runs=12).mean("error") for loss in ("optimal", "squares")
    ]
    assert means[0] < means[1]


def test_shapes_follow_the_loads_and_the_seed_decides():
    for loss in ("squares", "absolute", "huber", "optimal"):
        estimator = MEstimator(loss, "laplace")
        grid = estimator.solve(LOADS[:6].reshape(2, 3))
        assert grid.load.shape == grid.error.shape == grid.proximal_scale.shape == (2, 3)
        assert estimator.solve(2.5).error == pytest.approx(grid.error[1, 0], rel=1e-12)
        assert isinstance(estimator.solve(2.5).error, float)
        assert estimator.solve([]).error.shape == BayesEstimator("ising").solve([]).error.shape == (0,)
        draws = [estimator.simulate(10, 2.0, seed=s, runs=2).samples["error"].tolist() for s in (1, 1, 2)]
        assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MEstimator("cubes"), "loss is 'cubes'; it must be one of squares, absolute, huber, optimal"),
        (lambda: MEstimator("squares", "cauchy"), "noise is 'cauchy'; it must be one of gaussian, laplace"),
        (lambda: MEstimator("squares", scale=0.0), "scale is 0; it must be above 0 and finite"),
        (lambda: MEstimator("huber", threshold=-1.0), "threshold is -1; it must be above 0 and finite"),
        (lambda: MEstimator("squares").solve([2, 1]), "load is 1; it must be above 1 and finite"),
        (lambda: MEstimator("optimal").solve(np.nan), "load is nan; it must be above 1 and finite"),
        (lambda: MEstimator("absolute").simulate(10, 0.5), "load is 0.5; it must be above 1 and finite"),
        (lambda: BayesEstimator("flat"), "prior is 'flat'; it must be one of gaussian, sparse, ising"),
        (lambda: BayesEstimator("ising", scale=-1.0), "scale is -1; it must be above 0 and finite"),
        (lambda: BayesEstimator("sparse", sparsity=2.0), "sparsity is 2; it must be above 0 and at most 1"),
        (lambda: BayesEstimator("ising").solve(0.0), "load is 0; it must be above 0 and finite"),
        (lambda: BayesEstimator("ising").simulate(10, -1.0), "load is -1; it must be above 0 and finite"),
    ],
)
def test_what_cannot_be_asked_is_said(call, message):
    with pytest.raises(RequestError) as caught:
        call()
    assert str(caught.value) == message


def test_bayes_with_gaussian_prior_and_noise_is_the_best_ridge():
    load, noise = np.array([0.3, 1.0, 2.0, 9.0]), 0.2
    q = BayesEstimator("gaussian", scale=sqrt(noise)).solve(load).error
    assert q == pytest.approx((noise + q) / (noise + q + load), rel=1e-12)
    assert q[2] == pytest.approx(0.14833148, abs=5e-9)
    everything = BayesEstimator("sparse", scale=sqrt(noise), sparsity=1.0).solve(load).error
    assert everything == pytest.approx(q, rel=1e-11)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("prior", ["sparse", "ising"])
def test_bayes_solutions_satisfy_both_equations_by_quadrature(prior, noise):
    scale, load, f = 0.6, 1.3, 0.2
    q = BayesEstimator(prior, noise, scale=scale, sparsity=f).solve(load).error
    x, w = panels(np.linspace(-60, 60, 121), 20)
    density, slope = convolved(noise, q / scale**2)(x)
    seen = density > 1e-200
    precision = load / scale**2 * np.sum((w * slope**2)[seen] / density[seen])

    def posterior_variance(s):  # times the density of s = w + z / sqrt(precision)
        sd = 1 / sqrt(precision)
        if prior == "ising":
            mass = [norm.pdf(s, m, sd) / 2 for m in (-1, 1)]
            return 4 * mass[0] * mass[1] / (mass[0] + mass[1])
        wide = sqrt(1 / f + sd**2)
        slab, spike = f * norm.pdf(s, 0, wide), (1 - f) * norm.pdf(s, 0, sd)
        share, mean = slab / (slab + spike), s / f / wide**2
        return (slab + spike) * (share * (sd**2 / f / wide**2 + mean**2) - (share * mean) ** 2)

    assert quad(posterior_variance, -20, 20, points=[-1, 0, 1], epsabs=1e-12, limit=400)[0] == pytest.approx(
        q, rel=1e-8
    )


def test_bayes_beats_the_optimal_loss_that_knows_no_prior():
    loads = np.linspace(1.1, 6, 30)
    for noise in NOISES:
        free = MEstimator("optimal", noise, scale=0.7).solve(loads).error
        for prior in ("gaussian", "sparse", "ising"):
            assert (BayesEstimator(prior, noise, scale=0.7).solve(loads).error < free).all()


def test_in_the_hard_phase_the_solution_of_least_free_energy_is_the_posteriors():
    noise = 0.2**2
    loads = np.linspace(0.35, 0.65, 61)
    state = BayesEstimator("ising", scale=sqrt(noise)).solve(loads)

    def free_energy(load, q):
        seen = load / (noise + q)
        entropy = quad(lambda z: norm.pdf(z) * log(cosh(seen + sqrt(seen) * z)), -9, 9)[0]
        return load / 2 * log(1 + q / noise) - q * seen / 2 + seen - entropy

    hard = state.message_passing_error > state.error + 0.01
    assert 2 < hard.sum() < 40
    for load, error, reached in zip(loads[hard], state.error[hard], state.message_passing_error[hard], strict=True):
        assert free_energy(load, error) < free_energy(load, reached)
    # just below the hard phase the good solution exists already, and loses
    below = loads[np.flatnonzero(hard)[0] - 1]
    q = 0.0
    for _ in range(60):
        seen = below / (noise + q)
        q = quad(lambda z, s=seen: norm.pdf(z) * (1 - np.tanh(s + sqrt(s) * z)), -9, 9)[0]
    assert q < 0.01
    assert free_energy(below, q) > free_energy(below, float(state.error[loads == below][0]))
    assert state.residual < 1e-10


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("prior", ["gaussian", "sparse", "ising"])
def test_message_passing_on_random_samples_has_the_error_of_the_theory(prior, noise):
    bayes = BayesEstimator(prior, noise, scale=0.6)
    runs, state = bayes.simulate(600, 1.3, seed=3, runs=8), bayes.solve(1.3)
    assert abs(runs.mean("error") - state.message_passing_error) < 3 * runs.standard_error("error")
    assert runs.standard_error("error") < 0.1 * state.error
    assert state.error == state.message_passing_error


def test_message_passing_stays_behind_in_the_hard_phase():
    bayes = BayesEstimator("ising", scale=0.2)
    state = bayes.solve(0.5)
    runs = bayes.simulate(1500, 0.5, seed=1)
    assert state.error < 0.001
    assert runs.mean("error") == pytest.approx(state.message_passing_error, rel=0.1)
    assert bayes.simulate(50, 3.0, seed=1).mean("error") < 1e-12  # signs, known for sure
    draws = [bayes.simulate(30, 0.5, seed=s).samples["error"].tolist() for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.slow
def test_enumerated_posteriors_of_signs_have_the_error_of_the_theory():
    rng, n, noise = np.random.default_rng(4), 14, 0.5
    signs = 1.0 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    errors = []
    for _ in range(400):
        x = rng.standard_normal((n, n)) / sqrt(n)
        y = x @ np.ones(n) + sqrt(noise) * rng.standard_normal(n)
        energy = np.sum((y - signs @ x.T) ** 2, axis=1) / (2 * noise)
        weight = np.exp(energy.min() - energy)
        errors.append(np.mean((weight @ signs / weight.sum() - 1) ** 2))
    theory = BayesEstimator("ising", scale=sqrt(noise)).solve(1.0).error
    assert np.mean(errors) == pytest.approx(theory, abs=3 * np.std(errors) / 20)
