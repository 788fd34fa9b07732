import subprocess
import sys
from itertools import product
from math import exp, log

import numpy as np
import pytest

from heavytail.errors import RequestError
from heavytail.learning._enumeration import StudentCounts, count_students
from heavytail.learning._gauss import overlap_error
from heavytail.learning._metropolis import metropolis
from heavytail.learning.sampling import hysteresis, sample_perceptron


def patterns_of(n, count, noise, rng):
    inputs = rng.standard_normal((n, count))
    return inputs * np.sign(inputs.sum(axis=0)) * np.where(rng.random(count) < noise, -1, 1)


def agrees(sample, exact, largest_error):
    """The mean of independent values is the exact one, within four standard errors that are small."""
    error = np.std(sample, axis=0, ddof=1) / np.sqrt(len(sample))
    assert np.max(error) < largest_error
    assert (np.abs(np.mean(sample, axis=0) - exact) < 4 * error).all()


# --- one draw of the patterns: exact averages


@pytest.mark.parametrize(("n", "count", "temperature", "noise"), [(11, 15, 1.0, 0.0), (10, 20, 0.6, 0.2), (7, 7, 5, 0)])
def test_ising_chain_has_the_averages_of_all_students(n, count, temperature, noise):
    rng = np.random.default_rng(n)
    patterns = patterns_of(n, count, noise, rng)
    exact = StudentCounts(n, count, count_students(patterns)[None]).gibbs(temperature)
    students = np.array(list(product([-1.0, 1.0], repeat=n)))
    weight = np.exp(-np.sum(students @ patterns < 0, axis=1) / temperature)
    magnetisation = weight @ students / weight.sum()
    walks = []
    for _ in range(24):
        start = rng.choice([-1.0, 1.0], (2, n))
        metropolis(start, patterns, temperature, 500, rng, spherical=False)
        walks.append(metropolis(start, patterns, temperature, 4000, rng, spherical=False))
    agrees([walk.energy.mean() / count for walk in walks], exact.mean("training_error"), 0.005)
    agrees([walk.overlap.mean() for walk in walks], exact.mean("overlap"), 0.02)
    agrees([overlap_error(walk.overlap).mean() for walk in walks], exact.mean("error"), 0.01)
    agrees([walk.centre for walk in walks], magnetisation, 0.03)
    agrees([walk.mutual.mean() for walk in walks], np.mean(magnetisation**2), 0.02)


@pytest.mark.parametrize("temperature", [0.4, 2.0])
def test_one_sweep_of_three_spins_moves_with_the_probabilities_of_metropolis(temperature):
    rng = np.random.default_rng(1)
    patterns = patterns_of(3, 6, 0.3, rng)
    states = np.array(list(product([-1.0, 1.0], repeat=3)))
    energy = np.sum(states @ patterns < 0, axis=1)
    proposal = np.zeros((8, 8))
    for a, b in product(range(8), repeat=2):
        if np.sum(states[a] != states[b]) == 1:
            proposal[a, b] = min(1, exp(-(energy[b] - energy[a]) / temperature)) / 3
    np.fill_diagonal(proposal, 1 - proposal.sum(axis=1))
    sweep = np.linalg.matrix_power(proposal, 3)
    flow = np.exp(-energy / temperature)[:, None] * sweep
    assert flow == pytest.approx(flow.T)  # detailed balance of what is compared with
    draws = 4000
    for a in range(8):
        seen = np.zeros(8)
        for _ in range(draws // 2):
            students = np.repeat(states[a : a + 1], 2, axis=0)
            metropolis(students, patterns, temperature, 1, rng, spherical=False)
            for student in students:
                seen[np.argmax((states == student).all(axis=1))] += 1
        assert (np.abs(seen - draws * sweep[a]) <= 4 * np.sqrt(draws * sweep[a] * (1 - sweep[a])) + 1e-9).all()


@pytest.mark.parametrize("temperature", [0.0, 0.5, 3.0])
def test_spherical_chain_has_the_averages_of_the_sphere(temperature):
    rng = np.random.default_rng(4)
    patterns = patterns_of(3, 6, 0.2 if temperature else 0, rng)
    z, angle = (np.arange(600) + 0.5) / 300 - 1, (np.arange(600) + 0.5) / 300 * np.pi
    ring = np.sqrt(1 - z**2)[:, None]
    z = np.broadcast_to(z[:, None], (600, 600))
    grid = np.sqrt(3) * np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=-1).reshape(-1, 3)
    energy = np.sum(grid @ patterns < 0, axis=1)
    weight = np.exp(-energy / temperature) if temperature else (energy == 0).astype(float)
    weight /= weight.sum()
    walks = []
    for _ in range(24):
        start = np.ones((2, 3))
        metropolis(start, patterns, temperature, 100, rng, spherical=True)
        walks.append(metropolis(start, patterns, temperature, 10_000, rng, spherical=True))
    energies = [walk.energy.mean() for walk in walks]
    if temperature:
        agrees(energies, weight @ energy, 0.02)
    else:
        assert energies == [0] * 24
    agrees([walk.overlap.mean() for walk in walks], weight @ grid.mean(axis=1), 0.01)
    agrees([overlap_error(walk.overlap).mean() for walk in walks], weight @ overlap_error(grid.mean(axis=1)), 0.005)
    agrees([walk.centre for walk in walks], weight @ grid, 0.02)
    agrees([walk.mutual.mean() for walk in walks], np.mean((weight @ grid) ** 2), 0.02)


@pytest.mark.parametrize("spherical", [False, True])
def test_a_walk_keeps_the_length_and_tells_where_the_students_are(spherical):
    rng = np.random.default_rng(0)
    patterns, students = patterns_of(41, 80, 0.1, rng), np.ones((2, 41))
    walk = metropolis(students, patterns, 1.0, 300, rng, spherical=spherical)
    assert np.sum(students**2, axis=1) == pytest.approx([41, 41], rel=1e-12)
    assert walk.energy[-1] == pytest.approx(np.sum(students @ patterns < 0, axis=1), abs=0)
    assert walk.overlap[-1] == pytest.approx(students.mean(axis=1))
    assert walk.mutual[-1] == pytest.approx(students[0] @ students[1] / 41)
    assert 0 < walk.acceptance < 1


# --- many draws: theory


@pytest.mark.parametrize("weights", ["ising", "spherical"])
@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_at_nishimoris_temperature_students_are_as_the_teacher(weights, noise):
    # Exact at any size: there the teacher is a typical student, so a chain that starts at it is in equilibrium.
    temperature = 1 / log((1 - noise) / noise)
    found = sample_perceptron(
        weights, 15, 2.0, temperature, noise, start="teacher", sweeps=2000 if weights == "ising" else 1000, runs=200
    )
    agrees(found.samples["training_error"], noise, 0.01)
    agrees(found.samples["overlap"] - found.samples["self_overlap"], 0, 0.02)


def test_without_temperature_all_moves_are_made_and_nothing_is_learnt():
    for weights in ("ising", "spherical"):
        found = sample_perceptron(weights, 51, 2.0, np.inf, sweeps=400, runs=20)
        assert (found.samples["acceptance"] == 1).all()
        agrees(found.samples["training_error"], 0.5, 0.01)
        agrees(found.samples["error"], 0.5, 0.01)


@pytest.mark.parametrize(("load", "theory"), [(1, 0.413), (2, 0.322), (2.2, 0.301)])
def test_ising_students_at_temperature_1_err_as_in_theory(load, theory):
    found = sample_perceptron("ising", 201, load, 1.0, sweeps=3000, runs=12)
    assert found.mean("error") == pytest.approx(theory, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize(("fraction", "theory"), [(0.3, 0.268), (0.4, 0.316), (0.6, 0.387)])
def test_ising_students_of_noisy_labels_err_as_in_theory(fraction, theory):
    found = sample_perceptron("ising", 201, 4.0, 1.0, fraction / 2, sweeps=3000, runs=24)
    assert found.mean("error") == pytest.approx(theory, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("temperature", "theory"), [(0.4, 0.364), (0.6, 0.386), (0.8, 0.404), (1.2, 0.429), (2.0, 0.454)]
)
def test_ising_students_of_noisy_labels_err_more_where_warmer(temperature, theory):
    found = sample_perceptron("ising", 201, 1.2, temperature, 0.1, sweeps=3000, runs=12)
    assert found.mean("error") == pytest.approx(theory, abs=0.015)


def test_cold_chains_are_frozen_far_from_equilibrium():
    found = sample_perceptron("ising", 201, 1.2, 0.1, 0.1, sweeps=3000, runs=8)
    assert found.mean("training_error") > 0.15  # 0.02 in theory
    assert found.mean("acceptance") < 0.01


@pytest.mark.slow
def test_spherical_students_at_nishimoris_temperature_err_as_in_theory():
    found = sample_perceptron("spherical", 201, 3.0, 1 / log(9), 0.1, sweeps=16_000, runs=8)
    assert found.mean("error") == pytest.approx(0.27374, abs=0.015)
    assert found.mean("training_error") == pytest.approx(0.1, abs=0.01)


def test_memory_of_the_start_spans_the_first_order_transition():
    # transition 2.33 and spinodal 2.85 at temperature 1: between them it depends on the start, beyond it does not
    found = hysteresis(201, [3.6, 1.0, 2.4], 1.0, runs=6)
    assert list(found.loads) == pytest.approx([1.0, 2.4, 3.6], abs=0.5 / 201)
    assert found.rising.shape == found.falling.shape == (6, 3)
    rising, falling = np.median(found.rising, axis=0), np.median(found.falling, axis=0)
    assert rising[2] == falling[2] == falling[1] == 0
    assert rising[1] > 0.2
    assert rising[0] == pytest.approx(falling[0], abs=0.015)
    assert rising[0] == pytest.approx(0.413, abs=0.015)
    alone = hysteresis(201, [2.4], 1.0, runs=6)
    assert np.median(alone.rising) > 0.2
    assert np.median(alone.falling) == 0


def test_branches_of_random_labels_are_one():
    found = hysteresis(51, [0.5, 2.0], 1.0, 0.5, runs=20, sweeps=400)
    agrees(found.rising, 0.5, 0.01)
    agrees(found.falling, 0.5, 0.01)


# --- how it is asked for


def test_same_seed_gives_the_same_numbers_on_any_number_of_threads():
    for weights in ("ising", "spherical"):
        settings = {"weights": weights, "n": 31, "load": 1.5, "temperature": 0.7, "sweeps": 30, "runs": 7}
        one, three = sample_perceptron(**settings, seed=3, jobs=1), sample_perceptron(**settings, seed=3, jobs=3)
        generator = sample_perceptron(**settings, seed=np.random.default_rng(3))
        other = sample_perceptron(**settings, seed=4)
        for quantity in one.samples:
            assert one.samples[quantity].tobytes() == three.samples[quantity].tobytes()
            assert one.samples[quantity].tobytes() == generator.samples[quantity].tobytes()
        assert (one.samples["training_error"] != other.samples["training_error"]).any()
    first, second = (hysteresis(31, [1.0, 2.0], 1.0, runs=3, sweeps=20, jobs=jobs) for jobs in (1, 2))
    assert (first.rising == second.rising).all()
    assert (first.falling == second.falling).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"weights": "binary"}, "weights are 'spherical' or 'ising'; got 'binary'"),
        ({"start": "zero"}, "start is 'zero'; it must be one of random, teacher"),
        ({"n": 1}, "n is 1; it must be at least 2"),
        ({"n": 10.5}, "n is 10.5; it must be a whole number"),
        ({"load": -0.5}, "load is -0.5; it must be above 0 and finite"),
        ({"load": 0.05}, "load is 0.05: less than one example for 5 weights"),
        ({"temperature": -1}, "temperature is -1; it must be at least 0"),
        ({"temperature": float("nan")}, "temperature is nan; it must be at least 0"),
        ({"label_noise": 0.7}, "label_noise is 0.7; it must be at least 0 and at most 0.5"),
        ({"label_noise": [0.1]}, "label_noise is an array of shape (1,); it must be one number"),
        ({"sweeps": 1}, "sweeps is 1; it must be at least 2"),
        ({"runs": 0}, "runs is 0; it must be at least 1"),
        ({"jobs": 0}, "jobs is 0; it must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_named(bad, message):
    with pytest.raises(RequestError) as raised:
        sample_perceptron(**{"weights": "ising", "n": 5, "load": 1.0, "temperature": 1.0} | bad)
    assert str(raised.value) == message


def test_no_loads_are_refused():
    with pytest.raises(RequestError, match="loads is empty; it must have at least one load"):
        hysteresis(5, [], 1.0)


def test_one_run_of_one_example_is_fine():
    found = sample_perceptron("ising", 5, 0.15, 1.0, sweeps=2, runs=1)
    assert found.load == 0.2
    assert np.isnan(found.standard_error("error"))


def test_what_needs_no_numba_does_without_and_the_rest_says_how_to_get_it():
    code = """
import sys
import heavytail.learning
from heavytail.errors import RequestError
from heavytail.learning.sampling import *
print(enumerate_students(5, 5, runs=2).counts.sum(), "numba" in sys.modules)
sys.modules["numba"] = None
calls = {sample_perceptron: ("ising", 5, 1, 1), sample_version_space: (5, 1), hysteresis: (5, [1], 1)}
for function, arguments in calls.items():
    try:
        function(*arguments)
    except RequestError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needs = "sampling perceptrons needs numba: pip install 'heavytail[learning]'"
    assert done.stdout.splitlines() == ["64 False", needs, needs, needs]
