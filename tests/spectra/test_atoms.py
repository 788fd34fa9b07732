import numpy as np
import pytest
from numpy.polynomial.legendre import legval

from heavytail.spectra.atoms import largest_atom
from heavytail.spectra.lanczos import Jacobi


def legendre(n):
    """The Jacobi matrix of the uniform law on (-1, 1)."""
    k = np.arange(1.0, n + 1)
    beside = k / np.sqrt(4 * k**2 - 1)
    return Jacobi(np.zeros(n), beside[:-1], float(beside[-1]), 1.0)


def lanczos(points, weights, n):
    """The Jacobi matrix of a discrete measure, by the Stieltjes procedure in extended precision."""
    x, w = np.asarray(points, np.longdouble), np.asarray(weights, np.longdouble)
    basis, diagonal, beside = [np.sqrt(w / w.sum())], [], []
    for _ in range(n):
        u = basis[-1]
        diagonal.append(float(u @ (x * u)))
        v = x * u
        for _ in range(2):
            for b in basis:
                v = v - (b @ v) * b
        beside.append(float(np.sqrt(v @ v)))
        basis.append(v / beside[-1])
    return Jacobi(np.array(diagonal), np.array(beside[:-1]), beside[-1], float(w.sum()))


@pytest.mark.parametrize("n", [1, 2, 5, 16, 40])
@pytest.mark.parametrize("above", [-1.0, 0.0, 0.3])
def test_the_bound_is_the_largest_value_of_the_christoffel_function(n, above):
    x = np.linspace(above, 1, 100001)
    K = sum((2 * k + 1) * legval(x, np.eye(n + 1)[k]) ** 2 for k in range(n + 1))
    found = largest_atom(legendre(n), above)
    assert (1 / K).max() <= found <= (1 / K).max() * (1 + 1e-4)  # the grid is not finer


def test_no_atom_of_a_discrete_measure_is_heavier_than_the_bound():
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = int(rng.integers(5, 60))
        points = np.sort(rng.uniform(size=size) ** rng.integers(1, 6))
        weights = rng.dirichlet(np.full(size, rng.choice([0.05, 0.3, 2.0])))
        for n in (1, 3, min(12, size - 2)):
            assert weights.max() <= largest_atom(lanczos(points, weights, n), -1.0) * (1 + 1e-9)


def test_a_single_heavy_atom_is_found_to_its_mass():
    points, weights = np.linspace(0, 1, 400), np.full(400, 0.3 / 399)
    weights[-1] = 0.7
    assert largest_atom(lanczos(points, weights, 40), 0.0) == pytest.approx(0.7, abs=5e-3)
    assert largest_atom(lanczos(points[::2], weights[::2] / weights[::2].sum(), 40), 0.0) < 0.1


def test_atoms_below_the_limit_do_not_count():
    measure = lanczos(np.append(0.0, np.linspace(0.5, 1, 300)), np.append(0.9, np.full(300, 0.1 / 300)), 30)
    assert largest_atom(measure, -0.1) == pytest.approx(0.9, abs=0.01)
    assert largest_atom(measure, 0.4) < 0.02


def test_a_measure_known_in_full_gives_its_largest_atom():
    assert largest_atom(Jacobi(np.array([2.0]), np.zeros(0), 0.0, 0.25), 0.0) == 0.25
    assert largest_atom(Jacobi(np.array([0.5, 0.5]), np.array([0.5]), 0.0, 1.0), 0.1) == pytest.approx(0.5)


def test_points_that_are_too_close_for_arithmetic_never_count_as_less_than_both():
    points = np.array([0.1, 0.5, 0.5 + 1e-14, 0.7, 0.9])
    measure = lanczos(points, np.array([0.1, 0.3, 0.3, 0.1, 0.2]), 3)
    assert 0.6 - 1e-9 <= largest_atom(measure, 0.0) <= 1
    nodes = Jacobi(np.array([0.5, 0.5, 0.2]), np.array([1e-14, 0.3]), 0.1, 1.0)  # two nodes that nearly coincide
    assert 0.9 < largest_atom(nodes, 0.0) <= 1
