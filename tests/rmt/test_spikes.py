from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh

from heavytail.rmt.edges import bulk_edge
from heavytail.rmt.spikes import AdditiveSpike, CovarianceSpike, WignerSpike

HALF = (CovarianceSpike(0.5), AdditiveSpike(0.5))
MODELS = [CovarianceSpike(0.1), CovarianceSpike(0.5), CovarianceSpike(2.0), WignerSpike()]
MODELS += [AdditiveSpike(0.1), AdditiveSpike(0.5), AdditiveSpike(1.0), AdditiveSpike(3.0)]


def overlaps(model, theta):
    """All squared overlaps of a model."""
    if isinstance(model, AdditiveSpike):
        return model.overlap_left(theta), model.overlap_right(theta)
    return (model.overlap(theta),)


@pytest.mark.parametrize(
    ("theta", "location", "overlap"), [(1, 3.0, 0.33333), (1.5, 3.33333, 0.58333), (3, 4.66667, 0.80952)]
)
def test_covariance_spikes_are_the_reference_values(theta, location, overlap):
    assert HALF[0].location(theta) == pytest.approx(location, abs=6e-6)
    assert HALF[0].overlap(theta) == pytest.approx(overlap, abs=6e-6)


@pytest.mark.parametrize(
    ("theta", "location", "left", "right"),
    [(1.2, sqrt(2.44 * 1.94) / 1.2, 1 - 1.22 / 2.7936, 1 - 1.94 / 3.5136), (2, 2.37171, 0.86111, 0.775)],
)
def test_additive_spikes_are_the_reference_values(theta, location, left, right):
    assert HALF[1].threshold == pytest.approx(0.840896, abs=5e-7)
    assert HALF[1].location(theta) == pytest.approx(location, abs=6e-6)
    assert HALF[1].overlap_left(theta) == pytest.approx(left, abs=6e-6)
    assert HALF[1].overlap_right(theta) == pytest.approx(right, abs=6e-6)


def test_the_notebooks_spike_lies_where_it_predicts():
    # 1.2 thresholds: (1/Q + S^2)(1 + 1/S^2) = 3.0093
    assert HALF[1].location(1.2 * HALF[1].threshold) ** 2 == pytest.approx(3.0093, abs=1e-4)


@given(st.floats(0.05, 20), st.floats(1, 30))
def test_overlaps_and_fluctuations_are_their_formulas(c, ratio):
    covariance, additive, wigner = CovarianceSpike(c), AdditiveSpike(c), WignerSpike()
    th = ratio * covariance.threshold
    assert covariance.overlap(th) == pytest.approx((1 - c / th**2) / (1 + c / th), abs=1e-14)
    th = ratio * additive.threshold
    h = th * th
    assert additive.overlap_left(th) == pytest.approx(1 - c * (1 + h) / (h * (h + c)), abs=1e-13)
    assert additive.overlap_right(th) == pytest.approx(1 - (c + h) / (h * (h + 1)), abs=1e-13)
    assert wigner.overlap(ratio) == pytest.approx(1 - 1 / ratio**2, abs=1e-14)
    if ratio > 1.001:
        th = ratio * covariance.threshold
        assert covariance.fluctuation(th, 7) ** 2 * 7 == pytest.approx(2 * (1 + th) ** 2 * (1 - c / th**2))
        assert wigner.fluctuation(ratio, 7) ** 2 * 7 == pytest.approx(2 * (1 - 1 / ratio**2))


@pytest.mark.parametrize("model", MODELS)
@given(ratio=st.floats(1, 1000))
def test_strength_and_location_invert_each_other(model, ratio):
    theta = ratio * model.threshold
    location = model.location(theta)
    assert location >= model.edge
    # the location is flat at the threshold, so half of the digits are lost there
    assert model.strength(location) == pytest.approx(theta, rel=1e-7 if ratio < 1.01 else 1e-9)
    assert model.location(model.strength(location)) == pytest.approx(location, rel=1e-13)


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_seen_of_a_spike_below_the_threshold(model):
    theta = np.linspace(0, 1, 7) * model.threshold
    assert model.location(theta) == pytest.approx(np.full(7, model.edge), rel=1e-14)
    for overlap in overlaps(model, theta):
        assert overlap == pytest.approx(np.zeros(7), abs=1e-15)
    assert np.isnan(model.fluctuation(theta, 100)).all()
    assert np.isnan(model.strength([0.0, -10.0, model.edge * (1 - 1e-12), np.nan])).all()
    assert model.strength(model.edge) == pytest.approx(model.threshold, rel=1e-7)


@pytest.mark.parametrize("model", MODELS)
def test_a_strong_spike_is_seen_as_it_is(model):
    theta = np.array([1e6, 1e9])
    for overlap in overlaps(model, theta):
        assert overlap == pytest.approx([1, 1], abs=1e-5)
    shift = 1 + model.c if isinstance(model, CovarianceSpike) else 0
    assert model.location(theta) - shift == pytest.approx(theta, rel=1e-9)
    grown = model.location(np.linspace(1, 5, 50) * model.threshold)
    assert (np.diff(grown) > 0).all()


@given(st.floats(0.05, 20), st.floats(1, 30))
def test_left_and_right_change_places_with_the_transpose(c, ratio):
    # (theta u v^T + X)^T / sqrt c has noise of variance 1/p: c becomes 1/c, theta becomes theta / sqrt c
    model, turned = AdditiveSpike(c), AdditiveSpike(1 / c)
    theta = ratio * model.threshold
    assert turned.location(theta / sqrt(c)) == pytest.approx(model.location(theta) / sqrt(c), rel=1e-12)
    assert turned.overlap_left(theta / sqrt(c)) == pytest.approx(model.overlap_right(theta), abs=1e-12)
    if ratio > 1.01:
        n = 1000
        assert turned.fluctuation(theta / sqrt(c), c * n) == pytest.approx(
            model.fluctuation(theta, n) / sqrt(c), rel=1e-9
        )


def test_edges_are_those_of_the_bulk():
    assert CovarianceSpike(0.25).edge == pytest.approx(bulk_edge(400, 100) / 400)
    assert AdditiveSpike(0.25).edge ** 2 == pytest.approx(bulk_edge(400, 100) / 400)


def top_vector(A):
    n = len(A)
    value, vector = eigh(A, subset_by_index=[n - 1, n - 1])
    return value[0], vector[:, 0]


def mean_and_error(draw, draws, seed):
    """Mean of drawn vectors and its standard error."""
    rng = np.random.default_rng(seed)
    x = np.array([draw(rng) for _ in range(draws)])
    return x.mean(axis=0), x.std(axis=0, ddof=1) / sqrt(draws)


@pytest.mark.parametrize(("theta", "tolerance"), [(1.0, 0.06), (1.5, 0.03), (3.0, 0.03)])
def test_sample_covariances_show_the_spike(theta, tolerance):
    def draw(rng):
        X = rng.standard_normal((200, 400))
        X[0] *= sqrt(1 + theta)
        value, vector = top_vector(X @ X.T / 400)
        return value, vector[0] ** 2

    (value, overlap), error = mean_and_error(draw, 100, 2)
    assert error.max() < 0.03
    assert value == pytest.approx(HALF[0].location(theta), rel=0.02)
    assert overlap == pytest.approx(HALF[0].overlap(theta), abs=tolerance)


@pytest.mark.parametrize(("theta", "tolerance"), [(1.2, 0.06), (2.0, 0.03)])
def test_noisy_matrices_show_the_spike(theta, tolerance):
    def draw(rng):
        X = rng.standard_normal((200, 400)) / 20
        X[3, 5] += theta
        value, left = top_vector(X @ X.T)
        return sqrt(value), left[3] ** 2, (X[:, 5] @ left) ** 2 / value

    (value, left, right), error = mean_and_error(draw, 100, 0)
    assert error.max() < 0.015
    assert value == pytest.approx(HALF[1].location(theta), rel=0.01)
    assert left == pytest.approx(HALF[1].overlap_left(theta), abs=tolerance)
    assert right == pytest.approx(HALF[1].overlap_right(theta), abs=tolerance)


def test_symmetric_matrices_show_the_spike():
    def draw(rng):
        X = rng.standard_normal((300, 300))
        X = (X + X.T) / sqrt(600)
        X[0, 0] += 2
        value, vector = top_vector(X)
        return value, vector[0] ** 2

    (value, overlap), _ = mean_and_error(draw, 50, 0)
    assert value == pytest.approx(2.5, rel=0.01)
    assert overlap == pytest.approx(0.75, abs=0.03)


def spread(draw, draws, seed):
    """Variance of a drawn number, and its relative standard error."""
    rng = np.random.default_rng(seed)
    return np.var([draw(rng) for _ in range(draws)], ddof=1), sqrt(2 / (draws - 1))


def test_the_covariance_spike_at_two_is_the_reference_experiment():
    n, p, draws = 400, 200, 500
    rng = np.random.default_rng(1)
    scale = np.append(sqrt(3), np.ones(p - 1))[:, None]
    x = np.empty(draws)
    for i in range(draws):
        X = scale * rng.standard_normal((p, n))
        x[i] = np.linalg.eigvalsh(X @ X.T / n)[-1]
    sd = HALF[0].fluctuation(2.0, n)
    assert HALF[0].location(2.0) == 3.75
    assert n * sd**2 == pytest.approx(15.75)
    assert x.mean() == pytest.approx(3.75, abs=3 * sd / sqrt(draws) + 1 / n)
    assert n * x.var(ddof=1) == pytest.approx(15.75, abs=3 * 1.05)


@pytest.mark.parametrize("theta", [1.3, 2.0, 4.0])
def test_the_singular_value_of_an_additive_spike_fluctuates_as_derived(theta):
    n, p = 300, 150

    def draw(rng):
        X = rng.standard_normal((p, n)) / sqrt(n)
        X[0, 0] += theta
        return sqrt(np.linalg.eigvalsh(X @ X.T)[-1])

    variance, error = spread(draw, 500, 3)
    assert variance == pytest.approx(HALF[1].fluctuation(theta, n) ** 2, rel=3 * error)
    # and not as the covariance spike at the same place does
    other = CovarianceSpike(0.5).fluctuation(theta**2, n) ** 2 / (4 * HALF[1].location(theta) ** 2)
    assert variance < other * (1 - 3 * error)


def test_an_additive_spike_of_the_notebook_is_narrower_than_a_covariance_spike_as_measured():
    # std of the eigenvalue in units of the covariance formula: 0.941 +- 0.04 in 300 draws of 1000 x 500
    theta = 1.2 * HALF[1].threshold
    sd = 2 * HALF[1].location(theta) * HALF[1].fluctuation(theta, 1000)
    assert sd / HALF[0].fluctuation(theta**2, 1000) == pytest.approx(0.941, abs=0.04)


@pytest.mark.parametrize("theta", [1.5, 3.0])
def test_the_eigenvalue_of_a_symmetric_spike_fluctuates_as_derived(theta):
    n = 200

    def draw(rng):
        X = rng.standard_normal((n, n))
        X = (X + X.T) / sqrt(2 * n)
        X[0, 0] += theta
        return np.linalg.eigvalsh(X)[-1]

    variance, error = spread(draw, 300, 4)
    assert variance == pytest.approx(WignerSpike().fluctuation(theta, n) ** 2, rel=3 * error)


@pytest.mark.parametrize("model", MODELS)
def test_a_scalar_gives_a_float_an_array_its_shape_and_nan_nan(model):
    functions = [model.location, model.strength, lambda t: model.fluctuation(t, 100)]
    functions += [lambda t, i=i: overlaps(model, t)[i] for i in range(len(overlaps(model, 1.0)))]
    for function in functions:
        assert isinstance(function(9.0), float)
        assert function([[8.0, 9.0]]).shape == (1, 2)
        assert function(np.zeros((0, 2))).shape == (0, 2)
        assert np.isnan(function(np.nan))


@pytest.mark.parametrize("model", MODELS)
def test_negative_strengths_are_refused(model):
    for function in (model.location, lambda t: model.fluctuation(t, 10), lambda t: overlaps(model, t)):
        with pytest.raises(ValueError, match=r"a strength theta is not negative; got .*-1"):
            function([2.0, -1.0])


@pytest.mark.parametrize("c", [0, -1.0, inf, np.nan])
def test_ratios_out_of_range_are_refused(c):
    for model in (CovarianceSpike, AdditiveSpike):
        with pytest.raises(ValueError, match="c = p/n is positive and finite; got"):
            model(c)


@pytest.mark.parametrize("model", MODELS)
def test_the_strongest_spikes_overflow_nowhere(model):
    theta = np.array([1e154, 1e200, 1e307, inf])
    place = model.location(theta)
    assert place == pytest.approx(theta, rel=1e-12)  # the noise adds nothing
    assert model.strength(place) == pytest.approx(theta, rel=1e-12)
    for overlap in overlaps(model, theta):
        assert overlap == pytest.approx(1)
    noise = {CovarianceSpike: sqrt(2) * (1 + theta), AdditiveSpike: 1.0, WignerSpike: sqrt(2)}[type(model)]
    assert model.fluctuation(theta, 100) == pytest.approx(noise / np.full(4, 10.0))
