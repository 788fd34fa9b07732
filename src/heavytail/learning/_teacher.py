r"""The teacher of a perceptron: labels sign(B.x), some of them flipped, and what they tell a student.

B and the inputs x have n components of unit variance; a field is B.x / sqrt n. Each label is flipped with probability
`label_noise`, so it is right in the mean by the `contrast` 1 - 2 label_noise, and labels and fields of the teacher
have the covariance `signal` = contrast sqrt(2/pi).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, owens_t

from heavytail.learning._arguments import check_sizes
from heavytail.learning._gauss import Array, Real, gaussian_rule, hazard, phi
from heavytail.learning.results import Simulation

__all__ = [
    "Examples",
    "Weights",
    "aligned_below",
    "compare",
    "draw_examples",
    "draw_labels",
    "draw_teachers",
    "label_information",
    "label_score",
    "signal",
]

Weights = Literal["spherical", "ising"]


def signal(label_noise: float) -> float:
    """Covariance of a label with the teacher's field: (1 - 2 label_noise) sqrt(2/pi)."""
    return (1 - 2 * label_noise) * sqrt(2 / pi)


def aligned_below(field: ArrayLike, cotangent: ArrayLike, label_noise: float) -> Real:
    """Probability that a student's field on a new example, times the label, lies below `field`.

    The field is a normal variable g of overlap R with the teacher's; the probability is
    Phi(t) - 2 (1 - 2 label_noise) T(t, R / sqrt(1 - R^2)), with the T of Owen (1956). At t = 0 it is the probability
    of disagreeing with the label, label_noise + (1 - 2 label_noise) arccos(R) / pi.

    Args:
        field: t, of any shape.
        cotangent: R / sqrt(1 - R^2), infinite for R = 1, of the same shape.
        label_noise: flip probability.
    """
    return np.maximum(ndtr(field) - 2 * (1 - 2 * label_noise) * owens_t(field, cotangent), 0.0)


def label_score(k: ArrayLike, label_noise: float) -> Real:
    """Mean of a standard normal z, given that k + z has, but for label noise, the sign +.

    (1 - 2 lam) phi(k) / (lam + (1 - 2 lam) Phi(k)), of any shape; about -k for k -> -infinity without noise.
    """
    k, contrast = np.asarray(k, dtype=np.float64), 1 - 2 * label_noise
    if label_noise == 0:
        return hazard(-k)
    return contrast * phi(k) / (label_noise + contrast * ndtr(k))


def label_information(cotangent: ArrayLike, label_noise: float) -> Real:
    """Mean square of the score of a label, for a student whose field is R u + sqrt(1 - R^2) z, z not known to it.

    2 (1 - 2 lam)^2 int Du phi(k)^2 / (lam + (1 - 2 lam) H(-k)), k = u R / sqrt(1 - R^2) (Kinouchi and Caticha 1992,
    with label noise).

    Args:
        cotangent: R / sqrt(1 - R^2), finite, of any shape.
        label_noise: flip probability.
    """
    cotangent = np.asarray(cotangent, dtype=np.float64)
    u, weight = gaussian_rule(1 / np.maximum(cotangent, 1.0))
    k = cotangent[..., None] * u
    score = label_score(k, label_noise)
    return 2 * (1 - 2 * label_noise) * np.sum(weight * phi(k) * score, axis=-1)


@dataclass(frozen=True, slots=True)
class Examples:
    """Teachers with their examples, of independent runs.

    Attributes:
        teachers: shape (runs, n).
        inputs: shape (runs, p, n), independent and normal.
        labels: shape (runs, p), -1 or 1.
    """

    teachers: Array
    inputs: Array
    labels: Array

    def measure(self, name: str, students: Array, **more: Array) -> Simulation:
        """Compare students, shape (runs, n), with their teachers.

        Returns:
            `overlap`, `error` and `training_error` of each run, and what else is given.
        """
        fields = np.einsum("rpn,rn->rp", self.inputs, students)
        training_error = np.mean(np.heaviside(-fields * self.labels, 1.0), axis=1)  # NaN for a student that is NaN
        _, count, n = self.inputs.shape
        samples = compare(students, self.teachers) | {"training_error": training_error} | more
        return Simulation(name, n, count / n, samples)


def compare(students: Array, teachers: Array) -> dict[str, Array]:
    """Overlap and error of students with their teachers, shapes (runs, n); 0 and 1/2 for one without weights."""
    student, teacher = _unit(students), _unit(teachers)
    # the angle from its chords, exact for R -> 1
    half = np.arctan2(np.linalg.norm(student - teacher, axis=-1), np.linalg.norm(student + teacher, axis=-1))
    return {"overlap": np.sum(student * teacher, axis=-1), "error": 2 * half / pi}


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths != 0))


def draw_teachers(n: int, runs: int, rng: np.random.Generator, weights: Weights = "spherical") -> Array:
    """Draw teachers, shape (runs, n): normal components, or -1 and 1 for "ising"."""
    if weights == "ising":
        return rng.choice(np.array([-1.0, 1.0]), size=(runs, n))
    return rng.standard_normal((runs, n))


def draw_labels(fields: Array, label_noise: float, rng: np.random.Generator) -> Array:
    """Signs of a teacher's fields, of any shape, each flipped with probability `label_noise`."""
    flipped = rng.random(fields.shape) < label_noise
    return np.where((fields > 0) ^ flipped, 1.0, -1.0)


def draw_examples(
    n: int, load: float, label_noise: float, runs: int, rng: np.random.Generator, weights: Weights = "spherical"
) -> Examples:
    """Draw teachers and round(n load) examples of each.

    Raises:
        RequestError: if n and runs are no whole numbers from 1, or the load is less than one example.
    """
    n, count, runs = check_sizes(n, load, runs)
    teachers = draw_teachers(n, runs, rng, weights)
    inputs = rng.standard_normal((runs, count, n))
    return Examples(teachers, inputs, draw_labels(np.einsum("rpn,rn->rp", inputs, teachers), label_noise, rng))
