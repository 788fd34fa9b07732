"""Matrices for which there is no memory, enclosed on request: rows whose every number has a bound that holds."""

import json
from math import isfinite, isnan

import numpy as np
import pytest
from cases import gaussian

import heavytail as ht
from heavytail.analysis.cost import cost
from heavytail.analysis.memory import resident
from heavytail.diagnosis.certified import WITHIN
from heavytail.diagnosis.layer import Wanted
from heavytail.errors import RequestError
from heavytail.weights.layout import plan
from heavytail.weights.source import open_source

SHAPE = (2600, 2400)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(3)
    scales = (1 - rng.random(SHAPE[1])) ** -0.3
    return {"large.weight": gaussian(*SHAPE, seed=4) * scales, "small.weight": gaussian(80, 60, seed=5)}


def too_little(model):
    """A limit that leaves less than the large matrix needs exactly, and more than its enclosure does."""
    (large, _) = plan(open_source(model).tensors)
    import scipy.linalg.lapack  # noqa: F401  # what a first analysis would load

    return resident() + (64 << 20) + cost(large, Wanted()).memory * 3 // 4


@pytest.fixture(scope="module")
def enclosed(model):
    ht.analyze({"w": gaussian(30, 20)})
    return ht.analyze(model, memory_limit=too_little(model), approximate=True, jobs=1)


def test_without_being_asked_a_matrix_that_does_not_fit_is_a_failed_row(model):
    ht.analyze({"w": gaussian(30, 20)})
    report = ht.analyze(model, memory_limit=too_little(model), jobs=1)
    large, small = report.rows
    assert (large.status, small.status) == ("failed", "ok")
    assert "needs" in large.reason
    assert "there is room for" in large.reason
    assert not report.complete


def test_every_number_of_an_enclosed_row_has_a_bound_that_holds_the_exact_one(model, enclosed):
    exact = ht.analyze(model, jobs=1).rows[0]
    row, bounds = enclosed.rows[0], enclosed.bounds["large"]
    assert row.status == "ok"
    assert "bounds hold with probability 0.999" in row.reason
    numbers = {name: value for name, value in row.as_dict().items() if isinstance(value, float) and isfinite(value)}
    for name in set(numbers) - {"N", "M", "Q", "num_matrices", "num_evals"}:
        assert bounds[name].lo <= getattr(exact, name) <= bounds[name].hi
        assert bounds[name].lo <= numbers[name] <= bounds[name].hi
    assert {"norm", "log_norm", "lambda_max", "stable_rank"} <= set(numbers)


def test_a_number_whose_bounds_are_wide_and_all_that_needs_every_eigenvalue_is_missing(enclosed):
    row, bounds = enclosed.rows[0], enclosed.bounds["large"]
    for name, bound in bounds.items():
        if not name.startswith("log_") and bound.hi - bound.lo > 2 * WITHIN * bound.lo:
            assert isnan(getattr(row, name))
    assert isnan(row.alpha)
    assert isnan(row.sigma_mp)
    assert row.phase == ""


def test_the_bounds_are_in_the_json_and_the_page_shows_the_row(enclosed, tmp_path):
    data = json.loads(enclosed.to_json())
    assert list(data["bounds"]) == ["large"]
    lo, hi = data["bounds"]["large"]["lambda_max"]
    assert lo <= data["layers"][0]["lambda_max"] <= hi
    assert data["settings"]["approximate"] is True
    enclosed.to_html(tmp_path / "page.html")
    assert "bounds hold with probability" in (tmp_path / "page.html").read_text()


def test_what_fits_is_exact_and_the_same_as_ever(model, enclosed):
    assert enclosed.rows[1] == ht.analyze(model, jobs=1).rows[1]
    assert "small" not in enclosed.bounds


def test_an_enclosed_matrix_is_kept_in_a_cache_like_any_other(model, enclosed, tmp_path):
    limit = too_little(model)
    first = ht.analyze(model, memory_limit=limit, approximate=True, jobs=1, cache=tmp_path)
    again = ht.analyze(model, memory_limit=limit, approximate=True, jobs=1, cache=tmp_path)
    assert first.bounds == again.bounds == enclosed.bounds
    exact = ht.analyze(model, jobs=1, cache=tmp_path)
    assert isfinite(exact.rows[0].alpha)  # what was enclosed does not pass for exact


def test_weightwatchers_numbers_cannot_be_enclosed(model):
    with pytest.raises(RequestError, match="convention 'weightwatcher'"):
        ht.analyze(model, convention="weightwatcher", approximate=True)
