from math import pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from heavytail.errors import RequestError
from heavytail.learning.amp import ApproximateMessagePassing
from heavytail.learning.online import OptimalOnline
from heavytail.learning.rules import Hebb, RidgeClassifier
from heavytail.learning.stability import MaximumStability

SPHERICAL, ISING = ApproximateMessagePassing(), ApproximateMessagePassing("ising")
LOADS = np.array([0.5, 1.0, 2.0, 5.0, 10.0])


def field(q, load, lam):
    """Field qh of the replica equations, load E[g^2] / (1 - q), by quadrature of its definition."""

    def law(t):
        k = sqrt(q / (1 - q)) * t
        likely = np.logaddexp(np.log(lam) if lam else -np.inf, np.log(1 - 2 * lam) + norm.logcdf(k))
        return np.exp(norm.logpdf(t) + 2 * norm.logpdf(k) - likely)

    reach = 12 / max(1, sqrt(q / (1 - q)))
    return 2 * load * (1 - 2 * lam) ** 2 * quad(law, -reach, reach, epsabs=1e-13, limit=200)[0] / (1 - q)


def test_spherical_errors_are_those_of_bayes():
    assert SPHERICAL.solve(LOADS).error == pytest.approx([0.322395, 0.254373, 0.174534, 0.083935, 0.043573], abs=1e-6)


def test_ising_overlaps_and_errors_are_those_of_the_replica_table():
    state = ISING.solve([0.5, 1.0, 1.2])
    assert state.overlap**2 == pytest.approx([0.293089, 0.560715, 0.668661], abs=1e-6)
    assert state.error == pytest.approx([0.317903, 0.230626, 0.195239], abs=1e-6)
    assert ISING.solve(1.2446840).overlap ** 2 == pytest.approx(0.69376, abs=1e-5)


def test_the_ising_teacher_is_found_above_the_spinodal():
    assert ISING.perfect_load == pytest.approx(1.4926318, abs=5e-8)
    at, above = ISING.solve([ISING.perfect_load * (1 - 1e-13), ISING.perfect_load * (1 + 1e-13)]).overlap
    assert at**2 == pytest.approx(0.89366, abs=1e-5)
    assert above == 1
    assert ISING.solve(2.0).error == 0
    assert SPHERICAL.perfect_load == np.inf


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.35])
def test_the_overlap_satisfies_the_replica_equations(lam):
    for load in (0.3, 1.2, 1.45):
        q = float(ApproximateMessagePassing("spherical", lam).solve(load).overlap) ** 2
        assert q / (1 - q) == pytest.approx(field(q, load, lam), rel=1e-10)
        q = float(ApproximateMessagePassing("ising", lam).solve(load).overlap) ** 2
        h = field(q, load, lam)
        mean = quad(lambda z, h=h: norm.pdf(z) * np.tanh(sqrt(h) * z + h), -12, 12, epsabs=1e-13)[0]
        assert q == pytest.approx(mean, rel=1e-10)


@pytest.mark.parametrize("load", [0.5, 2.0, 20.0])
def test_without_noise_the_overlap_satisfies_the_equation_of_gibbs_learning(load):
    r = float(SPHERICAL.solve(load).overlap) ** 2
    right = quad(lambda t: np.exp(-r * t * t / 2 + norm.logpdf(t) - norm.logsf(sqrt(r) * t)), -12, 12, epsabs=1e-12)[0]
    assert r / sqrt(1 - r) == pytest.approx(load / pi * right, rel=1e-9)


@pytest.mark.parametrize("weights", ["spherical", "ising"])
@pytest.mark.parametrize("lam", [0.0, 0.2])
def test_state_evolution_rises_from_nothing_to_the_fixed_point(weights, lam):
    model, loads = ApproximateMessagePassing(weights, lam), np.array([0.1, 0.7, 1.3])
    path = model.state_evolution(loads, steps=300)
    assert path.shape == (3, 301)
    assert np.all(path[:, 0] == 0)
    assert np.all(np.diff(path) > -1e-15)
    assert path[:, -1] == pytest.approx(model.solve(loads).overlap, rel=1e-12)


def test_the_start_decides_between_two_ising_states():
    # between transition and spinodal, and below the transition: the teacher is a fixed point at all loads
    for load in (0.8, 1.4):
        assert ISING.state_evolution(load, 20, start=1.0) == pytest.approx(np.ones(21))
    assert ISING.state_evolution(1.4, 20, start=0.999)[-1] == 1
    assert ISING.state_evolution(1.4, 500)[-1] == pytest.approx(ISING.solve(1.4).overlap, rel=1e-10)
    assert ISING.state_evolution(1.51, 200)[-1] == 1
    # nothing but the teacher itself stays with a spherical one
    assert SPHERICAL.state_evolution(2.0, 200, start=1.0)[-1] == 1
    assert SPHERICAL.state_evolution(2.0, 200, start=0.999999)[-1] == pytest.approx(SPHERICAL.solve(2.0).overlap)


def test_the_error_times_the_load_ends_at_that_of_bayes():
    c = quad(lambda t: np.exp(-t * t - norm.logsf(t)) / sqrt(2 * pi), -30, 12)[0]
    assert 1 / c == pytest.approx(0.4417, abs=5e-7)
    assert 1e6 * SPHERICAL.solve(1e6).error == pytest.approx(1 / c, rel=1e-10)


@pytest.mark.parametrize("weights", ["spherical", "ising"])
@pytest.mark.parametrize("lam", [0.0, 0.1, 0.49])
def test_few_examples_teach_as_much_as_hebb_learns(weights, lam):
    loads = np.array([1e-9, 1e-6])
    overlap = ApproximateMessagePassing(weights, lam).solve(loads).overlap
    assert overlap == pytest.approx(Hebb(lam).solve(loads).overlap, rel=1e-5)


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_no_student_is_better_than_the_bayesian_one(lam):
    loads = np.geomspace(1e-2, 2.9, 40)
    best = ApproximateMessagePassing("spherical", lam).solve(loads).error
    for rule in (Hebb(lam), RidgeClassifier(lam), OptimalOnline(lam), MaximumStability(lam)):
        assert np.all(rule.solve(loads).error > best)


def test_noise_takes_the_load_of_perfect_recovery_up():
    perfect = [ApproximateMessagePassing("ising", lam).perfect_load for lam in (0.0, 0.01, 0.1, 0.3, 0.45)]
    assert np.all(np.diff(perfect) > 0)
    # for labels that are almost random the load goes with the square of the contrast
    few = [ApproximateMessagePassing("ising", lam).perfect_load * (1 - 2 * lam) ** 2 for lam in (0.4999, 0.49999)]
    assert few[0] == pytest.approx(few[1], rel=1e-6)
    assert ApproximateMessagePassing("ising", 0.1).solve(4.0).training_error == pytest.approx(0.1, abs=1e-12)


def test_labels_without_a_teacher_teach_nothing():
    for weights in ("spherical", "ising"):
        state = ApproximateMessagePassing(weights, 0.5).solve(LOADS)
        assert np.all(state.overlap == 0)
        assert np.all(state.training_error == 0.5)


@pytest.mark.parametrize("model", [SPHERICAL, ISING, ApproximateMessagePassing("ising", 0.2)])
def test_curves_have_residuals_of_rounding_and_say_where_recovery_is_perfect(model):
    loads = np.geomspace(1e-3, 1e3, 200)
    curve = model.learning_curve(loads)
    assert curve.name == "message passing"
    assert curve.residual < 1e-13
    assert np.all(np.diff(curve.error) <= 0)
    assert np.array_equal(curve.phase == "perfect", curve.error == 0)
    assert np.array_equal(curve.phase == "perfect", loads > model.perfect_load)


@pytest.mark.parametrize(
    ("model", "load"),
    [
        (SPHERICAL, 1.0),
        (SPHERICAL, 3.0),
        (ApproximateMessagePassing("spherical", 0.1), 2.0),
        (ISING, 1.0),
        (ApproximateMessagePassing("ising", 0.1), 2.0),
    ],
)
def test_simulations_agree_with_theory(model, load):
    state, runs = model.solve(load), model.simulate(500, load, seed=1, runs=20)
    for quantity in ("overlap", "error", "training_error"):
        assert abs(runs.mean(quantity) - getattr(state, quantity)) <= 3 * runs.standard_error(quantity)
    assert np.all(runs.samples["iterations"] < 200)


@pytest.mark.slow
@pytest.mark.parametrize(("load", "error"), [(1.0, 0.252), (2.0, 0.171), (5.0, 0.084)])
def test_two_thousand_spherical_weights_have_the_reference_errors(load, error):
    # the reference is one simulation, to three digits
    runs = SPHERICAL.simulate(2000, load, seed=0, runs=6)
    assert runs.mean("error") == pytest.approx(error, abs=0.006)
    assert abs(runs.mean("error") - SPHERICAL.solve(load).error) < 3 * runs.standard_error("error")


@pytest.mark.slow
def test_two_thousand_ising_weights_are_found_at_load_1_6_and_not_at_1_4():
    assert np.all(ISING.simulate(2000, 1.6, seed=0, runs=6).samples["error"] < 1e-6)
    assert np.all(ISING.simulate(2000, 1.4, seed=0, runs=6).samples["error"] > 0.1)


def test_ising_weights_are_found_well_above_the_spinodal_and_not_well_below():
    assert np.all(ISING.simulate(600, 2.0, runs=4).samples["error"] < 1e-6)
    assert np.all(ISING.simulate(600, 1.1, runs=4).samples["error"] > 0.1)
    # flipped labels are seen through
    noisy = ApproximateMessagePassing("ising", 0.1).simulate(600, 4.0, runs=4)
    assert np.all(noisy.samples["error"] < 1e-6)
    assert noisy.mean("training_error") == pytest.approx(0.1, abs=4 * sqrt(0.09 / 9600))


def test_a_seed_fixes_a_simulation():
    first, again, other = (ISING.simulate(30, 1.0, seed=seed, runs=2).samples["overlap"] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_loads_keep_their_shape():
    assert np.ndim(ISING.solve(1.0).error) == 0
    assert ISING.solve([[1.0, 2.0]]).error.shape == (1, 2)
    assert ISING.state_evolution(1.0, 4).shape == (5,)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ApproximateMessagePassing("binary"), "weights are 'spherical' or 'ising'; got 'binary'"),
        (lambda: ApproximateMessagePassing("ising", 0.6), "label_noise is 0.6; it must be at least 0 and at most 0.5"),
        (lambda: ISING.solve(0.0), "load is 0; it must be above 0 and finite"),
        (lambda: ISING.state_evolution(1.0, 3, start=1.5), "start is 1.5; it must be at least 0 and at most 1"),
    ],
)
def test_arguments_out_of_range_are_refused(act, message):
    with pytest.raises(RequestError, match=f"^{message}$"):
        act()
