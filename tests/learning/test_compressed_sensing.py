import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from heavytail.errors import RequestError
from heavytail.learning.compressed_sensing import l1_threshold, simulate_l1


def test_reference_thresholds():
    assert l1_threshold([0.05, 0.1, 0.2, 0.3]) == pytest.approx([0.2039, 0.3288, 0.5111, 0.6456], abs=5e-5)


def test_the_threshold_is_the_minimum_over_t():
    for f in (1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999):
        found = minimize_scalar(
            lambda t, f=f: f * (1 + t * t) + 2 * (1 - f) * ((1 + t * t) * norm.sf(t) - t * norm.pdf(t)),
            bounds=(0, 10),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert l1_threshold(f) == pytest.approx(found.fun, rel=1e-9)


def test_the_ends_and_the_order_between():
    assert list(l1_threshold([0.0, 1.0])) == [0, 1]
    f = np.concatenate([np.geomspace(1e-300, 0.1, 400), np.linspace(0.11, 1, 200)])
    threshold = l1_threshold(f)
    assert (np.diff(threshold) > 0).all()
    assert ((threshold > f) & (threshold < 1))[:-1].all()
    tiny = 1e-200  # 2 f log(1/f) to leading order, with the next, 2 f (log(1/f) + ... ) below a percent
    assert l1_threshold(tiny) == pytest.approx(2 * tiny * np.log(1 / tiny), rel=0.03)
    near = 1 - np.array([1e-4, 1e-6])  # 1 - a = (1 - f)^2 2/pi
    assert (1 - l1_threshold(near)) / (1 - near) ** 2 == pytest.approx(2 / np.pi, rel=1e-3)
    assert l1_threshold(np.full((2, 3), 0.1)).shape == (2, 3)
    assert isinstance(l1_threshold(0.1), float)
    assert l1_threshold([]).shape == (0,)


@pytest.mark.parametrize("sparsity", [0.1, 0.3])
def test_sparse_signals_are_recovered_above_the_threshold_and_lost_below(sparsity):
    threshold = l1_threshold(sparsity)
    below = simulate_l1(120, threshold - 0.11, sparsity, seed=3, runs=12)
    above = simulate_l1(120, threshold + 0.11, sparsity, seed=3, runs=12)
    assert below.mean("recovered") < 0.2
    assert above.mean("recovered") > 0.8
    assert below.mean("error") > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.1, 0.2])
def test_half_of_the_signals_are_recovered_near_the_threshold(sparsity):
    loads = l1_threshold(sparsity) + np.linspace(-0.08, 0.08, 9)
    rates = [simulate_l1(200, a, sparsity, seed=5, runs=20).mean("recovered") for a in loads]
    # the loads where the rate is between, averaged: the middle of the transition
    middle = loads[0] + (loads[1] - loads[0]) * (np.sum(1 - np.array(rates)) - 0.5)
    assert middle == pytest.approx(l1_threshold(sparsity), abs=0.02)


def test_what_is_recovered_is_the_signal():
    runs = simulate_l1(60, 0.8, 0.1, runs=5)
    assert (runs.name, runs.n, runs.load, runs.runs) == ("L1", 60, 0.8, 5)
    assert runs.mean("recovered") == 1
    assert runs.mean("error") < 1e-16
    assert (
        simulate_l1(60, 0.5, 0.1, seed=7).samples["error"].tolist()
        == simulate_l1(60, 0.5, 0.1, seed=7).samples["error"].tolist()
    )
    assert simulate_l1(20, 0.5, 0.0, runs=2).mean("recovered") == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: l1_threshold([0.1, -0.1]), "sparsity is -0.1; it must be at least 0 and at most 1"),
        (lambda: simulate_l1(10, 0.0, 0.1), "load is 0; it must be above 0 and finite"),
        (lambda: simulate_l1(10, 1.0, 1.1), "sparsity is 1.1; it must be at least 0 and at most 1"),
    ],
)
def test_what_cannot_be_asked_is_said(call, message):
    with pytest.raises(RequestError) as caught:
        call()
    assert str(caught.value) == message
