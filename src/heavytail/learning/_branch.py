"""Places on a branch of solutions: where it folds, where a quantity changes sign, where it has a given load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize.elementwise import find_root

from heavytail.learning._gauss import Array
from heavytail.learning._replica import FALLING, PRIORS, Point, follow, solve_point

__all__ = ["Branch"]

Quantity = Callable[[Point], Array]
Columns = NDArray[np.intp]
Nearby = Callable[[float], Point]
"""Gives the points that are shifted along the coordinate."""

_SHIFT = 1e-4  # of the coordinate, for the slope of the load: its square is lost, and enters a maximum squared again


@dataclass(frozen=True, slots=True)
class Branch:
    """The branch from no load to its fold, tabulated at several temperatures.

    Attributes:
        weights: the student's prior, a key of PRIORS.
        label_noise: flip probability.
        temperature: shape (temperatures,).
        table: points of shape (temperatures, coordinates); NaN beyond the fold.
        fold: the last point of each temperature, shape (temperatures,); NaN where the branch goes on, or was left.
    """

    weights: str
    label_noise: float
    temperature: Array
    table: Point
    fold: Point

    @classmethod
    def trace(cls, weights: str, label_noise: float, temperature: Array, enough: float = np.inf) -> Branch:
        """Follow the branch at some temperatures, shape (temperatures,), to the fold, or to a load that is enough."""
        raw = follow(PRIORS[weights], temperature, label_noise, enough)
        endless = raw.map(lambda values: np.full(temperature.shape, np.nan))
        whole = cls(weights, label_noise, temperature, raw, endless)
        falling = raw.load[:, 1:] < FALLING * raw.load[:, :-1]
        turn = np.where(falling.any(axis=1), np.argmax(falling, axis=1), -1)
        fold = whole._root(lambda near, _: near(_SHIFT).load - near(-_SHIFT).load, whole._rows, turn - 1, turn + 1)
        beyond = (turn[:, None] >= 0) & (raw.coordinate > fold.coordinate[:, None])
        table = raw.map(lambda values: np.where(beyond, np.nan, values))
        return cls(weights, label_noise, temperature, table, fold)

    @property
    def _rows(self) -> Columns:
        return np.arange(len(self.temperature))

    @property
    def _end(self) -> Columns:
        """Number of coordinates up to the fold."""
        return np.asarray(np.sum(np.isfinite(self.table.load), axis=1))

    def first_zero(self, quantity: Quantity) -> Point:
        """First point of each temperature where a quantity, positive at no load, vanishes; NaN where it never does."""
        negative = quantity(self.table) < 0
        high = np.where(negative.any(axis=1), np.argmax(negative, axis=1), self._end)
        exists = negative.any(axis=1) | (quantity(self.fold) < 0)
        return self._root(lambda near, _: quantity(near(0.0)), self._rows, np.where(exists, high - 1, -1), high)

    def jump(self) -> Point:
        """Point of each temperature from which on the student that equals the teacher has the lower free energy.

        That student has the flipped labels wrong and no entropy. NaN where there is no such point, as for spherical
        weights, of which one alone has no volume.
        """
        if self.weights != "ising":
            return self.fold.map(lambda values: np.full_like(values, np.nan))

        def advantage(point: Point) -> Array:
            if not self.label_noise:
                return point.free_entropy
            with np.errstate(divide="ignore"):
                return point.free_entropy + self.label_noise * point.load / point.temperature

        return self.first_zero(advantage)

    def glass(self) -> Array:
        """Load of each temperature from which on replica symmetry fails; NaN where it does not.

        The replicon is negative beyond, or already the entropy, which that of a finite number of students cannot be.
        """
        unstable = self.first_zero(lambda point: point.replicon).load
        if self.weights != "ising":
            return unstable
        return np.fmin(unstable, self.first_zero(lambda point: point.entropy).load)

    def at(self, load: Array, row: Columns) -> Point:
        """Points with given loads, each on the row of its temperature; NaN where the branch does not reach so far.

        Args:
            load: shape (n,), positive.
            row: which temperature, shape (n,).
        """
        reached = self.table.load[row] >= load[:, None]
        high = np.where(reached.any(axis=1), np.argmax(reached, axis=1), self._end[row])
        exists = reached.any(axis=1) | (self.fold.load[row] >= load)
        low = np.where(exists, high - 1, -1)
        return self._root(lambda near, aim: np.log(near(0.0).load / aim), row, low, high, load)

    def _root(
        self,
        mismatch: Callable[[Nearby, Array], Array],
        row: Columns,
        low: Columns,
        high: Columns,
        aim: Array | float = 0.0,
    ) -> Point:
        """Find where between two columns of the table a mismatch with an aim vanishes; NaN where low is -1."""
        exists = low >= 0
        aims = np.broadcast_to(aim, exists.shape)[exists]
        row, low, high = row[exists], low[exists], high[exists]
        prior = PRIORS[self.weights]
        grid = prior.coordinates
        first = np.maximum(low - 1, 0)
        rise = self.table.tilt[row, low] - self.table.tilt[row, first]
        rate = rise / np.where(low > first, grid[low] - grid[first], 1)
        from_here = (self.temperature[row], grid[low], self.table.tilt[row, low], rate)

        def solve(coordinate: Array, temperature: Array, start: Array, tilt: Array, rate: Array) -> Point:
            guess = tilt + rate * (coordinate - start)
            return solve_point(prior, coordinate, temperature, self.label_noise, guess)

        def at(coordinate: Array, aim: Array, *guess: Array) -> Array:
            return mismatch(lambda shift: solve(coordinate + shift, *guess), aim)

        stop = np.fmin(grid[np.minimum(high, len(grid) - 1)], self.fold.coordinate[row])
        found = find_root(at, (grid[low], stop), args=(aims, *from_here), tolerances={"xatol": 1e-12, "xrtol": 1e-12})

        def scattered(values: Array) -> Array:
            full = np.full(exists.shape, np.nan)
            full[exists] = values
            return full

        return solve(found.x, *from_here).map(scattered)
