import re
from math import exp, inf, log, pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from heavytail.errors import RequestError
from heavytail.learning.landscapes import RandomEnergyModel, SherringtonKirkpatrick, SphericalSpinGlass


@pytest.mark.parametrize(
    ("p", "threshold", "ground"), [(3, 1.6329932, 1.6569984), (4, 1.7320508, 1.7940850), (10, 1.8973666, 2.1353638)]
)
def test_the_band_of_the_minima_is_the_reference_value(p, threshold, ground):
    glass = SphericalSpinGlass(p)
    assert glass.threshold_energy == pytest.approx(-threshold, abs=5e-8)
    assert glass.ground_state() == pytest.approx(-ground, abs=5e-8)
    assert glass.complexity(glass.ground_state(), index=0) == pytest.approx(0, abs=1e-12)


def test_the_complexity_at_the_threshold_is_that_of_every_index():
    assert SphericalSpinGlass(3).complexity(-sqrt(8 / 3), index=0) == pytest.approx(0.0132403, abs=5e-8)
    for p in (2, 3, 4, 10):
        glass = SphericalSpinGlass(p)
        for index in (0, 1, 7):
            top = glass.complexity(glass.threshold_energy, index=index)
            assert top == pytest.approx(0.5 * log(p - 1) - (p - 2) / p, abs=1e-14)


@pytest.mark.parametrize("p", [3, 4, 10])
def test_the_complexity_of_minima_has_the_slope_of_its_hessian(p):
    # dI/du = 2/E_inf^2 sqrt(u^2 - E_inf^2)
    glass = SphericalSpinGlass(p)
    edge = -glass.threshold_energy
    for u in (edge + 0.01, edge + 0.3):
        cost = quad(lambda x: 2 / edge**2 * sqrt(x * x - edge * edge), edge, u)[0]
        expected = 0.5 * log(p - 1) - (p - 2) / (4 * (p - 1)) * u * u
        for index in (0, 2):
            assert glass.complexity(-u, index=index) == pytest.approx(expected - (index + 1) * cost, abs=1e-10)


def test_saddles_lie_in_layers_between_ground_state_and_threshold():
    glass = SphericalSpinGlass(3)
    floors = [glass.ground_state(index) for index in range(6)]
    assert np.all(np.diff(floors) > 0)
    assert floors[-1] < glass.threshold_energy
    energies = np.linspace(floors[0] - 0.1, glass.threshold_energy, 50)
    minima = glass.complexity(energies, index=0)
    assert np.all(np.diff(minima) > 0)
    assert np.all(glass.complexity(energies[:-1], index=1) < minima[:-1])
    assert np.array_equal(glass.complexity(energies), minima)


def test_above_the_threshold_are_no_minima_but_critical_points_of_all_signs():
    glass = SphericalSpinGlass(3)
    assert np.all(glass.complexity([glass.threshold_energy + 1e-9, 0.0, 1.0, 2.0], index=0) == -inf)
    energies = np.linspace(0, 2.5, 60)
    assert np.array_equal(glass.complexity(energies), glass.complexity(-energies))
    assert glass.complexity(0.0) == pytest.approx(0.5 * log(2), abs=1e-15)
    assert np.all(np.diff(glass.complexity(energies)) < 0)


def test_two_spins_an_interaction_have_only_the_eigenvectors():
    glass = SphericalSpinGlass(2)
    assert glass.ground_state() == glass.ground_state(3) == glass.threshold_energy == -sqrt(2)
    assert np.array_equal(glass.complexity([-1.4, 0.0, 1.0]), np.zeros(3))
    assert glass.complexity(-1.5) < 0
    simulation = glass.simulate(8, runs=50)
    assert simulation.samples["critical_points"] == pytest.approx(np.full(50, 16.0), rel=1e-12)
    assert simulation.samples["minima"] == pytest.approx(np.full(50, 2.0), rel=1e-12)
    # the ground state of a random quadratic form is -sqrt 2 times the edge of the semicircle
    large = glass.simulate(300, runs=10)
    assert large.mean("minima_energy") / large.mean("minima") == pytest.approx(-sqrt(2), abs=0.03)


@pytest.mark.parametrize("p", [2, 3, 5])
def test_on_the_circle_the_number_of_critical_points_is_rices(p):
    # the covariance cos^p of the angle has second derivative -p and fourth 3p^2 - 2p at 0
    simulation = SphericalSpinGlass(p).simulate(2, seed=1, runs=20_000)
    expected = 2 * sqrt(3 * p - 2)
    tolerance = 4 * simulation.standard_error("critical_points") + 1e-12
    assert simulation.mean("critical_points") == pytest.approx(expected, abs=tolerance)
    assert simulation.mean("minima") == pytest.approx(expected / 2, abs=tolerance)


@pytest.mark.parametrize("p", [3, 4, 6])
def test_on_the_sphere_minima_and_saddles_obey_morse(p):
    # minima - saddles + maxima = 2, and there are as many maxima as minima
    simulation = SphericalSpinGlass(p).simulate(3, seed=2, runs=20_000)
    excess = 4 * simulation.samples["minima"] - simulation.samples["critical_points"]
    assert np.mean(excess) == pytest.approx(2, abs=4 * np.std(excess) / sqrt(len(excess)))


def test_minima_found_by_descent_on_the_sphere_are_as_many_and_as_deep_as_predicted():
    rng = np.random.default_rng(3)
    couplings = rng.standard_normal((120, 3, 3, 3))
    symmetric = sum(couplings.transpose(0, *order) for order in _orders()) / 6
    x = rng.standard_normal((120, 40, 3))
    for _ in range(300):
        x /= np.linalg.norm(x, axis=-1, keepdims=True)
        slope = 3 * np.einsum("lijk,lsi,lsj->lsk", symmetric, x, x, optimize=True)
        x = x - 0.1 * (slope - np.sum(slope * x, axis=-1, keepdims=True) * x)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    # with s = sqrt(3) x the energy a spin is sum J x x x / sqrt(3)
    energies = np.einsum("lijk,lsi,lsj,lsk->ls", symmetric, x, x, x, optimize=True) / sqrt(3)
    found = [np.unique(row.round(4)) for row in energies]
    number = np.array([len(row) for row in found])
    simulation = SphericalSpinGlass(3).simulate(3, seed=4, runs=20_000)
    error = np.hypot(number.std() / sqrt(120), simulation.standard_error("minima"))
    assert number.mean() == pytest.approx(simulation.mean("minima"), abs=4 * error)
    depth = simulation.mean("minima_energy") / simulation.mean("minima")
    assert np.concatenate(found).mean() == pytest.approx(depth, abs=0.05)


def _orders():
    """The orders of three axes behind the first."""
    return [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)]


def test_the_number_of_critical_points_grows_with_the_complexity():
    glass = SphericalSpinGlass(3)
    counts = {n: glass.simulate(n, seed=5, runs=2000).mean("critical_points") for n in (20, 50)}
    for n, count in counts.items():
        # Laplace's method, from the density sqrt(2)/pi of the semicircle at 0
        assert count == pytest.approx(4 * sqrt(2 * n / pi) * 2 ** (n / 2), rel=1.5 / n)
    growth = (log(counts[50]) - log(counts[20]) - 0.5 * log(2.5)) / 30
    assert growth == pytest.approx(glass.complexity(0.0), abs=2e-3)


def test_the_random_energy_model_freezes_where_its_entropy_vanishes():
    model = RandomEnergyModel()
    assert model.critical_temperature == pytest.approx(0.6005612, abs=5e-8)
    assert model.ground_state == pytest.approx(-sqrt(log(2)), abs=1e-15)
    t = np.append(np.linspace(0, 3, 301), model.critical_temperature * np.array([1 - 1e-12, 1, 1 + 1e-12]))
    state = model.solve(t)
    assert np.all(state.entropy >= 0)
    assert state.free_energy == pytest.approx(state.energy - t * state.entropy, abs=1e-15)
    h = 1e-5
    slope = (model.solve(t[5:300] + h).free_energy - model.solve(t[5:300] - h).free_energy) / (2 * h)
    assert -slope == pytest.approx(state.entropy[5:300], abs=1e-5)
    below = model.solve([0.0, 0.3])
    assert below.free_energy.tolist() == [-sqrt(log(2))] * 2
    assert below.participation[0] == 1.0


@pytest.mark.parametrize("temperature", [0.8, 1.0, 2.0])
def test_the_mean_partition_function_of_the_random_energy_model_is_exact(temperature):
    model, n = RandomEnergyModel(), 12
    simulation = model.simulate(n, temperature, seed=6, runs=60)
    weights = np.exp(-n * (simulation.samples["free_energy"] - model.solve(temperature).free_energy) / temperature)
    # E Z = 2^n e^(n/(4 T^2)), and var Z / (E Z)^2 = 2^-n (e^(n/(2 T^2)) - 1)
    spread = sqrt(2.0**-n * (exp(n / (2 * temperature**2)) - 1) / 60)
    assert weights.mean() == pytest.approx(1, abs=4 * spread)


def test_simulated_random_energies_freeze():
    model = RandomEnergyModel()
    hot, cold = model.simulate(18, 1.2, seed=7), model.simulate(18, 0.25, seed=7, runs=60)
    state = model.solve(1.2)
    for name in ("free_energy", "energy", "entropy"):
        assert hot.mean(name) == pytest.approx(getattr(state, name), abs=0.02)
    assert hot.mean("participation") < 0.01
    assert min(hot.samples["entropy"].min(), cold.samples["entropy"].min()) >= 0
    assert cold.mean("participation") == pytest.approx(
        model.solve(0.25).participation, abs=4 * cold.standard_error("participation")
    )
    # finite-size: the level is ln(4 pi n ln 2) / (4 n sqrt(ln 2)) above the limit
    shift = log(4 * pi * 18 * log(2)) / (4 * 18 * sqrt(log(2)))
    assert cold.mean("energy") == pytest.approx(model.ground_state + shift, abs=0.03)


def parisi_free_energy(q, temperature, field):
    """Replica-symmetric potential of Sherrington and Kirkpatrick, by adaptive quadrature."""
    b = 1 / temperature

    def integrand(z):
        x = b * (sqrt(q) * z + field)
        return exp(-z * z / 2) / sqrt(2 * pi) * np.logaddexp(x, -x)

    return -0.25 * b * (1 - q) ** 2 - temperature * quad(integrand, -12, 12, epsabs=1e-13, limit=400)[0]


@pytest.mark.parametrize(("temperature", "field"), [(0.3, 0.0), (0.9, 0.0), (1.5, 0.0), (0.2, 0.5), (1.0, 1.5)])
def test_the_spin_glass_is_stationary_in_the_overlap_and_its_entropy_a_derivative(temperature, field):
    model = SherringtonKirkpatrick(field)
    state = model.solve(temperature)
    q = state.self_overlap
    assert state.free_energy == pytest.approx(parisi_free_energy(q, temperature, field), abs=1e-10)
    if q > 0:
        h = 1e-4 * q
        slope = parisi_free_energy(q + h, temperature, field) - parisi_free_energy(q - h, temperature, field)
        assert slope / (2 * h) == pytest.approx(0, abs=1e-7)
    h = 1e-4
    around = model.solve([temperature - h, temperature + h]).free_energy
    assert -(around[1] - around[0]) / (2 * h) == pytest.approx(state.entropy, abs=1e-7)
    if field > 0:
        sides = [SherringtonKirkpatrick(field + side).solve(temperature).free_energy for side in (-h, h)]
        assert -(sides[1] - sides[0]) / (2 * h) == pytest.approx(state.magnetisation, abs=1e-7)
    assert state.residual < 1e-12


def test_the_replica_symmetric_ground_state_has_negative_entropy():
    energy, entropy = SherringtonKirkpatrick().ground_state()
    assert energy == pytest.approx(-0.797885, abs=5e-7)
    assert entropy == pytest.approx(-1 / (2 * pi), abs=1e-15)
    for field in (0.0, 0.4, 1.5):
        model = SherringtonKirkpatrick(field)
        cold = model.solve(1e-5)
        energy, entropy = model.ground_state()
        assert cold.energy == pytest.approx(energy, abs=1e-8)
        assert cold.entropy == pytest.approx(entropy, abs=1e-5)


def test_without_field_the_spin_glass_is_paramagnetic_from_one_up_and_unstable_below():
    state = SherringtonKirkpatrick().solve([0.05, 0.5, 0.99, 1.0, 1.01, 2.0])
    assert np.array_equal(state.self_overlap > 0, [True, True, True, False, False, False])
    assert np.all(state.replicon[:3] < 0)
    assert state.replicon[3] == pytest.approx(0, abs=1e-12)
    assert np.all(state.replicon[4:] > 0)
    assert state.entropy[5] == pytest.approx(log(2) - 1 / 16, abs=1e-12)
    near = SherringtonKirkpatrick().solve(0.999)
    assert near.self_overlap == pytest.approx(0.001, rel=0.01)  # q = 1 - T


def test_the_almeida_thouless_line_has_its_known_ends():
    assert SherringtonKirkpatrick().almeida_thouless_temperature() == 1.0
    # h^2 = (4/3) (1 - T)^3 for small fields, T = 4 / (3 sqrt(2 pi)) e^(-h^2/2) for strong ones
    weak = SherringtonKirkpatrick(1e-4).almeida_thouless_temperature()
    assert 1 - weak == pytest.approx((0.75 * 1e-8) ** (1 / 3), rel=5e-3)
    strong = SherringtonKirkpatrick(3.0).almeida_thouless_temperature()
    assert strong == pytest.approx(4 / (3 * sqrt(2 * pi)) * exp(-4.5), rel=5e-3)
    for field in (0.3, 1.0):
        model = SherringtonKirkpatrick(field)
        line = model.almeida_thouless_temperature()

        def stability(t, field=field, model=model):
            q = model.solve(t).self_overlap
            mean = quad(
                lambda z: exp(-z * z / 2) / sqrt(2 * pi) / np.cosh((sqrt(q) * z + field) / t) ** 4, -12, 12, limit=400
            )
            return mean[0] - t * t

        assert line == pytest.approx(brentq(stability, 0.9 * line, 1.1 * line, xtol=1e-12), abs=1e-8)


def test_on_the_almeida_thouless_line_the_replicon_is_zero_at_any_field():
    for field in (1e-3, 0.1, 1.0, 3.0, 3.6, 3.8, 5.0, 6.9):
        model = SherringtonKirkpatrick(field)
        # q, of fifteen digits, and the logarithm of T, of fourteen, stand in fields that are divided by T
        assert model.solve(model.almeida_thouless_temperature()).replicon == pytest.approx(0, abs=1e-13)
    for field in (5.0, 6.9, 7.1, 20.0, 37.0):
        limit = 4 / 3 * exp(-field * field / 2) / sqrt(2 * pi)  # up to its square
        line = SherringtonKirkpatrick(field).almeida_thouless_temperature()
        assert line == pytest.approx(limit, rel=1e-12 + 30 * limit**2)
    assert SherringtonKirkpatrick(40.0).almeida_thouless_temperature() == 0
    weak = [1 - SherringtonKirkpatrick(field).almeida_thouless_temperature() for field in (1e-200, 1e-12, 1e-8)]
    assert weak == pytest.approx([0.0, 0.75 ** (1 / 3) * 1e-8, (0.75e-16) ** (1 / 3)], abs=1.5e-8)


@pytest.mark.parametrize("field", [0.0, 0.4, 1.0, 3.0])
def test_the_cold_spin_glass_keeps_the_digits_of_its_entropy(field):
    density = exp(-field * field / 2) / sqrt(2 * pi)
    # to first order in T: pi^2/6 is the integral of a spin's entropy over its field, and q = 1 - 2 T density
    slope = density * pi**2 / 6 - 2 * (1 - field**2) * density**3
    t = np.array([5e-324, 1e-300, 1e-30, 1e-12, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5])
    model = SherringtonKirkpatrick(field)
    state = model.solve(t)
    assert np.all(np.abs(state.entropy + density**2 - slope * t) < 1e-14 + 2 * t**2)
    assert np.all(np.abs(state.energy - model.ground_state()[0]) < 1e-14 + t**2)
    assert np.all(state.residual < 1e-12)


def test_strong_fields_turn_nearly_all_spins_and_the_rest_is_known():
    for field, t in ((20.0, 1.0), (15.0, 1.5), (60.0, 2.0)):
        state = SherringtonKirkpatrick(field).solve(t)
        rest = 4 * exp(-2 * field / t + 2 / t**2)  # E 4 e^(-2x)
        assert 1 - state.self_overlap == pytest.approx(rest, rel=1e-6, abs=2e-16)
        # E e^(-2x) (1 + 2x), under which the mean of x is less by 2 / T^2
        assert state.entropy == pytest.approx(0.25 * rest * (1 + 2 * field / t - 4 / t**2), rel=1e-5)
        assert state.energy == pytest.approx(-field, rel=1e-6)
        assert state.residual < 1e-12


def test_just_below_one_the_overlap_grows_from_nothing():
    distance = 1 - (1 - np.array([1e-16, 1e-13, 1e-10, 0.9e-8, 1.1e-8, 1e-6, 1e-4]))
    state = SherringtonKirkpatrick().solve(1 - distance)
    assert state.self_overlap == pytest.approx(distance + distance**2 / 3, rel=2e-8)
    assert np.all(state.residual < 1e-15)


def test_weak_fields_polarise_the_paramagnet():
    for field, t in ((1e-4, 2.0), (1e-20, 1.5), (1e-140, 3.0), (1.0, 1e6)):
        state = SherringtonKirkpatrick(field).solve(t)
        assert state.self_overlap == pytest.approx(field**2 / (t**2 - 1), rel=1e-7)
        assert state.magnetisation == pytest.approx(field / t, rel=1e-7)
        assert state.entropy == pytest.approx(log(2) - 0.25 / t**2, abs=1e-8)


@pytest.mark.parametrize(
    "simulate",
    [
        lambda seed: SphericalSpinGlass(3).simulate(6, seed=seed, runs=5),
        lambda seed: RandomEnergyModel().simulate(8, 0.5, seed=seed, runs=5),
    ],
)
def test_the_same_seed_gives_the_same_draws(simulate):
    once, again, other = simulate(1), simulate(np.random.default_rng(1)), simulate(2)
    assert once.runs == 5
    assert all(np.array_equal(once.samples[key], again.samples[key]) for key in once.samples)
    assert all(not np.array_equal(once.samples[key], other.samples[key]) for key in once.samples)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SphericalSpinGlass(1), "p is 1; it must be at least 2"),
        (lambda: SphericalSpinGlass(2.5), "p is 2.5; it must be a whole number"),
        (lambda: SphericalSpinGlass(3).complexity(float("nan"), index=0), "energy is nan; it must be at least -1e+100"),
        (lambda: SphericalSpinGlass(3).complexity(-1.0, index=1.5), "index is 1.5; it must be a whole number"),
        (lambda: SphericalSpinGlass(3).ground_state(0.5), "index is 0.5; it must be a whole number"),
        (lambda: SphericalSpinGlass(3).simulate(10.5), "n is 10.5; it must be a whole number"),
        (lambda: SphericalSpinGlass(3).simulate(10, runs=0), "runs is 0; it must be at least 1"),
        (lambda: RandomEnergyModel().simulate(10, 1.0, runs=-1), "runs is -1; it must be at least 1"),
        (lambda: RandomEnergyModel().simulate(10.5, 1.0), "n is 10.5; it must be a whole number"),
        (lambda: RandomEnergyModel().solve(inf), "temperature is inf; it must be at least 0 and finite"),
        (lambda: SherringtonKirkpatrick(inf), "field is inf; it must be at least 0 and at most 1e+100"),
        (lambda: SphericalSpinGlass(3).complexity(-1.0, index=-1), "index is -1; it must be at least 0"),
        (lambda: RandomEnergyModel().solve(-0.1), "temperature is -0.1; it must be at least 0"),
        (lambda: RandomEnergyModel().simulate(30, 1.0), "n is 30; it must be at least 1 and at most 24"),
        (lambda: RandomEnergyModel().simulate(10, 0.0), "temperature is 0; it must be above 0"),
        (lambda: SherringtonKirkpatrick(-1.0), "field is -1; it must be at least 0"),
        (lambda: SherringtonKirkpatrick().solve(0.0), "temperature is 0; it must be above 0"),
    ],
)
def test_arguments_outside_are_refused_by_name(call, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        call()
