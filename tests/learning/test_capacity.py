import re
from itertools import product
from math import comb, erf, exp, inf, log, pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import linprog
from scipy.special import erfcx, log_ndtr, ndtr

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning._storage import count_ising_solutions, maximum_margin, noisy_examples
from heavytail.learning.capacity import (
    IsingCapacity,
    SphericalStorage,
    cover_probability,
    gardner_capacity,
    gardner_margin,
    separable_error,
    separable_load,
    simulate_separability,
)


def normal(t):
    """Normal density."""
    return exp(-t * t / 2) / sqrt(2 * pi)


def separable(examples):
    """Whether some w has them all positive, by linear programming."""
    n = examples.shape[1]
    answer = linprog(np.zeros(n), A_ub=-examples, b_ub=-np.ones(len(examples)), bounds=(None, None), method="highs")
    return answer.status == 0


def dichotomies(points):
    """Labellings of points by half-spaces through the origin, one by one."""
    return sum(separable(points * np.array(labels)[:, None]) for labels in product([-1.0, 1.0], repeat=len(points)))


@pytest.mark.parametrize(("patterns", "n"), [(1, 3), (3, 2), (4, 2), (4, 3), (5, 3), (6, 2), (6, 3), (6, 4)])
def test_cover_counts_the_labellings_that_a_half_space_makes(patterns, n):
    points = np.random.default_rng([patterns, n]).standard_normal((patterns, n))
    assert cover_probability(patterns, n) * 2**patterns == pytest.approx(dichotomies(points), abs=1e-9)


@pytest.mark.parametrize(
    ("patterns", "n"), [(45, 30), (60, 30), (75, 30), (1000, 500), (3000, 1000), (2900, 1500), (1200, 40)]
)
def test_cover_is_the_sum_in_whole_numbers(patterns, n):
    exact = sum(comb(patterns - 1, j) for j in range(n))
    assert cover_probability(patterns, n) == pytest.approx(exact / 2 ** (patterns - 1), rel=1e-10)


def test_cover_takes_arrays_and_is_certain_up_to_n_patterns_and_half_at_twice_as_many():
    n = np.array([1, 7, 500])
    assert np.all(cover_probability(n, n) == 1)
    assert cover_probability(2 * n, n) == pytest.approx(np.full(3, 0.5), abs=1e-12)
    assert cover_probability(np.arange(1, 6)[:, None], n).shape == (5, 3)
    with pytest.raises(RequestError, match=r"n is 2\.5; it must be whole"):
        cover_probability(3, 2.5)


def test_cover_keeps_its_digits_for_any_number_of_patterns():
    n = np.array([1e3, 1e7, 1e9, 5e9, 1e12, 1e15])
    assert cover_probability(2 * n, n) == pytest.approx(np.full(6, 0.5), abs=1e-14)
    for patterns in (1e8, 1e10, 1e12):
        inputs = patterns / 2 + np.array([-2.0, -0.5, 0.7, 1.5]) * sqrt(patterns) // 2
        # a symmetric binomial is normal up to 1 / patterns, with the half step of whole numbers
        heads = (inputs - 0.5 - (patterns - 1) / 2) / (sqrt(patterns - 1) / 2)
        # and a mean that is rounded is off by 1e-16 sqrt(patterns) standard deviations
        tolerance = 2 / patterns + 2.2e-16 * sqrt(patterns)
        assert cover_probability(patterns, inputs) == pytest.approx(ndtr(heads), abs=tolerance)
    assert cover_probability([], 3).shape == (0,)


@pytest.mark.parametrize(("margin", "capacity"), [(0, 2), (0.5, 0.961205), (1, 0.519572), (2, 0.200231)])
def test_gardners_capacity_is_the_reference_value_and_its_integral(margin, capacity):
    integral = quad(lambda t: normal(t) * (t + margin) ** 2, -margin, 12, epsabs=1e-13)[0]
    assert gardner_capacity(margin) == pytest.approx(capacity, abs=1e-6)
    assert gardner_capacity(margin) == pytest.approx(1 / integral, rel=1e-10)


def test_the_largest_margin_is_the_inverse_of_the_capacity():
    loads = np.append(np.geomspace(1e-10, 2, 300), [1.999999, 2.0])
    assert gardner_capacity(gardner_margin(loads)) == pytest.approx(loads, rel=1e-13)
    assert gardner_margin(2.0) == pytest.approx(0, abs=1e-15)


def spherical_entropy(q, load, margin):
    """Gardner's potential, before it is made stationary, by adaptive quadrature."""

    def energy(t):
        return normal(t) * log_ndtr(-(margin - sqrt(q) * t) / sqrt(1 - q))

    return 0.5 * log(1 - q) + 0.5 * q / (1 - q) + load * quad(energy, -12, 12, epsabs=1e-12, limit=400)[0]


@pytest.mark.parametrize(("load", "margin"), [(0.3, 0.0), (1.0, 0.0), (1.8, 0.0), (0.4, 1.0), (0.05, 3.0)])
def test_the_spherical_volume_is_stationary_in_the_overlap(load, margin):
    state = SphericalStorage(margin).solve(load)
    q, h = state.self_overlap, 1e-4 * (1 - state.self_overlap)
    assert state.entropy == pytest.approx(spherical_entropy(q, load, margin), abs=1e-9)
    slope = (spherical_entropy(q + h, load, margin) - spherical_entropy(q - h, load, margin)) / (2 * h)
    assert slope * (1 - q) == pytest.approx(0, abs=1e-6)

    def force(t):
        return normal(t) * 2 / pi * (1 / erfcx((margin - sqrt(q) * t) / sqrt(2 - 2 * q))) ** 2

    conjugate = load / (1 - q) * quad(force, -12, 12, limit=400)[0]
    assert state.conjugate == pytest.approx(conjugate, rel=1e-8)
    assert state.residual < 1e-13


@pytest.mark.parametrize(
    "model", [SphericalStorage(0.0), SphericalStorage(1.0), IsingCapacity(0.0), IsingCapacity(1.0)]
)
def test_the_entropy_falls_with_the_load_by_the_mean_log_probability_of_one_more_pattern(model):
    loads = model.capacity() * np.array([0.1, 0.5, 0.9])
    h = 1e-4 * loads
    slope = (model.solve(loads + h).entropy - model.solve(loads - h).entropy) / (2 * h)
    for got, q in zip(slope, model.solve(loads).self_overlap, strict=True):
        mean = quad(lambda t, q=q: normal(t) * log_ndtr((sqrt(q) * t - model.margin) / sqrt(1 - q)), -12, 12, limit=400)
        assert got == pytest.approx(mean[0], rel=1e-6)


def test_the_spherical_volume_shrinks_to_a_point_at_capacity():
    loads = 2 - np.array([1e-2, 1e-4, 1e-6])
    state = SphericalStorage().solve(loads)
    assert np.all(np.diff(state.self_overlap) > 0)
    assert 1 - state.self_overlap[-1] < 1e-5
    assert state.entropy[-1] < -5
    with pytest.raises(ConvergenceError, match=r"no replica-symmetric state at load 2; it must be below 2"):
        SphericalStorage().solve([1.0, 2.0])


def test_few_patterns_halve_the_weights_each():
    for model, full in ((SphericalStorage(), 0.0), (IsingCapacity(), log(2))):
        tiny = np.array([1e-300, 1e-100, 1e-30, 1e-14])
        few = model.solve(tiny)
        assert few.self_overlap / tiny == pytest.approx(np.full(4, 2 / pi), rel=1e-11)
        assert few.entropy == pytest.approx(full - tiny * log(2), rel=1e-11, abs=0)
        assert np.all(few.residual < 1e-12)
        state = model.solve(1e-7)
        assert state.entropy == pytest.approx(full - 1e-7 * log(2), abs=1e-13)
        assert state.self_overlap == pytest.approx(2 / pi * 1e-7, rel=1e-6)


def test_the_ising_capacity_is_krauth_and_mezards():
    model = IsingCapacity()
    assert model.capacity() == pytest.approx(0.8330786, abs=5e-8)
    state = model.solve(model.capacity())
    assert state.self_overlap == pytest.approx(0.563949, abs=1e-6)
    assert state.entropy == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.7, 2.0])
def test_the_ising_state_solves_both_equations_and_gives_its_entropy_by_other_quadratures(margin):
    model = IsingCapacity(margin)
    load = 0.95 * model.capacity()
    state = model.solve(load)
    q, field = state.self_overlap, state.conjugate

    def mean(function):
        return quad(lambda t: normal(t) * function(t), -12, 12, epsabs=1e-13, limit=400)[0]

    def u(t):
        return (margin - sqrt(q) * t) / sqrt(1 - q)

    assert mean(lambda z: np.tanh(sqrt(field) * z) ** 2) == pytest.approx(q, abs=1e-10)
    force = mean(lambda t: 2 / pi / erfcx(u(t) / sqrt(2)) ** 2)
    assert load / (1 - q) * force == pytest.approx(field, rel=1e-10)
    entropy = mean(lambda z: np.logaddexp(sqrt(field) * z, -sqrt(field) * z)) - field * (1 - q) / 2
    assert entropy + load * mean(lambda t: log_ndtr(-u(t))) == pytest.approx(state.entropy, abs=1e-10)


def test_the_ising_branch_ends_at_two_over_pi_of_gardners_capacity():
    for margin in (0.0, 1.0):
        end = 2 / pi * gardner_capacity(margin)
        assert IsingCapacity(margin).solve(0.999999 * end).self_overlap > 0.999
        with pytest.raises(ConvergenceError, match="Ising storage: no replica-symmetric state at load"):
            IsingCapacity(margin).solve(1.000001 * end)


def test_a_margin_costs_capacity_and_ising_weights_hold_less_than_spherical_and_than_a_bit_a_pattern():
    margins = np.array([0.0, 0.3, 1.0, 3.0, 5.0])
    ising = np.array([IsingCapacity(margin).capacity() for margin in margins])
    annealed = log(2) / -log_ndtr(-margins)
    assert np.all(np.diff(ising) < 0)
    assert np.all(ising < np.minimum(annealed, gardner_capacity(margins)))


LAMBDAS = np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.01])


def test_the_separable_load_is_the_reference_value():
    references = [2, 2.0333, 2.1457, 2.3913, 2.9923, 3.8097, 6.7103]
    assert separable_load(LAMBDAS) == pytest.approx(np.array(references), abs=6e-5)
    assert separable_error([0.2, 0.1]) == pytest.approx(np.array([0.3636, 0.2927]), abs=6e-5)


@pytest.mark.parametrize("noise", [0.49999, 0.4, 0.2, 0.05, 1e-3, 1e-5, 1e-6])
def test_the_line_of_zero_training_error_solves_both_equations_of_maximal_stability(noise):
    load, error = separable_load(noise), separable_error(noise)
    overlap, slack = np.cos(pi * error), np.sin(pi * error)

    def shortfall(t):
        x = overlap * t / slack
        return normal(t) * t * t * ((1 - noise) * ndtr(x) + noise * ndtr(-x))

    width = min(slack / overlap, 1.0) if overlap > 0 else 1.0
    points = -width * np.array([0.1, 0.3, 1, 2, 4, 8])
    integral = quad(shortfall, -14, 0, points=points[points > -14], epsabs=1e-16, epsrel=1e-12, limit=1000)[0]
    assert load / pi * (1 - 2 * noise) * slack == pytest.approx(overlap, rel=1e-8)
    assert 2 * load * integral == pytest.approx(slack**2, rel=1e-8)


def test_the_separable_load_runs_from_two_to_infinity_without_losing_digits():
    assert separable_load(0.0) == inf
    assert separable_error(0.0) == 0.0
    assert (separable_load(0.5), separable_error(0.5)) == (2.0, 0.5)
    noise = np.geomspace(1e-15, 0.5, 400)
    assert np.all(np.diff(separable_load(noise)) < 0)
    # tan x - x = x^3/3 there, and (1 - 2x/pi) pi/x + 2 = pi/x
    x = np.cbrt(3 * pi * 1e-12)
    assert separable_load(1e-12) == pytest.approx(pi / x, rel=1e-7)
    tangent = np.tan(pi * separable_error(noise[:-1]))
    level = pi * noise[:-1] / (1 - 2 * noise[:-1])
    far = tangent > 0.05
    assert (tangent - np.arctan(tangent))[far] == pytest.approx(level[far], rel=1e-10)
    near = tangent[~far]
    assert near**3 / 3 - near**5 / 5 + near**7 / 7 == pytest.approx(level[~far], rel=1e-9)


@pytest.mark.parametrize(("n", "patterns", "noise"), [(6, 11, 0.5), (20, 40, 0.5), (20, 48, 0.2), (30, 100, 0.05)])
def test_the_margin_is_positive_just_where_a_linear_program_separates(n, patterns, noise):
    rng = np.random.default_rng([n, patterns])
    draws = [noisy_examples(patterns, n, noise, rng) for _ in range(40)]
    verdicts = [separable(draw) for draw in draws]
    assert 0 < sum(verdicts) < 40
    assert [maximum_margin(draw) > 0 for draw in draws] == verdicts


def test_the_margin_in_the_plane_is_that_of_the_best_angle():
    rng = np.random.default_rng(3)
    angles = np.linspace(0, 2 * pi, 200_001)
    directions = np.stack([np.cos(angles), np.sin(angles)])
    for _ in range(10):
        examples = rng.standard_normal((3, 2))
        assert maximum_margin(examples) == pytest.approx(
            max(np.max(np.min(examples @ directions, axis=0)), 0), abs=1e-4
        )


def test_ising_solutions_are_those_of_trying_each():
    rng = np.random.default_rng(5)
    for n, patterns, margin in ((1, 1, 0.0), (5, 3, 0.0), (8, 5, 0.0), (9, 4, 0.4), (10, 20, 0.0)):
        examples = rng.standard_normal((patterns, n))
        tried = sum(np.all(examples @ np.array(w) > margin * sqrt(n)) for w in product([-1, 1], repeat=n))
        assert count_ising_solutions(examples, margin) == tried


def test_finite_systems_separate_with_covers_probability():
    for load in (1.5, 2.0, 2.5):
        simulation = simulate_separability(30, load, seed=1, runs=600)
        expected = cover_probability(round(30 * load), 30)
        assert simulation.mean("separable") == pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / 600))


def test_the_mean_number_of_ising_solutions_is_exact_at_any_size():
    margin = 0.2
    simulation = IsingCapacity(margin).simulate(12, 0.5, seed=2, runs=400)
    expected = 2**12 * (0.5 - 0.5 * erf(margin / sqrt(2))) ** 6
    assert simulation.mean("solutions") == pytest.approx(expected, abs=4 * simulation.standard_error("solutions"))
    assert np.array_equal(simulation.samples["stored"], simulation.samples["solutions"] > 0)


def test_noisy_examples_are_separable_up_to_the_line_within_a_tenth():
    for noise in (0.2, 0.05):
        line = separable_load(noise)
        below = simulate_separability(80, 0.9 * line, noise, seed=4, runs=60)
        above = simulate_separability(80, 1.1 * line, noise, seed=5, runs=60)
        assert below.mean("separable") > 0.5 > above.mean("separable")


def test_examples_without_noise_are_always_separable():
    simulation = simulate_separability(20, 15.0, 0.0, seed=8, runs=40)
    assert simulation.mean("separable") == 1
    assert simulation.load == 15.0


def test_the_largest_margin_of_random_labels_is_gardners():
    simulation = SphericalStorage(0.3).simulate(150, 1.0, seed=6, runs=30)
    assert simulation.mean("margin") == pytest.approx(gardner_margin(1.0), abs=0.03)
    assert simulation.mean("stored") == 1
    assert SphericalStorage(0.75).simulate(150, 1.0, seed=6, runs=30).mean("stored") == 0


@pytest.mark.slow
@pytest.mark.parametrize(("load", "stored"), [(0.6, 0.98), (0.7, 0.92), (0.8, 0.82), (0.9, 0.50), (1.0, 0.18)])
def test_ising_storage_at_nineteen_weights_is_the_reference_value(load, stored):
    simulation = IsingCapacity().simulate(19, load, seed=7, runs=400)
    # both are samples: the reference of about 50 draws, this of 400; the number of patterns is rounded
    deviation = sqrt(0.25 / 50 + 0.25 / 400)
    assert simulation.mean("stored") == pytest.approx(stored, abs=3 * deviation)


@pytest.mark.parametrize(
    "simulate",
    [
        lambda seed: simulate_separability(12, 2.0, 0.3, seed=seed, runs=5),
        lambda seed: SphericalStorage(0.2).simulate(12, 1.0, seed=seed, runs=5),
        lambda seed: IsingCapacity().simulate(9, 0.7, seed=seed, runs=5),
    ],
)
def test_the_same_seed_gives_the_same_draws(simulate):
    once, again, other = simulate(1), simulate(np.random.default_rng(1)), simulate(2)
    assert once.runs == 5
    assert all(np.array_equal(once.samples[key], again.samples[key]) for key in once.samples)
    assert any(not np.array_equal(once.samples[key], other.samples[key]) for key in once.samples)


def test_simulations_give_the_load_that_they_have():
    for drawn in (
        simulate_separability(10, 1.27, runs=2),
        SphericalStorage().simulate(10, 1.27, runs=2),
        IsingCapacity().simulate(10.0, 1.27, runs=2),
    ):
        assert (drawn.n, drawn.load, drawn.runs) == (10, 1.3, 2)


def test_no_loads_have_no_states():
    for model in (SphericalStorage(), IsingCapacity()):
        assert model.solve([]).entropy.shape == (0,)
    for function in (gardner_capacity, gardner_margin, separable_load, separable_error):
        assert function([]).shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gardner_capacity(-0.1), "margin is -0.1; it must be at least 0"),
        (lambda: gardner_capacity(1e160), "margin is 1e+160; it must be at least 0 and at most 1e+150"),
        (lambda: gardner_margin(2.1), "load is 2.1; it must be above 0 and at most 2"),
        (lambda: SphericalStorage(-1.0), "margin is -1; it must be at least 0 and at most 5"),
        (lambda: IsingCapacity(6.0), "margin is 6; it must be at least 0 and at most 5"),
        (lambda: IsingCapacity().solve([0.5, 0.0]), "load is 0; it must be above 0"),
        (lambda: IsingCapacity().simulate(25, 0.5), "n is 25; it must be at least 1 and at most 24"),
        (lambda: separable_load([0.1, 0.6]), "label_noise is 0.6; it must be at least 0 and at most 0.5"),
        (lambda: simulate_separability(0, 1.0), "n is 0; it must be at least 1"),
        (lambda: simulate_separability(10.5, 1.0), "n is 10.5; it must be a whole number"),
        (lambda: simulate_separability(10, 1.0, runs=0), "runs is 0; it must be at least 1"),
        (lambda: simulate_separability(10, 0.01), "load is 0.01: less than one example for 10 weights"),
        (lambda: SphericalStorage().simulate(10, 1.0, runs=-1), "runs is -1; it must be at least 1"),
        (lambda: IsingCapacity().simulate(10, 1.0, runs=0), "runs is 0; it must be at least 1"),
        (lambda: IsingCapacity().simulate(10.5, 1.0), "n is 10.5; it must be a whole number"),
        (lambda: cover_probability(0, 1), "patterns is 0; it must be at least 1"),
    ],
)
def test_arguments_outside_are_refused_by_name(call, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        call()
