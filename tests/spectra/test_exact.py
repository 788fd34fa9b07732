from fractions import Fraction

import mpmath
import numpy as np
import pytest
from cases import FLOATS, gaussian, hadamard, low_rank, numpy_type, orthogonal, student, with_eigenvalues, zoo
from hypothesis import given
from hypothesis import strategies as st

from heavytail.errors import MatrixError
from heavytail.spectra import exact
from heavytail.spectra.exact import pool, spectrum_of_rows, spectrum_of_stack, unit_roundoff

EPS = 2.0**-52
ZOO = zoo()


def of(W, dtype=None):
    W = np.asarray(W)
    return spectrum_of_stack(W[None] if W.ndim == 2 else W, dtype or W.dtype.name)


def squared_singular_values(stack):
    """By numpy's singular value decomposition, matrix by matrix."""
    values = [np.linalg.svd(np.asarray(W, dtype=np.float64), compute_uv=False) ** 2 for W in stack]
    return np.sort(np.concatenate(values))


def check(spectrum, expected, slack=0.0):
    """The eigenvalues are within the bound that the spectrum carries."""
    assert spectrum.evals.dtype == np.float64
    assert spectrum.evals.shape == expected.shape
    assert (np.diff(spectrum.evals) >= 0).all()
    assert (spectrum.evals >= 0).all()
    assert np.abs(spectrum.evals - expected).max() <= spectrum.error + slack


SHAPES = [
    (50, 30),
    (30, 50),
    (40, 40),
    (1, 7),
    (7, 1),
    (1, 1),
    (2300, 20),
    (20, 2300),
    (9, 8, 5),
    (9, 5, 8),
    (3, 40, 40),
    (2, 2100, 3),
    (25, 1, 1),
    (4, 6, 1),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_eigenvalues_are_the_squared_singular_values(shape, dtype):
    stack = gaussian(*shape).astype(numpy_type(dtype))
    stack = stack if stack.ndim == 3 else stack[None]
    spectrum = spectrum_of_stack(stack, dtype)
    expected = squared_singular_values(stack)
    check(spectrum, expected, slack=40 * max(shape) ** 0.5 * EPS * expected[-1])  # numpy's own error
    assert spectrum.error < 1e-9 * expected[-1]
    assert (spectrum.N, spectrum.M) == (max(stack.shape[1:]), min(stack.shape[1:]))
    assert spectrum.num_matrices == len(stack)
    smallest = [np.linalg.svd(W.astype(np.float64), compute_uv=False)[-1] for W in stack]
    np.testing.assert_allclose(spectrum.sv_min**2, np.square(smallest), atol=spectrum.error + 1e-12 * expected[-1])


@pytest.mark.parametrize("name", sorted(ZOO))
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_every_matrix_of_the_zoo_has_its_eigenvalues_and_its_norm(name, dtype):
    W = ZOO[name].astype(numpy_type(dtype))
    spectrum = of(W)
    exact_W = W.astype(np.float64)
    norm = float(np.square(exact_W.astype(np.longdouble)).sum())
    check(spectrum, squared_singular_values([exact_W]), slack=400 * EPS * norm)
    assert spectrum.evals.sum() == pytest.approx(norm, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_large_matrix_has_exactly_known_eigenvalues(dtype):
    n = 1024  # the orthogonal columns of a Hadamard matrix times powers of two: every eigenvalue is exact
    assert n >= exact.LARGE
    scales = 2.0 ** (np.arange(n) % 5)
    W = (hadamard(n) * scales).astype(dtype)
    before = W.copy()
    W.flags.writeable = False
    spectrum = of(W)
    check(spectrum, np.sort(n * scales**2))
    assert spectrum.rank == n
    assert spectrum.method == "gram"
    np.testing.assert_array_equal(W, before)


def test_a_large_matrix_with_more_rows_and_a_stack_of_large_ones():
    n = 1024
    H = hadamard(n).astype(np.float32)
    tall = np.concatenate([H, 2 * H, H[:76] * 0])
    check(of(tall), np.full(n, 5.0 * n))
    check(of(tall.T), np.full(n, 5.0 * n))
    check(of(np.stack([H, 3 * H])), np.sort(np.r_[np.full(n, 1.0 * n), np.full(n, 9.0 * n)]))


@pytest.mark.slow
def test_a_large_matrix_without_structure():
    W = student(1300, 1030, df=3).astype(np.float32)
    check(of(W), squared_singular_values([W]), slack=1e-12 * np.square(W.astype(float)).sum())


def check_equal_entries(shape, dtype):
    """All roundings go the same way. The only eigenvalue is N M a^2 for the stored a, known as a fraction."""
    W = np.full(shape, 0.1).astype(numpy_type(dtype))
    largest = shape[0] * shape[1] * Fraction(float(W[0, 0])) ** 2
    spectrum = of(W)
    assert abs(Fraction(float(spectrum.evals[-1])) - largest) <= Fraction(spectrum.error)
    assert spectrum.evals[:-1].max(initial=0) <= spectrum.error
    assert spectrum.rank == 1
    assert spectrum.error < 1e-12 * float(largest)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(200, 100), (2000, 300), (20_000, 1), (512, 512)], ids=str)
def test_the_bound_holds_for_equal_entries(shape, dtype):
    check_equal_entries(shape, dtype)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((4097, 3), "float64"), ((2048, 2), "float64"), ((3000, 20), "float32")], ids=str
)
def test_the_bound_holds_for_equal_entries_of_a_tall_matrix(shape, dtype):
    check_equal_entries(shape, dtype)


def exactly(W):
    """Eigenvalues of W^T W with 60 digits."""
    with mpmath.workdps(60):
        A = mpmath.matrix(W.astype(float).tolist())
        A = A.T * A if W.shape[0] >= W.shape[1] else A * A.T
        return sorted(mpmath.eigsy(A, eigvals_only=True))


SMALL = {
    "badly scaled columns": gaussian(9, 6) * 10.0 ** np.arange(-8, 10, 3),
    "badly scaled rows": gaussian(9, 6) * 10.0 ** np.linspace(-9, 9, 9)[:, None],
    "equal entries": np.full((9, 6), 0.1),
    "two nearly equal columns": np.c_[gaussian(9, 5), gaussian(9, 5)[:, :1] * (1 + 1e-9)],
    "hilbert": 1 / (np.arange(8)[:, None] + np.arange(7) + 1.0),
    "rank one": np.outer(np.arange(1.0, 10), np.arange(1.0, 7)) / 7,
    "tiny": gaussian(9, 6) * 1e-80,
    "huge": gaussian(9, 6) * 1e80,
    "wide": gaussian(5, 11) * 10.0 ** np.linspace(-4, 4, 11),
    "one spike": np.eye(9, 6) + 1e9 * np.outer(np.ones(9), np.ones(6)),
}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_the_bound_holds_against_sixty_digits(name):
    W = SMALL[name]
    for dtype in ("float64", "float32") if name not in ("tiny", "huge") else ("float64",):
        stored = W.astype(dtype)
        spectrum = of(stored)
        for got, expected in zip(spectrum.evals, exactly(stored), strict=True):
            assert abs(mpmath.mpf(float(got)) - expected) <= spectrum.error


@pytest.mark.parametrize(
    ("dtype", "digits"),  # binary digits after the point: IEEE 754, and the OCP 8-bit formats
    [("float64", 52), ("float32", 23), ("float16", 10), ("bfloat16", 7), ("float8_e4m3fn", 3), ("float8_e5m2", 2)],
)
def test_the_unit_roundoff_is_half_of_the_last_digit(dtype, digits):
    assert unit_roundoff(dtype) == 2.0 ** -(digits + 1)
    step = np.asarray(1 + 2.0**-digits).astype(numpy_type(dtype))
    assert float(step) == 1 + 2.0**-digits  # and that is what the type can hold


# ---------------------------------------------------------------------------------------------------------- rank


@pytest.mark.parametrize("r", [1, 8, 64])
@pytest.mark.parametrize("shape", [(200, 100), (100, 200), (300, 300), (2500, 80)], ids=str)
def test_a_product_of_rank_r_made_in_float32_has_rank_r(shape, r):
    for seed in range(3):
        assert of(low_rank(*shape, r, seed, "float32")).rank == r


@pytest.mark.parametrize("r", [1, 8, 64])
def test_a_product_of_rank_r_made_in_float64_has_rank_r(r):
    assert of(low_rank(300, 120, r)).rank == r


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_product_of_rank_r_stored_in_half_precision_has_rank_r(dtype):
    for r in (1, 8):
        W = low_rank(300, 200, r, 1, "float32").astype(numpy_type(dtype))
        assert of(W).rank == r


def test_the_rank_one_float32_matrix_that_weightwatcher_calls_full_has_rank_one():
    # peers.md, case 9: float32 rank one, 200 x 100 -> matrix_rank 100 there.
    rng = np.random.default_rng(9)
    W = np.outer(rng.standard_normal(200), rng.standard_normal(100)).astype(np.float32)
    spectrum = of(W)
    assert spectrum.rank == 1
    assert (spectrum.evals > spectrum.floor).sum() == 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_zero_rows_and_columns_are_no_rank(dtype):
    W = gaussian(120, 80, seed=3)
    W[:, :11] = 0
    assert of(W.astype(numpy_type(dtype))).rank == 69
    V = gaussian(120, 80, seed=3)
    V[:50] = 0  # 70 rows are left
    assert of(V.astype(numpy_type(dtype))).rank == 70
    stack = np.stack([W, V, 0 * W]).astype(numpy_type(dtype))
    assert spectrum_of_stack(stack, dtype).rank == 69 + 70


@pytest.mark.parametrize("dtype", FLOATS)
def test_identity_and_orthogonal_matrices_have_full_rank(dtype):
    assert of(np.eye(64, 48).astype(numpy_type(dtype))).rank == 48
    assert of((hadamard(64) / 8).astype(numpy_type(dtype))).rank == 64
    assert of(orthogonal(50).astype(numpy_type(dtype))).rank >= (48 if "8_" in dtype else 50)


def test_random_square_matrices_have_full_rank():
    W = gaussian(500, 500)
    assert of(W.astype(np.float32)).rank == 500
    assert of(W).rank == 500
    assert of(W.astype(numpy_type("bfloat16"))).rank >= 490


def test_the_zero_matrix_has_rank_zero():
    spectrum = of(np.zeros((30, 20), np.float32))
    assert spectrum.rank == 0
    assert (spectrum.evals == 0).all()


@pytest.mark.parametrize("c", [2.0**-66, 2.0**66])
def test_the_rank_is_the_same_at_every_scale(c):
    for name in ("low rank", "dead filters", "spiked", "rank one", "square"):
        W = ZOO[name].astype(np.float32)
        assert of(np.float32(c) * W).rank == of(W).rank


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.integers(0, 10**6))
def test_the_rank_of_small_integer_matrices_is_that_of_fractions(rows, columns, top, seed):
    W = np.random.default_rng(seed).integers(-top, top + 1, (rows, columns))
    assert of(W.astype(np.float64)).rank == fraction_rank(W.tolist())


def fraction_rank(rows):
    """By elimination with fractions."""
    rows = [[Fraction(v) for v in row] for row in rows]
    rank = 0
    for column in range(len(rows[0])):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


# -------------------------------------------------------------------------------------------------- the fallback


@pytest.fixture
def decompositions(monkeypatch):
    """The shapes of the stacks whose singular values are computed."""
    shapes, svd = [], np.linalg.svd

    def counted(W, *args, **kwargs):
        shapes.append(W.shape)
        return svd(W, *args, **kwargs)

    monkeypatch.setattr(np.linalg, "svd", counted)
    return shapes


@pytest.mark.parametrize(
    "W",
    [
        low_rank(60, 40, 5),  # in float64 the zeros of the Gram matrix are far above the rounding of W
        low_rank(2500, 300, 5, dtype="float32"),
        np.pad(gaussian(50, 30), ((0, 0), (0, 4))),
        gaussian(60, 40) * np.geomspace(1, 1e-12, 40),
    ],
    ids=["low rank", "tall low rank", "zero columns", "steep"],
)
def test_singular_values_are_computed_where_the_gram_matrix_leaves_the_rank_open(W, decompositions):
    spectrum = of(W)
    assert spectrum.method == "svd"
    assert len(decompositions) == 1
    check(spectrum, squared_singular_values([W]), slack=1e-13 * spectrum.evals[-1])


@pytest.mark.parametrize(
    "W",
    [
        gaussian(60, 40),
        gaussian(300, 300).astype(np.float32),
        np.eye(50),
        orthogonal(40),
        low_rank(200, 100, 8).astype(numpy_type("bfloat16")),  # its rounding is far above the error of the Gram matrix
        gaussian(3000, 40),
        np.zeros((30, 20)),
    ],
    ids=["gaussian", "float32", "identity", "orthogonal", "low rank", "tall", "zero"],
)
def test_singular_values_are_not_computed_where_the_bound_settles_the_rank(W, decompositions):
    assert of(W).method == "gram"
    assert decompositions == []


def test_only_the_open_matrices_of_a_stack_are_decomposed(decompositions):
    stack = np.stack([gaussian(60, 40, seed=s) for s in range(6)])
    stack[2] = low_rank(60, 40, 7)
    spectrum = spectrum_of_stack(stack, "float64")
    assert decompositions == [(1, 60, 40)]
    assert spectrum.rank == 5 * 40 + 7
    check(spectrum, squared_singular_values(stack), slack=1e-12 * spectrum.evals[-1])


@pytest.mark.parametrize(("W", "readings"), [(gaussian(3000, 30), 1), (low_rank(3000, 30, 4), 2)])
def test_rows_are_read_once_and_again_only_for_singular_values(W, readings):
    calls = []

    def rows(r):
        calls.append(r)
        return (W[i : i + r] for i in range(0, len(W), r))

    spectrum = spectrum_of_rows(rows, *W.shape, "float64")
    assert len(calls) == readings
    assert calls[0] <= exact.BLOCK
    check(spectrum, squared_singular_values([W]), slack=1e-12 * spectrum.evals[-1])


@pytest.mark.parametrize("W", [gaussian(1500, 30), low_rank(1500, 30, 7)], ids=["full", "low rank"])
@pytest.mark.parametrize("height", [1, 7, 500, 512])
def test_the_height_of_the_blocks_that_come_does_not_matter(W, height):
    spectrum = spectrum_of_rows(lambda _: (W[i : i + height] for i in range(0, len(W), height)), 1500, 30, "float64")
    check(spectrum, squared_singular_values([W]), slack=1e-12 * spectrum.evals[-1])
    assert spectrum.rank == of(W).rank


# -------------------------------------------------------------------------------------------- what has no spectrum


def spoilt(shape, dtype="float64", nan=0, inf=0):
    W = gaussian(*shape).astype(numpy_type(dtype))
    flat = W.reshape(-1)
    flat[:nan] = np.nan
    flat[nan : nan + inf] = np.inf
    return W


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (2500, 8), (5, 6, 7), (1030, 1025)], ids=str)
@pytest.mark.parametrize(
    ("nan", "inf", "text"),
    [(3, 0, "3 NaN among"), (0, 1, "1 infinite among"), (2, 1, "2 NaN and 1 infinite among")],
)
def test_what_is_not_finite_is_counted(shape, nan, inf, text):
    W = spoilt(shape, "float32", nan, inf)
    with pytest.raises(MatrixError) as caught:
        of(W)
    assert str(caught.value) == f"{text} {W.size} entries"


@pytest.mark.parametrize("shape", [(30, 40), (5, 6, 7)], ids=str)
def test_several_infinities_are_counted_without_a_warning(shape):
    W = gaussian(*shape)
    W.reshape(-1)[:2] = -np.inf, np.inf
    with pytest.raises(MatrixError, match=f"^2 infinite among {W.size} entries$"):
        of(W)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_is_not_finite_is_counted_in_half_precision(dtype):
    with pytest.raises(MatrixError, match=r"^2 NaN and 3 infinite among 1200 entries$"):
        of(spoilt((40, 30), dtype, 2, 3))


@pytest.mark.parametrize("shape", [(40, 30), (2500, 8), (5, 6, 7)], ids=str)
def test_entries_whose_squares_overflow_are_an_error_that_says_so(shape):
    W = gaussian(*shape)
    W.reshape(-1)[3] = 1e200
    with pytest.raises(MatrixError, match="so large that sums of their squares overflow float64"):
        of(W)


def test_entries_whose_squares_underflow_are_not_called_zero():
    try:
        spectrum = of(1e-200 * gaussian(40, 30))
    except MatrixError:
        return
    assert spectrum.rank == 30


def test_the_bound_holds_near_the_smallest_numbers():
    W = 1e-160 * gaussian(9, 6)
    try:
        spectrum = of(W)
    except MatrixError:
        return
    for got, expected in zip(spectrum.evals, exactly(W), strict=True):
        assert abs(mpmath.mpf(float(got)) - expected) <= spectrum.error


# --------------------------------------------------------------------------------------------------- good manners


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (2500, 8), (5, 6, 7), (4, 1, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_the_input_is_not_modified_and_may_be_read_only(shape, dtype):
    W = gaussian(*shape).astype(numpy_type(dtype))
    before = W.copy()
    W.flags.writeable = False
    of(W)
    np.testing.assert_array_equal(W, before)


def test_views_with_any_strides_are_read_as_they_are():
    W = gaussian(90, 120)
    for view in (W[::-1, ::2], W.T[3:, 1:], np.asfortranarray(W), np.broadcast_to(W[:1], (90, 120))):
        check(of(view), squared_singular_values([view]), slack=1e-12 * np.square(view).sum())


def test_a_pool_is_the_union_of_its_spectra():
    stack = np.stack([gaussian(30, 20, seed=s) for s in range(4)] + [low_rank(30, 20, 3)])
    whole = spectrum_of_stack(stack, "float64")
    joined = pool([spectrum_of_stack(W[None], "float64") for W in stack])
    np.testing.assert_allclose(joined.evals, whole.evals, atol=1e-12 * whole.evals[-1])
    assert (joined.rank, joined.N, joined.M, joined.num_matrices) == (83, 30, 20, 5)
    assert joined.method == "svd"
    assert joined.error >= max(0, whole.error * 0.99)
    np.testing.assert_allclose(joined.sv_min, whole.sv_min, atol=1e-12)


def test_planted_eigenvalues_are_found():
    evals = np.geomspace(1e-4, 1e4, 40)
    check(of(with_eigenvalues(evals, 90)), evals, slack=1e-12 * evals[-1])
