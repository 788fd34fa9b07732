from math import pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from heavytail.errors import RequestError
from heavytail.learning._teacher import aligned_below, draw_examples, label_information, label_score
from heavytail.learning.rules import Hebb, PseudoInverse, RidgeClassifier

LOADS = np.array([0.5, 1.0, 2.0, 5.0, 10.0])
RULES = [Hebb, PseudoInverse, RidgeClassifier, lambda lam: RidgeClassifier(lam, penalty=0.3)]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (Hebb(), [0.336493, 0.285634, 0.230823, 0.162614, 0.120111]),
        (PseudoInverse(), [0.339479, 0.5, 0.205952, 0.114968, 0.078529]),
    ],
)
def test_errors_are_the_reference_values(rule, error):
    assert rule.solve(LOADS).error == pytest.approx(error, abs=1e-6)


def test_without_noise_the_pseudo_inverse_is_its_closed_form_on_both_sides_of_load_one():
    a = np.array([1e-6, 0.1, 0.5, 0.9, 0.999])
    assert PseudoInverse().solve(a).overlap ** 2 == pytest.approx(2 * a * (1 - a) / (pi - 2 * a), rel=1e-12)
    a = np.array([1.001, 1.5, 2.0, 10.0, 1e5])
    assert PseudoInverse().solve(a).overlap ** 2 == pytest.approx(2 * (a - 1) / (2 * a + pi - 4), rel=1e-12)
    assert PseudoInverse().solve(1.0).overlap == 0


@pytest.mark.parametrize("lam", [0.0, 0.05, 0.3])
def test_label_noise_lowers_the_load_of_hebb_by_the_square_of_the_contrast(lam):
    effective = Hebb().solve(LOADS * (1 - 2 * lam) ** 2)
    assert Hebb(lam).solve(LOADS).overlap == pytest.approx(effective.overlap, rel=1e-14)


@pytest.mark.parametrize(("lam", "penalty"), [(0.0, 0.5), (0.2, 0.01), (0.1, 30.0)])
@pytest.mark.parametrize("load", [0.3, 1.0, 4.0])
def test_ridge_is_the_integral_over_the_marchenko_pastur_law(lam, penalty, load):
    # the eigenvalues of X^T X / n, an atom at 0 aside
    low, high = (1 - sqrt(load)) ** 2, (1 + sqrt(load)) ** 2

    def mean(f):
        # x = middle + half cos(v) takes the square roots of the edges away
        middle, half = (low + high) / 2, (high - low) / 2
        return quad(lambda v: f(x := middle + half * np.cos(v)) * (half * np.sin(v)) ** 2 / (2 * pi * x), 0, pi)[0]

    c = (1 - 2 * lam) * sqrt(2 / pi)
    product = c * mean(lambda x: x / (x + penalty))
    square = mean(lambda x: (c**2 * x**2 + (1 - c**2) * x) / (x + penalty) ** 2)
    assert RidgeClassifier(lam, penalty).solve(load).overlap == pytest.approx(product / sqrt(square), rel=1e-8)


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.4])
def test_no_penalty_is_better_than_the_best(lam):
    best = RidgeClassifier(lam)
    for factor in (0.0, 0.5, 0.99, 1.01, 2.0, np.inf):
        other = RidgeClassifier(lam, factor * best.used_penalty)
        assert np.all(other.solve(LOADS).error > best.solve(LOADS).error)
    # and a penalty near it costs only the square of the distance
    near = RidgeClassifier(lam, 1.0001 * best.used_penalty).solve(LOADS).error / best.solve(LOADS).error - 1
    assert np.all(near < 1e-8)


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_ridge_goes_from_the_pseudo_inverse_to_hebb(lam):
    loads = np.array([0.3, 0.9, 1.1, 4.0])
    for penalty, end in ((1e-12, PseudoInverse(lam)), (1e10, Hebb(lam))):
        ridge, limit = RidgeClassifier(lam, penalty).solve(loads), end.solve(loads)
        assert ridge.error == pytest.approx(limit.error, rel=1e-8)
        assert ridge.training_error == pytest.approx(limit.training_error, abs=1e-8)
    assert np.array_equal(RidgeClassifier(lam, np.inf).solve(loads).error, Hebb(lam).solve(loads).error)


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_the_pseudo_inverse_reproduces_all_labels_up_to_load_one_and_not_beyond(lam):
    state = PseudoInverse(lam).solve([0.1, 0.99, 1.0, 1.2, 3.0])
    assert np.all(state.training_error[:3] == 0)
    assert np.all(state.training_error[3:] > 0)


def test_labels_without_a_teacher_teach_nothing_but_are_learned_by_heart():
    for rule in (Hebb(0.5), PseudoInverse(0.5), RidgeClassifier(0.5), RidgeClassifier(0.5, 1.0)):
        state = rule.solve(LOADS)
        assert np.all(state.overlap == 0)
        assert np.all(state.error == 0.5)
        assert np.all(state.training_error < 0.5)
    # Hebb stores random patterns: the field of each is 1 + sqrt(load) z
    assert Hebb(0.5).solve(LOADS).training_error == pytest.approx(norm.sf(1 / np.sqrt(LOADS)), abs=1e-14)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("lam", [0.0, 0.2])
def test_few_examples_teach_all_rules_alike(rule, lam):
    a = 1e-8
    assert rule(lam).solve(a).overlap == pytest.approx((1 - 2 * lam) * sqrt(2 * a / pi), rel=1e-7)


def test_large_loads_have_the_exponent_one_half_and_the_right_constant():
    a = 1e8
    assert Hebb().solve(a).error * sqrt(2 * pi * a) == pytest.approx(1, rel=1e-7)
    for rule in (PseudoInverse(), RidgeClassifier()):
        assert rule.solve(a).error * pi * sqrt(a) == pytest.approx(sqrt(pi / 2 - 1), rel=1e-7)


def test_training_errors_end_at_those_on_new_labels():
    for rule in RULES:
        for lam in (0.0, 0.2):
            state = rule(lam).solve(1e9)
            assert state.training_error == pytest.approx(lam + (1 - 2 * lam) * state.error, abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("lam", "load"), [(0.0, 0.5), (0.0, 2.0), (0.15, 3.0)])
def test_simulations_agree_with_theory(rule, lam, load):
    rule = rule(lam)
    state, runs = rule.solve(load), rule.simulate(100, load, seed=3, runs=20)
    assert runs.runs == 20
    for quantity in ("overlap", "error", "training_error"):
        expected = getattr(state, quantity)
        label = 0.5 / (20 * 100 * load)  # half of one among all, where none is wrong
        assert abs(runs.mean(quantity) - expected) <= 3 * runs.standard_error(quantity) + label


@pytest.mark.parametrize("rule", RULES)
def test_a_seed_fixes_a_simulation(rule):
    first, again, other = (rule(0.1).simulate(20, 1.5, seed=seed, runs=3) for seed in (5, 5, 6))
    assert all(np.array_equal(first.samples[key], again.samples[key]) for key in first.samples)
    assert not np.array_equal(first.samples["overlap"], other.samples["overlap"])


def test_curves_carry_the_names_of_the_legend():
    names = [rule.learning_curve(LOADS).name for rule in (Hebb(), PseudoInverse(), RidgeClassifier())]
    assert names == ["Hebb", "pseudo-inverse", "best ridge"]
    curve = RidgeClassifier(penalty=0.5).learning_curve(LOADS)
    assert curve.name == "ridge 0.5"
    assert np.array_equal(curve.error, RidgeClassifier(penalty=0.5).solve(LOADS).error)
    assert list(curve.phase) == ["smooth"] * 5
    assert curve.residual == 0


def test_loads_keep_their_shape():
    assert np.ndim(Hebb().solve(1.0).error) == 0
    state = RidgeClassifier().solve(np.ones((2, 3)))
    assert {np.shape(getattr(state, key)) for key in state.__slots__} == {(2, 3)}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Hebb(0.6), "label_noise is 0.6; it must be at least 0 and at most 0.5"),
        (lambda: PseudoInverse(-0.1), "label_noise is -0.1; it must be at least 0 and at most 0.5"),
        (lambda: RidgeClassifier(penalty=-1), "penalty is -1; it must be at least 0"),
        (lambda: Hebb().solve([1.0, 0.0]), "load is 0; it must be above 0 and finite"),
        (lambda: RidgeClassifier().solve(np.nan), "load is nan; it must be above 0 and finite"),
        (lambda: Hebb().simulate(10, 0.01), "load is 0.01: less than one example for 10 weights"),
        (lambda: Hebb().simulate(10, 1.0, runs=0), "runs is 0; it must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(act, message):
    with pytest.raises(RequestError, match=f"^{message}$"):
        act()


@pytest.mark.parametrize(("overlap", "lam"), [(0.3, 0.0), (0.9, 0.1), (0.99, 0.3)])
def test_the_law_of_aligned_fields_is_its_integral(overlap, lam):
    cot = overlap / sqrt(1 - overlap**2)
    for t in (-2.0, -0.1, 0.0, 1.5):
        law = quad(lambda g: 2 * norm.pdf(g) * (lam + (1 - 2 * lam) * norm.cdf(cot * g)), -np.inf, t, epsabs=1e-13)[0]
        assert aligned_below(t, cot, lam) == pytest.approx(law, abs=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.4])
def test_the_score_of_a_label_is_the_mean_of_the_field_it_leaves_open(lam):
    for k in (-3.0, 0.0, 2.0):
        weight = lambda z: norm.pdf(z) * (lam + (1 - 2 * lam) * (k + z > 0))  # noqa: B023, E731
        total, first = (quad(lambda z: z**m * weight(z), -12, 12, points=[-k], epsabs=1e-13)[0] for m in (0, 1))  # noqa: B023
        assert label_score(k, lam) == pytest.approx(first / total, abs=1e-11)


@pytest.mark.parametrize(("cot", "lam"), [(0.0, 0.0), (0.7, 0.2), (3.0, 0.0), (1e3, 0.05)])
def test_the_information_of_a_label_is_its_mean_square_score(cot, lam):
    def density(k):  # of a field u = k / cot, the label + given
        return norm.pdf(k / cot) / cot * (lam + (1 - 2 * lam) * norm.cdf(k)) * label_score(k, lam) ** 2

    direct = 2 * quad(density, -12, 12, epsabs=0, limit=200)[0] if cot else 2 / pi
    assert label_information(cot, lam) == pytest.approx(direct, rel=1e-10)


def test_examples_are_what_they_are_said_to_be():
    examples = draw_examples(50, 40.0, 0.2, 5, np.random.default_rng(0), "ising")
    assert set(np.unique(examples.teachers)) == {-1.0, 1.0}
    assert examples.inputs.shape == (5, 2000, 50)
    flipped = np.einsum("rpn,rn->rp", examples.inputs, examples.teachers) * examples.labels < 0
    assert np.mean(flipped) == pytest.approx(0.2, abs=4 * sqrt(0.16 / 10000))
