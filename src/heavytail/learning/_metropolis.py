"""Metropolis chains of perceptrons, compiled: needs numba, so it is imported where a chain is run.

A pattern is an input times its label, so that a student errs where its field, the sum of w_i x_i, is negative. By the
symmetry of Gaussian inputs one teacher is as good as another: it is the vector of ones.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, exp, pi, sin
from typing import NamedTuple, TypeVar, cast

import numba
import numpy as np

from heavytail.learning._gauss import Array

__all__ = ["Walk", "compiled", "metropolis", "note", "recorded"]

F = TypeVar("F", bound=Callable[..., object])


class Walk(NamedTuple):
    """What two students went through, that learn from the same patterns and walk independently.

    Attributes:
        overlap: of either with the teacher after each sweep, shape (sweeps, 2).
        mutual: overlap of the two, shape (sweeps,).
        energy: number of training errors of either, shape (sweeps, 2).
        centre: mean of the weights of both over all sweeps, shape (n,).
        acceptance: fraction of the proposed moves that were made.
    """

    overlap: Array
    mutual: Array
    energy: Array
    centre: Array
    acceptance: float


def compiled(function: F) -> F:
    """Have a function compiled at its first call, to run without the lock of the interpreter.

    Nothing is kept on disk, for numba would write beside the source.
    """
    return cast(F, numba.njit(nogil=True)(function))


@compiled
def errors_of(fields: Array) -> int:
    """Number of patterns that a student has wrong."""
    count = 0
    for field in fields:
        count += field < 0.0
    return count


@compiled
def _accepts(before: int, after: int, beta: float, rng: np.random.Generator) -> bool:
    return after <= before or rng.random() < exp(-beta * (after - before))


@compiled
def _flips(student: Array, fields: Array, patterns: Array, beta: float, rng: np.random.Generator) -> int:
    """Propose n flips of single spins; give how many were made."""
    n, energy, made = len(student), errors_of(fields), 0
    for _ in range(n):
        i = int(n * rng.random())
        step, row = -2.0 * student[i], patterns[i]
        after = 0
        for m in range(len(fields)):
            after += fields[m] + step * row[m] < 0.0
        if _accepts(energy, after, beta, rng):
            for m in range(len(fields)):
                fields[m] += step * row[m]
            student[i] += step
            energy = after
            made += 1
    return made


@compiled
def _turns(student: Array, fields: Array, patterns: Array, beta: float, rng: np.random.Generator) -> int:
    """Propose n rotations in the planes of two weights; give how many were made.

    The angle is pi times the cube of a uniform number: of all scales, so that one proposal serves every temperature.
    """
    n, energy, made = len(student), errors_of(fields), 0
    for _ in range(n):
        i = int(n * rng.random())
        j = (i + 1 + int((n - 1) * rng.random())) % n
        angle = pi * (2.0 * rng.random() - 1.0) ** 3
        c, s = cos(angle), sin(angle)
        step_i = c * student[i] + s * student[j] - student[i]
        step_j = c * student[j] - s * student[i] - student[j]
        row_i, row_j = patterns[i], patterns[j]
        after = 0
        for m in range(len(fields)):
            after += fields[m] + step_i * row_i[m] + step_j * row_j[m] < 0.0
        if _accepts(energy, after, beta, rng):
            for m in range(len(fields)):
                fields[m] += step_i * row_i[m] + step_j * row_j[m]
            student[i] += step_i
            student[j] += step_j
            energy = after
            made += 1
    return made


@compiled
def note(students: Array, fields: Array, record: Array, total: Array) -> None:
    """Write the columns of two students into a row of the record, and add their weights to the total."""
    first, second = students
    for i in range(len(total)):
        record[0] += first[i]
        record[1] += second[i]
        record[2] += first[i] * second[i]
        total[i] += first[i] + second[i]
    for k in range(3):
        record[k] /= len(total)  # only now, so that the overlap of equal Ising students is 1
    record[3], record[4] = errors_of(fields[0]), errors_of(fields[1])


@compiled
def _sweep(
    students: Array,
    fields: Array,
    patterns: Array,
    beta: float,
    spherical: bool,
    trace: Array,
    total: Array,
    rng: np.random.Generator,
) -> int:
    """Fill the trace, a row a sweep, and the total of all weights; give the number of moves."""
    moves = 0
    for record in trace:
        for k in range(2):
            if spherical:
                moves += _turns(students[k], fields[k], patterns, beta, rng)
            else:
                moves += _flips(students[k], fields[k], patterns, beta, rng)
        note(students, fields, record, total)
    return moves


def metropolis(
    students: Array, patterns: Array, temperature: float, sweeps: int, rng: np.random.Generator, *, spherical: bool
) -> Walk:
    """Let two students walk at a temperature; the energy is the number of training errors.

    Args:
        students: weights, shape (2, n), of squared length n each, C-contiguous; changed in place.
        patterns: inputs times labels, shape (n, count), C-contiguous.
        temperature: from 0.
        sweeps: n proposals each, for either student.
        rng: the generator of the walk.
        spherical: rotate pairs of weights; otherwise weights are flipped.
    """
    n = len(patterns)
    trace, total = np.zeros((sweeps, 5)), np.zeros(n)
    beta = 1 / temperature if temperature > 0 else np.inf
    moves = _sweep(students, students @ patterns, patterns, beta, spherical, trace, total, rng)
    return recorded(trace, total, moves / (2 * n * sweeps))


def recorded(trace: Array, total: Array, acceptance: float) -> Walk:
    """Name the columns of a trace, and make the total of the weights of both students a mean."""
    return Walk(trace[:, :2], trace[:, 2], trace[:, 3:], total / (2 * len(trace)), acceptance)
