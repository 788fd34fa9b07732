"""Finite networks of spins coupled by Hebb's rule, updated one at a time or all at once."""

from __future__ import annotations

import numpy as np
from scipy.special import logit

from heavytail.learning._gauss import Array

__all__ = ["hebb", "parallel_end", "parallel_overlap", "parallel_step", "relax", "start", "sweep"]
__all__ += ["thermal_overlap", "thresholds"]


def hebb(patterns: Array) -> Array:
    """Give the couplings J_ij = sum of xi_i xi_j over the patterns, shape (p, n); none of a spin to itself.

    They are n times those of Hebb's rule, and so are the fields: whole numbers, of which a zero is a zero.
    """
    coupling = patterns.T @ patterns
    np.fill_diagonal(coupling, 0)
    return coupling


def start(n: int, patterns: int, overlap: float, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw patterns; give the first, the couplings and a state of that overlap with the first (to within 1/n)."""
    xi = rng.choice([-1.0, 1.0], (patterns, n))
    spins = xi[0].copy()
    spins[rng.permutation(n)[: round(n * (1 - overlap) / 2)]] *= -1
    return xi[0], hebb(xi), spins


def thresholds(n: int, temperature: float, rng: np.random.Generator) -> Array:
    """Draw thresholds that turn a spin up, where its field exceeds its threshold, as often as Glauber's dynamics does.

    That is with probability 1 / (1 + exp(-2 h / T)), the fields being n h. At T = 0 they are zero.
    """
    if temperature == 0:
        return np.zeros(n)
    return np.asarray(0.5 * temperature * n * logit(rng.random(n)))


def sweep(coupling: Array, spins: Array, fields: Array, thresholds: Array) -> bool:
    """Turn one spin after the other to the sign of its field less its threshold; give whether any turned.

    The spins that keep their sign are passed over at once. `spins` and `fields` are changed.
    """
    first = 0
    while first < len(spins):
        wrong = spins[first:] * (fields[first:] - thresholds[first:]) < 0
        ahead = int(np.argmax(wrong))
        if not wrong[ahead]:
            break
        i = first + ahead
        spins[i] = -spins[i]
        fields += 2 * spins[i] * coupling[i]
        first = i + 1
    return first > 0


def relax(coupling: Array, spins: Array) -> Array:
    """Give the state in which no spin is against its field, reached from `spins` one spin at a time."""
    spins = spins.copy()
    fields = coupling @ spins
    while sweep(coupling, spins, fields, np.zeros(len(spins))):  # ends, as each turn lowers the energy
        pass
    return spins


def thermal_overlap(
    coupling: Array, spins: Array, pattern: Array, temperature: float, sweeps: int, rng: np.random.Generator
) -> float:
    """Mean overlap with the pattern over the second half of the sweeps of Glauber's dynamics, one spin at a time."""
    spins, fields, total = spins.copy(), coupling @ spins, 0.0
    for k in range(sweeps):
        sweep(coupling, spins, fields, thresholds(len(spins), temperature, rng))
        total += float(spins @ pattern) if k >= sweeps // 2 else 0.0
    return total / len(spins) / (sweeps - sweeps // 2)


def parallel_step(coupling: Array, spins: Array, thresholds: Array) -> Array:
    """Turn all spins at once to the sign of the field less its threshold; where that is zero, none turns."""
    drive = coupling @ spins - thresholds
    return np.where(drive == 0, spins, np.sign(drive))


def parallel_end(coupling: Array, spins: Array) -> tuple[Array, Array]:
    """Follow all spins at once at T = 0 to the end: two states in turn, which are the same if it is a fixed point.

    Nothing else can be the end. To keep a spin in no field is to couple it to itself by less than a whole number, and
    symmetric couplings without zero fields have no longer cycles (Goles 1985).
    """
    cold = np.zeros(len(spins))
    before, now = spins, parallel_step(coupling, spins, cold)
    while True:
        after = parallel_step(coupling, now, cold)
        if np.array_equal(after, before):
            return before, now
        before, now = now, after


def parallel_overlap(
    coupling: Array, spins: Array, pattern: Array, temperature: float, steps: int, rng: np.random.Generator
) -> float:
    """Mean overlap with the pattern over the second half of the steps, all spins at once."""
    total = 0.0
    for k in range(steps):
        spins = parallel_step(coupling, spins, thresholds(len(spins), temperature, rng))
        total += float(spins @ pattern) if k >= steps // 2 else 0.0
    return total / len(spins) / (steps - steps // 2)
