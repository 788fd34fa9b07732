from itertools import product
from math import erf, expm1, log, sqrt

import numpy as np
import pytest
from mpmath import mp
from scipy.stats import binom

from heavytail.errors import RequestError
from heavytail.learning._memory_dynamics import hebb, parallel_end, parallel_step, relax, thresholds
from heavytail.learning.little import LittleNetwork

LITTLE = LittleNetwork()


def states(n):
    return np.array(list(product([-1.0, 1.0], repeat=n)))


def transfer_matrix(coupling, temperature):
    """All 2^n x 2^n probabilities P(s'|s), rows being s."""
    s = states(len(coupling))
    field = s @ coupling / temperature
    return np.exp(field @ s.T - np.sum(np.log(2 * np.cosh(field)), axis=1, keepdims=True))


# at 400 spins and T = 0.8 a difference of eigenvalues in double precision gives 2.6e-14 to 2.7e-14
@pytest.mark.parametrize(
    ("temperature", "gaps", "digits"),
    [
        (1.5, (0.3428, 0.3383, 0.3359, 0.3346), 6e-5),
        (1.0, (0.0711, 0.0519, 0.0375, 0.0269), 6e-5),
        (0.8, (1.9e-3, 5.5e-5, 4.3e-8), None),
    ],
)
def test_spectral_gaps_are_the_reference_values(temperature, gaps, digits):
    for n, gap in zip((50, 100, 200, 400), gaps, strict=False):
        tolerance = {"rel": 0.02} if digits is None else {"abs": digits}
        assert LITTLE.spectral_gap(n, temperature) == pytest.approx(gap, **tolerance)


def test_a_gap_near_rounding_is_that_of_fifty_digits():
    # by LU decomposition of the odd sector with 60 decimal digits
    assert LITTLE.spectral_gap(400, 0.8) == pytest.approx(2.5775924303686107565e-14, rel=1e-11)


@pytest.mark.parametrize(("n", "temperature"), [(12, 0.05), (13, 0.2), (20, 0.2), (24, 0.6)])
def test_tiny_gaps_are_those_of_many_digits(n, temperature):
    # all eigenvalues of the symmetrised chain, with 250 decimal digits
    with mp.workdps(250):
        T = mp.mpf(temperature)
        M = [mp.mpf(2 * k - n) for k in range(n + 1)]
        norm = [mp.sqrt(mp.binomial(n, k)) / (2 * mp.cosh(m / (n * T))) ** (mp.mpf(n) / 2) for k, m in enumerate(M)]
        P = mp.matrix(n + 1, n + 1)
        for i, j in product(range(n + 1), repeat=2):
            P[i, j] = norm[i] * norm[j] * mp.exp(M[i] * M[j] / (n * T))
        values = sorted(mp.eigsy(P, eigvals_only=True))
        expected = float(mp.log(1 - values[-2]))
    assert LITTLE.log_spectral_gap(n, temperature) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(("temperature", "second"), [(1.0, 0.85384), (0.7, 0.97974), (0.5, 0.99966)])
def test_the_chain_has_the_eigenvalues_of_the_whole_transfer_matrix(temperature, second):
    values = np.sort(np.linalg.eigvals(transfer_matrix(np.full((9, 9), 1 / 9), temperature)).real)
    gap = LITTLE.spectral_gap(9, temperature)
    assert gap == pytest.approx(1 - values[-2], abs=1e-11)
    assert 1 - gap == pytest.approx(second, abs=6e-6)
    chain = np.sort(np.linalg.eigvals(LITTLE.transition_matrix(9, temperature)).real)
    np.testing.assert_allclose(chain[-3:], values[-3:], atol=1e-12)


def test_the_chain_is_binomial():
    P = LITTLE.transition_matrix(7, 0.6)
    for k in range(8):
        p = 1 / (1 + np.exp(-2 * (2 * k - 7) / 7 / 0.6))
        np.testing.assert_allclose(P[k], binom.pmf(np.arange(8), 7, p), rtol=1e-11)


def test_both_routes_to_the_gap_meet():
    # the change from a difference of eigenvalues to the elimination, at a gap of 0.01, is no step
    temperatures = np.linspace(0.906, 0.91, 21)
    logs = np.array([LITTLE.log_spectral_gap(100, T) for T in temperatures])
    assert logs[0] < log(0.01) < logs[-1]
    assert np.max(np.abs(np.diff(logs, 6))) < 1e-10


def test_gaps_have_their_limits():
    assert LITTLE.spectral_gap(2000, 1.5) == pytest.approx(1 / 3, abs=3e-4)
    assert LITTLE.spectral_gap(400, 1e6) == pytest.approx(1, abs=2e-6)
    near, far = -np.diff([LITTLE.log_spectral_gap(n, 1.0) for n in (100, 400, 1600)]) / log(4)
    assert 2 * far - near == pytest.approx(0.5, abs=1e-3)  # n^(-1/2), with a first correction of n^(-1/2)
    # one spin that only drives itself turns with probability 1 / (1 + exp(2/T)), twice which is the gap
    assert LITTLE.log_spectral_gap(1, 0.1) == pytest.approx(log(1 - np.tanh(10)), abs=1e-6)


def test_a_gap_below_all_floats_has_its_logarithm():
    slope = LITTLE.log_spectral_gap(400, 0.2) - LITTLE.log_spectral_gap(380, 0.2)
    earlier = LITTLE.log_spectral_gap(380, 0.2) - LITTLE.log_spectral_gap(360, 0.2)
    assert LITTLE.log_spectral_gap(400, 0.2) < -1400
    assert LITTLE.spectral_gap(400, 0.2) == 0
    assert slope == pytest.approx(earlier, rel=1e-3)  # exponential in n


def test_the_energy_is_that_of_the_stationary_law():
    rng = np.random.default_rng(0)
    J = rng.standard_normal((8, 8))
    J = J + J.T
    for T in (0.7, 2.0):
        P = transfer_matrix(J, T)
        weight = np.exp(-(LITTLE.energy(states(8), J, T) - LITTLE.energy(states(8), J, T).min()) / T)
        weight /= weight.sum()
        np.testing.assert_allclose(weight @ P, weight, atol=1e-13)
        np.testing.assert_allclose(weight[:, None] * P, (weight[:, None] * P).T, atol=1e-14)  # detailed balance


def test_the_energy_at_zero_temperature_is_its_limit():
    J, s = np.array([[0.0, 2.0], [2.0, 0.0]]), states(2)
    np.testing.assert_allclose(LITTLE.energy(s, J, 0.0), -4)
    np.testing.assert_allclose(LITTLE.energy(s, J, 1e-3), -4, atol=1e-12)
    assert LITTLE.energy(s[0], J, 1.0) == pytest.approx(-2 * (2 + log(-expm1(-4.0) + 2 * np.exp(-4.0))))


def test_the_energy_never_rises_at_zero_temperature():
    # Goles: the Lyapunov function of two states in turn, -s(t) J s(t-1), is minus the sum of the fields' sizes
    rng = np.random.default_rng(1)
    J = hebb(rng.choice([-1.0, 1.0], (60, 100)))
    s = rng.choice([-1.0, 1.0], 100)
    energies = []
    for _ in range(30):
        energies.append(LITTLE.energy(s, J, 0.0))
        s = parallel_step(J, s, np.zeros(100))
    assert np.all(np.diff(energies) <= 0)
    assert energies[0] > energies[-1]


def test_two_antiparallel_spins_turn_for_ever():
    J = np.array([[0.0, 1.0], [1.0, 0.0]])
    a, b = parallel_end(J, np.array([1.0, -1.0]))
    assert np.array_equal(a, -b)
    a, b = parallel_end(J, np.array([1.0, 1.0]))
    assert np.array_equal(a, b)


def test_spins_in_no_field_keep_their_state():
    s, none = np.array([1.0, -1.0, 1.0]), np.zeros((3, 3))
    assert np.array_equal(parallel_step(none, s, np.zeros(3)), s)
    assert np.array_equal(relax(none, s), s)
    # couplings of two patterns that differ in one spin: that spin feels nothing
    J = hebb(np.array([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]]))
    assert np.array_equal(parallel_step(J, np.array([1.0, 1.0, -1.0]), np.zeros(3)), [1, 1, -1])


def test_parallel_steps_have_their_probabilities():
    rng = np.random.default_rng(2)
    patterns = rng.choice([-1.0, 1.0], (2, 4))
    s, T, draws = np.array([1.0, 1.0, -1.0, 1.0]), 0.8, 40000
    J = hebb(patterns)
    ups = sum(parallel_step(J, s, thresholds(4, T, rng)) > 0 for _ in range(draws)) / draws
    expected = 1 / (1 + np.exp(-2 * (J / 4) @ s / T))
    np.testing.assert_allclose(ups, expected, atol=5 * 0.5 / sqrt(draws))


@pytest.mark.parametrize(("overlap", "after"), [(0.2, 0.4729), (0.4, 0.7941), (0.6, 0.9422), (0.8, 0.9886)])
def test_one_step_overlaps_are_the_reference_values_and_the_simulation(overlap, after):
    assert LITTLE.one_step_overlap(overlap, 0.1) == pytest.approx(after, abs=6e-5)
    assert LITTLE.one_step_overlap(overlap, 0.1) == pytest.approx(erf(overlap / sqrt(0.2)), abs=1e-15)
    run = LITTLE.simulate(1500, 0.1, runs=16, overlap=overlap, seed=1)
    assert run.mean("first") == pytest.approx(after, abs=0.015)


def test_one_step_overlaps_broadcast():
    m = LITTLE.one_step_overlap([[0.2], [0.4]], [0.1, 0.2, 0.3])
    assert m.shape == (2, 3)
    assert m[1, 2] == LITTLE.one_step_overlap(0.4, 0.3)
    assert LITTLE.one_step_overlap(-0.4, 0.3) == -m[1, 2]


def test_patterns_are_kept_up_to_their_capacity_and_lost_beyond():
    means = {load: LITTLE.simulate(1500, load, runs=8) for load in (0.10, 0.13, 0.16)}
    assert means[0.10].mean("overlap") == pytest.approx(0.9987, abs=0.01)
    assert means[0.13].mean("overlap") > 0.97
    assert means[0.16].mean("overlap") < 0.8
    assert np.all(means[0.10].samples["period"] == 1)
    assert np.any(means[0.16].samples["period"] == 2)  # two states in turn appear beyond the capacity
    assert set(means[0.16].samples["period"]) <= {1, 2}


def test_one_pattern_at_a_temperature_has_the_overlap_of_the_mean_field_equation():
    run = LITTLE.simulate(2000, 1 / 2000, temperature=0.6, runs=4, seed=3)
    m = 1.0
    for _ in range(200):
        m = np.tanh(m / 0.6)
    assert run.mean("overlap") == pytest.approx(m, abs=0.005)
    assert np.all(np.isnan(run.samples["period"]))
    assert run.load == 1 / 2000


def test_a_seed_fixes_a_simulation():
    runs = [LITTLE.simulate(100, 0.1, 0.5, seed=seed, runs=3).samples["overlap"] for seed in (7, 7, 8)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_requests_out_of_range_are_named():
    with pytest.raises(RequestError, match="temperature is 0; it must be above 0"):
        LITTLE.spectral_gap(10, 0.0)
    with pytest.raises(RequestError, match="n is 0; it must be at least 1"):
        LITTLE.log_spectral_gap(0, 1.0)
    with pytest.raises(RequestError, match=r"overlap is 1\.1; it must be at least -1 and at most 1"):
        LITTLE.one_step_overlap(1.1, 0.1)
    with pytest.raises(RequestError, match="load is 0; it must be above 0"):
        LITTLE.one_step_overlap(0.5, 0.0)
    with pytest.raises(RequestError, match=r"coupling of shape \(2, 2\) is not a symmetric matrix"):
        LITTLE.energy([1, 1], [[0, 1], [2, 0]], 1.0)
    with pytest.raises(RequestError, match=r"load is 0\.001: less than one example for 100 weights"):
        LITTLE.simulate(100, 0.001)
    with pytest.raises(RequestError, match="steps is 1"):
        LITTLE.simulate(100, 0.1, 0.5, steps=1)
    with pytest.raises(RequestError, match=r"steps is 2\.5; it must be a whole number"):
        LITTLE.simulate(100, 0.1, 0.5, steps=2.5)
    for runs in (0, -1):
        with pytest.raises(RequestError, match=f"runs is {runs}; it must be at least 1"):
            LITTLE.simulate(100, 0.1, runs=runs)
    for call in (LITTLE.spectral_gap, LITTLE.transition_matrix, LITTLE.simulate):
        with pytest.raises(RequestError, match=r"n is 10\.5; it must be a whole number"):
            call(10.5, 1.0)
    with pytest.raises(TypeError, match="positional"):
        LITTLE.simulate(100, 0.1, 0.5, 3)
