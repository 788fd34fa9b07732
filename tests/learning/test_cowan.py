import numpy as np
import pytest
from scipy.linalg import solve
from scipy.special import digamma, expit, logit
from scipy.stats import beta

from heavytail.errors import RequestError
from heavytail.learning.cowan import CowanNetwork


@pytest.fixture(scope="module")
def network():
    return CowanNetwork.draw(24, seed=2)


@pytest.fixture(scope="module")
def path(network):
    return network.simulate(3000.0, inverse_temperature=3.0, seed=2, samples=3001)


def distance(samples, law):
    """Kolmogorov-Smirnov distance."""
    u = np.sort(law.cdf(samples).ravel())
    return max(np.max(np.arange(1, u.size + 1) / u.size - u), np.max(u - np.arange(u.size) / u.size))


def test_the_invariant_is_kept_over_a_long_path(path):
    assert path.drift < 1e-7
    assert path.times[-1] == 3000


def test_time_averages_are_the_means(network, path):
    averages = np.mean(path.activity, axis=0)
    assert np.max(np.abs(averages - network.mean)) < 1e-3


def test_the_time_average_is_off_by_what_the_end_of_the_path_says(network):
    # v(t) - v(0) is A times the integral of x - q
    path = network.simulate(30.0, seed=1, samples=30001)
    change = logit(path.activity[-1]) - logit(path.activity[0])
    expected = solve(network.coupling, change) / path.times[-1]
    average = np.trapezoid(path.activity, path.times, axis=0) / path.times[-1] - network.mean
    np.testing.assert_allclose(average, expected, atol=1e-6)
    assert np.max(np.abs(expected)) > 1e-3


def test_all_units_have_one_temperature(path):
    b = path.inverse_temperature
    assert np.std(b) / np.mean(b) < 0.1
    assert np.mean(b) == pytest.approx(3.0, abs=0.2)


def test_activities_have_their_canonical_beta_laws(network, path):
    law = beta(*network.canonical_law(np.mean(path.inverse_temperature)))
    assert distance(path.activity, law) < 0.03


def test_the_canonical_law_is_the_boltzmann_weight_of_the_invariant():
    # in v the density is exp(-b G), and so are its moments: by a plain sum over v
    network = CowanNetwork(np.zeros((1, 1)), np.array([0.3]))
    v = np.linspace(-80, 80, 200001)[:, None]
    weight = np.exp(-2.5 * network.invariant(v))
    weight /= weight.sum()
    x = expit(v[:, 0])
    law = beta(*(float(a[0]) for a in network.canonical_law(2.5)))
    assert np.sum(weight * x) == pytest.approx(0.3, abs=1e-12)
    assert np.sum(weight * (x - 0.3) ** 2) == pytest.approx(0.3 * 0.7 / 3.5, abs=1e-12)
    assert np.sum(weight * x**3) == pytest.approx(law.moment(3), abs=1e-12)
    assert np.sum(weight * network.invariant(v)) == pytest.approx(network.canonical_invariant(2.5), abs=1e-12)


def test_the_mean_invariant_is_that_of_draws_from_the_beta_laws(network):
    law = beta(*network.canonical_law(6.0))
    v = logit(law.rvs(size=(20000, 24), random_state=np.random.default_rng(0)))
    values = network.invariant(v)
    assert np.mean(values) == pytest.approx(network.canonical_invariant(6.0), abs=5 * np.std(values) / np.sqrt(20000))


def test_first_states_have_the_mean_invariant_of_their_temperature(network):
    for b in (0.01, 1.0, 30.0):
        expected = np.sum(digamma(b) - network.mean * digamma(b * network.mean))
        expected -= np.sum((1 - network.mean) * digamma(b * (1 - network.mean)))
        assert network.invariant(network.state(b, seed=1)) == pytest.approx(expected, rel=1e-11)


def test_the_network_rests_at_its_means(network):
    np.testing.assert_allclose(network.velocity(logit(network.mean)), 0, atol=1e-15)
    assert network.invariant(logit(network.mean)) < network.invariant(network.state(3.0))


def test_activities_follow_cowans_equation(network):
    path = network.simulate(2e-3, seed=3, samples=3)
    x, q = path.activity[1], network.mean
    speed = (path.activity[2] - path.activity[0]) / (path.times[2] - path.times[0])
    np.testing.assert_allclose(speed, x * (1 - x) * (network.coupling @ (x - q)), atol=1e-5)


def test_the_flow_keeps_volumes(network):
    # Liouville: the determinant of the flow's derivative is 1, by central differences
    small = CowanNetwork(network.coupling[:4, :4], network.mean[:4])
    start, h = small.state(3.0, seed=1), 1e-4
    jacobian = np.empty((4, 4))
    for k in range(4):
        ends = []
        for sign in (1, -1):
            moved = start + sign * h * np.eye(4)[k]
            ends.append(_flow(small, moved))
        jacobian[:, k] = (ends[0] - ends[1]) / (2 * h)
    assert np.linalg.det(jacobian) == pytest.approx(1, abs=1e-6)
    assert np.max(np.abs(jacobian - np.eye(4))) > 0.1


def _flow(network, v, time=2.0, steps=2000):
    """The state after some time, by the classical Runge-Kutta method."""
    h = time / steps
    for _ in range(steps):
        a = network.velocity(v)
        b = network.velocity(v + h / 2 * a)
        c = network.velocity(v + h / 2 * b)
        v = v + h / 6 * (a + 2 * b + 2 * c + network.velocity(v + h * c))
    return v


def test_a_path_is_that_of_another_integrator(network):
    path = network.simulate(2.0, seed=4, samples=2)
    np.testing.assert_allclose(logit(path.activity[-1]), _flow(network, network.state(3.0, seed=4)), atol=1e-7)


def test_a_seed_fixes_everything(network):
    again = CowanNetwork.draw(24, seed=2)
    assert np.array_equal(network.coupling, again.coupling)
    paths = [net.simulate(3.0, seed=5, samples=4).activity for net in (network, again)]
    assert np.array_equal(*paths)
    assert not np.array_equal(paths[0], network.simulate(3.0, seed=6, samples=4).activity)


@pytest.mark.parametrize(
    ("coupling", "mean", "message"),
    [
        (np.ones((2, 2)), [0.5, 0.5], r"coupling of shape \(2, 2\) is not an antisymmetric matrix"),
        (np.zeros((2, 3)), [0.5, 0.5], r"coupling of shape \(2, 3\)"),
        (np.zeros((2, 2)), [0.5, 1.0], r"mean of shape \(2,\) is not 2 numbers between 0 and 1"),
        (np.zeros((2, 2)), [0.5], r"mean of shape \(1,\)"),
    ],
)
def test_networks_that_are_not_cowans_are_refused(coupling, mean, message):
    with pytest.raises(RequestError, match=message):
        CowanNetwork(coupling, mean)


def test_arguments_out_of_range_are_named(network):
    with pytest.raises(RequestError, match="time is 0; it must be above 0"):
        network.simulate(0.0)
    with pytest.raises(RequestError, match="inverse_temperature is -1"):
        network.simulate(1.0, inverse_temperature=-1.0)
    with pytest.raises(RequestError, match="samples is 1; it must be at least 2"):
        network.simulate(1.0, samples=1)
    with pytest.raises(RequestError, match=r"samples is 2\.5; it must be a whole number"):
        network.simulate(1.0, samples=2.5)
    with pytest.raises(RequestError, match="tolerance is 0; it must be above 0"):
        network.simulate(1.0, tolerance=0)
    for n, fault in ((0, "at least 1"), (2.5, "a whole number")):
        with pytest.raises(RequestError, match=f"n is {n}; it must be {fault}"):
            CowanNetwork.draw(n)
    for call in (lambda: CowanNetwork.draw(4, 1), lambda: network.state(3.0, 1), lambda: network.simulate(1.0, 3.0, 1)):
        with pytest.raises(TypeError, match="positional"):
            call()
