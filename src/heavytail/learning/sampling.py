"""Simulations of perceptrons that learn from a teacher: Metropolis, hit and run, and counting all students.

Inputs are Gaussian; labels are a teacher's, flipped with probability label_noise. The energy of a student is its number
of training errors. Each run draws its own examples, from its own stream of the seed, whichever thread it runs on.
Walks need numba, from the extra `learning`; they are compiled in a second, at the first call in a process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from heavytail.errors import RequestError
from heavytail.learning._arguments import (
    check_label_noise,
    check_name,
    check_number,
    check_weights,
    count_examples,
    whole,
)
from heavytail.learning._enumeration import StudentCounts, count_students, expected_students, expected_version_space
from heavytail.learning._gauss import Array, overlap_error
from heavytail.learning._teacher import draw_labels
from heavytail.learning.results import Simulation

if TYPE_CHECKING:
    from heavytail.learning._metropolis import Walk

__all__ = [
    "Hysteresis",
    "StudentCounts",
    "enumerate_students",
    "expected_students",
    "expected_version_space",
    "hysteresis",
    "sample_perceptron",
    "sample_version_space",
]

T = TypeVar("T")
Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """Generalisation error of Ising students while examples come and go.

    Attributes:
        n: number of weights.
        temperature: of the walk.
        loads: examples per weight, ascending, shape (loads,), as they were: a whole number of examples each.
        rising: error from random students at the lowest load upwards, each load from where the last one ended, shape
            (runs, loads).
        falling: error from the teacher at the highest load downwards, of the same examples, shape (runs, loads).
    """

    n: int
    temperature: float
    loads: Array
    rising: Array
    falling: Array


def sample_perceptron(
    weights: Literal["spherical", "ising"],
    n: int,
    load: float,
    temperature: float,
    label_noise: float = 0.0,
    *,
    start: Literal["random", "teacher"] = "random",
    sweeps: int = 1000,
    runs: int = 10,
    seed: int | Generator = 0,
    jobs: int | None = None,
) -> Simulation:
    """Run Metropolis chains of a perceptron, two a run on the same examples, and average over their second halves.

    Moves are flips of one weight (Ising) or rotations of two (spherical). Low temperatures are slow: chains of Ising
    students below about 0.6 show dynamics, not equilibrium, and cold spherical students need thousands of sweeps.

    Args:
        weights: "spherical" or "ising", of students and teacher.
        n: number of weights, from 2.
        load: examples per weight; their number is rounded.
        temperature: from 0.
        label_noise: probability of a flipped label, in [0, 1/2].
        start: "random", or "teacher" for both chains to start there.
        sweeps: of n proposals each, from 2.
        runs: number of draws of the examples.
        seed: a seed or a generator.
        jobs: number of threads; as many as processors by default. The numbers do not depend on it.

    Returns:
        Of each run error, training_error, overlap and acceptance as means over both chains, self_overlap of the two
        chains, and vote_error, that of the mean of all their weights.

    Raises:
        RequestError: if an argument is out of range, or numba is missing.

    Example:
        >>> found = sample_perceptron("ising", n=51, load=2.0, temperature=1.0, sweeps=200, runs=4)
        >>> found.runs, found.load, sorted(found.samples)[:3]
        (4, 2.0, ['acceptance', 'error', 'overlap'])
    """
    check_weights(weights)
    check_name("start", start, ("random", "teacher"))
    n, sweeps, temperature = whole("n", n, 2), whole("sweeps", sweeps, 2), _temperature(temperature)
    count, noise = count_examples(n, load), check_label_noise(label_noise)
    metropolis, spherical = _walks()[0].metropolis, weights == "spherical"

    def run(rng: Generator) -> dict[str, float]:
        patterns = _draw(n, count, noise, rng)
        students = _start(n, spherical, rng) if start == "random" else np.ones((2, n))
        metropolis(students, patterns, temperature, sweeps // 2, rng, spherical=spherical)
        walk = metropolis(students, patterns, temperature, sweeps - sweeps // 2, rng, spherical=spherical)
        return _measured(walk, count) | {"acceptance": walk.acceptance}

    name = f"{weights.title()} perceptron at temperature {temperature:g}"
    return _simulation(name, n, count, _each(run, runs, seed, jobs))


def sample_version_space(
    n: int, load: float, *, sweeps: int = 1000, runs: int = 10, seed: int | Generator = 0, jobs: int | None = None
) -> Simulation:
    """Walk by hit and run through spherical version spaces, two students a run, and average over their second halves.

    Both start at the teacher, that is itself a typical member of the version space: they need no time to reach
    equilibrium, only the first half to forget the teacher and each other, some 10 n sweeps. They have when self_overlap
    equals overlap. Hit and run is Smith's (1984, Operations Research 32), here along axes.

    Args:
        n: number of weights, from 2.
        load: examples per weight; their number is rounded.
        sweeps: of n steps each, from 2.
        runs: number of draws of the examples.
        seed: a seed or a generator.
        jobs: number of threads; as many as processors by default. The numbers do not depend on it.

    Returns:
        Of each run error, training_error (0) and overlap as means over both students, self_overlap of the two, and
        vote_error, that of the mean of all their weights, the centre of mass.

    Raises:
        RequestError: if an argument is out of range, or numba is missing.

    Example:
        >>> found = sample_version_space(n=10, load=1.0, runs=4)
        >>> found.mean("vote_error") < found.mean("error")
        True
    """
    n, sweeps, count = whole("n", n, 2), whole("sweeps", sweeps, 2), count_examples(n, load)
    hit_and_run = _walks()[1].hit_and_run

    def run(rng: Generator) -> dict[str, float]:
        patterns, students = _draw(n, count, 0.0, rng), np.ones((2, n))
        hit_and_run(students, patterns, sweeps // 2, rng)
        return _measured(hit_and_run(students, patterns, sweeps - sweeps // 2, rng), count)

    return _simulation("Spherical version space", n, count, _each(run, runs, seed, jobs))


def hysteresis(
    n: int,
    loads: Sequence[float] | Array,
    temperature: float,
    label_noise: float = 0.0,
    *,
    sweeps: int = 1000,
    runs: int = 10,
    seed: int | Generator = 0,
    jobs: int | None = None,
) -> Hysteresis:
    """Give Ising students more and more examples from random weights, and fewer and fewer from the teacher.

    Where both branches differ the system keeps the memory of where it came from: the first-order transition lies
    between, and a rising branch that ends does so at the spinodal.

    Args:
        n: number of weights, from 2.
        loads: examples per weight, shape (loads,), in any order.
        temperature: from 0.
        label_noise: probability of a flipped label, in [0, 1/2].
        sweeps: at each load, of n proposals, from 2; the second half is averaged.
        runs: number of draws of the examples.
        seed: a seed or a generator.
        jobs: number of threads; as many as processors by default. The numbers do not depend on it.

    Raises:
        RequestError: if an argument is out of range, or numba is missing.
    """
    n, sweeps, temperature = whole("n", n, 2), whole("sweeps", sweeps, 2), _temperature(temperature)
    counts, noise = sorted(count_examples(n, load) for load in np.ravel(loads)), check_label_noise(label_noise)
    if not counts:
        raise RequestError("loads is empty; it must have at least one load")
    metropolis = _walks()[0].metropolis

    def branch(students: Array, patterns: Array, path: list[int], rng: Generator) -> list[float]:
        errors = []
        for count in path:
            known = np.ascontiguousarray(patterns[:, :count])
            metropolis(students, known, temperature, sweeps // 2, rng, spherical=False)
            walk = metropolis(students, known, temperature, sweeps - sweeps // 2, rng, spherical=False)
            errors.append(float(np.mean(overlap_error(walk.overlap))))
        return errors

    def run(rng: Generator) -> tuple[list[float], list[float]]:
        patterns = _draw(n, counts[-1], noise, rng)
        rising = branch(_start(n, False, rng), patterns, counts, rng)
        return rising, branch(np.ones((2, n)), patterns, counts[::-1], rng)[::-1]

    rising, falling = np.swapaxes(_each(run, runs, seed, jobs), 0, 1)
    return Hysteresis(n, temperature, np.array(counts) / n, rising, falling)


def enumerate_students(
    n: int, patterns: int, *, label_noise: float = 0.0, runs: int = 10, seed: int | Generator = 0
) -> StudentCounts:
    """Count all 2^n Ising students of drawn patterns by distance from the teacher and by training errors.

    Args:
        n: number of weights, from 1 to 24.
        patterns: number of examples.
        label_noise: probability of a flipped label, in [0, 1/2].
        runs: number of draws of the examples.
        seed: a seed or a generator.

    Raises:
        RequestError: if an argument is out of range.

    Example:
        >>> students = enumerate_students(n=9, patterns=18, runs=20)
        >>> versions = students.counts[:, :, 0].sum(axis=1)  # students without training errors, of each draw
        >>> print(versions.min(), np.mean(versions == 1) > 0.5)
        1 True
    """
    n, patterns, noise = whole("n", n, 1, 24), whole("patterns", patterns, 0), check_label_noise(label_noise)
    streams = np.random.default_rng(seed).spawn(whole("runs", runs, 1))
    return StudentCounts(n, patterns, np.stack([count_students(_draw(n, patterns, noise, rng)) for rng in streams]))


def _draw(n: int, count: int, label_noise: float, rng: Generator) -> Array:
    """Draw Gaussian inputs times the labels of a teacher of ones, of which some are flipped; shape (n, count)."""
    inputs = rng.standard_normal((n, count))
    return inputs * draw_labels(inputs.sum(axis=0), label_noise, rng)


def _start(n: int, spherical: bool, rng: Generator) -> Array:
    """Draw two students of squared length n, shape (2, n)."""
    if not spherical:
        return rng.choice([-1.0, 1.0], (2, n))
    students = rng.standard_normal((2, n))
    students *= np.sqrt(n / np.sum(students**2, axis=1, keepdims=True))
    return students


def _measured(walk: Walk, count: int) -> dict[str, float]:
    """Average what two students went through."""
    length = max(float(np.sqrt(np.mean(walk.centre**2))), 1e-300)
    return {
        "error": float(np.mean(overlap_error(walk.overlap))),
        "training_error": float(np.mean(walk.energy)) / max(count, 1),
        "overlap": float(np.mean(walk.overlap)),
        "self_overlap": float(np.mean(walk.mutual)),
        "vote_error": float(overlap_error(np.mean(walk.centre) / length)),
    }


def _each(run: Callable[[Generator], T], runs: int, seed: int | Generator, jobs: int | None) -> list[T]:
    """Do all runs, each with its own stream of random numbers, in threads."""
    streams = np.random.default_rng(seed).spawn(whole("runs", runs, 1))
    with ThreadPoolExecutor(_processors() if jobs is None else whole("jobs", jobs, 1)) as pool:
        return list(pool.map(run, streams))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _simulation(name: str, n: int, count: int, found: list[dict[str, float]]) -> Simulation:
    return Simulation(name, n, count / n, {key: np.array([one[key] for one in found]) for key in found[0]})


def _walks() -> tuple[ModuleType, ModuleType]:
    try:
        from heavytail.learning import _metropolis, _version_space
    except ImportError as error:
        raise RequestError("sampling perceptrons needs numba: pip install 'heavytail[learning]'") from error
    return _metropolis, _version_space


def _temperature(temperature: float) -> float:
    return check_number("temperature", temperature, 0, finite=False)
