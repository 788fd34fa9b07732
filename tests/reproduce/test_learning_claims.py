"""The claims of the statistical mechanics of learning."""

import numpy as np
import pytest
from scipy import integrate, optimize
from scipy.special import log_ndtr, ndtr, xlogy
from scipy.stats import binom

from heavytail.learning import Perceptron
from heavytail.reproduce import Verdict, reproduce
from heavytail.reproduce.learning import CLAIMS
from heavytail.reproduce.learning.reference import NOT_PRINTED

QUICK = [claim.id for claim in CLAIMS if claim.seconds <= 0.5 and not claim.slow]
LONGER = [claim.id for claim in CLAIMS if claim.seconds > 0.5 and not claim.slow]
SLOW = [claim.id for claim in CLAIMS if claim.slow]
DIFFERENT = {
    ("A1-retrieval", "share of 2-cycles at load 0.13"),
    ("A2", "load of equal energies, as Amit, Gutfreund and Sompolinsky print it"),
    ("A2", "mixtures of three end, as Amit, Gutfreund and Sompolinsky print it"),
    ("A4-Ising", "transition by Barbier et al."),
    ("A6-Metropolis", "temperature of the least error"),
    ("A1-reference", "gap at T = 1.0, n = 100"),
    ("A1-reference", "gap at T = 0.8, n = 400"),
    *(("A4-reference", f"vote at load {load}, over Bayes") for load in (1.0, 2.0, 4.0)),
    *(("A7-reference", f"absolute, load {load}") for load in (1.5, 2.5, 5.0)),
    ("A9-reference", "p = 10: ground state"),
}
PRINTED = {("A2", check) for claim, check in DIFFERENT if claim == "A2"} | {
    ("A4-Ising", "transition by Barbier et al.")
}
"""Numbers that are wrong and that a paper prints."""


def surprises(name, seed=0):
    [outcome] = reproduce([name], seed)
    return [row for row in outcome.rows if row.surprising]


@pytest.fixture
def without_numba(monkeypatch):
    def walks():
        raise AssertionError("a claim that is not slow walks through a version space, which needs numba")

    monkeypatch.setattr("heavytail.learning.sampling._walks", walks)


@pytest.mark.parametrize("section", [f"A{k}" for k in range(10)])
def test_every_section_of_the_theory_has_a_claim_that_is_not_slow(section):
    assert any(claim.id.split("-")[0] == section and not claim.slow for claim in CLAIMS)


@pytest.mark.usefixtures("without_numba")
@pytest.mark.parametrize("name", QUICK)
def test_a_quick_claim_comes_out_as_expected(name):
    assert surprises(name) == []


@pytest.mark.slow
@pytest.mark.usefixtures("without_numba")
@pytest.mark.parametrize("name", LONGER)
def test_a_longer_claim_comes_out_as_expected(name):
    assert surprises(name) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_slow_claim_comes_out_as_expected(name):
    assert surprises(name) == []


def test_no_other_numbers_than_these_are_expected_to_differ():
    expected = {
        (claim.id, check.name) for claim in CLAIMS for check in claim.checks if check.expected is not Verdict.REPRODUCED
    }
    assert expected == DIFFERENT


def test_no_paper_is_called_wrong_for_a_number_that_it_does_not_print():
    wrong = {(claim, check) for claim in CLAIMS for check in claim.checks if check.expected is Verdict.PUBLISHED_WRONG}
    ours = {(claim, check) for claim, check in wrong if (claim.id, check.name) not in PRINTED}
    assert len(wrong) - len(ours) == len(PRINTED)
    for claim, check in ours:
        assert claim.title.startswith("Reference values")
        assert all(NOT_PRINTED in text for text in (claim.source, claim.reason, check.note))


def test_every_tolerance_says_where_it_comes_from():
    assert all(check.note for claim in CLAIMS for check in claim.checks)


def test_a_wrong_model_is_noticed(monkeypatch):
    monkeypatch.setattr("heavytail.reproduce.learning.capacity.separable_load", lambda noise: 2 + noise)
    assert surprises("A3")


# Numbers that were found to be wrong are checked by other means.


def test_the_gap_of_littles_network_at_temperature_1():
    spins = np.arange(101)
    chain = binom.pmf(spins, 100, 1 / (1 + np.exp(-2 * (2 * spins[:, None] - 100) / 100)))
    gap = 1 - np.sort(np.linalg.eigvals(chain).real)[-2]
    assert gap == pytest.approx(0.0518456, abs=1e-7)  # the reference has 0.0519


@pytest.mark.parametrize(("load", "reference"), [(1.5, 5.0537), (2.5, 1.4566), (5.0, 0.4541)])
def test_least_absolute_residuals(load, reference):
    [outcome] = reproduce(["A7"])
    [q] = [row.ours for row in outcome.rows if row.name == f"absolute, load {load}"]
    s = np.sqrt(q)

    def density(x):  # of Laplace noise and a Gaussian error of variance q
        return 0.5 * np.exp(q / 2 + np.array([-x, x]) + log_ndtr(np.array([x, -x]) / s - s)).sum()

    def inside(c):
        return 2 * integrate.quad(density, 0, c, epsabs=1e-12)[0]

    low, high = 0.0, 20.0
    for _ in range(60):
        c = (low + high) / 2
        low, high = (c, high) if inside(c) < 1 / load else (low, c)
    clipped = 2 * integrate.quad(lambda x: x * x * density(x), 0, c, epsabs=1e-12)[0] + c * c * (1 - 1 / load)
    assert load * clipped == pytest.approx(q, rel=1e-9)
    assert abs(q - reference) > 1e-3


def test_the_ground_state_of_the_spherical_glass_of_ten_spins():
    def complexity(u):
        edge = 2 * np.sqrt(0.9)
        root = np.sqrt(u * u - edge * edge)
        return 0.5 * np.log(9) - 8 / 36 * u * u - u * root / edge**2 + np.log((u + root) / edge)

    assert complexity(2.13536375) > 0 > complexity(2.13536385)  # the reference has 2.1353639


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
def test_the_frozen_load_is_the_transition_at_the_nishimori_temperature(noise):
    def mean(f):
        return integrate.quad(lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * f(z), -9, 9, epsabs=1e-12)[0]

    def state(h):  # there q = R, and one conjugate field h: entropy and load
        q = mean(lambda z: np.tanh(np.sqrt(h) * z + h))
        g = np.sqrt(q / (1 - q))

        def seen(t):  # probability of a label
            return noise + (1 - 2 * noise) * ndtr(g * t)

        fisher = mean(lambda t: np.exp(-g * g * t * t) / (2 * np.pi) / seen(t))
        load = h * (1 - q) / (2 * (1 - 2 * noise) ** 2 * fisher)
        surprise = 2 * mean(lambda t: xlogy(seen(t), seen(t))) - xlogy(noise, noise) - xlogy(1 - noise, 1 - noise)
        field = mean(lambda z: np.logaddexp(np.sqrt(h) * z + h, -np.sqrt(h) * z - h))
        return field - h * (1 + q) / 2 + load * surprise, load

    _, load = state(optimize.brentq(lambda h: state(h)[0], 0.5, 2.5, xtol=1e-12))
    assert Perceptron("ising", noise).transition([0.1, 0.3]) == pytest.approx([load, load], rel=1e-9)
