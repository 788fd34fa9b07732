from fractions import Fraction
from math import comb, cos, exp, inf, log, log2, pi, sin, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import betainc, erfcx

from heavytail.errors import RequestError
from heavytail.learning.bounds import VersionSpaceBound, occam_bound, vc_bound

ISING, SPHERICAL = VersionSpaceBound("ising"), VersionSpaceBound("spherical")


def binary_entropy(p):
    """Entropy of a coin, natural."""
    return -p * log(p) - (1 - p) * log(1 - p)


def crossing_load(error):
    """Load at which the two curves of the Ising class cross at an error."""
    return binary_entropy(sin(pi * error / 2) ** 2) / -log(1 - error)


def normal(t):
    """Normal density."""
    return exp(-t * t / 2) / sqrt(2 * pi)


def conjugate(q, load):
    """Field of the overlap q on a student drawn from the version space: (a/pi) (1-q)^(-1/2) int Dt e^(-q t^2/2) / H."""

    def integrand(t):
        # e^(-q t^2/2) / H(x), x = sqrt(q) t, with H = erfcx(x/sqrt 2) e^(-x^2/2) / 2
        return normal(t) * 2 / erfcx(sqrt(q) * t / sqrt(2))

    return load / pi / sqrt(1 - q) * quad(integrand, -12, 12, epsabs=1e-13, limit=200)[0]


def gibbs_error_spherical(load):
    """True error of a random student without training error, spherical weights."""
    q = brentq(lambda q: conjugate(q, load) * (1 - q) - q, 1e-9, 1 - 1e-9, xtol=1e-13)
    return np.arccos(q) / pi


def gibbs_error_ising(load):
    """True error of a random student without training error, Ising weights, on the branch of poor generalisation."""

    def excess(q):
        field = conjugate(q, load)
        return quad(lambda z: normal(z) * np.tanh(sqrt(field) * z + field), -12, 12, limit=200)[0] - q

    grid = np.linspace(0.01, 0.9, 60)
    values = [excess(q) for q in grid]
    first = next(i for i, value in enumerate(values) if value < 0)
    return np.arccos(brentq(excess, grid[first - 1], grid[first], xtol=1e-12)) / pi


def test_the_ising_class_is_perfect_from_the_reference_load_on():
    assert ISING.critical_load() == pytest.approx(1.44796644, abs=5e-9)
    assert ISING.critical_error() == pytest.approx(0.254256, abs=5e-7)
    found = minimize_scalar(lambda error: -crossing_load(error), bounds=(0.1, 0.5), method="bounded")
    assert ISING.critical_load() == pytest.approx(-found.fun, abs=1e-12)
    assert ISING.solve([ISING.critical_load() + 1e-9, 2.0, 50.0]).error == pytest.approx(np.zeros(3), abs=0)
    assert ISING.solve(ISING.critical_load() - 1e-12).error == pytest.approx(ISING.critical_error(), abs=2e-6)


def test_the_ising_bound_is_the_reference_value():
    state = ISING.solve([0.5, 1.0, 1.2, 1.4])
    assert state.error == pytest.approx(np.array([0.670981, 0.5, 0.426158, 0.323788]), abs=6e-7)
    assert state.error[1] == pytest.approx(0.5, abs=1e-14)
    assert np.all(state.residual < 1e-13)


def test_the_ising_bound_is_the_rightmost_crossing():
    loads = np.append(np.geomspace(1e-8, 0.1, 8), np.linspace(0.2, 1.4479, 30))
    errors = ISING.solve(loads).error
    for load, error in zip(loads, errors, strict=True):
        assert crossing_load(error) == pytest.approx(load, rel=1e-7)
        beyond = np.linspace(error, 1, 50)[1:-1]
        assert np.all(ISING.entropy(beyond) < -load * np.log1p(-beyond))
    assert ISING.solve(0.0).error == 1.0


@pytest.mark.parametrize("delta", [Fraction(1, 20), Fraction(1, 2)])
@pytest.mark.parametrize(("n", "m"), [(2, 1), (5, 4), (10, 12), (30, 36), (50, 80), (50, 100)])
def test_the_finite_ising_bound_is_the_sum_done_by_hand(n, m, delta):
    errors = [float(np.arccos(1 - 2 * k / n) / pi) for k in range(n + 1)]
    exact = n
    tail = Fraction(0)
    while exact > 0:
        tail += comb(n, exact) * (1 - Fraction(errors[exact])) ** m
        if tail > delta:
            break
        exact -= 1
    assert ISING.finite(n, m / n, float(delta)) == pytest.approx(errors[exact], abs=1e-14)


def test_the_finite_ising_bound_is_the_reference_value():
    assert ISING.finite(1000, [1.0, 1.2, 1.4, 1.6, 2.0]) == pytest.approx(
        np.array([0.4994, 0.4255, 0.3244, 0, 0]), abs=6e-5
    )
    assert ISING.finite(50, 1.6) == pytest.approx(0.244, abs=5e-4)


def test_no_student_of_few_ising_weights_exceeds_the_finite_bound_oftener_than_delta():
    n, m, delta, runs = 9, 12, 0.25, 400
    rng = np.random.default_rng(1)
    students = 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1
    error = np.arccos(students.sum(axis=1) / n) / pi  # the teacher is all ones
    bound = ISING.finite(n, m / n, delta)
    failures = 0
    for _ in range(runs):
        inputs = rng.standard_normal((n, m))
        consistent = np.all((students @ inputs > 0) == (inputs.sum(axis=0) > 0), axis=1)
        failures += error[consistent].max() > bound + 1e-12
    assert failures / runs <= delta


def test_the_finite_bounds_tend_to_the_limit():
    loads = np.array([0.7, 1.2, 1.4, 1.6, 3.0, 8.0])
    for bound in (ISING, SPHERICAL):
        gaps = [np.max(np.abs(bound.finite(n, loads) - bound.solve(loads).error)) for n in (100, 1000, 10_000)]
        assert gaps[0] > gaps[1] > gaps[2]
        assert gaps[2] < 0.005


def test_the_spherical_entropy_is_the_volume_of_a_cap():
    n, errors = 400, np.array([0.2, 0.3, 0.4])
    caps = np.log(0.5 * betainc((n - 1) / 2, 0.5, np.sin(pi * errors) ** 2)) / n
    assert SPHERICAL.entropy(errors) == pytest.approx(caps, abs=log(n) / n)
    assert SPHERICAL.entropy([0.0, 0.5, 1.0]).tolist() == [-inf, 0.0, -inf]


def test_the_spherical_bound_is_a_half_up_to_covers_capacity_and_falls_as_one_over_the_load():
    assert SPHERICAL.solve([0.0, 0.5, 2.0]).error.tolist() == [0.5, 0.5, 0.5]
    assert SPHERICAL.critical_load() == inf
    loads = np.array([2.01, 3.0, 10.0, 100.0])
    state = SPHERICAL.solve(loads)
    for load, error in zip(loads, state.error, strict=True):
        cells = load * binary_entropy(1 / load)
        assert log(sin(pi * error)) + cells == pytest.approx(-load * log(1 - error), abs=1e-10)
    # x - ln x = 1 + ln pi
    limit = brentq(lambda x: x - log(x) - 1 - log(pi), 1.5, 10)
    assert limit == pytest.approx(3.3553, abs=5e-5)
    assert 1e6 * SPHERICAL.solve(1e6).error == pytest.approx(limit, rel=1e-5)


@pytest.mark.parametrize(("n", "m"), [(3, 60), (12, 120)])
def test_the_finite_spherical_bound_is_its_formula_by_quadrature(n, m):
    delta = 0.1
    bound = SPHERICAL.finite(n, m / n, delta)
    cells = 2 * sum(comb(m - 1, k) for k in range(n))
    whole = quad(lambda x: sin(pi * x) ** (n - 2), 0, 1)[0]

    def failure(error):
        return 4 * cells * quad(lambda x: sin(pi * x) ** (n - 2) * (1 - x) ** m, error, 1, epsabs=0)[0] / whole

    assert bound == pytest.approx(brentq(lambda error: log(failure(error)) - 2 * log(delta), 0.05, 0.9), abs=2.6e-4)


def test_a_random_student_of_two_spherical_weights_exceeds_the_finite_bound_at_most_as_often_as_delta():
    m, delta, runs = 80, 0.5, 4000
    bound = SPHERICAL.finite(2, m / 2, delta)
    assert bound < 0.25
    rng = np.random.default_rng(2)
    # inputs forbid the angles behind their boundaries: an interval around the teacher at 0 is left
    boundaries = rng.uniform(-pi / 2, pi / 2, (runs, m))
    high = np.min(np.where(boundaries > 0, boundaries, boundaries + pi), axis=1)
    low = np.max(np.where(boundaries < 0, boundaries, boundaries - pi), axis=1)
    student = rng.uniform(low, high)
    assert np.mean(np.abs(student) / pi > bound) <= delta
    assert np.mean(np.maximum(high, -low) / pi) < bound


@pytest.mark.parametrize("load", [0.3, 1.0, 2.0, 3.0, 5.0, 20.0, 100.0])
def test_every_bound_of_the_spherical_class_is_above_the_true_error(load):
    truth = gibbs_error_spherical(load)
    assert SPHERICAL.solve(load).error > truth
    assert vc_bound(load).consistent > truth
    assert vc_bound(load).agnostic > truth
    assert vc_bound(load).consistent >= SPHERICAL.solve(load).error


@pytest.mark.parametrize("load", [0.2, 0.5, 1.0, 1.2])
def test_every_bound_of_the_ising_class_is_above_the_true_error(load):
    truth = gibbs_error_ising(load)
    reference = {0.5: 0.405317, 1.0: 0.310526, 1.2: 0.266868}
    assert truth == pytest.approx(reference.get(load, truth), abs=1e-5)
    occam = occam_bound(load)
    assert ISING.solve(load).error > truth
    assert ISING.finite(10_000, load) > truth
    assert min(occam.consistent, occam.additive, occam.agnostic, vc_bound(load).consistent) > truth


def test_the_version_space_bound_is_never_above_occams():
    loads = np.linspace(0.01, 5, 300)
    assert np.all(ISING.solve(loads).error <= occam_bound(loads).consistent + 1e-12)
    assert np.all(ISING.finite(200, loads) <= occam_bound(loads, 200).consistent + 1e-12)


def test_the_bounds_are_exact_up_to_their_ends():
    critical = ISING.critical_load()
    edges = critical * (1 - np.array([1e-16, 1e-15, 1e-14, 1e-13, 1e-12]))
    below = edges[edges < critical]
    assert ISING.solve(below).error == pytest.approx(np.full(len(below), ISING.critical_error()), abs=3e-6)
    steps = np.array([1e-15, 1e-9, 9e-7, 1.1e-6, 1e-5, 1e-4])
    assert SPHERICAL.solve(2 + steps).error == pytest.approx(0.5 - steps**2 / 16, abs=1e-12)


def test_learning_curves_jump_to_the_perfect_phase():
    loads = np.linspace(0, 3, 200)
    curve = ISING.learning_curve(loads)
    assert np.array_equal(curve.phase == "perfect", loads > 1.44796644)
    assert np.array_equal(curve.phase == "perfect", curve.error == 0)
    assert np.all(np.diff(curve.error) <= 0)
    assert curve.overlap == pytest.approx(np.cos(pi * curve.error), abs=1e-15)
    assert curve.residual < 1e-12
    assert set(curve.phase) == {"poor", "perfect"}
    smooth = SPHERICAL.learning_curve(loads)
    assert np.all(smooth.phase == "smooth")
    assert np.all(np.diff(smooth.error) <= 0)


@pytest.mark.parametrize(("n", "m"), [(1, 50), (3, 40), (10, 8), (20, 2000)])
def test_the_vc_bounds_are_their_formulas(n, m):
    delta = 0.1
    ways = sum(comb(2 * m, i) for i in range(min(n, 2 * m) + 1))
    bound = vc_bound(m / n, n, delta)
    assert bound.consistent == pytest.approx(min(1, 2 / m * log2(2 * ways / delta)), rel=1e-10)
    assert bound.agnostic == pytest.approx(min(1, sqrt(log(4 * ways / delta) / m) + 1 / m), rel=1e-10)
    # the simpler growth (2em/n)^n is weaker
    if 2 * m >= n and bound.consistent < 1:
        assert bound.consistent <= 2 / m * (n * log2(2 * exp(1) * m / n) + log2(2 / delta))


@pytest.mark.parametrize(("n", "m"), [(1, 5), (10, 8), (50, 80), (100, 5000)])
def test_the_occam_bounds_are_their_formulas(n, m):
    delta = 0.02
    bound = occam_bound(m / n, n, delta)
    x = (n * log(2) + log(1 / delta)) / m
    assert 2**n * (1 - bound.consistent) ** m == pytest.approx(delta, rel=1e-9)
    assert bound.additive == pytest.approx(min(1, x), rel=1e-12)
    assert bound.agnostic == pytest.approx(min(1, sqrt(x / 2)), rel=1e-12)
    assert bound.consistent < bound.additive


def test_the_bounds_for_many_weights_are_their_limits_and_vacuous_ones_are_one():
    loads = np.array([0.1, 2.0, 20.0, 200.0])
    n = 100_000
    for bound in (vc_bound, occam_bound):
        finite, limit = bound(loads, n), bound(loads)
        assert finite.consistent == pytest.approx(limit.consistent, rel=2e-3)
        assert finite.agnostic == pytest.approx(limit.agnostic, rel=2e-3)
    assert vc_bound([0.1, 2.0]).consistent.tolist() == [1.0, 1.0]
    assert vc_bound(0.1).agnostic == 1.0
    # (2/a) 2a H2(1/(2a)), in bits
    assert vc_bound(20.0).consistent == pytest.approx(4 * binary_entropy(1 / 40) / log(2), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VersionSpaceBound("hebb"), "weights are 'spherical' or 'ising'; got 'hebb'"),
        (lambda: ISING.solve([1.0, -1.0]), "load is -1; it must be at least 0"),
        (lambda: ISING.finite(1, 1.0), "n is 1; it must be at least 2"),
        (lambda: ISING.finite(10, 1.0, 0.0), "delta is 0; it must be above 0 and at most 1"),
        (lambda: vc_bound(0.0), "load is 0; it must be above 0"),
        (lambda: vc_bound(1.0, 2.5), "n is 2.5; it must be a whole number"),
        (lambda: vc_bound(1.0, float("nan")), "n is nan; it must be at least 1"),
        (lambda: occam_bound(inf), "load is inf; it must be above 0 and finite"),
        (lambda: occam_bound(0.01, 10), "load is 0.01: less than one example for 10 weights"),
        (lambda: ISING.finite(10.5, 1.0), "n is 10.5; it must be a whole number"),
        (lambda: occam_bound(1.0, 0), "n is 0; it must be at least 1"),
        (lambda: ISING.entropy(1.5), "error is 1.5; it must be at least 0 and at most 1"),
    ],
)
def test_arguments_outside_are_refused_by_name(call, message):
    with pytest.raises(RequestError, match=message.replace(".", r"\.")):
        call()


def test_the_angle_of_a_student_is_its_error():
    assert ISING.entropy(0.5) == pytest.approx(log(2), abs=1e-15)
    k, n = 300, 10_000
    error = np.arccos(1 - 2 * k / n) / pi
    assert ISING.entropy(error) == pytest.approx(log(comb(n, k)) / n, abs=1e-3)
    assert cos(pi * error) == pytest.approx(1 - 2 * k / n)


def test_bounds_of_no_load_and_of_one_have_their_shapes():
    for model in (ISING, SPHERICAL):
        assert model.solve([]).error.shape == model.finite(10, []).shape == (0,)
        assert model.learning_curve([]).phase.shape == (0,)
        assert model.learning_curve(1.0).error.shape == (1,)
    for bound in (vc_bound([]), vc_bound([], 10), occam_bound([]), occam_bound([], 10)):
        assert bound.load.shape == bound.consistent.shape == bound.agnostic.shape == (0,)


def test_the_load_of_a_finite_bound_is_that_of_whole_examples():
    assert vc_bound([0.37, 1.26], 10).load.tolist() == occam_bound([0.37, 1.26], 10).load.tolist() == [0.4, 1.3]
