from math import inf, isnan, sqrt

import numpy as np
import pytest
from cases import gaussian, orthogonal, pareto, with_eigenvalues
from scipy.stats import kstest, pearson3

from heavytail.diagnosis.tail_score import (
    MAX_KURTOSIS,
    MIN_RANK,
    entry_kurtosis,
    shuffled_tail_score,
    tail_score,
)
from heavytail.rmt.ensembles import inverse_wishart
from heavytail.rmt.linear_statistics import log_excess, log_excess_of_noise
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.tails.power_law import hill

NUMBERS = ("score", "p_value", "excess", "excess_lo", "excess_hi", "hill")


def blocks(W):
    return lambda r: (W[i : i + r] for i in range(0, len(W), r))


def score(*matrices):
    spectrum = spectrum_of_stack(np.stack(matrices), "float64")
    tall = [W if W.shape[0] >= W.shape[1] else W.T for W in matrices]
    return tail_score(spectrum, entry_kurtosis(spectrum, [blocks(W) for W in tall]))


def student(rng, shape):
    return rng.standard_t(5, shape)


def sparse(rng, shape, kept):
    return rng.standard_normal(shape) * (rng.random(shape) < kept)


LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.random(shape) - 0.5,
    "t(5)": student,
    "half zero": lambda rng, shape: sparse(rng, shape, 0.5),
    "nine tenths zero": lambda rng, shape: sparse(rng, shape, 0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("Q", [1, 4, 16])
@pytest.mark.parametrize("law", LAWS)
def test_noise_is_called_trained_in_five_of_a_hundred_matrices(law, Q):
    draws, M = 800, 64
    rng = np.random.default_rng([Q, *law.encode()])
    found = np.array([score(LAWS[law](rng, (Q * M, M))).p_value for _ in range(draws)])
    share = np.mean(found < 0.05)
    assert abs(share - 0.05) < 0.01 + 3 * sqrt(0.05 * 0.95 / draws)  # 5 +- 1 %, and three errors of this sample


def test_the_score_of_gaussian_noise_is_standard_normal():
    rng = np.random.default_rng(3)
    scores = [score(rng.standard_normal((M + 30, M))) for M in (40, 60, 80, 100) for _ in range(100)]
    assert kstest([s.score for s in scores], "norm").pvalue > 0.01
    assert kstest([s.p_value for s in scores], "uniform").pvalue > 0.01
    covered = np.mean([s.excess_lo <= 1 <= s.excess_hi for s in scores])
    assert abs(covered - 0.95) < 3 * sqrt(0.05 * 0.95 / len(scores))


def test_noise_of_every_shape_has_the_same_excess_where_hill_differs():
    shapes = [(Q * 128, 128) for Q in (1, 2, 8, 32)]
    found = [score(gaussian(*shape, seed=5)) for shape in shapes]
    assert max(abs(s.excess - 1) for s in found) < 4 * max(
        log_excess_of_noise(*shape).std() / log_excess_of_noise(*shape).mean() for shape in shapes
    )
    assert found[-1].hill - found[0].hill > 5
    assert all(abs(s.score) < 4 for s in found)


@pytest.mark.parametrize("Q", [1, 2, 8])
def test_a_heavy_tail_is_found_at_every_aspect_ratio(Q):
    found = score(with_eigenvalues(pareto(100, 1.6, seed=1), Q * 100))
    assert found.p_value < 1e-6
    assert found.excess_lo > 1.2


@pytest.mark.parametrize("alpha", [2.0, 2.5, 3.0, 4.0])
@pytest.mark.parametrize("Q", [1, 4])
def test_a_power_law_is_heavier_than_noise_at_every_aspect_ratio_and_exponent(alpha, Q):
    evals = (1 - (np.arange(300) + 0.5) / 300) ** (-1 / (alpha - 1))
    noise = log_excess_of_noise(300 * Q, 300)
    assert log_excess(evals) / noise.mean() > 1.6
    assert tail_score(spectrum_of_stack(np.diag(np.sqrt(evals))[None], "float64"), [0.0]).p_value < 1e-9
    assert score(with_eigenvalues(evals, 300 * Q)).excess_lo > 1.4


def test_the_inverse_wishart_law_is_far_heavier_than_noise():
    found = score(inverse_wishart(150, 150, seed=0))
    assert found.excess > 1.5
    assert found.hill == pytest.approx(1.5, abs=0.25)  # 3/2 in the limit


def test_a_lighter_tail_has_a_low_score_and_a_high_p_value():
    W = orthogonal(200) @ np.diag(np.linspace(1, 1.2, 200))
    found = score(W)
    assert found.score < -10
    assert found.p_value > 0.999
    assert found.excess_hi < 1
    flat = tail_score(spectrum_of_stack(np.eye(60)[None], "float64"), [0.0])
    assert flat.excess == 0
    assert flat.hill == inf


def test_the_numbers_are_those_of_their_definitions():
    W = gaussian(120, 60, seed=4)
    found, law = score(W), log_excess_of_noise(120, 60)
    evals = np.linalg.svd(W, compute_uv=False)[::-1] ** 2
    kurtosis = law.kurtosis([W**2 / (W**2).mean()])
    mean, std = law.mean(kurtosis), law.std(kurtosis)
    assert found.hill == pytest.approx(hill(evals, fraction=0.1), rel=1e-9)
    assert found.excess == pytest.approx(log_excess(evals) / mean, rel=1e-9)
    assert found.score == pytest.approx((log_excess(evals) - mean) / std, rel=1e-7)
    assert found.p_value == pytest.approx(pearson3(law.skewness).sf(found.score), rel=1e-6)
    assert found.excess_hi - found.excess_lo == pytest.approx(2 * 1.959964 * std / mean, rel=1e-6)


@pytest.mark.parametrize("c", [1e-30, 1e-3, 1e30])
def test_the_score_does_not_depend_on_the_scale_or_on_the_side_a_matrix_lies_on(c):
    W = student(np.random.default_rng(6), (90, 60))
    for other in (c * W, W.T, W[::-1, ::-1]):
        for name in NUMBERS:
            assert getattr(score(other), name) == pytest.approx(getattr(score(W), name), rel=1e-7)


def test_matrices_of_one_row_are_scored_together():
    rng, k = np.random.default_rng(8), 9
    parts = [rng.standard_normal((64, 32)) for _ in range(k)]
    together, single = score(*parts), [score(W) for W in parts]
    assert together.score == pytest.approx(sum(s.score for s in single) / sqrt(k), abs=0.05)
    assert together.excess == pytest.approx(np.mean([s.excess for s in single]), rel=0.01)
    assert together.excess_hi - together.excess < (single[0].excess_hi - single[0].excess) / 2.5


def test_a_few_lost_directions_leave_noise_noise():
    W = gaussian(200, 80, seed=9)
    centred = W - W.mean(axis=1, keepdims=True)  # of rank 79
    assert abs(score(centred).score) < 3


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (gaussian(300, 12), "no tail score: it needs 20 eigenvalues in each matrix, and M = 12"),
        (gaussian(90, 30) @ gaussian(30, 80), "no tail score: the rank is 30 of 80"),
        (gaussian(300, 21) @ gaussian(21, 24) * np.r_[np.zeros(6), np.ones(18)], "no tail score: the rank is 18 of 24"),
    ],
)
def test_a_matrix_without_a_score_says_why(matrix, reason):
    found = score(matrix)
    assert found.reason == reason
    assert all(isnan(getattr(found, name)) for name in NUMBERS)


def test_entries_too_heavy_for_their_number_are_not_scored_without_shuffled_copies():
    W = np.random.default_rng(1).standard_t(1.5, (40, 40))
    spectrum = spectrum_of_stack(W[None], "float64")
    kurtosis = entry_kurtosis(spectrum, [blocks(W)])
    assert kurtosis[0] > MAX_KURTOSIS * 40
    found = tail_score(spectrum, kurtosis)
    assert isnan(found.score)
    assert found.reason.startswith(f"no tail score: entries of kurtosis {kurtosis[0]:.3g} need M >= ")
    assert not isnan(shuffled_tail_score(spectrum, [blocks(W)], 19, seed=0).score)


def test_the_kurtosis_of_light_entries_is_their_moment_and_a_giant_does_not_count_by_its_own():
    rng = np.random.default_rng(2)
    W = rng.laplace(size=(2000, 300))
    spectrum = spectrum_of_stack(W[None], "float64")
    expected = (W**4).mean() / (W**2).mean() ** 2 - 3
    assert entry_kurtosis(spectrum, [blocks(W)])[0] == pytest.approx(expected, rel=0.03)
    W = rng.standard_normal((100, 64))
    W[3, 3] = 1000.0
    spectrum = spectrum_of_stack(W[None], "float64")
    assert (W**4).mean() / (W**2).mean() ** 2 > 6000
    assert 48 < entry_kurtosis(spectrum, [blocks(W)])[0] < 300
    pair = np.stack([np.zeros((40, 30)), rng.standard_normal((40, 30))])
    spectrum = spectrum_of_stack(pair, "float64")
    kurtosis = entry_kurtosis(spectrum, [blocks(W) for W in pair])
    assert isnan(kurtosis[0])
    assert all(map(isnan, entry_kurtosis(spectrum_of_stack(W[None, :, :12], "float64"), [blocks(W[:, :12])])))
    assert not isnan(kurtosis[1])
    assert tail_score(spectrum, kurtosis).reason == "no tail score: the rank is 0 of 30"


@pytest.mark.parametrize("draw", [student, lambda rng, shape: rng.standard_t(1.2, shape)])
def test_against_shuffled_copies_noise_of_any_law_has_a_uniform_p_value(draw):
    rng, found = np.random.default_rng(11), []
    for seed in range(200):
        W = draw(rng, (30, 24))
        spectrum = spectrum_of_stack(W[None], "float64")
        found.append(shuffled_tail_score(spectrum, [blocks(W)], 19, seed).p_value)
    assert abs(np.mean(np.array(found) <= 0.25) - 0.25) < 3 * sqrt(0.25 * 0.75 / 200)
    assert set(np.round(np.array(found) * 20, 9)) <= set(range(1, 21))


def test_shuffled_copies_agree_with_the_computed_noise():
    W = np.random.default_rng(12).laplace(size=(160, 80))
    spectrum = spectrum_of_stack(W[None], "float64")
    computed = tail_score(spectrum, entry_kurtosis(spectrum, [blocks(W)]))
    before = W.copy()
    shuffled = shuffled_tail_score(spectrum, [blocks(W)], 200, seed=1)
    np.testing.assert_array_equal(W, before)
    assert shuffled.excess == pytest.approx(computed.excess, abs=0.02)
    assert shuffled.score == pytest.approx(computed.score, abs=0.5)
    assert shuffled == shuffled_tail_score(spectrum, [blocks(W)], 200, seed=1)


def test_shuffled_copies_of_a_matrix_of_low_rank_are_no_noise_for_it():
    W = gaussian(90, 79) @ gaussian(79, 80)
    found = shuffled_tail_score(spectrum_of_stack(W[None], "float64"), [blocks(W)], 19, seed=0)
    assert found.reason == "no tail score: the rank is 79 of 80, and that of a shuffled copy is not"
    with pytest.raises(ValueError, match="at least 2 shuffled copies; got 1"):
        shuffled_tail_score(spectrum_of_stack(W[None], "float64"), [blocks(W)], 1, seed=0)


def test_the_least_rank_is_that_of_a_fitted_tail():
    assert MIN_RANK == 20
    assert score(gaussian(50, 20)).reason == ""
