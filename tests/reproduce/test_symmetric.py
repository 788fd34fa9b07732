import numpy as np
import pytest
from scipy import stats

from heavytail.reproduce import Verdict, reproduce
from heavytail.reproduce.estimator import fit_published
from heavytail.reproduce.spectrum import eigenvalues
from heavytail.reproduce.symmetric import CLAIMS, noise
from heavytail.rmt.ensembles import gaussian, lomax


def test_noise_has_the_spectrum_of_a_gaussian_matrix():
    rng = np.random.default_rng(0)
    ours = np.array([noise(12, 6, rng) for _ in range(4000)])
    theirs = np.array([eigenvalues(gaussian(12, 6, rng)) for _ in range(4000)])
    for k in range(6):
        assert stats.ks_2samp(ours[:, k], theirs[:, k]).pvalue > 0.001


@pytest.mark.parametrize("part", "abcdef")
def test_every_part_of_the_experiment_has_a_counterpart_with_random_signs(part):
    assert any(claim.id == f"E4{part}-symmetric" for claim in CLAIMS)


def verdicts(name):
    [outcome] = reproduce([name])
    return {row.name: row.verdict for row in outcome.rows}


def test_what_holds_below_a_mu_of_two_carries_over_and_what_was_found_above_does_not():
    found = verdicts("E4a-symmetric")
    for mu in (0.4, 1.2):
        assert found[f"alpha at mu = {mu}"] is Verdict.REPRODUCED
    for mu in (2.5, 3.5, 5.0):
        assert found[f"alpha at mu = {mu}"] is Verdict.DOES_NOT_CARRY_OVER


def test_one_eigenvalue_makes_the_published_exponents_out_of_noise():
    found = verdicts("E4-noise")
    for shape in ("1000 x 300", "2000 x 1000", "10000 x 1000", "1000000 x 1000"):
        assert found[f"{shape}, noise and spike"] is Verdict.REPRODUCED
        assert found[f"{shape}, noise alone"] is Verdict.DOES_NOT_CARRY_OVER


def test_without_its_mean_the_published_matrix_has_no_such_exponent():
    """The mean taken from the entries, where the ledger takes the largest eigenvalue from the spectrum."""
    rng = np.random.default_rng(0)
    entries = [lomax(1000, 500, 5.0, rng) for _ in range(8)]
    published = np.array([fit_published(eigenvalues(W)).alpha for W in entries])
    centred = np.array([fit_published(eigenvalues(W - 1 / 4)).alpha for W in entries])
    assert published.max() < 5 < np.median(centred)
