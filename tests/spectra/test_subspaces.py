import ml_dtypes
import numpy as np
import pytest
from scipy.linalg import subspace_angles

from heavytail.errors import MatrixError
from heavytail.spectra import subspaces
from heavytail.spectra.subspaces import compare_subspaces


@pytest.fixture(params=["decomposed", "multiplied"])
def way(request, monkeypatch):
    """Both ways of computing, in matrices that are small."""
    if request.param == "multiplied":
        monkeypatch.setattr(subspaces, "_SMALL", 8)
    return request.param


def blocks(W):
    return lambda r: (W[i : i + r] for i in range(0, len(W), r))


def compare(W0, W1, **options):
    return compare_subspaces(blocks(W0), blocks(W1), *W0.shape, **options)


def decompose(W):
    """Singular vectors, without those that belong to zero."""
    U, s, Vt = np.linalg.svd(W.astype(np.float64), full_matrices=False)
    rank = int((s > 3e-7 * s[0]).sum())
    return U[:, :rank], Vt[:rank].T


def nearest(W0, W1, k):
    """The largest |cosines| on the side of length M, and on the side of length N."""
    sides = zip(decompose(W0), decompose(W1), strict=True)
    return np.array([np.abs(Q0.T @ Q1[:, :k]).max(axis=0) for Q0, Q1 in sides])[::-1]


def count(truth):
    """The intruders among directions with some nearest cosines."""
    return (truth < 0.5).any(axis=0).sum()


def rotation(rng, n, size):
    """A rotation, the further from the identity the larger its size."""
    S = rng.standard_normal((n, n))
    S = (S - S.T) * size / np.sqrt(n)
    return np.linalg.solve(np.eye(n) - S, np.eye(n) + S)


def orthonormal(rng, n, k):
    return np.linalg.qr(rng.standard_normal((n, k)))[0]


def pair(kind, N, M, rng):
    """A base and a tuned matrix."""
    planted = rng.standard_normal((N, 4)) @ rng.standard_normal((4, M))
    noise = rng.standard_normal((N, M))
    base = {
        "gaussian": noise,
        "heavy": rng.standard_t(2.5, size=(N, M)),
        "trained": noise * np.arange(1, M + 1) ** -0.3,
        "low rank": rng.standard_normal((N, 4)) @ rng.standard_normal((4, M)),
    }[kind]
    change = [planted * rng.uniform(0.01, 0.5), rng.standard_normal((N, M)) * rng.uniform(0.01, 2)][rng.integers(2)]
    return base, base + (planted if kind == "low rank" else change)


@pytest.mark.parametrize("kind", ["gaussian", "heavy", "trained", "low rank"])
def test_the_bounds_enclose_what_all_singular_vectors_say(way, kind):
    rng = np.random.default_rng(0)
    seen = intruders = 0
    for trial in range(15):
        M = int(rng.integers(60, 200))
        W0, W1 = pair(kind, int(M * rng.choice([1, 1.5, 4])), M, rng)
        if trial % 2:
            W0, W1 = W0.astype(np.float32), W1.astype(np.float32)
        found, truth = compare(W0, W1), nearest(W0, W1, 10)
        assert (found.nearest_lo <= truth + 1e-9).all()
        assert (found.nearest_hi >= truth - 1e-9).all()
        assert found.undecided == 0
        assert found.intruders == count(truth)
        seen += truth.shape[1]
        intruders += found.intruders
    assert 0 < intruders < seen


@pytest.mark.parametrize("kind", ["gaussian", "heavy", "trained", "low rank"])
def test_the_angles_are_those_of_the_leading_subspaces_on_both_sides(way, kind):
    rng = np.random.default_rng(1)
    for N, M in ((100, 100), (150, 90), (500, 70)):
        W0, W1 = pair(kind, N, M, rng)
        (U0, V0), (U1, V1) = decompose(W0), decompose(W1)
        found = compare(W0, W1)
        k = min(10, V0.shape[1], V1.shape[1])
        assert found.k == k == len(found.cosines_wide)
        for cosines, Q0, Q1 in ((found.cosines_narrow, V0, V1), (found.cosines_wide, U0, U1)):
            np.testing.assert_allclose(cosines, np.cos(subspace_angles(Q0[:, :k], Q1[:, :k]))[::-1], atol=1e-7)


def test_a_large_matrix_is_enclosed_without_its_vectors():
    rng = np.random.default_rng(2)
    W0 = rng.standard_t(3, size=(1000, 800)).astype(np.float32)
    W1 = W0 + (8 * orthonormal(rng, 1000, 4) @ orthonormal(rng, 800, 4).T * np.sqrt(2000)).astype(np.float32)
    found, truth = compare(W0, W1), nearest(W0, W1, 10)
    assert (found.nearest_lo <= truth + 1e-9).all()
    assert (truth - 1e-9 <= found.nearest_hi).all()
    assert (found.nearest_lo < found.nearest_hi).any()  # so not all of them were computed
    assert found.intruders == count(truth) == 4


def test_a_matrix_agrees_with_itself(way):
    W = np.random.default_rng(3).standard_t(3, size=(120, 80))
    found = compare(W, W)
    for cosines in (found.cosines_narrow, found.cosines_wide, found.nearest_lo, found.nearest_hi):
        np.testing.assert_allclose(cosines, 1, atol=1e-9)
    assert found.intruders == found.undecided == 0


def test_directions_that_the_base_does_not_have_are_intruders(way):
    rng = np.random.default_rng(4)
    V = orthonormal(rng, 90, 24)
    W0 = rng.standard_normal((120, 12)) @ V[:, :12].T
    W1 = rng.standard_normal((120, 12)) @ V[:, 12:].T
    found = compare(W0, W1)
    assert found.k == found.intruders == 10
    np.testing.assert_allclose(found.cosines_narrow, 0, atol=1e-7)
    np.testing.assert_allclose(found.nearest_hi[0], 0, atol=1e-6)


@pytest.mark.parametrize("N", [100, 150, 400])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_rotation_on_either_side_makes_every_direction_an_intruder(way, side, N):
    rng = np.random.default_rng(15)
    W = rng.standard_t(4, size=(N, 100))
    found = compare(W, orthonormal(rng, N, N) @ W if side == "left" else W @ orthonormal(rng, 100, 100))
    assert (found.intruders, found.undecided) == (10, 0)
    kept = 0 if side == "left" else 1
    np.testing.assert_allclose(found.nearest_lo[kept], 1, atol=1e-9)
    assert (found.nearest_hi[1 - kept] < 0.5).all()


@pytest.mark.parametrize("side", ["left", "right", "both"])
@pytest.mark.parametrize("N", [300, 500, 1200])
def test_planted_directions_are_intruders_on_the_side_on_which_they_are_new(way, side, N):
    rng = np.random.default_rng(16)
    M = 300
    W = rng.standard_normal((N, M)) + 3 * rng.standard_normal((N, 6)) @ rng.standard_normal((6, M))
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    new_u, new_v = orthonormal(rng, N, 3), orthonormal(rng, M, 3)
    A = U[:, 20:23] if side == "right" else new_u
    B = Vt[20:23].T if side == "left" else new_v
    W1 = W + 3 * s[0] * A @ B.T
    found, truth = compare(W, W1), nearest(W, W1, 10)
    assert (found.intruders, found.undecided) == (3, 0) == (count(truth), 0)
    new = {"left": [False, True], "right": [True, False], "both": [True, True]}[side]
    np.testing.assert_array_equal((found.nearest_lo[:, :3] < 0.5).all(axis=1), new)  # one side alone may be enough
    np.testing.assert_array_equal((truth[:, :3] < 0.5).all(axis=1), new)


def test_what_is_outside_of_the_columns_of_the_base_is_near_none_of_its_directions(way):
    rng = np.random.default_rng(17)
    for N, M in ((400, 200), (1000, 200)):
        W = np.zeros((N, M))
        W[: N // 2] = rng.standard_t(4, size=(N // 2, M))
        found = compare(W, W[::-1])
        assert (found.intruders, found.undecided) == (10, 0)
        np.testing.assert_allclose(found.nearest_lo[0], 1, atol=1e-9)
        np.testing.assert_allclose(found.nearest_hi[1], 0, atol=1e-6)
        half = compare(W, W + W[::-1])  # each left vector is a half in and a half out
        np.testing.assert_allclose(half.nearest_lo[1], np.sqrt(0.5), atol=1e-6)
        assert (half.nearest_hi[1] <= np.sqrt(0.5) + 0.02).all()
        assert (half.intruders, half.undecided) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("aspect", [1, 2, 4])
def test_both_sides_are_enclosed_from_few_products(monkeypatch, aspect):
    monkeypatch.setattr(subspaces, "_SMALL", 8)
    monkeypatch.setattr(subspaces, "_FIRST_LOOK", 3)
    rng = np.random.default_rng(18)
    seen = far = enclosed = 0
    for trial in range(45):
        M = int(rng.integers(200, 320))
        W0 = pair(["gaussian", "heavy", "trained"][trial % 3], aspect * M, M, rng)[0]
        W1 = [
            lambda W: W + rng.uniform(0.1, 2) * rng.standard_normal(W.shape),
            lambda W: W + rng.uniform(0.1, 1) * rng.standard_normal((len(W), 3)) @ rng.standard_normal((3, W.shape[1])),
            lambda W: rotation(rng, len(W), rng.uniform(0.05, 1)) @ W,
            lambda W: W @ rotation(rng, W.shape[1], rng.uniform(0.05, 1)),
            lambda W: W,
        ][trial % 5](W0)
        found, truth = compare(W0, W1, k=4), nearest(W0, W1, 4)
        assert (found.nearest_lo <= truth + 1e-9).all()
        assert (found.nearest_hi >= truth - 1e-9).all()
        assert found.undecided == 0
        assert found.intruders == count(truth)
        seen, far = seen + 4, far + found.intruders
        enclosed += (found.nearest_lo < found.nearest_hi).all(axis=0).sum()
    assert seen / 5 < far < seen * 4 / 5
    assert enclosed > seen / 2  # so not all of them were computed


def test_the_smaller_rank_limits_the_angles_but_not_the_search_for_intruders(way):
    rng = np.random.default_rng(5)
    base = rng.standard_normal((100, 3)) @ rng.standard_normal((3, 70))
    found = compare(base, base + 0.1 * rng.standard_normal((100, 70)))
    assert found.k == 3
    assert found.nearest_hi.shape == (2, 10)
    assert (found.nearest_lo[:, :3] > 0.99).all()
    assert found.intruders == 7
    assert compare(rng.standard_normal((100, 70)), base).nearest_hi.shape == (2, 3)


def test_narrow_matrices_have_as_many_directions_as_columns(way):
    rng = np.random.default_rng(6)
    W0, W1 = rng.standard_normal((2, 30, 4))
    found = compare(W0, W1)
    assert found.k == 4
    np.testing.assert_allclose(found.cosines_narrow, 1, atol=1e-12)
    np.testing.assert_allclose(found.nearest_hi, nearest(W0, W1, 4), atol=1e-9)
    one = compare(W0[:, :1], W1[:, :1])
    cosine = abs(W0[:, 0] @ W1[:, 0]) / np.linalg.norm(W0[:, 0]) / np.linalg.norm(W1[:, 0])
    np.testing.assert_allclose(one.cosines_wide, [cosine], atol=1e-12)


def test_what_has_no_directions_compares_none(way):
    W, none = np.random.default_rng(7).standard_normal((40, 30)), np.zeros((40, 30))
    assert compare(W, none).k == compare(none, W).k == compare(none, none).k == 0
    assert compare(none, W).intruders == 10  # all that it has is new
    assert compare(W, none).intruders == 0


def test_equal_singular_values_leave_the_projection_on_what_belongs_to_them(way):
    rng = np.random.default_rng(8)
    U, V, turn = orthonormal(rng, 100, 60), orthonormal(rng, 60, 60), orthonormal(rng, 2, 2)
    s = np.concatenate([[5.0, 5.0], np.linspace(2, 1, 58)])
    turned = V.copy()
    turned[:, :2] = V[:, :2] @ turn
    found = compare(U * s @ V.T, U * (s + np.eye(60)[0]) @ turned.T, k=2)
    np.testing.assert_allclose(found.nearest_hi, 1, atol=1e-6)
    np.testing.assert_allclose(found.nearest_lo, 1, atol=1e-6)
    found = compare(np.eye(60), rng.standard_normal((60, 60)))
    np.testing.assert_allclose(found.nearest_lo, 1, atol=1e-9)


def test_small_directions_beside_a_huge_one_are_told_apart(way):
    rng = np.random.default_rng(9)
    noise, u, v = rng.standard_normal((200, 150)), orthonormal(rng, 200, 1), orthonormal(rng, 150, 1)
    W0 = noise + 3e6 * u @ v.T
    W1 = W0 + rng.standard_normal((200, 3)) @ rng.standard_normal((3, 150))
    found, truth = compare(W0, W1), nearest(W0, W1, 10)
    assert (found.nearest_lo <= truth + 1e-3).all()
    assert (found.nearest_hi >= truth - 1e-3).all()
    assert not ((truth >= 0.5) & (found.nearest_hi < 0.5)).any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_stored_types_are_taken_at_their_value(way, dtype):
    rng = np.random.default_rng(10)
    W0 = rng.standard_t(3, size=(90, 60)).astype(dtype)
    W1 = (W0.astype(float) + 0.2 * rng.standard_normal((90, 60))).astype(dtype)
    found, exact = compare(W0, W1), compare(W0.astype(float), W1.astype(float))
    np.testing.assert_allclose(found.cosines_narrow, exact.cosines_narrow, atol=1e-9)
    np.testing.assert_allclose(found.nearest_hi, exact.nearest_hi, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_the_scale_of_the_entries_does_not_matter(way, scale):
    rng = np.random.default_rng(11)
    W0, W1 = pair("heavy", 90, 60, rng)
    found, scaled = compare(W0, W1), compare(scale * W0, W1)
    np.testing.assert_allclose(scaled.cosines_wide, found.cosines_wide, atol=1e-9)
    np.testing.assert_allclose(scaled.nearest_hi, found.nearest_hi, atol=1e-9)


@pytest.mark.parametrize(("rows", "passes"), [(60, 1), (180, 1), (181, 2)])
def test_rows_are_read_once_where_they_can_be_kept_and_else_twice(monkeypatch, rows, passes):
    monkeypatch.setattr(subspaces, "_SMALL", 8)
    W0, W1 = np.random.default_rng(12).standard_normal((2, rows, 60))
    read = []

    def base(r):
        read.append("base")
        return blocks(W0)(r)

    def tuned(r):
        read.append("tuned")
        return blocks(W1)(r)

    found = compare_subspaces(base, tuned, rows, 60, k=5)
    assert read.count("base") == read.count("tuned") == passes
    np.testing.assert_allclose(
        found.cosines_narrow, np.cos(subspace_angles(decompose(W0)[1][:, :5], decompose(W1)[1][:, :5]))[::-1], atol=1e-7
    )


def test_the_same_matrices_give_the_same_bytes(way):
    W0, W1 = pair("heavy", 90, 60, np.random.default_rng(13))
    first, second = compare(W0, W1), compare(W0, W1)
    assert first.nearest_hi.tobytes() == second.nearest_hi.tobytes()
    assert first.cosines_wide.tobytes() == second.cosines_wide.tobytes()


@pytest.mark.parametrize(("value", "words"), [(np.nan, "1 NaN"), (np.inf, "1 infinite"), (1e200, "large")])
def test_unusable_entries_are_named(way, value, words):
    W = np.random.default_rng(14).standard_normal((40, 30))
    bad = W.copy()
    bad[3, 4] = value
    for matrices in ((W, bad), (bad, W)):
        with pytest.raises(MatrixError, match=words):
            compare(*matrices)
