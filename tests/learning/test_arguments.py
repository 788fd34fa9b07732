import numpy as np
import pytest

from heavytail.errors import RequestError
from heavytail.learning._arguments import (
    check_label_noise,
    check_name,
    check_number,
    check_range,
    check_sizes,
    check_weights,
    count_examples,
    whole,
)
from heavytail.learning.amp import ApproximateMessagePassing
from heavytail.learning.compressed_sensing import simulate_l1
from heavytail.learning.early_stopping import EarlyStoppedPerceptron, GradientFlow
from heavytail.learning.estimators import BayesEstimator, MEstimator
from heavytail.learning.online import OnlinePerceptron, OptimalOnline
from heavytail.learning.ridge import RidgeRegression
from heavytail.learning.rules import Hebb, PseudoInverse, RidgeClassifier
from heavytail.learning.sampling import sample_perceptron, sample_version_space
from heavytail.learning.stability import MaximumStability

STUDENTS = [
    Hebb,
    PseudoInverse,
    RidgeClassifier,
    MaximumStability,
    OptimalOnline,
    OnlinePerceptron,
    lambda noise=0.0: ApproximateMessagePassing("ising", noise),
]
SIMULATIONS = {
    "ridge": RidgeRegression(0.2).simulate,
    "flow": lambda n, load, **more: GradientFlow(0.2).simulate(n, load, 1.0, **more),
    "loss": MEstimator("squares").simulate,
    "posterior": BayesEstimator("ising").simulate,
    "l1": lambda n, load, **more: simulate_l1(n, load, 0.1, **more),
    "descent": lambda n, load, **more: EarlyStoppedPerceptron().simulate(n, load, steps=[1], **more),
    "hebb": Hebb().simulate,
    "ridge classifier": RidgeClassifier().simulate,
    "pseudo-inverse": PseudoInverse().simulate,
    "stability": MaximumStability().simulate,
    "online": OptimalOnline().simulate,
    "perceptron rule": OnlinePerceptron().simulate,
    "message passing": ApproximateMessagePassing().simulate,
    "metropolis": lambda n, load, **more: sample_perceptron("ising", n, load, 1.0, sweeps=2, **more),
    "hit and run": lambda n, load, **more: sample_version_space(n, load, sweeps=2, **more),
}


def refusal(act):
    with pytest.raises(RequestError) as caught:
        act()
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "low", "high", "settings", "message"),
    [
        ([1, -2, -3], 0, np.inf, {}, "x is -2; it must be at least 0 and finite"),
        (0, 0, np.inf, {"open_low": True}, "x is 0; it must be above 0 and finite"),
        (np.inf, 0, np.inf, {}, "x is inf; it must be at least 0 and finite"),
        (-1, 0, np.inf, {"finite": False}, "x is -1; it must be at least 0"),
        (np.nan, 0, np.inf, {"finite": False}, "x is nan; it must be at least 0"),
        ([[0.5, 0.6]], 0, 0.5, {}, "x is 0.6; it must be at least 0 and at most 0.5"),
        ("0.1", 0, 1, {}, "x is '0.1'; it must be a number or an array of numbers"),
        (["0.1", "0.2"], 0, 1, {}, "x is ['0.1', '0.2']; it must be a number or an array of numbers"),
        (1j, 0, 1, {}, "x is 1j; it must be a number or an array of numbers"),
        ([[1], [1, 1]], 0, 1, {}, "x is [[1], [1, 1]]; it must be a number or an array of numbers"),
    ],
)
def test_numbers_outside_a_range_are_named(value, low, high, settings, message):
    assert refusal(lambda: check_range("x", value, low, high, **settings)) == message


def test_numbers_inside_are_given_as_they_are_in_an_array_of_their_own():
    given = np.array([[0.0, 0.5]])
    taken = check_range("x", given, 0, 0.5)
    assert (taken == given).all()
    given[:] = 9
    assert taken.tolist() == [[0, 0.5]]
    assert check_range("x", np.inf, 0, finite=False) == np.inf
    assert check_range("x", [], 0).shape == (0,)
    assert (check_number("x", np.float32(0.5), 0), check_label_noise(0), whole("x", 3.0, 1)) == (0.5, 0, 3)


def test_names_and_single_numbers_are_checked():
    assert refusal(lambda: check_number("x", [1.0], 0)) == "x is an array of shape (1,); it must be one number"
    assert refusal(lambda: check_label_noise(0.6)) == "label_noise is 0.6; it must be at least 0 and at most 0.5"
    assert refusal(lambda: check_name("x", ["a"], ("a", "b"))) == "x is ['a']; it must be one of a, b"
    for weights in ("Ising", None, ["ising"], np.array(["ising", "spherical"])):
        assert refusal(lambda w=weights: check_weights(w)) == f"weights are 'spherical' or 'ising'; got {weights!r}"
    assert refusal(lambda: whole("n", 2.5, 1)) == "n is 2.5; it must be a whole number"
    assert refusal(lambda: whole("n", np.inf, 1)) == "n is inf; it must be a whole number"
    assert refusal(lambda: whole("n", 25, 1, 24)) == "n is 25; it must be at least 1 and at most 24"
    assert refusal(lambda: whole("n", 0, 1)) == "n is 0; it must be at least 1"


def test_examples_are_counted_to_the_nearest():
    assert [count_examples(10, load) for load in (0.06, 0.14, 1.26, 2)] == [1, 1, 13, 20]
    assert refusal(lambda: count_examples(10, 0.04)) == "load is 0.04: less than one example for 10 weights"
    assert check_sizes(10.0, 1.26, 3) == (10, 13, 3)


@pytest.mark.parametrize("simulate", SIMULATIONS.values(), ids=SIMULATIONS)
def test_simulations_say_what_load_they_had(simulate):
    found = simulate(7, 1.26, runs=2)
    assert (found.n, found.load) == (7, 9 / 7)


@pytest.mark.parametrize("simulate", SIMULATIONS.values(), ids=SIMULATIONS)
def test_simulations_refuse_sizes_that_are_none(simulate):
    for n, load, runs in ((0, 2.0, 2), (10.5, 2.0, 2), ("10", 2.0, 2)):
        assert refusal(lambda n=n, load=load, runs=runs: simulate(n, load, runs=runs)).startswith("n is ")
    for load in (0.01, 0.0, -1.0, np.inf, np.nan, [1.0, 2.0]):
        assert refusal(lambda load=load: simulate(10, load)).startswith("load is ")
    for runs in (0, -1, 1.5):
        assert refusal(lambda runs=runs: simulate(10, 2.0, runs=runs)).startswith("runs is ")


@pytest.mark.parametrize("student", STUDENTS)
def test_curves_are_of_one_axis_and_may_be_empty(student):
    one, none = student().learning_curve(1.5), student().learning_curve([])
    assert one.loads.shape == one.error.shape == one.overlap.shape == one.phase.shape == (1,)
    assert one.error[0] == student().solve(1.5).error
    assert none.loads.shape == none.error.shape == none.overlap.shape == none.phase.shape == (0,)
    assert none.residual == 0


@pytest.mark.parametrize("student", STUDENTS)
def test_students_refuse_what_is_no_load_and_no_noise(student):
    for bad in (np.nan, np.inf, "1"):
        assert refusal(lambda bad=bad: student().learning_curve([bad])).startswith("load is ")
    for bad in ([0.1, 0.2], "0.1", 0.6, np.inf):
        assert refusal(lambda bad=bad: student(bad)).startswith("label_noise is ")


@pytest.mark.parametrize("student", STUDENTS)
def test_results_are_not_the_callers_arrays(student):
    loads = np.array([1.0, 2.0])
    state, curve = student().solve(loads), student().learning_curve(loads)
    loads[:] = 99
    assert state.load.tolist() == curve.loads.tolist() == [1, 2]
