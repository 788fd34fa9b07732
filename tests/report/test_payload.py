"""What the page is told of the noise, held against the noise itself."""

from dataclasses import replace
from math import isnan, pi, sqrt

import numpy as np
import pytest
from report import sample
from scipy.integrate import quad

from heavytail.report.payload import payload


@pytest.fixture(scope="module")
def report():
    return sample.noisy()


@pytest.fixture(scope="module")
def told(report):
    """Noise, curves and vectors by the row's name."""
    data = payload(report, report.rows, ())
    parts = ("noise", "curves", "vectors")
    return {row.name: {part: data[part][i] for part in parts} for i, row in enumerate(report.rows)}


def density(told, x):
    """Give the density of the noise as the page's script computes it, from edges and counts."""
    total = 0.0
    for low, high, size in told["noise"]["laws"]:
        if low < x < high:
            share = size / told["curves"]["count"]
            total += 2 * share * sqrt((high - x) * (x - low)) / (pi * (sqrt(high) - sqrt(low)) ** 2 * x)
    return total


@pytest.mark.parametrize("name", ["pure", "spiked", "trapped", "square"])
def test_the_noise_law_integrates_to_the_share_of_the_bulk(report, told, name):
    (bulk,) = report.noise[name].bulks
    ((low, high, _),) = told[name]["noise"]["laws"]
    share, _ = quad(lambda s: 2 * s * density(told[name], s * s), sqrt(low), sqrt(high))
    assert share == pytest.approx((bulk.M - bulk.num_spikes) / len(report.spectra[name].evals), rel=1e-4)


@pytest.mark.parametrize("name", ["pure", "spiked", "square"])
def test_the_noise_law_is_the_bulks_own(report, told, name):
    (bulk,) = report.noise[name].bulks
    low, high = np.array(bulk.law.edges) * bulk.scale
    x = np.linspace(low, high, 12)[1:-1]
    expected = bulk.law.pdf(x / bulk.scale) / bulk.scale * (1 - bulk.num_spikes / bulk.M)
    np.testing.assert_allclose([density(told[name], value) for value in x], expected, rtol=1e-4)


def test_the_noise_law_of_several_matrices_is_the_mean_of_theirs(report, told):
    bulks = report.noise["pooled"].bulks
    assert len({round(bulk.sigma) for bulk in bulks}) == 3
    x = np.geomspace(40, 2000, 9)
    expected = np.mean([bulk.law.pdf(x / bulk.scale) / bulk.scale for bulk in bulks], axis=0)
    np.testing.assert_allclose([density(told["pooled"], value) for value in x], expected, rtol=1e-3, atol=1e-9)


def test_the_edge_is_the_bulks_edge(report, told):
    for name in ("pure", "spiked", "trapped", "pooled", "square"):
        edge = max(bulk.edge for bulk in report.noise[name].bulks)
        assert told[name]["noise"]["edge"] == pytest.approx(edge, rel=1e-3)
        assert told[name]["noise"]["p_value"] == pytest.approx(report.noise[name].p_value, rel=1e-3)


def test_the_spikes_are_the_largest_eigenvalues(report, told):
    np.testing.assert_allclose(told["spiked"]["noise"]["spikes"], report.spectra["spiked"].evals[-3:], rtol=5e-3)
    assert told["pure"]["noise"]["spikes"] == []


def test_sigma_comes_with_its_interval(report, told):
    sigma, low, high = told["pure"]["noise"]["sigma"]
    assert low < sigma < high
    assert low < 1 < high
    assert sigma == pytest.approx(report.noise["pure"].bulks[0].sigma, rel=1e-3)
    assert told["pooled"]["noise"]["sigma"] == pytest.approx([2, 1, 3], rel=0.03)


def test_noise_fits_noise_and_a_stretched_bulk_does_not(report, told):
    assert all(told[name]["noise"]["fits"] for name in ("pure", "spiked", "pooled", "square"))
    (bulk,) = report.noise["pure"].bulks
    odd = replace(report, noise={"pure": replace(report.noise["pure"], bulks=(replace(bulk, misfit=0.1),))})
    assert payload(odd, report.rows, ())["noise"][0]["fits"] is False


def test_without_a_bulk_there_is_a_reason_and_no_law(told):
    for name in ("heavy", "small"):
        assert "no noise bulk" in told[name]["noise"]["reason"]
        assert "laws" not in told[name]["noise"]


def test_shuffled_copies_are_counted_in_full(report, told):
    for name, found in told.items():
        evals = report.noise[name].shuffles.evals
        assert sum(found["noise"]["shuffles"]["counts"]) == np.count_nonzero(evals > report.spectra[name].floor)


def test_shuffled_copies_are_counted_in_bins_as_wide_as_the_layers(report, told):
    for name in ("pure", "trapped", "heavy"):
        linear, evals = told[name]["curves"]["singular"], np.sqrt(report.noise[name].shuffles.evals)
        width = np.sqrt(report.spectra[name].evals[-1]) / len(linear["counts"])
        if "beyond" in linear:
            width = linear["top"] / len(linear["counts"])
        edges = np.arange(len(linear["shuffled"]) + 1) * width
        np.testing.assert_allclose(linear["shuffled"], np.histogram(evals, edges)[0], atol=1)


def test_a_spike_far_out_does_not_squeeze_the_bulk(report):
    spectrum = report.spectra["pure"]
    evals = spectrum.evals.copy()
    evals[-1] *= 1e4
    far = replace(spectrum, evals=evals, by_matrix=evals[None])
    linear = payload(replace(report, spectra={"pure": far}), report.rows, ())["curves"][0]["singular"]
    assert linear["beyond"] == 1
    assert sum(linear["counts"]) == evals.size - 1
    assert linear["top"] == pytest.approx(3 * sqrt(report.noise["pure"].bulks[0].edge), rel=1e-3)


def test_traps_say_where_they_are(told):
    traps = told["trapped"]["noise"]["shuffles"]["traps"]
    assert {tuple(trap[:4]) for trap in traps} == {
        ("entry", 0, 10, 20),
        ("column", 0, None, 99),
        ("row", 0, 300, None),
    }
    assert all(trap[4] > 1 for trap in traps)


def test_vectors_come_by_side_and_part_with_random_ones_beside(report, told):
    sides = told["spiked"]["vectors"]
    assert set(sides) == {"left", "right"}
    assert sides["right"]["parts"]["spikes"]["count"] == 3
    for one in report.vectors["spiked"]:
        side = sides[one.side]
        assert side["haar"][one.measure] == pytest.approx(one.haar, rel=1e-3)
        assert side["parts"][one.part][one.measure] == pytest.approx([one.mean, one.z], rel=1e-3)


def test_a_report_without_noise_shuffles_and_vectors_is_told_as_such():
    data = payload(sample.make(layers=6), sample.make(layers=6).rows, ())
    assert set(map(type, data["noise"])) == set(map(type, data["vectors"])) == {type(None)}
    plain = sample.noisy(nulls=0, vectors=False)
    assert payload(plain, plain.rows, ())["noise"][0]["shuffles"] is None
    assert all(isnan(row.num_traps) for row in plain.rows)
