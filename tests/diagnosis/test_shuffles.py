from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

import heavytail as ht
from heavytail.diagnosis.shuffles import density_distance, find_carriers, shuffle
from heavytail.errors import RequestError
from heavytail.rmt import ensembles
from heavytail.spectra.exact import spectrum_of_stack


def shuffles_of(W, count=5, seed=0, dtype="float64"):
    spectrum = spectrum_of_stack(W[None], dtype)
    return shuffle(spectrum, [lambda r: [W]], dtype, count, 0.01, np.random.default_rng(seed))


def gaussian(seed, N=200, M=100):
    return np.random.default_rng(seed).standard_normal((N, M))


# ------------------------------------------------------------------------------------------------------------- traps


@pytest.mark.parametrize("seed", range(5))
def test_a_huge_entry_is_one_trap_and_named(seed):
    W = gaussian(seed)
    W[17, 5] = 2 * (200 * 100) ** 0.25
    found = shuffles_of(W)
    assert found.num_traps == 1
    assert [(trap.kind, trap.row, trap.column) for trap in found.traps] == [("entry", 17, 5)]
    assert found.traps[0].excess == pytest.approx(2, rel=0.05)
    assert found.p_edge < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_a_heavy_row_is_one_trap_and_named_though_shuffling_scatters_it(seed):
    W = gaussian(seed)
    W[42] *= 4
    found = shuffles_of(W)
    assert found.num_traps == 1
    assert [(trap.kind, trap.row, trap.column) for trap in found.traps] == [("row", 42, None)]
    assert found.traps[0].excess == pytest.approx(4 / sqrt(1 + sqrt(2)), rel=0.2)


@pytest.mark.parametrize("law", ["gaussian", "laplace", "uniform"])
def test_a_row_of_twice_the_size_is_found_among_entries_of_any_law(law):
    # Its mean square, 4, is 1.65 thresholds; a Laplace row of 200 scatters by sqrt(5 / 200) of it.
    found = 0
    for seed in range(40):
        W = getattr(ensembles, law)(400, 200, seed)
        W[42] *= 2
        found += [(trap.kind, trap.row) for trap in find_carriers(W)[0]] == [("row", 42)]
    assert found >= 38


def test_a_row_of_huge_entries_is_one_trap_not_a_hundred():
    W = gaussian(0)
    W[42] *= 100
    found = shuffles_of(W)
    assert found.num_traps == 1
    assert [(trap.kind, trap.row) for trap in found.traps] == [("row", 42)]


def test_a_heavy_column_is_a_trap():
    W = gaussian(0)
    W[:, 9] *= 3
    assert [(trap.kind, trap.column) for trap in shuffles_of(W).traps] == [("column", 9)]


@pytest.mark.parametrize("law", ["gaussian", "laplace", "uniform"])
def test_noise_has_no_traps(law):
    found = [shuffles_of(getattr(ensembles, law)(80, 60, seed), count=3).num_traps for seed in range(60)]
    assert sum(traps > 0 for traps in found) <= 3


@pytest.mark.parametrize("strength", [3.0, 6.0, 20.0])
def test_a_spike_spread_over_all_entries_is_no_trap(strength):
    found = [shuffles_of(ensembles.spiked(200, 100, [strength], seed)) for seed in range(20)]
    assert sum(one.num_traps > 0 for one in found) <= 2
    assert found[0].p_largest == pytest.approx(1 / 6)  # none of five copies reaches it


def test_entries_without_a_variance_leave_the_traps_open():
    assert isnan(shuffles_of(ensembles.pareto(120, 120, 0.7, 0)).num_traps)


def test_the_thresholds_are_those_from_which_a_part_makes_an_eigenvalue_of_its_own():
    # At 1.3 times its threshold each planted part must lift the largest eigenvalue beyond noise, at 0.7 it must not.
    N, M = 900, 400
    edge = (sqrt(N) + sqrt(M)) ** 2
    rng = np.random.default_rng(0)
    for excess, beyond in ((1.3, True), (0.7, False)):
        entry, row, column = (rng.standard_normal((N, M)) for _ in range(3))
        entry[0, 0] = excess * (N * M) ** 0.25
        row[0] *= excess * sqrt(1 + sqrt(N / M))
        column[:, 0] *= excess * sqrt(1 + sqrt(M / N))
        for W in (entry, row, column):
            assert (np.linalg.norm(W, 2) ** 2 > edge * 1.03) == beyond


def test_carriers_do_not_count_in_what_they_are_measured_by():
    W = gaussian(0)
    W[3, 4] = 1e5
    (trap,), mean, kurtosis = find_carriers(W)
    variance = np.delete(W, 3 * 100 + 4).var()
    assert mean == pytest.approx(np.delete(W, 3 * 100 + 4).mean(), rel=1e-9)
    assert trap.excess == pytest.approx(1e5 / sqrt(variance) / W.size**0.25, rel=1e-6)
    assert abs(kurtosis) < 0.2


@pytest.mark.parametrize("mean", [0.1, 0.5, -5.0])
def test_a_mean_is_no_trap(mean):
    # 0.1 sigma in 600 x 300 is a singular value of 42, almost at the edge 41.8: it makes an eigenvalue that stays.
    found = shuffles_of(gaussian(0, 600, 300) + mean)
    assert (found.num_traps, found.traps) == (0, ())


def test_a_mean_hides_no_trap():
    W = gaussian(0) + 5
    W[17, 5] = 5 - 2 * (200 * 100) ** 0.25
    W[42] = 5 + 3 * (W[42] - 5)
    found = shuffles_of(W)
    assert found.num_traps == 2
    assert {(trap.kind, trap.row, trap.column) for trap in found.traps} == {("entry", 17, 5), ("row", 42, None)}


def two_scales(seed):
    return gaussian(seed) * np.where(np.arange(200) < 20, 4, 1)[:, None]


def spike_on_some_rows(seed, share=0.2):
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal(200) * (rng.random(200) < share), rng.standard_normal(100)
    return rng.standard_normal((200, 100)) + 60 * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))


def a_few_used_rows(seed):
    return gaussian(seed) * np.where(np.arange(200) < 20, 1, 0)[:, None]


@pytest.mark.parametrize("draw", [two_scales, spike_on_some_rows, a_few_used_rows])
@pytest.mark.parametrize("transposed", [False, True])
def test_lines_that_are_heavy_together_are_no_traps(draw, transposed):
    found = [find_carriers(draw(seed).T if transposed else draw(seed))[0] for seed in range(40)]
    assert sum(bool(traps) for traps in found) <= 2


def test_lines_that_are_heavy_in_one_direction_are_a_spike():
    W = gaussian(0)
    v = np.random.default_rng(1).standard_normal(100)
    W[42], W[43] = 10 * v, -8 * v
    assert find_carriers(W)[0] == []
    W[43] = gaussian(2)[0] * 8
    assert [trap.row for trap in find_carriers(W)[0]] == [42, 43]


def test_a_heavy_row_is_found_beside_a_signal():
    for seed in range(20):
        W = np.random.default_rng(seed).standard_normal((600, 300))
        W[42] *= 2
        W += sqrt(600) * ensembles.low_rank(600, 300, np.array([2.0, 3.0, 5.0]) * 0.5**0.25, seed)
        assert [(trap.kind, trap.row) for trap in find_carriers(W)[0]] == [("row", 42)]


def test_rows_that_are_never_used_do_not_count():
    W = np.zeros((2000, 100))
    W[np.arange(0, 2000, 10)] = gaussian(0)
    W[420] *= 4
    W[770, 5] = 2 * (200 * 100) ** 0.25
    traps, _, kurtosis = find_carriers(W)
    assert {(trap.kind, trap.row, trap.column) for trap in traps} == {("row", 420, None), ("entry", 770, 5)}
    assert kurtosis == pytest.approx(10 * 3 - 3, rel=0.05)  # of Gaussian entries one time in ten, else zero


def test_a_matrix_too_narrow_for_a_bulk_has_no_traps():
    W = gaussian(0, 64, 9)
    W[3, 4] = 100
    found = shuffles_of(W)
    assert isnan(found.num_traps)
    assert found.traps == ()


@pytest.mark.parametrize("seed", range(5))
def test_no_more_is_named_than_counted(seed):
    # Of the entries of t(5) some are beyond their threshold, but hardly any makes an eigenvalue that noise has not.
    rng = np.random.default_rng(seed)
    for W in (rng.standard_t(5, (200, 100)), rng.standard_normal((200, 100)) * (rng.random((200, 100)) < 0.05)):
        found = shuffles_of(W)
        assert isnan(found.num_traps) or len(found.traps) <= found.num_traps
    W = gaussian(seed)
    W[17, 5], W[18, 6] = 3 * (200 * 100) ** 0.25, 1.01 * (200 * 100) ** 0.25
    assert len(find_carriers(W)[0]) == 2
    assert [(trap.row, trap.column) for trap in shuffles_of(W).traps] == [(17, 5)]  # the other does not show


@pytest.mark.parametrize("value", [0.0, 0.1, -1e100])
def test_a_constant_matrix_has_no_traps_and_no_spread(value):
    W = np.full((60, 40), value)
    assert find_carriers(W) == ([], value, 0.0)
    if value:
        found = shuffles_of(W)
        assert (found.num_traps, found.p_edge, found.evals.max()) == (0, 1, 0)


def test_a_single_entry_beside_zeros_has_no_noise_to_stand_out_of():
    W = np.zeros((60, 40))
    W[3, 4] = 1
    assert find_carriers(W)[0] == []
    assert shuffles_of(W).traps == ()


def test_a_zero_slice_of_a_pooled_row_has_no_traps_and_the_others_keep_theirs():
    W = np.stack([gaussian(0), np.zeros((200, 100))])
    W[0, 17, 5] = 60
    slices = [lambda r, i=i: [W[i]] for i in range(2)]
    found = shuffle(spectrum_of_stack(W, "float64"), slices, "float64", 5, 0.01, np.random.default_rng(0))
    assert found.num_traps == 1
    assert [(trap.matrix, trap.row, trap.column) for trap in found.traps] == [(0, 17, 5)]


@pytest.mark.parametrize("scale", [1e-150, 1e-82, 1e76, 1e150])
def test_traps_and_kurtosis_do_not_depend_on_the_unit(scale):
    W = ensembles.laplace(200, 100, 0)
    W[17, 5], W[42] = 80, 4 * W[42]
    W[3] = 0
    traps, mean, kurtosis = find_carriers(W)
    others, mean_of_others, kurtosis_of_others = find_carriers(scale * W)
    assert [(t.kind, t.row, t.column) for t in others] == [(t.kind, t.row, t.column) for t in traps]
    assert len(traps) == 2
    assert [t.excess for t in others] == pytest.approx([t.excess for t in traps], rel=1e-9)
    assert mean_of_others == pytest.approx(scale * mean, rel=1e-9)
    assert kurtosis_of_others == pytest.approx(kurtosis, rel=1e-9)


def test_a_tiny_chance_is_kept():
    # Of two matrices: 1 - (1 - p)^2 would be 0 for p below 1e-16.
    W = np.stack([gaussian(0), gaussian(1)])
    W[0, 17, 5] = 24
    slices = [lambda r, i=i: [W[i]] for i in range(2)]
    found = shuffle(spectrum_of_stack(W, "float64"), slices, "float64", 3, 0.01, np.random.default_rng(0))
    assert 0 < found.p_edge < 1e-20


# ---------------------------------------------------------------------------------------------------------- distances


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_distance_of_densities_is_a_symmetric_distance_without_a_unit(seed):
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.random(100)), np.sort(rng.random(100) ** 2)
    d = density_distance(x, y)
    assert 0 <= d <= 1
    assert density_distance(y, x) == pytest.approx(d, abs=1e-12)
    assert density_distance(7 * x, 7 * y) == pytest.approx(d, abs=1e-12)
    assert density_distance(np.sqrt(x), np.sqrt(y)) == pytest.approx(d, abs=1e-12)


def test_the_distance_is_scipys_on_the_same_bins():
    x, y = np.arange(1.0, 65.0), np.arange(1.0, 65.0) ** 1.3
    bins = 2 * int(64**0.4)
    both = np.sort(np.concatenate([x, y]))
    inner = np.unique(both[np.linspace(0, 127, bins + 1).astype(int)[1:-1]])
    p, q = (np.bincount(np.searchsorted(inner, v), minlength=inner.size + 1) for v in (x, y))
    assert density_distance(x, y) == pytest.approx(jensenshannon(p, q, base=2), rel=1e-12)


def test_matrices_that_differ_by_a_factor_are_far_apart():
    # peers.md, case 13: a distance of normalised vectors gives JS(e, 10 e) = 0.
    x = np.sort(np.random.default_rng(0).random(50)) + 1
    assert density_distance(x, 10 * x) == pytest.approx(1)


def test_noise_is_as_far_from_its_copies_as_they_are_from_each_other():
    found = shuffles_of(gaussian(1, 300, 200), count=10)
    assert found.distance < 1.6 * found.distance_null
    assert found.distance_lo <= found.distance <= found.distance_hi


def test_a_layer_with_structure_is_farther():
    W = gaussian(1, 300, 200) * np.geomspace(0.3, 3, 200)
    found = shuffles_of(W, count=5)
    assert found.distance_lo > 3 * found.distance_null


def test_one_copy_has_no_interval():
    found = shuffles_of(gaussian(0), count=1)
    assert isnan(found.distance_lo)
    assert isnan(found.distance_null)
    assert found.distance > 0


# --------------------------------------------------------------------------------------------------------- the report


def test_the_shuffles_of_a_layer_depend_on_its_name_and_the_seed_alone():
    model = {f"layer.{i}": gaussian(i, 70, 50) for i in range(4)}
    whole = ht.analyze(model, nulls=3, seed=5, jobs=2)
    alone = ht.analyze(model, nulls=3, seed=5, jobs=1, layers="layer.2")
    other = ht.analyze(model, nulls=3, seed=6, layers="layer.2")
    assert whole.rows[2] == alone.rows[0]
    assert whole.noise["layer.2"].shuffles.as_dict() == alone.noise["layer.2"].shuffles.as_dict()
    assert other.noise["layer.2"].shuffles.as_dict() != alone.noise["layer.2"].shuffles.as_dict()


def test_copies_keep_the_entries_about_their_mean_and_the_layer_is_left_alone():
    W = gaussian(0).astype(np.float32)
    before = W.copy()
    report = ht.analyze({"a": W}, nulls=2)
    np.testing.assert_array_equal(W, before)
    copies = report.noise["a"].shuffles.evals
    assert copies.sum() == pytest.approx(float(W.astype(float).var() * W.size), rel=1e-6)


def test_traps_of_a_wide_matrix_are_indexed_by_its_larger_dimension():
    W = gaussian(0)
    W[17, 5] = 30
    (one,) = ht.analyze({"a": W}, nulls=1).noise["a"].shuffles.traps
    (other,) = ht.analyze({"a": W.T.copy()}, nulls=1).noise["a"].shuffles.traps
    assert (one.row, one.column) == (other.row, other.column) == (17, 5)


@pytest.mark.parametrize("nulls", [-1, 2.5, "3"])
def test_a_number_of_copies_that_is_none_is_refused(nulls):
    with pytest.raises(RequestError, match="nulls is"):
        ht.analyze({"a": np.eye(3)}, nulls=nulls)
