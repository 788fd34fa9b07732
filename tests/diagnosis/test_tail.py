"""The tail of a row: an interval always, and evidence where it is asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import gaussian, pareto, student, with_eigenvalues

import heavytail as ht
from heavytail.diagnosis.tail import find_tail, measure_tail
from heavytail.diagnosis.tail_score import entry_kurtosis, tail_score
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.spectra.operator import operator_spectrum
from heavytail.tails.bootstrap import bootstrap
from heavytail.tails.fingers import find_fingers
from heavytail.tails.interval import interval, profile
from heavytail.tails.power_law import fit_power_law, hill
from heavytail.tails.thresholds import median


def spectrum_of(W):
    return spectrum_of_stack(W[None], "float64")


def tail_of(W, replicates=0, nulls=0, seed=0):
    """Tail of an N x M matrix."""
    spectrum = spectrum_of(W)
    return find_tail(spectrum, measure_tail(spectrum, [lambda r: [W]], nulls, replicates > 0, seed), replicates, seed)


@pytest.fixture(scope="module")
def planted():
    """A matrix whose 300 eigenvalues are a sample of density x^-2.5."""
    return with_eigenvalues(pareto(300, 2.5, 8), 330)


def test_without_replicates_the_interval_is_that_of_the_starts_that_fit_as_well(planted):
    tail, spectrum = tail_of(planted), spectrum_of(planted)
    x = spectrum.positive
    assert tail.fit == fit_power_law(x)
    assert (tail.alpha_lo, tail.alpha_hi) == interval(tail.fit, profile(x), eigenvalues=True)
    assert tail.hill == hill(x)
    assert tail.evidence is None
    columns = tail.columns(spectrum.evals)
    assert columns["alpha_lo"] < columns["alpha"] < columns["alpha_hi"]
    assert "p_value" not in columns


def test_with_replicates_the_interval_and_the_p_value_are_those_of_the_bootstrap(planted):
    tail, spectrum = tail_of(planted, 60, seed=3), spectrum_of(planted)
    x = spectrum.positive
    again = bootstrap(x, fit_power_law(x), 60, 3, eigenvalues=True)
    assert (tail.alpha_lo, tail.alpha_hi) == (again.alpha_lo, again.alpha_hi)
    columns = tail.columns(spectrum.evals)
    assert (columns["p_value"], columns["tail"]) == (again.p_value, tail.evidence.verdict.law)


def test_the_evidence_names_the_law_the_fingers_and_the_other_starts(planted):
    tail, x = tail_of(planted, 60), spectrum_of(planted).positive
    evidence = tail.evidence
    assert evidence.verdict.law == "power law"
    assert evidence.fingers.alphas == find_fingers(x).alphas
    assert set(evidence.starts) == {"density peak", "median", "log determinant"}
    assert evidence.starts["median"] == fit_power_law(x, xmin=median(x))
    assert evidence.e_tpl.law.xmin == pytest.approx(evidence.starts["density peak"].xmin)
    text = json.dumps(tail.as_dict())
    assert {"verdict", "fingers", "starts", "e_tpl", "replicates", "scatter"} <= set(json.loads(text))


def test_a_tail_of_another_law_is_named_or_undecided_and_never_a_power_law():
    rng = np.random.default_rng(0)
    matrices = [with_eigenvalues(np.sort(5 + rng.exponential(1, 300)), 330) for _ in range(5)]
    found = [tail_of(W, 40) for W in matrices]
    assert all(tail.evidence.verdict.law != "power law" for tail in found)


def test_a_rejected_power_law_warns_of_nothing():
    """Eigenvalues in steps, which no power law has: alpha lies below 2 with all of its interval, and means nothing."""
    rng = np.random.default_rng(1)
    evals = np.exp(np.round(rng.exponential(2.5, 400))) * 1.001 ** rng.random(400)
    W = with_eigenvalues(np.sort(evals), 420)
    tail, spectrum = tail_of(W, 60), spectrum_of(W)
    assert tail.alpha_hi < 2
    assert tail.evidence.bootstrap.p_value <= 0.05
    assert tail.columns(spectrum.evals)["warning"] == ""


def test_an_operator_has_an_exponent_and_no_interval():
    spectrum = operator_spectrum(gaussian(24, 20, 3, 3), "float64")
    tail = find_tail(spectrum, replicates=50)
    assert tail.fit is not None
    assert np.isnan([tail.alpha_lo, tail.alpha_hi]).all()
    assert tail.evidence is None
    assert "no interval" in tail.reason
    assert tail.columns(spectrum.evals)["warning"] == ""


def test_the_score_is_that_of_the_entries_kurtosis():
    W = gaussian(200, 120) ** 3  # kurtosis 46
    tail, spectrum = tail_of(W), spectrum_of(W)
    expected = tail_score(spectrum, entry_kurtosis(spectrum, [lambda r: [W]]))
    assert tail.score == expected
    assert tail.columns(spectrum.evals)["tail_excess"] == expected.excess
    assert expected.score < tail_score(spectrum, [0.0]).score - 1


def test_entries_too_heavy_for_theory_are_scored_by_shuffled_copies_if_there_are_any():
    W = gaussian(60, 40)
    W[::7, 3] += 40.0
    W[5, :] *= 1e3
    alone, beside = tail_of(W), tail_of(W, nulls=9)
    assert "shuffled copies" in alone.score.reason
    assert np.isnan(alone.score.excess)
    assert beside.score.reason == ""
    assert 0 < beside.score.p_value <= 1


def test_farms_of_noise_is_that_of_its_window_and_of_no_window_missing():
    assert abs(tail_of(gaussian(400, 300), 40).evidence.farms - 2.69) < 0.05
    assert np.isnan(tail_of(gaussian(150, 120), 40).evidence.farms)


def test_replicates_depend_on_the_seed_and_the_name_and_not_on_the_number_of_jobs():
    model = {"a.weight": student(60, 40, df=2), "b.weight": student(60, 40, df=2)}
    one = ht.analyze(model, bootstrap=40, seed=1, jobs=1)
    two = ht.analyze(model, bootstrap=40, seed=1, jobs=2)
    other = ht.analyze(model, bootstrap=40, seed=2)
    assert one.to_json() == two.to_json()
    lows = [row.alpha_lo for row in one.rows]
    assert lows[0] != lows[1]  # the same matrix under another name
    assert lows != [row.alpha_lo for row in other.rows]


def test_the_summary_counts_the_verdicts():
    model = {f"{i}.weight": with_eigenvalues(pareto(120, 2.2, i), 130) for i in range(4)}
    plain, asked = ht.analyze(model), ht.analyze(model, bootstrap=40)
    assert np.isnan(plain.summary["power_laws"])
    verdicts = [row.tail for row in asked.rows]
    assert asked.summary["power_laws"] == verdicts.count("power law")
    assert asked.summary["undecided"] == verdicts.count("undecided")


@pytest.mark.parametrize("count", [-1, 1, 38, 1.5, True, "ten"])
def test_a_number_of_replicates_that_is_none_is_refused(count):
    with pytest.raises(ht.errors.RequestError, match="bootstrap is"):
        ht.analyze({"a.weight": gaussian(40, 30)}, bootstrap=count)


def test_a_law_that_bends_silences_the_warning_even_if_the_power_law_passes_its_own_test():
    """Of exponential tails cut short the power law's own test may say little; the laws beside it do."""
    rng = np.random.default_rng(3)
    for _ in range(10):
        W = with_eigenvalues(np.sort(1 + rng.exponential(40, 80)), 90)
        tail = tail_of(W, 40)
        rejected = tail.evidence.verdict.rejected
        assert rejected or tail.evidence.bootstrap.p_value > 0.05
        if rejected:
            assert tail.columns(spectrum_of(W).evals)["warning"] == ""


def test_eigenvalues_near_the_end_of_float64_keep_their_tail():
    W = with_eigenvalues(pareto(120, 2.0, 3), 130)
    assert tail_of(1e110 * W).fit.alpha == pytest.approx(tail_of(W).fit.alpha, rel=1e-6)
