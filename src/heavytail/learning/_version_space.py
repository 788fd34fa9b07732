"""Hit and run through a version space, compiled: needs numba, so it is imported where it is run.

The version space is the part of the sphere where no pattern (an input times its label) has a negative field. It is a
cone, so that a normal vector that is known to lie in it has a uniform direction; and the single weights of such a
vector are easily drawn anew one after another, which the coordinates of a point on the sphere are not.
"""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np

from heavytail.learning._gauss import Array
from heavytail.learning._metropolis import Walk, compiled, note, recorded

__all__ = ["hit_and_run"]


@compiled
def _stretch(student: Array, fields: Array, factor: float) -> None:
    for i in range(len(student)):
        student[i] *= factor
    for m in range(len(fields)):
        fields[m] *= factor


@compiled
def _steps(student: Array, fields: Array, patterns: Array, rng: np.random.Generator) -> None:
    """Make n steps of a normal vector in the cone, each of one weight to a point between the walls.

    The point is drawn by a slice: uniform where the normal density exceeds a uniform fraction of what it is now.
    """
    for _ in range(len(student)):
        i = int(len(student) * rng.random())
        row, most, least = patterns[i], 0.0, 0.0
        for m in range(len(fields)):
            slope = row[m] / max(fields[m], 1e-300)  # rounding may put a student on the wall
            most, least = max(most, slope), min(least, slope)
        reach = sqrt(student[i] * student[i] - 2.0 * log(1.0 - rng.random()))
        low = max(-reach - student[i], -1.0 / most if most > 0.0 else -inf)
        high = min(reach - student[i], -1.0 / least if least < 0.0 else inf)
        step = low + (high - low) * rng.random()
        for m in range(len(fields)):
            fields[m] += step * row[m]
        student[i] += step


@compiled
def _sweep(
    students: Array, fields: Array, patterns: Array, trace: Array, total: Array, rng: np.random.Generator
) -> None:
    """Fill the trace, a row a sweep, and the total of all weights."""
    n = len(total)
    for record in trace:
        for k in range(2):
            _stretch(students[k], fields[k], sqrt(rng.chisquare(n) / n))
            _steps(students[k], fields[k], patterns, rng)
            length = 0.0
            for weight in students[k]:
                length += weight * weight
            _stretch(students[k], fields[k], sqrt(n / length))
        note(students, fields, record, total)


def hit_and_run(students: Array, patterns: Array, sweeps: int, rng: np.random.Generator) -> Walk:
    """Let two students walk uniformly through their version space, on the sphere.

    Args:
        students: weights, shape (2, n), without training errors, of squared length n each, C-contiguous; changed in
            place.
        patterns: inputs times labels, shape (n, count), C-contiguous.
        sweeps: n steps each, for either student.
        rng: the generator of the walk.
    """
    trace, total = np.zeros((sweeps, 5)), np.zeros(len(patterns))
    _sweep(students, students @ patterns, patterns, trace, total, rng)
    return recorded(trace, total, 1.0)
