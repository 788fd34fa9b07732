import json
from math import isnan, log, sqrt

import numpy as np
import pytest
from cases import orthogonal, with_eigenvalues
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.linalg import eigvalsh_tridiagonal

from heavytail.diagnosis.phase_evidence import MIN_RANK, Expected, PhaseEvidence, gather
from heavytail.rmt.edges import bulk_edge
from heavytail.rmt.ensembles import pareto, spiked, wishart_bidiagonal
from heavytail.rmt.noise_bulk import fit_noise_bulk
from heavytail.rmt.spikes import AdditiveSpike
from heavytail.tails.edge import edge_shape


def eigenvalues(W):
    return np.maximum(np.linalg.eigvalsh(W.T @ W), 0)


def wishart(N, M, rng):
    """Eigenvalues of W^T W for Gaussian W, from its bidiagonal form."""
    diagonal, below = wishart_bidiagonal(N, M, seed=rng)
    squares = diagonal**2
    squares[1:] += below**2
    return np.maximum(eigvalsh_tridiagonal(squares, diagonal[:-1] * below), 0)


def noise(N, M, seed=0):
    return wishart(N, M, np.random.default_rng(seed))


def plain(value):
    """A number that is not finite is None, as in the report."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


# ------------------------------------------------------------------------------------------------------ what is lost


@pytest.mark.parametrize("weak", [0.0, 1e-8, 1e-12], ids=["exact zeros", "1e-8", "1e-12"])
@pytest.mark.parametrize("lost", [0, 1, 30, 70])
def test_the_lost_share_is_the_number_of_eigenvalues_that_are_nothing_beside_the_others(weak, lost):
    x = noise(300, 100 - lost)
    seen = gather(np.sort(np.r_[noise(300, lost, 1) * weak, x]) if lost else x, 300)
    assert (seen.M, seen.rank, seen.lost) == (100, 100 - lost, pytest.approx(lost / 100, abs=1e-12))


def test_what_is_left_is_observed_as_a_matrix_of_fewer_columns():
    x = noise(300, 60)
    assert gather(np.r_[np.zeros(40), x], 300).as_dict() == gather(x, 300).as_dict() | {"num_evals": 100, "lost": 0.4}


def test_eigenvalues_up_to_the_rounding_noise_are_lost_where_they_end_below_it():
    x = np.r_[np.arange(1.0, 31) / 30, np.arange(31.0, 101)]
    assert gather(x, 300, floor=5.0).rank == 70
    assert gather(x, 300).rank == 100
    assert gather(np.arange(1.0, 101), 300, floor=30.0).rank == 100  # they go on: the bound is too cautious
    assert gather(np.arange(1.0, 101), 300, floor=1e3).rank == 100  # nothing is above it


@pytest.mark.parametrize(("lost", "gap", "rank"), [(30, 3, 100), (30, 6, 70), (2, 30, 100), (2, 1e5, 98)])
def test_a_few_below_the_rounding_noise_need_a_wider_gap(lost, gap, rank):
    # The two smallest eigenvalues of square noise are often a factor of ten apart.
    x = np.r_[np.linspace(0.5, 1, lost), gap * np.linspace(1, 30, 100 - lost)]
    assert gather(x, 300, floor=2.0).rank == rank


@pytest.mark.parametrize(("M", "draws"), [(60, 400), (300, 60), (1000, 25), (2000, 10)])
def test_square_noise_has_lost_hardly_a_direction(M, draws):
    rng = np.random.default_rng(M)  # though its smallest eigenvalue is of the order of 1 / M^2 of the largest
    lost = [M - gather(wishart(M, M, rng), M).rank for _ in range(draws)]
    assert max(lost) <= 2
    assert np.mean(lost) < 1


@pytest.mark.parametrize(
    ("M", "draws"),
    [(500, 400), pytest.param(2000, 150, marks=pytest.mark.slow), pytest.param(4096, 40, marks=pytest.mark.slow)],
)
def test_square_noise_is_a_bulk_of_noise(M, draws):
    rng = np.random.default_rng(4)
    p = np.array([gather(wishart(M, M, rng), M).bulk.misfit_p_value for _ in range(draws)])
    assert (p < 0.05).mean() < 1.5 * 0.05 + 3.5 * sqrt(0.05 * 0.95 / draws)


# --------------------------------------------------------------------------------------------- the edge of the bulk


@pytest.mark.parametrize(("N", "M"), [(150, 150), (400, 100), (960, 60)])
@pytest.mark.parametrize(("strength", "least"), [(1.1, 0.8), (1.3, 0.8), (1.6, 0.9), (2.0, 0.9), (6.0, 0.9)])
def test_the_interval_of_the_soft_rank_covers_bulk_edge_over_the_place_of_the_spike(N, M, strength, least):
    # Close to the threshold the law passes from Tracy and Widom's to the normal one, and neither is quite right.
    model, draws, covered = AdditiveSpike(M / N), 200, 0
    theta = strength * model.threshold
    truth = bulk_edge(N, M) / N / model.location(theta) ** 2
    for seed in range(draws):
        lo, value, hi = gather(eigenvalues(spiked(N, M, [theta], seed)), N).soft_rank
        assert lo < value < hi
        covered += lo <= truth <= hi
    assert covered >= least * draws


def test_the_soft_rank_of_noise_is_about_one_and_that_of_a_clear_spike_its_place():
    assert np.mean([gather(noise(800, 200, seed), 800).soft_rank[1] for seed in range(20)]) == pytest.approx(
        1, abs=0.03
    )
    x = np.r_[noise(800, 200)[:-1], 1e5]
    _, value, _ = gather(x, 800).soft_rank
    assert value == pytest.approx(bulk_edge(800, 199) / 1e5, rel=0.02)


@pytest.mark.parametrize("strengths", [[], [1.2], [2, 3, 4], list(np.linspace(1, 5, 15))], ids=len)
def test_beyond_counts_the_eigenvalues_over_the_edge_and_over_its_interval(strengths):
    W = spiked(400, 150, strengths, 3) if strengths else np.random.default_rng(3).standard_normal((400, 150))
    x = eigenvalues(W)
    seen, bulk = gather(x, 400), fit_noise_bulk(x, 400, 150)
    assert seen.bulk == bulk
    assert seen.largest == x[-1]
    spread = 1.959964 * bulk.error
    least, found, most = (sum(bool(v > bulk.edge * f) for v in x) for f in (1 + spread, 1, 1 - spread))
    assert seen.beyond == (least, found, most)
    assert seen.as_dict()["beyond"] == found / 150


# ----------------------------------------------------------------------------------------------------- its upper half


@pytest.mark.parametrize("alpha", [1.5, 2.5, 4.0])
def test_the_breadth_is_the_mean_log_over_the_median_that_a_power_law_has(alpha):
    n = 4000
    x = (np.arange(n, 0, -1) / n) ** (-1 / (alpha - 1))
    # From the median up to the largest tenth: u runs from 1/2 to 1/10.
    integral, _ = quad(lambda u: log(0.5 / u) / (alpha - 1), 0.1, 0.5)
    assert gather(x, n).breadth == pytest.approx(integral / 0.4, rel=0.01)


@pytest.mark.parametrize("M", [20, 25, 31, 45, 101])
def test_the_breadth_leaves_out_the_largest_tenth_and_at_least_three(M):
    x = noise(500, M)
    upper = [v for v in x if v >= np.quantile(x, 0.5, method="higher")]
    body = upper[: -max(3, M // 10)]
    assert gather(x, 500).breadth == pytest.approx(np.mean(np.log(body)) - log(body[0]), rel=1e-9)


@pytest.mark.parametrize("factor", [1.5, 10, 1000])
def test_spikes_change_neither_breadth_nor_law(factor):
    for W in (pareto(300, 200, 1.5, 1), spiked(400, 150, np.linspace(1, 5, 20), 2), pareto(90, 60, 1.2, 3)):
        x = eigenvalues(W)
        N = len(W)
        one, other = gather(x, N), gather(np.r_[x[:-3], x[-3:] * factor], N)
        assert other.rank == one.rank
        assert other.breadth == one.breadth
        assert other.largest == x[-1] * factor
        # The bulk is found anew, and its edge with it, from which the law starts.
        assert other.bulk.edge == pytest.approx(one.bulk.edge, rel=0.005)
        assert one.power_law_ratio == one.power_law_ratio
        assert other.power_law_ratio == pytest.approx(one.power_law_ratio, abs=0.02)


def test_spikes_on_noise_have_no_law_and_noise_has_none():
    assert isnan(gather(noise(600, 200), 600).power_law_ratio)
    x = eigenvalues(spiked(600, 200, [4.0, 8.0, 12.0], 0))
    seen = gather(x, 600)
    assert seen.beyond[1] >= 3
    assert seen.law is None
    assert isnan(seen.power_law_ratio)


def body_breadths(N, M, count, rng):
    """Breadths of simulated noise, with what is stated of it."""
    found = [gather(wishart(N, M, rng), N) for _ in range(count)]
    full = [seen for seen in found if seen.rank == M]
    assert len(full) >= 0.96 * count
    assert len({seen.breadth_of_noise for seen in full}) == 1
    return np.array([seen.breadth for seen in full]), full[0].breadth_of_noise


SIZES = [
    (50, 50, 1200),
    (800, 50, 1200),
    (200, 200, 600),
    (400, 200, 600),
    (1600, 100, 800),
    pytest.param(100, 100, 3000, marks=pytest.mark.slow),
    pytest.param(500, 500, 1200, marks=pytest.mark.slow),
    pytest.param(1000, 1000, 500, marks=pytest.mark.slow),
    pytest.param(4000, 1000, 400, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("N", "M", "draws"), SIZES)
def test_the_breadth_of_noise_is_that_of_simulated_noise(N, M, draws):
    found, stated = body_breadths(N, M, draws, np.random.default_rng(N + M))
    assert found.mean() == pytest.approx(stated.value, abs=(4 / sqrt(draws) + 0.1) * found.std())
    assert stated.error == pytest.approx(found.std(), rel=0.2)


@pytest.mark.parametrize(("N", "M", "draws"), SIZES)
def test_the_chance_of_a_broader_body_is_near_uniform_under_noise(N, M, draws):
    found, stated = body_breadths(N, M, draws, np.random.default_rng([N, M]))
    p = np.array([stated.p_value(breadth) for breadth in found])
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    assert abs((p < 0.5).mean() - 0.5) < 0.05 + 3.5 * sqrt(0.25 / draws)


@given(value=st.floats(-5, 5), error=st.floats(0.01, 10), seen=st.floats(-20, 20))
def test_the_chance_of_an_expected_observation_is_that_of_the_normal_law(value, error, seen):
    assert Expected(value, error).p_value(seen) == pytest.approx(
        stats.norm(value, error).sf(seen), rel=1e-9, abs=1e-300
    )
    assert isnan(Expected(value, error).p_value(float("nan")))


def test_the_law_beyond_the_edge_is_the_likelier_of_power_law_and_exponential():
    x = eigenvalues(pareto(300, 200, 1.2, 0))
    seen = gather(x, 300)
    tail = x[x > seen.bulk.edge][:-3] / seen.bulk.edge
    power = stats.pareto(1 / np.log(tail).mean()).logpdf(tail).sum()
    exponential = stats.expon(1, tail.mean() - 1).logpdf(tail).sum()
    assert seen.power_law_ratio == pytest.approx((power - exponential) / tail.size, rel=1e-6)
    assert seen.power_law_ratio > 0


@pytest.mark.parametrize(("beyond", "told"), [(7, False), (8, True)])
def test_a_law_is_told_of_five_and_three_eigenvalues_beyond_the_bulk(beyond, told):
    x = noise(2000, 200 - beyond)
    x = np.r_[x, x[-1] * np.linspace(1.5, 6, beyond)]
    seen = gather(x, 2000)
    assert seen.beyond[1] == beyond
    assert (seen.law is not None) == told
    assert isnan(seen.power_law_ratio) != told


# ----------------------------------------------------------------------------------------------------- its upper edge


LARGE = pytest.param(1000, 1000, marks=pytest.mark.slow)


@pytest.mark.parametrize(("N", "M"), [(60, 60), (800, 200), (200, 200), (900, 300), LARGE])
def test_the_edge_of_noise_has_the_stated_index_and_scatter(N, M):
    draws, rng = 400, np.random.default_rng(N + M)
    found = np.array([edge_shape(wishart(N, M, rng)).index for _ in range(draws)])
    stated = gather(noise(N, M), N).edge_of_noise
    # Of so few points as the 3rd, 6th and 12th the logarithm of a ratio is skew: a twentieth of its scatter.
    assert abs(found.mean() - stated.value) < 4 * found.std() / sqrt(draws) + 0.05 * found.std()
    assert stated.error == pytest.approx(found.std(), rel=0.1 + 3 / sqrt(2 * draws))


@pytest.mark.parametrize(
    ("N", "M", "draws"),
    [(60, 60, 1500), (960, 60, 1500), (800, 200, 800), pytest.param(2000, 1000, 250, marks=pytest.mark.slow)],
)
def test_the_chance_of_a_softer_edge_is_near_uniform_under_noise(N, M, draws):
    rng, stated = np.random.default_rng(N), gather(noise(N, M), N).edge_of_noise
    p = np.array([stated.p_value(edge_shape(wishart(N, M, rng)).index) for _ in range(draws)])
    assert 0.01 < (p < 0.05).mean() < 0.12
    assert abs((p < 0.5).mean() - 0.5) < 0.05 + 3.5 * sqrt(0.25 / draws)


def test_the_chance_of_the_edge_falls_with_its_softness():
    still, soft = (gather(x, 400).as_dict() for x in (noise(400, 200), eigenvalues(pareto(400, 200, 1.0, 0))))
    assert soft["edge_p_value"] < 1e-6 < 0.01 < still["edge_p_value"]
    assert soft["breadth_p_value"] < 1e-6 < 0.01 < still["breadth_p_value"]


# ---------------------------------------------------------------------------------------------- what cannot be told


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), exponent=st.sampled_from([-80, -40, -1, 1, 40, 80]), tail_mu=st.floats(1, 6))
def test_no_observation_depends_on_the_scale(seed, exponent, tail_mu):
    x = np.r_[np.zeros(10), eigenvalues(pareto(90, 50, tail_mu, seed))]
    one, other = (gather(x * s, 90, 1e-13 * s) for s in (1.0, 2.0**exponent))  # up to 1e-24 and 1e24, exact
    assert other.as_dict() == pytest.approx(one.as_dict(), rel=1e-5, abs=1e-7, nan_ok=True)
    assert (other.rank, other.beyond) == (one.rank, one.beyond)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_no_observation_depends_on_a_scale_that_rounds(scale):
    x = eigenvalues(spiked(200, 100, [2.0, 1.5], 0))
    assert gather(x * scale, 200).as_dict() == pytest.approx(gather(x, 200).as_dict(), rel=1e-5, abs=1e-7, nan_ok=True)


@pytest.mark.parametrize("left", [1, 7, MIN_RANK - 1])
def test_of_fewer_than_the_least_number_only_what_is_lost_is_told(left):
    seen = gather(np.r_[np.zeros(80 - left), np.arange(1.0, left + 1)], 100)
    assert seen.bulk is None
    assert seen.law is None
    assert seen.as_dict() == {"num_evals": 80, "rank": left, "lost": 1 - left / 80}
    numbers = (*seen.soft_rank, seen.largest, seen.breadth, *seen.breadth_of_noise, seen.edge.index)
    assert all(isnan(number) for number in (*numbers, *seen.edge_of_noise, seen.power_law_ratio))
    assert not seen.narrow


def test_the_least_number_is_enough():
    assert gather(np.r_[np.zeros(60), noise(100, MIN_RANK)], 100).bulk is not None


@pytest.mark.parametrize(
    "x",
    [
        noise(100, 60),
        eigenvalues(pareto(100, 60, 1.0, 0)),
        np.r_[np.zeros(50), np.arange(1.0, 11)],
        eigenvalues(with_eigenvalues(np.full(60, 4.0), 100)),
        np.ones(60),
        np.r_[np.zeros(10), np.ones(50)],
    ],
    ids=["noise", "heavy", "few", "orthogonal", "identity", "projection"],
)
def test_the_observations_are_plain_values_for_json(x):
    found = {key: plain(value) for key, value in gather(x, 100).as_dict().items()}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("N", "M", "draws"),
    [
        (50, 50, 1500),
        (800, 50, 1500),
        (200, 200, 700),
        (400, 200, 700),
        pytest.param(100, 100, 5000, marks=pytest.mark.slow),
        pytest.param(1000, 1000, 300, marks=pytest.mark.slow),
        pytest.param(16000, 1000, 300, marks=pytest.mark.slow),
    ],
)
def test_noise_is_not_narrow_but_in_less_than_one_of_a_thousand(N, M, draws):
    rng = np.random.default_rng([8, N, M])
    narrow = sum(gather(wishart(N, M, rng), N).narrow for _ in range(draws))
    assert stats.binomtest(narrow, draws, 0.001, alternative="greater").pvalue > 0.01
    assert narrow <= max(1, draws / 1000)


def test_only_a_body_narrower_than_noise_is_narrow():
    assert gather(noise(200, 100) + 500, 200).narrow  # all alike but for a twentieth
    assert gather(np.r_[np.ones(90), np.geomspace(2, 1e4, 10)], 200).narrow  # whatever stands out of it
    assert not gather(eigenvalues(pareto(200, 100, 1.0, 0)), 200).narrow
    assert not gather(eigenvalues(spiked(200, 100, [2.0, 5.0], 0)), 200).narrow
    assert not PhaseEvidence(100, 3).narrow


def test_eigenvalues_that_coincide_have_no_edge_and_no_chance_of_it():
    seen = gather(np.ones(60), 60)
    assert isnan(seen.edge.index)
    assert isnan(seen.as_dict()["edge_p_value"])
    assert seen.soft_rank[1] >= 1
    assert seen.breadth == 0


def test_nothing_but_the_eigenvalues_and_the_shape_is_asked():
    W = spiked(120, 70, [1.5, 2.5], 1)
    turned = orthogonal(120, seed=1) @ W @ orthogonal(70, seed=2)
    one, other = gather(eigenvalues(W), 120), gather(eigenvalues(turned), 120)
    assert other.as_dict() == pytest.approx(one.as_dict(), rel=1e-6, nan_ok=True)
