import numpy as np
import pytest
from scipy import stats
from scipy.special import gamma

from heavytail.rmt import ensembles
from heavytail.rmt.ensembles import ENTRIES, entries, gaussian, levy, lomax, matrices, pareto, student_t

LAWS = {  # name: (its parameters, the law scipy gives for the entries)
    "gaussian": ((), stats.norm()),
    "uniform": ((), stats.uniform(-np.sqrt(3), 2 * np.sqrt(3))),
    "laplace": ((), stats.laplace(scale=np.sqrt(0.5))),
    "student_t": ((3,), stats.t(3, scale=np.sqrt(1 / 3))),
    "pareto": ((1.5,), None),  # scipy has only the one-sided law
    "lomax": ((1.5,), stats.lomax(1.5)),
    "levy": ((1.0,), stats.cauchy()),
}


def test_every_law_of_entries_is_tested_here():
    assert set(LAWS) == set(ENTRIES) == set(entries.__all__) - {"ENTRIES"}


def test_the_package_gives_every_sampler_of_its_modules():
    assert set(entries.__all__) | set(matrices.__all__) <= set(ensembles.__all__)
    for module in (entries, matrices, ensembles.phases):
        for name in set(module.__all__) & set(ensembles.__all__):
            assert getattr(ensembles, name) is getattr(module, name)


@pytest.mark.parametrize("name", LAWS)
def test_the_seed_alone_decides_the_draw(name):
    parameters, _ = LAWS[name]

    def draw(seed):
        return ENTRIES[name](20, 10, *parameters, seed)

    first = draw(5)
    assert first.dtype == np.float64
    assert first.tobytes() == draw(5).tobytes() == draw(np.random.default_rng(5)).tobytes()
    assert not np.isclose(first, draw(6)).mean() > 0.5  # Pareto draws have no shared structure either
    rng = np.random.default_rng(5)
    assert draw(rng).tobytes() != draw(rng).tobytes()  # a generator goes on


@pytest.mark.parametrize("name", [name for name, (_, law) in LAWS.items() if law is not None])
def test_entries_follow_their_law(name):
    parameters, law = LAWS[name]
    W = ENTRIES[name](300, 200, *parameters, 1)
    assert W.shape == (300, 200)
    assert stats.kstest(W.ravel(), law.cdf).pvalue > 0.01


@pytest.mark.parametrize("name", ["gaussian", "uniform", "laplace"])
def test_light_entries_have_mean_0_and_variance_1(name):
    W = ENTRIES[name](1000, 500, 2)
    assert abs(W.mean()) < 4 / np.sqrt(W.size)
    assert abs(W.var() - 1) < 4 * np.sqrt((stats.kurtosis(W, None) + 2) / W.size)


def test_student_entries_have_variance_1_where_there_is_a_variance():
    assert student_t(1000, 500, 8, 3).var() == pytest.approx(1, abs=4 * np.sqrt(3.5 / 5e5))
    assert stats.kstest(student_t(300, 200, 1, 3).ravel(), stats.cauchy.cdf).pvalue > 0.01  # none: natural scale


@pytest.mark.parametrize("tail_mu", [0.5, 1.5, 3.5])
def test_pareto_entries_have_a_pure_power_law_tail_and_a_fair_sign(tail_mu):
    w = pareto(300, 200, tail_mu, 4).ravel()
    assert stats.kstest(np.abs(w), stats.pareto(tail_mu).cdf).pvalue > 0.01
    assert stats.binomtest(int((w > 0).sum()), w.size).pvalue > 0.01
    assert stats.ks_2samp(w[w > 0], -w[w < 0]).pvalue > 0.01  # the sign says nothing of the size


def test_lomax_entries_are_those_of_numpy_and_not_centred():
    W = lomax(400, 300, 3.5, 0)
    assert W.tobytes() == np.random.default_rng(0).pareto(3.5, (400, 300)).tobytes()
    assert W.mean() == pytest.approx(1 / 2.5, abs=0.01)
    assert np.linalg.norm(W, 2) ** 2 / 400 == pytest.approx(
        300 / 2.5**2, rel=0.05
    )  # the spike of the mean, M / (tail_mu - 1)^2


@pytest.mark.parametrize("tail_mu", [0.7, 1.5])
def test_levy_entries_have_the_stated_characteristic_function_and_tail(tail_mu):
    w = levy(1000, 1000, tail_mu, 5).ravel()
    for t in (0.3, 1.0, 2.0):
        assert np.cos(t * w).mean() == pytest.approx(np.exp(-(t**tail_mu)), abs=4 / np.sqrt(w.size))
    t = 200.0
    tail = 2 / np.pi * gamma(tail_mu) * np.sin(np.pi * tail_mu / 2) * t**-tail_mu
    assert (np.abs(w) > t).mean() == pytest.approx(tail, rel=0.1)
    assert stats.binomtest(int((w > 0).sum()), w.size).pvalue > 0.01


def test_the_stable_law_of_index_2_is_normal_of_variance_2():
    assert stats.kstest(levy(300, 200, 2, 6).ravel(), stats.norm(scale=np.sqrt(2)).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian(0, 3, 0), "at least one row and one column; got N = 0, M = 3"),
        (lambda: student_t(3, 3, 0, 0), "df must be positive; got 0"),
        (lambda: pareto(3, 3, -1, 0), "tail_mu must be positive; got -1"),
        (lambda: lomax(3, 3, float("nan"), 0), "tail_mu must be positive; got nan"),
        (lambda: levy(3, 3, 2.5, 0), r"tail_mu in \(0, 2\]; got 2.5"),
    ],
)
def test_a_bad_parameter_is_named_with_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
