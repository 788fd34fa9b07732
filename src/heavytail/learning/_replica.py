r"""The replica-symmetric equations of a student that learns from a noisy teacher, solved along a whole branch.

At given fields the order parameters are explicit integrals, and both field equations are proportional to the load. So a
branch is a curve with one coordinate: at each coordinate one unknown, the *tilt*, is solved from the ratio of the two
field equations, in which the load does not occur, and the load follows. Folds (spinodals) are maxima of the load along
the coordinate; nothing has to be iterated near them. Equations: Seung, Sompolinsky and Tishby 1992; Györgyi and Tishby
1990.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from math import pi
from typing import Any, Protocol

import numpy as np
from scipy.special import expit, ndtr

from heavytail.learning._gauss import Array, gaussian_rule, hazard, log_H, phi

__all__ = ["FALLING", "PRIORS", "Point", "Prior", "follow", "residual", "solve_point"]

FALLING = 1 - 1e-9  # of the load from one coordinate to the next: more than rounding does where it saturates
NODES = 401
_CHECKING = 523  # nodes of the residual, of which few are among the others
_PRECISION = 1e-13  # of the tilt, relative
_STEPS = 60
_DEEP = 6.0  # of the place where students give an example up, in widths of their field
_BLOCK = 64  # points whose nodes stay in a processor's cache


@dataclass(frozen=True, slots=True)
class Orders:
    """Order parameters and fields that belong together by the student's prior; arrays of one shape.

    Attributes:
        overlap: R, cosine of student and teacher.
        self_overlap: q, cosine of two students.
        width: 1 - q, kept apart for its digits.
        spread: q - R^2, likewise.
        field: of the teacher, R hat.
        noise_field: of the other students, q hat.
        entropy: what the prior adds to -f/T.
        response: mean square of the susceptibility of a weight.
    """

    overlap: Array
    self_overlap: Array
    width: Array
    spread: Array
    field: Array
    noise_field: Array
    entropy: Array
    response: Array


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a branch, or many of them, arrays of one shape.

    Attributes:
        coordinate: where on the branch.
        tilt: what was solved for.
        temperature: of the students.
        load: examples per weight that make it a solution.
        overlap: R.
        self_overlap: q.
        error: of one student on new examples.
        vote_error: of the majority of students.
        training_error: share of the examples, noise included, that a student has wrong.
        free_entropy: -f/T per weight.
        entropy: per weight.
        replicon: positive where the replica-symmetric solution is stable (de Almeida and Thouless 1978).
    """

    coordinate: Array
    tilt: Array
    temperature: Array
    load: Array
    overlap: Array
    self_overlap: Array
    error: Array
    vote_error: Array
    training_error: Array
    free_entropy: Array
    entropy: Array
    replicon: Array

    def columns(self) -> Iterator[Array]:
        """Give the arrays in the order of the attributes."""
        return (getattr(self, item.name) for item in fields(self))

    def map(self, function: Callable[[Array], Any]) -> Point:
        """Apply a function to every array."""
        return Point(*map(function, self.columns()))


class Prior(Protocol):
    """What is known of a student's weights beforehand, and the coordinate of its branch."""

    coordinates: Array
    """A grid from no load to where nothing is left to learn."""

    first_tilt: float
    """A guess of the tilt at the first coordinate."""

    def orders(self, coordinate: Array, tilt: Array, nodes: int) -> Orders:
        """Order parameters and fields at a coordinate and a tilt of the same shape, by integrals of so many nodes."""


class _Ising:
    """Weights of +1 and -1: the coordinate is ln R hat, the tilt ln(q hat / R hat)."""

    coordinates = np.concatenate(
        [np.linspace(-60, -7, 15)[:-1], np.linspace(-7, -2, 21)[:-1], np.linspace(-2, 3.2, 131)]
    )
    first_tilt = 0.0

    def orders(self, coordinate: Array, tilt: Array, nodes: int) -> Orders:
        field, noise = np.exp(coordinate), np.exp(coordinate + tilt)
        root = np.sqrt(noise)
        z, weight = gaussian_rule(1 / np.maximum(1, root), -field / root, nodes)
        h = root[..., None] * z + field[..., None]
        decay = np.exp(-2 * np.abs(h))
        mean = np.sign(h) * (1 - decay) / (1 + decay)  # tanh h
        susceptibility = 4 * decay / (1 + decay) ** 2
        width = np.sum(weight * susceptibility, -1)
        # E tanh(h) less E tanh(root z), which is 0: exact for small fields too
        overlap = np.tanh(field) * np.sum(weight * (1 - mean * np.tanh(root[..., None] * z)), -1)
        spread = np.sum(weight * (mean - overlap[..., None]) ** 2, -1)
        log_cosh = np.sum(weight * (np.abs(h) + np.log1p(decay)), -1)  # of 2 cosh h
        entropy = log_cosh - overlap * field - 0.5 * noise * width
        response = np.sum(weight * susceptibility**2, -1)
        return Orders(overlap, spread + overlap**2, width, spread, field, noise, entropy, response)


class _Spherical:
    """Weights on a sphere: the coordinate is the log odds of q, the tilt those of R^2 / q."""

    coordinates = np.concatenate(
        [
            np.linspace(-60, -9, 15)[:-1],
            np.linspace(-9, -5, 9)[:-1],
            np.linspace(-5, 8, 79)[:-1],
            np.linspace(8, 60, 79),
        ]
    )
    first_tilt = -60.0

    def orders(self, coordinate: Array, tilt: Array, nodes: int) -> Orders:
        q, width = expit(coordinate), expit(-coordinate)
        overlap, spread = np.sqrt(q * expit(tilt)), q * expit(-tilt)
        entropy = 0.5 * (np.log(width) + spread / width)
        return Orders(overlap, q, width, spread, overlap / width, spread / width**2, entropy, width**2)


PRIORS: dict[str, Prior] = {"ising": _Ising(), "spherical": _Spherical()}


@dataclass(frozen=True, slots=True)
class _Examples:
    """What the examples say at given order parameters: integrands over the teacher's and the student's field t.

    Every integral is per unit of load.
    """

    orders: Orders
    label_noise: float
    temperature: Array
    weight: Array  # of the nodes, times the probability of their label
    y: Array  # the field of a student, in units of its width
    log_B: Array  # logarithm of the Boltzmann weight of an example, averaged over students
    pull: Array  # its logarithmic derivative by the field
    teacher: Array  # density of the teacher's field at the decision, with the weight of the nodes

    @classmethod
    def at(cls, orders: Orders, temperature: Array, label_noise: float, nodes: int = NODES) -> _Examples:
        beta = 1 / temperature
        steep = np.sqrt(orders.self_overlap / orders.width)
        slope = orders.overlap / np.sqrt(orders.spread)
        t, weight = _field_rule(beta, steep, np.maximum(1, np.maximum(steep, slope)), nodes)
        y, x = steep[..., None] * t, slope[..., None] * t
        log_fit = np.log(-np.expm1(-beta))[..., None] + log_H(-y)
        log_B = np.logaddexp(-beta[..., None], log_fit)
        pull = hazard(-y) * np.exp(log_fit - log_B) / np.sqrt(orders.width)[..., None]
        label = label_noise + (1 - 2 * label_noise) * ndtr(x)
        return cls(orders, label_noise, temperature, weight * label, y, log_B, pull, weight * phi(x))

    def noise_field(self) -> Array:
        return np.asarray(2 * np.sum(self.weight * self.pull**2, -1))

    def field(self) -> Array:
        ratio = np.sqrt(self.orders.self_overlap / self.orders.spread)
        return np.asarray(2 * (1 - 2 * self.label_noise) * ratio * np.sum(self.teacher * self.pull, -1))

    def free_entropy(self) -> Array:
        return np.asarray(2 * np.sum(self.weight * self.log_B, -1))

    def training_error(self) -> Array:
        wrong = np.exp(log_H(self.y) - 1 / self.temperature[..., None] - self.log_B)
        return np.asarray(2 * np.sum(self.weight * wrong, -1))

    def instability(self) -> Array:
        drag = self.pull + self.y / np.sqrt(self.orders.width)[..., None]
        return np.asarray(2 * np.sum(self.weight * (self.pull * drag) ** 2, -1))


def _field_rule(beta: Array, steep: Array, sharpest: Array, nodes: int) -> tuple[Array, Array]:
    """Give nodes and weights for the field t of a student: it decides at 0, and gives up further down.

    Students give an example up where the price of fitting it exceeds 1/T, at y = -sqrt(2 / T) about, within a width
    that falls with the depth. Nodes around that place resolve the decision too, unless it is very deep: then each place
    has nodes of its own, and a smooth step in between shares the integrand out among them.
    """
    depth = np.sqrt(2 * np.clip(np.where(np.isfinite(beta), beta, 0.0) - 1, 0, None))
    deep = depth > _DEEP
    t, weight = gaussian_rule(np.where(deep, 1, 1 / (1 + depth)) / sharpest, np.where(deep, 0, -depth / steep), nodes)
    if not deep.any():
        return t, weight
    far, far_weight = gaussian_rule(1 / (sharpest * (1 + depth)), -depth / steep, nodes)

    def near(t: Array) -> Array:
        step = 8 + 16 * steep[..., None] * t / np.where(deep, depth, 1)[..., None]
        return np.where(deep[..., None], ndtr(step), 1.0)

    return np.concatenate([t, far], -1), np.concatenate([weight * near(t), far_weight * (1 - near(far))], -1)


def solve_point(prior: Prior, coordinate: Array, temperature: Array, label_noise: float, guess: Array) -> Point:
    """Solve for the tilt at coordinates and temperatures of shape (n,), from a guess, and give all that follows.

    Where there is no solution the numbers are NaN; where the steps do not converge, `residual` tells.
    """
    blocks = np.array_split(np.arange(len(coordinate)), max(1, len(coordinate) // _BLOCK))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        points = [_solve(prior, coordinate[k], temperature[k], label_noise, guess[k]) for k in blocks]
    return Point(*(np.concatenate(column) for column in zip(*map(Point.columns, points), strict=True)))


def _solve(prior: Prior, coordinate: Array, temperature: Array, label_noise: float, guess: Array) -> Point:
    live = np.ones(coordinate.shape, dtype=bool)
    old, new = guess.copy(), guess + 1e-4
    low = np.full(coordinate.shape, np.nan)

    def mismatch(tilt: Array, where: Array) -> Array:
        orders = prior.orders(coordinate[where], tilt[where], NODES)
        examples = _Examples.at(orders, temperature[where], label_noise)
        ours = np.log(orders.noise_field / orders.field)
        return np.asarray(np.log(examples.noise_field() / examples.field()) - ours)

    low[live] = mismatch(old, live)
    for _ in range(_STEPS):
        high = mismatch(new, live)
        bend = high - low[live]
        step = np.where(bend == 0, 0.0, -high * (new[live] - old[live]) / np.where(bend == 0, 1, bend))
        old[live], low[live] = new[live], high
        new[live] += np.clip(step, -1, 1)
        live[live] = np.abs(step) > _PRECISION * np.maximum(1, np.abs(new[live]))
        if not live.any():
            break
    return _point(prior, coordinate, new, temperature, label_noise)


def _point(prior: Prior, coordinate: Array, tilt: Array, temperature: Array, label_noise: float) -> Point:
    orders = prior.orders(coordinate, tilt, NODES)
    examples = _Examples.at(orders, temperature, label_noise)
    load = orders.field / examples.field()
    training_error = examples.training_error()
    free_entropy = orders.entropy + load * examples.free_entropy()
    energy = np.where(temperature > 0, load * training_error / temperature, 0.0)
    return Point(
        coordinate=coordinate,
        tilt=tilt,
        temperature=temperature,
        load=load,
        overlap=orders.overlap,
        self_overlap=orders.self_overlap,
        error=np.arctan2(np.sqrt(orders.width + orders.spread), orders.overlap) / pi,  # exact for R -> 1 too
        vote_error=np.arctan2(np.sqrt(orders.spread), orders.overlap) / pi,
        training_error=training_error,
        free_entropy=free_entropy,
        entropy=free_entropy + energy,
        replicon=1 - load * examples.instability() * orders.response,
    )


def residual(prior: Prior, point: Point, label_noise: float) -> Array:
    """Give how far both field equations are from holding at points of shape (n,), relative, by more nodes."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        orders = prior.orders(point.coordinate, point.tilt, _CHECKING)
        examples = _Examples.at(orders, point.temperature, label_noise, _CHECKING)
        noise_field, field = point.load * examples.noise_field(), point.load * examples.field()
        return np.maximum(np.abs(noise_field / orders.noise_field - 1), np.abs(field / orders.field - 1))


def follow(prior: Prior, temperature: Array, label_noise: float, enough: float = np.inf) -> Point:
    """Follow the branch that starts at no load, at many temperatures at once.

    Args:
        prior: of the weights.
        temperature: shape (temperatures,).
        label_noise: flip probability.
        enough: load at which each may be left, if it has not folded before.

    Returns:
        Arrays of shape (temperatures, coordinates), of the first of these.
    """
    left = np.zeros(temperature.shape, dtype=bool)
    guess = np.full(temperature.shape, prior.first_tilt)
    before = guess
    points: list[Point] = []
    for coordinate in prior.coordinates:
        point = solve_point(prior, np.full(temperature.shape, coordinate), temperature, label_noise, guess)
        guess, before = 2 * point.tilt - before if points else point.tilt, point.tilt
        left |= (point.load > enough) | np.isnan(point.load)
        if points:
            left |= point.load < FALLING * points[-1].load
        points.append(point)
        if left.all() and len(points) > 2:
            break
    return Point(*(np.stack(column, axis=-1) for column in zip(*map(Point.columns, points), strict=True)))
