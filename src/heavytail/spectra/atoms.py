r"""The largest atom that a measure can have, from its Jacobi matrix.

Let p_0, p_1, ... be the orthonormal polynomials of a measure of mass 1. An atom at x weighs at most the Christoffel
function

    1 / K(x),    K(x) = sum_k p_k(x)^2,

over the polynomials that are known, and no measure with the same moments does better (Akhiezer 1965). What has to be
found is the smallest value of K, and from below. Written with the nodes t_j and weights w_j of the Gauss quadrature and
the Lagrange polynomials l_j of its nodes, K(x) = sum_j l_j(x)^2 / w_j + p_n(x)^2. All these polynomials have no zeros
but the nodes, so that between two of them the logarithm of each square is concave: on an interval it is least at an
end. That bounds K on the whole interval, and intervals are halved until the bound is close. Where nodes are too close
together for arithmetic, the bound is 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heavytail.spectra.lanczos import Jacobi

__all__ = ["largest_atom"]

_CLOSE = 1e-6  # relative distance to which the largest value is enclosed
_APART = 1e-12  # relative distance of nodes that are told apart
_LEAST = 1e-16  # weights below it are rounding; to take them for larger is to bound K from below
_IMMENSE = 600.0  # in logarithms
_ZERO = -1e4  # the logarithm of zero, such that it can be added and taken away again

Matrix = NDArray[np.float64]


def largest_atom(measure: Jacobi, above: float) -> float:
    """Bound the mass of any atom of a measure from above.

    Args:
        measure: its Jacobi matrix. Where it tells all points of the measure, the bound is the largest atom itself.
        above: atoms at smaller points do not count.

    Example:
        >>> beside = np.arange(1, 20) / np.sqrt(4 * np.arange(1.0, 20) ** 2 - 1)  # Legendre: the uniform law on (-1, 1)
        >>> [round(largest_atom(Jacobi(np.zeros(n), beside[: n - 1], beside[n - 1], 1.0), -1.0), 3) for n in (1, 4, 16)]
        [1.0, 0.333, 0.095]
    """
    J = np.diag(measure.diagonal) + np.diag(measure.beside, 1) + np.diag(measure.beside, -1)
    nodes, vectors = np.linalg.eigh(J)
    weights = np.square(vectors[0])
    if measure.after == 0:
        return float(measure.mass * weights[nodes > above].max(initial=0.0))
    least = _APART * float(np.abs(J).sum(axis=1).max())
    scales = _scales(nodes, weights, np.append(measure.beside, measure.after), least)
    ends = np.append(above, nodes[nodes > above])  # K falls before the first node and rises beyond the last
    return float(measure.mass * min(1.0, _largest(ends, nodes, scales, least)))


@np.errstate(divide="ignore")
def _largest(ends: Matrix, nodes: Matrix, scales: Matrix, least: float) -> float:
    """Bound 1 / K at some ends and between them, by intervals that are not halved below some length."""
    at = _squares(ends, nodes, scales)
    best, rest = float((1 / at.sum(axis=1)).max()), 0.0
    left, right, a, b = ends[:-1], ends[1:], at[:-1], at[1:]
    while left.size:
        bound = 1 / np.minimum(a, b).sum(axis=1)
        short = right - left < least
        rest = max(rest, float(bound[short].max(initial=0.0)))
        wide = ~short & (bound > best * (1 + _CLOSE))
        left, right, a, b = left[wide], right[wide], a[wide], b[wide]
        middle = (left + right) / 2
        m = _squares(middle, nodes, scales)
        best = max(best, float((1 / m.sum(axis=1)).max(initial=0.0)))
        left, right = np.append(left, middle), np.append(middle, right)
        a, b = np.concatenate([a, m]), np.concatenate([m, b])
    return max(rest, best * (1 + _CLOSE))


def _scales(nodes: Matrix, weights: Matrix, beside: Matrix, least: float) -> Matrix:
    """Give the logarithms of what the squares of `_squares` are divided by; too large rather than too small."""
    distances = np.maximum(np.abs(nodes[:, None] - nodes), least)
    np.fill_diagonal(distances, 1.0)
    lagrange = np.log(np.maximum(weights, _LEAST)) + 2 * np.log(distances).sum(axis=1)
    return np.append(lagrange, 2 * np.log(beside).sum())


@np.errstate(divide="ignore")
def _squares(x: Matrix, nodes: Matrix, scales: Matrix) -> Matrix:
    """Give the terms of K at some points: (p, n + 1), those that are immense as less than they are."""
    logs = np.maximum(np.log(np.abs(x[:, None] - nodes)), _ZERO)
    products = logs.sum(axis=1, keepdims=True)
    return np.asarray(np.exp(np.minimum(2 * np.append(products - logs, products, axis=1) - scales, _IMMENSE)))
