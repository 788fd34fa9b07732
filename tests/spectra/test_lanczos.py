import numpy as np
import pytest
from cases import gaussian, low_rank, student, with_eigenvalues
from hypothesis import given
from hypothesis import strategies as st

from heavytail.errors import MatrixError
from heavytail.spectra.lanczos import Jacobi, block_lanczos, enclose, jacobi, jacobi_of_points, krylov_spaces

CASES = {
    "gaussian": gaussian(90, 60),
    "square": gaussian(60, 60),
    "heavy": student(90, 60, df=1.5),
    "low rank": low_rank(90, 60, 7),
    "clusters": with_eigenvalues(np.repeat([1.0, 2.0, 50.0], 20), 70),
    "decay": with_eigenvalues(10.0 ** -np.linspace(0, 12, 60), 70),
    "identity": np.eye(60),
    "zero": np.zeros((70, 60)),
    "bfloat16's range": gaussian(90, 60) * 1e-30,
}


def blocks(W, most=None):
    """Reads W as asked, or in smaller blocks."""
    return lambda rows: (W[i : i + (most or rows)] for i in range(0, len(W), most or rows))


def krylov_of(W, probes=3, passes=8, **options):
    start = np.random.default_rng(5).standard_normal((W.shape[1], probes))
    return block_lanczos(blocks(W), *W.shape, start, passes, **options), start


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("probes", "passes"), [(1, 12), (3, 8), (8, 3), (8, 40), (100, 2)])
def test_the_relations_of_lanczos_hold_to_within_the_allowance_for_rounding(name, probes, passes):
    W = CASES[name]
    A = W.T @ W
    krylov, start = krylov_of(W, probes, passes)
    V, d = krylov.V, krylov.V.shape[1]
    assert d <= min(60, probes * passes)
    assert krylov.passes <= passes
    assert np.abs(V.T @ V - np.eye(d)).max() < 1e-13
    np.testing.assert_allclose(V @ krylov.starts, start, atol=1e-12)
    rest = A @ V - V @ krylov.T
    assert np.linalg.norm(V.T @ rest, 2) <= krylov.rounding
    # |rest y| = |E y| for all y
    assert np.linalg.norm(rest.T @ rest - krylov.E.T @ krylov.E, 2) <= 4 * krylov.rounding * np.linalg.norm(A, 2)
    assert krylov.rounding <= 1e-13 * np.linalg.norm(A, 2)
    assert krylov.norm == pytest.approx(np.square(W).sum(), rel=150 * 2**-53)


def test_ritz_values_and_residuals_bound_the_eigenvalues():
    W = student(400, 200, df=3)
    evals, (krylov, _) = np.linalg.eigvalsh(W.T @ W), krylov_of(W, 4, 9)
    ritz, Y = np.linalg.eigh(krylov.T)
    assert (ritz <= evals[-ritz.size :] + 1e-12 * evals[-1]).all()
    residuals = np.linalg.norm(krylov.E @ Y, axis=0)
    assert (np.abs(evals[:, None] - ritz).min(axis=0) <= residuals + 1e-12 * evals[-1]).all()
    assert residuals[-1] < 1e-2 * evals[-1]  # it says something


@pytest.mark.parametrize("name", CASES)
def test_the_moments_of_a_probe_are_those_of_its_jacobi_matrix(name):
    W = CASES[name]
    krylov, start = krylov_of(W, 4, 9)
    evals, vectors = np.linalg.eigh(W.T @ W)
    scale = max(evals[-1], 1e-300)
    for j in range(4):
        measure = jacobi(krylov, j)
        n = measure.diagonal.size
        J = np.diag(measure.diagonal) + np.diag(measure.beside, 1) + np.diag(measure.beside, -1)
        nodes, Y = np.linalg.eigh(J)
        weights = np.square(vectors.T @ start[:, j])
        assert measure.mass == pytest.approx(weights.sum())
        for degree in range(2 * n):  # Gauss quadrature is exact to degree 2 n - 1
            expected = weights @ (evals / scale) ** degree
            found = measure.mass * np.square(Y[0]) @ (nodes / scale) ** degree
            assert found == pytest.approx(expected, rel=1e-10, abs=1e-12)


def plain_lanczos(A, g, steps):
    """Diagonal and sides of the Jacobi matrix, the last side included."""
    basis, diagonal, beside = [g / np.linalg.norm(g)], [], []
    for _ in range(steps):
        w = A @ basis[-1]
        diagonal.append(w @ basis[-1])
        for _ in range(2):
            w = w - np.array(basis).T @ (np.array(basis) @ w)
        beside.append(np.linalg.norm(w))
        basis.append(w / beside[-1])
    return np.array(diagonal), np.array(beside)


@pytest.mark.parametrize("name", ["gaussian", "square", "heavy"])
@pytest.mark.parametrize(("probes", "passes"), [(1, 9), (4, 9), (4, 1), (7, 5)])
def test_a_probes_jacobi_matrix_is_that_of_lanczos_from_it_alone(name, probes, passes):
    W = CASES[name]
    krylov, start = krylov_of(W, probes, passes)
    for j in range(probes):
        measure = jacobi(krylov, j)
        diagonal, beside = plain_lanczos(W.T @ W, start[:, j], passes)
        np.testing.assert_allclose(measure.diagonal, diagonal, rtol=1e-7)
        np.testing.assert_allclose(np.append(measure.beside, measure.after), beside, rtol=1e-7)


@pytest.mark.parametrize("name", ["square", "heavy", "low rank", "identity"])
def test_the_relations_of_lanczos_hold_after_each_pass(name):
    W = CASES[name]
    A = W.T @ W
    passes = 0
    for krylov in krylov_spaces(lambda X: (A @ X, np.trace(A)), W.shape, gaussian(60, 4, seed=2), 30):
        passes += 1
        V, T, E = krylov.V, krylov.T, krylov.E
        rest = A @ V - V @ T
        assert krylov.passes == passes
        assert np.array_equal(T, T.T)
        assert np.abs(V.T @ V - np.eye(len(T))).max() < 1e-13
        assert np.linalg.norm(V.T @ rest, 2) <= krylov.rounding
        assert np.linalg.norm(rest.T @ rest - E.T @ E, 2) <= 4 * krylov.rounding * np.linalg.norm(A, 2)
        np.testing.assert_allclose(V @ krylov.starts, gaussian(60, 4, seed=2), atol=1e-12)
    assert len(E) == 0
    assert passes == {"square": 15, "heavy": 15, "low rank": 3, "identity": 1}[name]


def test_the_jacobi_matrix_of_points_is_that_of_lanczos_with_them():
    rng = np.random.default_rng(6)
    points, weights = rng.uniform(-1, 3, 50), rng.uniform(0, 2, 50)
    measure = jacobi_of_points(points, weights, 9, 1e-14)
    diagonal, beside = plain_lanczos(np.diag(points), np.sqrt(weights), 9)
    np.testing.assert_allclose(measure.diagonal, diagonal, rtol=1e-9)
    np.testing.assert_allclose(np.append(measure.beside, measure.after), beside, rtol=1e-9)
    assert measure.mass == pytest.approx(weights.sum())


def test_the_jacobi_matrix_of_few_points_has_them_for_eigenvalues():
    measure = jacobi_of_points(np.array([0.0, 3.0, 3.0, -1.0]), np.array([1.0, 2.0, 2.0, 5.0]), 9, 1e-14)
    J = np.diag(measure.diagonal) + np.diag(measure.beside, 1) + np.diag(measure.beside, -1)
    nodes, vectors = np.linalg.eigh(J)
    np.testing.assert_allclose(nodes, [-1, 0, 3], atol=1e-12)
    np.testing.assert_allclose(measure.mass * vectors[0] ** 2, [5, 1, 4], rtol=1e-12)
    assert measure.after == 0


def test_steps_beyond_the_last_distinct_eigenvalue_are_not_made():
    threes = with_eigenvalues(np.repeat([1.0, 2.0, 3.0], 20), 70)
    for W, distinct in ((threes, 3), (CASES["identity"], 1), (CASES["zero"], 1), (low_rank(90, 60, 7), 8)):
        krylov, _ = krylov_of(W, 2, 40)
        assert krylov.passes <= distinct + 1
        assert krylov.E.shape[0] == 0
        measure = jacobi(krylov, 0)
        assert measure.after == 0
        assert measure.diagonal.size <= distinct + 1


def test_directions_can_be_projected_out():
    W = student(300, 80, df=3)
    vectors = np.linalg.eigh(W.T @ W)[1]
    Y = np.linalg.qr(vectors[:, -5:] + 0.01 * gaussian(80, 5))[0]
    P = np.eye(80) - Y @ Y.T
    krylov, start = krylov_of(W, 3, 10, without=Y)
    assert np.abs(Y.T @ krylov.V).max() < 1e-13
    np.testing.assert_allclose(krylov.V @ krylov.starts, P @ start, atol=1e-12)
    straight = block_lanczos(blocks(W @ P), 300, 80, P @ start, 10)
    np.testing.assert_allclose(np.linalg.eigvalsh(krylov.T), np.linalg.eigvalsh(straight.T), rtol=1e-10)


def test_no_more_directions_are_found_than_are_left():
    Y = np.linalg.qr(gaussian(60, 55))[0]
    krylov, _ = krylov_of(CASES["gaussian"], 16, 3, without=Y)
    A = CASES["gaussian"].T @ CASES["gaussian"]
    rest = np.linalg.svd(Y, full_matrices=True)[0][:, 55:]
    np.testing.assert_allclose(np.linalg.eigvalsh(krylov.T), np.linalg.eigvalsh(rest.T @ A @ rest), rtol=1e-12)
    assert krylov.E.shape == (0, 5)
    assert krylov.passes == 1


@pytest.mark.parametrize("most", [1, 7, 64, 90])
def test_blocks_of_any_size_give_the_same_to_rounding(most):
    W, start = CASES["gaussian"], gaussian(60, 3, seed=1)
    one = block_lanczos(blocks(W), 90, 60, start, 6)
    other = block_lanczos(blocks(W, most), 90, 60, start, 6)
    np.testing.assert_allclose(np.linalg.eigvalsh(other.T), np.linalg.eigvalsh(one.T), rtol=1e-12)
    assert other.norm == pytest.approx(one.norm, rel=1e-14)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (np.nan, "1 NaN among 5400"),
        (np.inf, "1 infinite among 5400"),
        (1e200, "squares overflow"),
        (1e90, r"the sum of squares is 1e\+180; bounds need it from 1e-150 to 1e150"),
    ],
)
def test_what_is_no_number_is_named(value, seen):
    W = CASES["gaussian"].copy()
    W[70, 11] = value
    with pytest.raises(MatrixError, match=seen):
        krylov_of(W)


def test_the_rules_of_gauss_and_radau_are_the_published_ones():
    # Gauss-Legendre with three points and weights 5/18, 8/18, 5/18, on (0, 1): Abramowitz and Stegun, table 25.4.
    flat = Jacobi(np.full(2, 0.5), np.array([1 / 12**0.5]), 1 / 15**0.5, 1.0)
    shares = enclose(flat, np.array([0.5]))
    np.testing.assert_allclose(shares.points, [0.1127016654, 0.5, 0.8872983346], atol=1e-10)
    np.testing.assert_allclose(shares.least, [13 / 18, 5 / 18, 0], atol=1e-12)
    np.testing.assert_allclose(shares.most, [1, 13 / 18, 5 / 18], atol=1e-12)
    # Radau's rule with a node at 0 and weights 1/9 and (16 +- sqrt 6)/36, on (0, 1): the same, 25.4.31.
    shares = enclose(flat, np.array([0.0]))
    np.testing.assert_allclose(shares.points, [0, (6 - 6**0.5) / 10, (6 + 6**0.5) / 10], atol=1e-12)
    np.testing.assert_allclose(1 - shares.least[0], 1 / 9, atol=1e-12)
    np.testing.assert_allclose(shares.most[2], (16 - 6**0.5) / 36, atol=1e-12)


@st.composite
def measures(draw):
    """A discrete measure, and points where it is asked for."""
    n = draw(st.integers(1, 25))
    at = draw(st.lists(st.integers(0, 1000), min_size=n, max_size=n))
    weights = draw(st.lists(st.integers(1, 10_000), min_size=n, max_size=n))
    grid = draw(st.lists(st.floats(-1, 11), min_size=1, max_size=6))
    return np.array(at) / 100.0, np.array(weights) / sum(weights), np.array(grid)


@given(measures(), st.integers(1, 10))
def test_the_share_of_any_measure_is_enclosed(measure, passes):
    at, weights, grid = measure
    krylov = block_lanczos(blocks(np.diag(np.sqrt(at))), at.size, at.size, np.sqrt(weights)[:, None], passes)
    shares = enclose(jacobi(krylov, 0), grid)
    # A rounding of the matrix may carry a weight across a point: the shares are held against those on either side.
    side, slack = 1e-6, 1e-6
    assert (np.diff(shares.points) >= 0).all()
    for point, least, most in zip(shares.points, shares.least, shares.most, strict=True):
        assert least <= weights[at > point - side].sum() + slack
        assert most >= weights[at > point + side].sum() - slack


def test_a_point_of_the_grid_is_enclosed_as_narrowly_as_the_moments_allow():
    # The Christoffel function 1 / sum p_k(x)^2 is the largest mass that the moments allow at x, and the width there.
    W, x = gaussian(200, 100) / 14, 1.1
    krylov = block_lanczos(blocks(W), 200, 100, gaussian(100, 1, seed=3), 7)
    measure = jacobi(krylov, 0)
    below, p, total = 0.0, 1.0, 1.0
    sides = np.append(measure.beside, measure.after)
    for i in range(7):
        below, p = p, ((x - measure.diagonal[i]) * p - (sides[i - 1] * below if i else 0)) / sides[i]
        total += p * p
    shares = enclose(measure, np.array([x]))
    i = np.abs(shares.points - x).argmin()
    assert shares.points[i] == pytest.approx(x)
    assert shares.most[i] - shares.least[i] == pytest.approx(1 / total, rel=1e-9)


def test_the_inequality_of_one_vector_does_not_hold_for_a_block():
    # Why each probe is taken by itself. Of the block Jacobi matrices that begin with the same three blocks of two, the
    # one with x as a double eigenvalue should have the least trace below x. It does not.
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(3000):
        A = np.zeros((10, 10))
        for i in range(0, 10, 2):
            a = rng.standard_normal((2, 2)) * rng.choice([0.1, 1, 5])
            A[i : i + 2, i : i + 2] = a + a.T
            if i:
                b = rng.standard_normal((2, 2)) * rng.choice([0.1, 1, 5])
                A[i : i + 2, i - 2 : i], A[i - 2 : i, i : i + 2] = b, b.T
        evals, vectors = np.linalg.eigh(A)
        x = rng.choice(evals) + 0.3 * rng.standard_normal()
        T = A[:6, :6].copy()
        T[4:, 4:] = x * np.eye(2) + T[4:, :4] @ np.linalg.inv(T[:4, :4] - x * np.eye(4)) @ T[:4, 4:]
        nodes, Y = np.linalg.eigh(T)
        if (np.abs(nodes - x) < 1e-6).sum() == 2:
            least = np.square(Y[:2, nodes < x - 1e-6]).sum()
            worst = max(worst, least - np.square(vectors[:2, evals < x]).sum())
    assert worst > 0.01
