from dataclasses import asdict
from math import log, nan, pi, sqrt

import numpy as np
import pytest
from scipy.special import digamma

import heavytail as ht
from heavytail.diagnosis.vectors import MEASURES, haar, localisation, measure
from heavytail.spectra.exact import spectrum_of_stack


def test_the_measures_of_vectors_that_are_known():
    n = 16
    flat, unit = np.full((n, 1), 1 / sqrt(n)), np.eye(n)[:, :1]
    assert [float(v[0]) for v in measure(flat)] == pytest.approx([n, n**0.25, 1.0])
    assert [float(v[0]) for v in measure(unit)] == [1.0, 1.0, 0.0]


def test_the_entropy_tells_unit_vectors_apart():
    # peers.md, case 14: a histogram's entropy is the same for every unit vector.
    e, half = np.eye(50)[:, :1], np.zeros((50, 1))
    half[:25] = 1
    assert measure(e).entropy[0] == 0
    assert measure(half).entropy[0] == pytest.approx(log(25) / log(50))


def test_random_directions_have_the_measures_of_theory():
    # Of n squared Gaussian components: participation n^(1/4) / 3^(1/4); entropy ln n + (2 - gamma - 3 ln 2 ... ) by
    # E[-p ln p] of a Beta(1/2, (n-1)/2) component: digamma(n/2 + 1) - digamma(3/2).
    n = 400
    (ratio, _), (participation, _), (entropy, _) = haar(n)
    assert participation == pytest.approx((n / 3) ** 0.25, rel=0.01)
    assert entropy == pytest.approx((digamma(n / 2 + 1) - digamma(1.5)) / log(n), rel=2e-3)
    largest = sqrt(2 * log(n) - log(pi * log(n)) + 2 * 0.5772)  # of n half-normal components, roughly
    assert ratio == pytest.approx(n * sqrt(2 / pi) / largest, rel=0.08)


def test_the_vectors_of_noise_are_random_directions():
    W = np.random.default_rng(0).standard_normal((300, 150))
    for one in localisation([lambda r: [W]], [nan], nan, 0.0):
        assert one.part == "bulk"
        assert one.count == 150
        assert abs(one.z) < 4


def test_a_localised_spike_stands_out_on_its_side_only():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((300, 150))
    W[7] += 6 * rng.standard_normal(150)
    found = {(one.side, one.part, one.measure): one for one in localisation([lambda r: [W]], [1000.0], nan, 0.0)}
    assert found["left", "spikes", "entropy"].z < -20
    assert abs(found["right", "spikes", "entropy"].z) < 4
    assert found["left", "spikes", "entropy"].count == 1
    assert abs(found["left", "bulk", "entropy"].z) < 4


def test_without_a_bulk_the_tail_is_told_from_the_rest():
    W = np.random.default_rng(0).standard_normal((100, 60))
    xmin = np.sort(np.linalg.svd(W)[1])[-12] ** 2 * (1 - 1e-9)
    counts = {(one.side, one.part): one.count for one in localisation([lambda r: [W]], [nan], xmin, 0.0)}
    assert counts == {("left", "bulk"): 48, ("left", "tail"): 12, ("right", "bulk"): 48, ("right", "tail"): 12}


def test_the_null_space_has_no_vectors():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((300, 50)) @ rng.standard_normal((50, 200))
    found = localisation([lambda r: [W]], [nan], nan, 0.0)
    assert {(one.side, one.part): one.count for one in found} == {("left", "bulk"): 50, ("right", "bulk"): 50}
    assert all(abs(one.z) < 4 for one in found)


def test_eigenvalues_within_the_rounding_of_the_entries_have_no_vectors():
    rng = np.random.default_rng(0)
    W = (rng.standard_normal((80, 20)) @ rng.standard_normal((20, 50))).astype(np.float32)
    spectrum = spectrum_of_stack(W[None], "float32")
    found = localisation([lambda r: [W]], [nan], nan, spectrum.floor)
    assert {one.count for one in found} == {20}


def test_vectors_of_equal_eigenvalues_are_left_out():
    rng = np.random.default_rng(0)
    orthogonal = np.linalg.qr(rng.standard_normal((300, 100)))[0]
    assert localisation([lambda r: [orthogonal]], [nan], nan, 0.0) == ()
    twice = np.diag([1.0, 2, 2, 2, 3, 4])
    assert {one.count for one in localisation([lambda r: [twice]], [nan], nan, 0.0)} == {3}


def test_each_matrix_of_a_row_has_its_own_threshold():
    rng = np.random.default_rng(0)
    small, large = rng.standard_normal((300, 150)), 100 * rng.standard_normal((300, 150))
    small[7] += 6 * rng.standard_normal(150)
    found = localisation([lambda r: [small], lambda r: [large]], [1000.0, 1e7], nan, 0.0)
    counts = {(one.side, one.part): one.count for one in found}
    assert counts == {(side, part): n for side in ("left", "right") for part, n in (("spikes", 1), ("bulk", 299))}
    assert all(one.z < -4 for one in found if (one.side, one.part) == ("left", "spikes"))


def test_the_report_has_the_vectors_where_asked_for():
    W = np.random.default_rng(0).standard_normal((60, 40))
    assert ht.analyze({"a": W}).vectors == {}
    report = ht.analyze({"a": W, "c": np.zeros((20, 20))}, vectors=True)
    assert list(report.vectors) == ["a"]
    assert {one.measure for one in report.vectors["a"]} == set(MEASURES)
    assert report.as_dict()["vectors"]["a"][0] == asdict(report.vectors["a"][0])


@pytest.mark.parametrize("n", [3, 50])
def test_the_null_of_a_dimension_is_the_same_each_time(n):
    haar.cache_clear()
    first = haar(n)
    haar.cache_clear()
    assert haar(n) == first
