from itertools import product
from math import erf, exp, log, pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning import _memory_theory as theory
from heavytail.learning._memory_dynamics import hebb, relax, sweep, thresholds
from heavytail.learning.hopfield import Hopfield

HOPFIELD = Hopfield()
POINTS = [(0.02, 0.5), (0.05, 0.3), (0.05, 0.45), (0.10, 0.2), (0.1, 0.05), (0.01, 0.75), (0.137, 0.03)]
GLASSES = [(0.05, 0.3), (0.5, 0.2), (0.1, 1.2), (2.0, 1.5), (1.0, 0.05), (0.01, 0.95)]

Z = np.linspace(-12, 12, 48001)
DZ = np.exp(-0.5 * Z * Z) / sqrt(2 * pi) * (24 / 48000)


def free_energy(a, T, m, q, r):
    """Amit, Gutfreund and Sompolinsky's free energy at any values of the order parameters."""
    b = 1 / T
    D = 1 - b + b * q
    field = b * np.abs(m + sqrt(a * r) * Z)
    spins = np.sum(DZ * (field + np.log1p(np.exp(-2 * field))))
    return a / 2 + m * m / 2 + a / (2 * b) * (log(D) - b * q / D) + a * b / 2 * r * (1 - q) - spins / b


def order(state):
    return float(state.overlap), float(state.glass), float(state.noise)


def derivative(f, x, h):
    """Central difference of fourth order."""
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


def states():
    cases = [(point, "retrieval") for point in POINTS] + [(point, "spin glass") for point in GLASSES]
    return pytest.mark.parametrize(("point", "branch"), cases)


def test_the_capacity_at_zero_temperature_is_the_maximum_of_its_closed_form():
    def load(y):
        return 0.5 * (erf(y) / y - 2 / sqrt(pi) * exp(-y * y)) ** 2

    y = minimize_scalar(lambda y: -load(y), bounds=(1, 2), method="bounded", options={"xatol": 1e-12}).x
    state = HOPFIELD.capacity()
    assert state.load == pytest.approx(load(y), abs=1e-13)
    assert state.load == pytest.approx(0.137905566, abs=1e-9)
    assert state.overlap == pytest.approx(0.967417, abs=1e-6)
    assert state.overlap / sqrt(2 * state.load * state.noise) == pytest.approx(1.511219, abs=1e-6)


def test_states_at_zero_temperature_are_the_closed_form():
    loads = np.linspace(0.005, 0.1379, 25)
    states = HOPFIELD.solve(loads)
    columns = states.load, states.overlap, states.noise, states.susceptibility, states.energy
    for a, m, r, C, E in zip(*columns, strict=True):
        y = brentq(lambda y: y * (sqrt(2 * a) + 2 / sqrt(pi) * exp(-y * y)) - erf(y), 1.511, 30, xtol=1e-14)  # noqa: B023
        assert m == pytest.approx(erf(y), abs=2e-10)
        assert y == pytest.approx(m / sqrt(2 * a * r), rel=1e-9)
        size = m * erf(y) + sqrt(2 * a * r / pi) * exp(-y * y)  # E |m + sqrt(ar) z|
        assert E == pytest.approx(a / 2 + m * m / 2 - a / (2 * (1 - C)) + a * r * C / 2 - size, abs=1e-12)
    assert np.all(states.glass == pytest.approx(1, abs=1e-12))
    assert np.all(states.free_energy == states.energy)


def test_errors_of_retrieval_are_the_reference_values():
    errors = (1 - HOPFIELD.solve([0.10, 0.13]).overlap) / 2
    np.testing.assert_allclose(errors, [0.00100, 0.00639], atol=6e-6)


def test_overlaps_at_a_temperature_are_the_reference_values():
    loads, temperatures = np.array(POINTS[:4]).T
    m = HOPFIELD.solve(loads, temperatures).overlap
    np.testing.assert_allclose(m, [0.9450, 0.99116, 0.94224, 0.98909], atol=6e-6)


@states()
def test_states_satisfy_their_equations_by_another_quadrature(point, branch):
    a, T = point
    m, q, r = order(HOPFIELD.solve(a, T, branch))
    tanh = np.tanh((m + sqrt(a * r) * Z) / T)
    assert np.sum(DZ * tanh) == pytest.approx(m, abs=1e-12)
    assert np.sum(DZ * tanh**2) == pytest.approx(q, abs=1e-12)
    assert q / (1 - (1 - q) / T) ** 2 == pytest.approx(r, rel=1e-10)


@states()
def test_the_free_energy_is_stationary_and_its_value(point, branch):
    a, T = point
    state = HOPFIELD.solve(a, T, branch)
    m, q, r = order(state)
    assert state.free_energy == pytest.approx(free_energy(a, T, m, q, r), abs=1e-12)
    assert state.free_energy == state.energy - T * state.entropy
    h = 1e-4 * min(1, (1 - q))
    assert derivative(lambda m: free_energy(a, T, m, q, r), m, h) == pytest.approx(0, abs=1e-8)
    assert derivative(lambda q: free_energy(a, T, m, q, r), q, h) == pytest.approx(0, abs=1e-8)
    assert derivative(lambda r: free_energy(a, T, m, q, r), r, 1e-4 * r) == pytest.approx(0, abs=1e-8)


@states()
def test_the_entropy_is_the_slope_of_the_free_energy_along_the_branch(point, branch):
    a, T = point
    slope = derivative(lambda T: float(HOPFIELD.solve(a, T, branch).free_energy), T, 1e-3 * T)
    assert HOPFIELD.solve(a, T, branch).entropy == pytest.approx(-slope, abs=1e-8)


def test_the_paramagnet_is_the_free_energy_without_order():
    for a, T in [(0.5, 2.0), (0.1, 1.4)]:
        state = HOPFIELD.solve(a, T, "paramagnet")
        assert state.free_energy == pytest.approx(free_energy(a, T, 0, 0, 0), abs=1e-13)
        slope = derivative(lambda T: float(HOPFIELD.solve(a, T, "paramagnet").free_energy), T, 1e-3)  # noqa: B023
        assert state.entropy == pytest.approx(-slope, abs=1e-9)


def test_the_spin_glass_joins_the_paramagnet_at_its_line():
    a = np.array([0.01, 0.3, 2.0])
    T = HOPFIELD.phases(a).glass
    np.testing.assert_array_equal(T, 1 + np.sqrt(a))
    glass, above = HOPFIELD.solve(a, T - 1e-6, "spin glass"), HOPFIELD.solve(a, T + 1e-6, "paramagnet")
    np.testing.assert_allclose(glass.free_energy, above.free_energy + 2e-6 * above.entropy, atol=1e-11)
    np.testing.assert_allclose(glass.replicon, 0, atol=1e-3)
    np.testing.assert_allclose(above.replicon, 0, atol=1e-3)
    assert np.all((glass.glass > 0) & (glass.glass < 1e-4))
    assert np.all(glass.replicon < 0)  # broken below its line (de Almeida and Thouless)


def test_the_spin_glass_at_zero_temperature_is_its_closed_form():
    loads = np.array([1e-4, 0.05, 0.138, 1.0, 30.0])
    state = HOPFIELD.solve(loads, 0.0, "spin glass")
    np.testing.assert_allclose(state.energy, -1 / pi - np.sqrt(2 * loads / pi), rtol=1e-11)
    np.testing.assert_allclose(np.sqrt(loads * state.noise), np.sqrt(loads) + sqrt(2 / pi), rtol=1e-11)
    np.testing.assert_array_equal(state.overlap, 0)


@pytest.mark.parametrize("branch", ["retrieval", "spin glass"])
def test_low_temperatures_approach_zero_temperature(branch):
    loads = np.array([0.03, 0.1, 0.137])
    zero = HOPFIELD.solve(loads, 0.0, branch)
    for T in (1e-3, 1e-5, 1e-7, 1e-9):
        state = HOPFIELD.solve(loads, T, branch)
        np.testing.assert_allclose(state.energy, zero.energy, atol=3 * T * T + 1e-12)  # specific heat linear in T
        np.testing.assert_allclose(state.free_energy, zero.free_energy - T * zero.entropy, atol=3 * T * T + 1e-12)
        np.testing.assert_allclose(state.glass, 1 - T * zero.susceptibility, atol=30 * T * T + 1e-12)
        assert np.max(state.residual) < 1e-10


def test_a_thousandth_is_solved_to_the_last_digits():
    a, T = 0.13, 0.001
    state = HOPFIELD.solve(a, T)
    s = sqrt(a * state.noise)
    feature = [-state.overlap / s + k * T / s for k in (-20, -3, 0, 3, 20)]

    def average(g):
        options = {"points": feature, "limit": 500, "epsabs": 1e-14, "epsrel": 1e-13}
        return quad(lambda z: exp(-z * z / 2) / sqrt(2 * pi) * g((state.overlap + s * z) / T), -10, 10, **options)[0]

    assert average(np.tanh) == pytest.approx(state.overlap, abs=1e-12)
    C = average(lambda y: 1 / np.cosh(min(abs(y), 300)) ** 2) / T
    assert pytest.approx(C, rel=1e-10) == state.susceptibility
    assert (1 - T * C) / (1 - C) ** 2 == pytest.approx(state.noise, rel=1e-10)


def test_one_pattern_has_the_mean_field_equation():
    for T in (0.05, 0.5, 0.9, 0.999):
        m = brentq(lambda m: np.tanh(m / T) - m, 1e-3, 1, xtol=1e-15)  # noqa: B023
        state = HOPFIELD.solve(0.0, T)
        assert state.overlap == pytest.approx(m, rel=1e-11)
        x = m / T
        assert state.entropy == pytest.approx(log(2 * np.cosh(x)) - x * np.tanh(x), abs=1e-12)
        assert state.energy == pytest.approx(-m * m / 2, abs=1e-13)
        assert state.replicon == 1
    assert HOPFIELD.solve(0, 0).overlap == pytest.approx(1, abs=1e-14)


def test_small_loads_shift_the_overlap_by_their_first_order():
    # m = tanh + a r/2 (second derivative), with r that of a = 0
    T, a = 0.6, 1e-7
    zero = HOPFIELD.solve(0.0, T)
    m, b = float(zero.overlap), 1 / T
    bent = -2 * b * b * m * (1 - m * m) / (1 - b * (1 - m * m)) * zero.noise / 2
    assert (HOPFIELD.solve(a, T).overlap - m) / a == pytest.approx(bent, rel=1e-4)


def test_a_curve_is_its_points_in_any_order_and_shape():
    loads = np.array([[0.05, 0.1, 0.0], [0.13, 0.02, 0.07]])
    states = HOPFIELD.solve(loads, 0.1)
    for k in np.ndindex(2, 3):
        assert states.overlap[k] == pytest.approx(HOPFIELD.solve(loads[k], 0.1).overlap, abs=1e-13)
    grid = HOPFIELD.solve(loads[:, :, None], np.array([0.0, 0.01, 0.1, 0.14]))
    assert grid.overlap.shape == grid.temperature.shape == (2, 3, 4)
    np.testing.assert_allclose(grid.overlap[:, :, 2], states.overlap, atol=1e-13)
    assert np.max(grid.residual) < 1e-11


def test_the_branch_ends_in_a_fold():
    # near the largest load the overlap has a square root, which the reverse function has not
    for T in (0.0, 0.05, 0.5, 0.95):
        end = HOPFIELD.capacity(T)
        below = HOPFIELD.solve(end.load * (1 - np.array([4e-6, 1e-6])), T)
        gaps = below.overlap - end.overlap
        assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.01)
        assert HOPFIELD.solve(end.load, T).overlap == pytest.approx(end.overlap, abs=1e-6)
        with pytest.raises(ConvergenceError, match=f"the largest load there is {end.load:.6g}"):
            HOPFIELD.solve(end.load * 1.0001, T)


def test_retrieval_temperatures_are_the_reference_values_and_the_folds():
    assert HOPFIELD.phases(0.05).retrieval == pytest.approx(0.5423, abs=6e-5)
    assert HOPFIELD.phases(0.10).retrieval == pytest.approx(0.3154, abs=6e-5)
    loads = np.array([1e-6, 1e-3, 0.03, 0.1, 0.137, 0.1381])
    T = HOPFIELD.phases(loads).retrieval
    np.testing.assert_allclose(HOPFIELD.capacity(T).load, loads, rtol=1e-9)


def test_retrieval_appears_at_its_line_and_turns_back_at_low_temperature():
    T = HOPFIELD.phases(0.138).retrieval
    assert HOPFIELD.solve(0.138, T - 1e-4).overlap > 0.9
    for colder_or_hotter in (0.0, T + 1e-4):
        with pytest.raises(ConvergenceError, match=r"no retrieval at load 0\.138"):
            HOPFIELD.solve(0.138, colder_or_hotter)
    assert np.isnan(HOPFIELD.phases(0.1382).retrieval)
    largest = np.max(HOPFIELD.capacity(np.linspace(0.02, 0.03, 101)).load)
    assert np.isfinite(HOPFIELD.phases(largest - 1e-8).retrieval)
    assert np.isnan(HOPFIELD.phases(largest + 1e-8).retrieval)


def test_lines_near_vanishing_load_are_their_expansions():
    # near T = 1 the equations reduce to powers: a = 4 tau^2 W / ((1 + 3W)^2 (1 + W)), W = w^2, largest at 6W^2 + 3W = 1
    a = 1e-10
    phases = HOPFIELD.phases(a)
    W = (sqrt(33) - 3) / 12
    slope = (1 + 3 * W) * sqrt((1 + W) / W) / 2
    assert (1 - phases.retrieval) / sqrt(a) == pytest.approx(slope, rel=1e-4)
    assert slope == pytest.approx(1.95, abs=0.005)  # as Amit, Gutfreund and Sompolinsky (1987) give it
    assert (1 - phases.equilibrium) / sqrt(a) == pytest.approx(2.6, abs=0.01)  # likewise
    assert HOPFIELD.phases(0.0).retrieval == HOPFIELD.phases(0.0).equilibrium == 1


def test_free_energies_are_equal_at_the_line_of_equilibrium():
    loads = np.array([1e-5, 1e-3, 0.01, 0.03, 0.05, 0.0525, 0.053])
    T = HOPFIELD.phases(loads).equilibrium
    retrieval, glass = (HOPFIELD.solve(loads, T, branch).free_energy for branch in ("retrieval", "spin glass"))
    np.testing.assert_allclose(retrieval, glass, atol=1e-12)
    for colder, sign in ((0.999, -1), (1.001, 1)):
        states = [HOPFIELD.solve(loads, colder * T, branch).free_energy for branch in ("retrieval", "spin glass")]
        assert np.all(np.sign(states[0] - states[1]) == sign)
    assert np.isnan(HOPFIELD.phases(0.06).equilibrium)


def test_retrieval_is_the_global_minimum_up_to_the_reference_load():
    a = HOPFIELD.coexistence()
    assert a == pytest.approx(0.051854, abs=1e-6)
    # but for the errors of retrieval, whose energy is -1/2: (pi/2)(1/2 - 1/pi)^2
    assert a == pytest.approx(pi / 2 * (0.5 - 1 / pi) ** 2, abs=1e-6)
    assert HOPFIELD.solve(a).energy == pytest.approx(-1 / pi - sqrt(2 * a / pi), abs=1e-12)
    temperatures = np.array([0.001, 0.1, 0.5, 0.99])
    loads = HOPFIELD.coexistence(temperatures)
    again = [HOPFIELD.solve(loads, temperatures, branch).free_energy for branch in ("retrieval", "spin glass")]
    np.testing.assert_allclose(again[0], again[1], atol=1e-13)


def test_replica_symmetry_breaks_at_its_line_which_has_the_known_asymptote():
    loads = np.array([0.02, 0.03, 0.05, 0.1, 0.13, 0.138])
    T = HOPFIELD.phases(loads).broken
    np.testing.assert_allclose(HOPFIELD.solve(loads, T).replicon, 0, atol=1e-9)
    assert np.all(HOPFIELD.solve(loads, 1.01 * T).replicon > 0)
    assert np.all(HOPFIELD.solve(loads, 0.99 * T).replicon < 0)
    small = np.array([1e-3, 0.005, 0.01, 0.02])
    asymptote = np.sqrt(8 * small / (9 * pi)) * np.exp(-1 / (2 * small))
    np.testing.assert_allclose(HOPFIELD.phases(small).broken, asymptote, rtol=1e-6)
    assert HOPFIELD.phases(1e-4).broken == 0  # exp(-5000)


def test_the_line_of_broken_symmetry_ends_at_the_capacity_of_the_broken_theory():
    # Steffan and Kuehn (1994): 0.138186 at T = 0 with one step of replica-symmetry breaking, 0.138187 with two
    inside, outside = HOPFIELD.phases([0.1381855, 0.1381865]).broken
    assert np.isnan(outside)
    end = HOPFIELD.phases(0.1381855)
    assert inside == end.broken == pytest.approx(end.retrieval, rel=0.05)


def test_the_replicon_is_the_stability_of_the_overlap_of_two_replicas():
    # its definition, by plain sums
    for a, T in POINTS:
        m, q, r = order(HOPFIELD.solve(a, T))
        sech4 = np.sum(DZ * (1 - np.tanh((m + sqrt(a * r) * Z) / T) ** 2) ** 2)
        assert HOPFIELD.solve(a, T).replicon == pytest.approx(1 - a * sech4 / (T - 1 + q) ** 2, abs=1e-9)


def test_lines_stand_in_their_order():
    loads = np.linspace(0.001, 0.138, 60)
    phases = HOPFIELD.phases(loads)
    assert np.all(phases.broken < phases.retrieval)
    assert np.all(phases.retrieval < phases.glass)
    known = np.isfinite(phases.equilibrium)
    assert np.all(phases.equilibrium[known] < phases.retrieval[known])
    assert np.all(np.diff(phases.retrieval) < 0)
    assert np.all(np.diff(phases.broken) > 0)


def test_the_load_turns_only_once_along_the_branch():
    temperatures = np.array([0.0, 0.01, 0.1, 0.4, 0.8, 0.99])[:, None]
    w = np.linspace(0.01, 0.6, 400)
    load = theory.load_at(theory.scale(temperatures, w), w)
    assert np.all(np.sum(np.diff(np.sign(np.diff(load))) != 0, axis=1) == 1)
    inside = (w > theory.FOLD[0]) & (w < theory.FOLD[1])
    assert np.all(inside[np.argmax(load, axis=1)])


@pytest.mark.parametrize("temperature", [0.0, 0.003, 0.2, 0.9])
def test_the_slope_of_the_load_is_its_derivative(temperature):
    w = np.array([0.3, 0.45, 0.55])

    def log_load(w):
        return np.log(theory.load_at(theory.scale(temperature, w), w))

    expected = derivative(log_load, w, 1e-3)
    np.testing.assert_allclose(theory.slope(theory.scale(temperature, w), w), expected, atol=1e-7)


def test_mixtures_are_stable_below_their_reference_temperatures():
    assert HOPFIELD.mixture_temperature(3) == pytest.approx(0.4598, abs=6e-5)
    temperatures = [HOPFIELD.mixture_temperature(n) for n in (3, 5, 7, 9)]
    assert np.all(np.diff(temperatures) < 0)
    for n in (2, 4, 1):
        with pytest.raises(RequestError, match=f"patterns is {n}; stable mixtures are of an odd number"):
            HOPFIELD.mixture_temperature(n)


def test_mixtures_lose_the_minimum_of_the_free_energy_there():
    # the Hessian of m^2/2 - T E ln 2 cosh(xi.m/T) at equal overlaps with three patterns, over all signs
    signs = np.array(list(product([-1.0, 1.0], repeat=3)))
    for shift, stable in ((0.999, True), (1.001, False)):
        T = shift * HOPFIELD.mixture_temperature(3)
        m = brentq(lambda m: np.mean(signs[:, 0] * np.tanh(m * signs.sum(1) / T)) - m, 0.1, 0.6)  # noqa: B023
        weight = (1 - np.tanh(m * signs.sum(1) / T) ** 2) / T / 8
        hessian = np.eye(3) - signs.T @ (weight[:, None] * signs)
        assert (np.linalg.eigvalsh(hessian)[0] > 0) == stable


@pytest.mark.parametrize(
    ("load", "temperature", "branch", "message"),
    [
        (0.15, 0.0, "retrieval", "no retrieval at load 0.15 and temperature 0; the largest load there is 0.137906"),
        ([0.01, 0.07], 0.5, "retrieval", "load 0.07 and temperature 0.5; the largest load there is 0.0588155"),
        (0.1, 1.2, "retrieval", "no retrieval at load 0.1 and temperature 1.2; it exists below temperature 1"),
        (0.04, 1.3, "spin glass", r"no spin glass at load 0.04 and temperature 1.3; it exists below 1 \+ sqrt\(load\)"),
        (0.04, 1.1, "paramagnet", r"no paramagnet at load 0.04 and temperature 1.1; it is stable above 1 \+ sqrt"),
    ],
)
def test_states_that_do_not_exist_are_refused_with_where_they_do(load, temperature, branch, message):
    with pytest.raises(ConvergenceError, match=message):
        HOPFIELD.solve(load, temperature, branch)


def test_requests_out_of_range_are_named():
    with pytest.raises(RequestError, match=r"load is -0\.1; it must be at least 0"):
        HOPFIELD.solve([0.1, -0.1])
    with pytest.raises(RequestError, match="temperature is -1; it must be at least 0"):
        HOPFIELD.solve(0.1, -1)
    with pytest.raises(RequestError, match=r"temperature is 0\.999999; it must be at least 0 and at most 0\.99999"):
        HOPFIELD.coexistence(0.999999)
    with pytest.raises(RequestError, match="load is 1e-12; it must be at least 1e-10"):
        HOPFIELD.phases([0.0, 0.1, 1e-12])
    with pytest.raises(ConvergenceError, match="no retrieval at load 0 and temperature 1; it exists below"):
        HOPFIELD.capacity([0.5, 1.0])
    with pytest.raises(ConvergenceError, match="the residual there is above 1e-08"):
        HOPFIELD.capacity(1 - 1e-13)
    with pytest.raises(RequestError, match="branch is 'glass'; it must be one of retrieval, spin glass, paramagnet"):
        HOPFIELD.solve(0.1, 0.1, "glass")
    with pytest.raises(RequestError, match="load is 0; it must be above 0"):
        HOPFIELD.solve(0.0, 0.1, "spin glass")
    with pytest.raises(RequestError, match="runs is 0; it must be at least 1"):
        HOPFIELD.simulate(100, 0.1, runs=0)
    with pytest.raises(RequestError, match="sweeps is 1; it must be at least 2"):
        HOPFIELD.simulate(100, 0.1, 0.5, sweeps=1)
    with pytest.raises(RequestError, match=r"n is 10\.5; it must be a whole number"):
        HOPFIELD.simulate(10.5, 0.1)
    with pytest.raises(RequestError, match=r"load is 0\.001: less than one example for 100 weights"):
        HOPFIELD.simulate(100, 0.001)
    with pytest.raises(RequestError, match=r"overlap is 1\.5; it must be at least -1 and at most 1"):
        HOPFIELD.simulate(100, 0.1, overlap=1.5)
    with pytest.raises(TypeError, match="positional"):
        HOPFIELD.simulate(100, 0.1, 0.5, 3)


def test_the_spin_glass_at_zero_temperature_keeps_its_entropy_at_any_load():
    # C^2 a = 2/pi there, and -a/2 (ln(1 - C) + C / (1 - C)) = -a C^2 / 4: that of Sherrington and Kirkpatrick
    entropy = HOPFIELD.solve([1e8, 1e30, 1e50, 1e99], 0.0, "spin glass").entropy
    assert entropy == pytest.approx(-1 / (2 * pi) * np.ones(4), rel=1e-4)
    assert entropy[1:] == pytest.approx(-1 / (2 * pi) * np.ones(3), rel=1e-13)


def test_no_loads_have_no_states():
    for branch in ("retrieval", "spin glass", "paramagnet"):
        assert HOPFIELD.solve([], [], branch).overlap.shape == (0,)
    assert HOPFIELD.phases([]).retrieval.shape == HOPFIELD.capacity([]).load.shape == (0,)


def test_mixtures_of_a_whole_odd_number_of_patterns_alone_have_a_temperature():
    assert HOPFIELD.mixture_temperature(3.0) == HOPFIELD.mixture_temperature(3)
    for patterns, fault in ((4, "stable mixtures are of an odd number"), (2.5, "it must be a whole number")):
        with pytest.raises(RequestError, match=f"patterns is {patterns}; {fault}"):
            HOPFIELD.mixture_temperature(patterns)


@pytest.mark.parametrize(("load", "temperature"), POINTS[:4])
def test_networks_at_a_temperature_have_the_overlap_of_the_theory(load, temperature):
    run = HOPFIELD.simulate(1500, load, temperature, seed=1, runs=12)
    theory_overlap = HOPFIELD.solve(load, temperature).overlap
    assert run.mean("overlap") == pytest.approx(theory_overlap, abs=0.01)
    assert run.load == load


def test_networks_at_zero_temperature_keep_patterns_up_to_the_capacity():
    for load in (0.05, 0.10, 0.13):
        run = HOPFIELD.simulate(1500, load, seed=2)
        assert run.mean("overlap") > 0.97
        assert run.mean("overlap") == pytest.approx(HOPFIELD.solve(load).overlap, abs=0.01)
    assert HOPFIELD.simulate(1500, 0.16, seed=2).mean("overlap") < 0.8
    assert 0.2 < HOPFIELD.simulate(1500, 0.20, seed=2).mean("overlap") < 0.6  # the remnant in the spin glass


def test_relaxed_states_have_no_spin_against_its_field():
    rng = np.random.default_rng(3)
    coupling = hebb(rng.choice([-1.0, 1.0], (60, 200)))
    first = rng.choice([-1.0, 1.0], 200)
    last = relax(coupling, first)
    assert np.all(last * (coupling @ last) >= 0)
    assert last @ coupling @ last > first @ coupling @ first


def test_a_small_network_visits_its_states_as_often_as_boltzmann_says():
    rng = np.random.default_rng(4)
    coupling, T, sweeps = hebb(rng.choice([-1.0, 1.0], (3, 6))), 1.5, 30000
    states = np.array(list(product([-1.0, 1.0], repeat=6)))
    weight = np.exp(0.5 * np.sum((states @ coupling) * states, axis=1) / 6 / T)
    spins = states[0].copy()
    fields = coupling @ spins
    visits = np.zeros(64)
    for _ in range(sweeps):
        sweep(coupling, spins, fields, thresholds(6, T, rng))
        visits[int((spins > 0) @ 2 ** np.arange(5, -1, -1))] += 1
    assert np.max(weight) > 5 * np.min(weight)
    np.testing.assert_allclose(visits / sweeps, weight / weight.sum(), atol=0.005)
    np.testing.assert_array_equal(fields, coupling @ spins)


def test_a_seed_fixes_a_simulation():
    runs = [HOPFIELD.simulate(100, 0.1, 0.5, seed=seed, runs=3).samples["overlap"] for seed in (7, 7, 8)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    again = HOPFIELD.simulate(100, 0.1, 0.5, seed=np.random.default_rng(7), runs=3).samples["overlap"]
    assert np.array_equal(runs[0], again)
