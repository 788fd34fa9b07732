from dataclasses import FrozenInstanceError
from itertools import pairwise
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavytail.rmt.levy import LevyWishart
from heavytail.rmt.universality import (
    CLASSES,
    FINITE_SIZE_FIT,
    GAUSSIAN,
    LIMIT_RELATION,
    MODERATELY_HEAVY,
    SPIKED,
    VERY_HEAVY,
    WEAKLY_HEAVY,
    alpha_from_tail_index,
    classify,
    tail_index_from_alpha,
)


def test_the_heavy_classes_share_the_tail_indices_among_them():
    ranges = [row.tail_mu for row in (VERY_HEAVY, MODERATELY_HEAVY, WEAKLY_HEAVY)]
    assert ranges == [(0, 2), (2, 4), (4, inf)]
    assert all(low[1] == high[0] for low, high in pairwise(ranges))


@given(st.floats(0, 20))
def test_every_tail_index_has_one_class(tail_mu):
    if tail_mu in (0, 2, 4):
        with pytest.raises(ValueError, match="neither 2 nor 4"):
            classify(tail_mu)
        return
    low, high = classify(tail_mu).tail_mu
    assert low < tail_mu < high


def test_entries_with_all_moments_are_gaussian():
    assert classify(inf) is GAUSSIAN
    for tail_mu in (nan, -1.0):
        with pytest.raises(ValueError, match=f"tail_mu is {tail_mu:g}, expected above 0"):
            classify(tail_mu)


def test_every_statement_says_what_it_rests_on():
    for row in CLASSES:
        for statement in (row.limit, row.finite_size, row.edge, row.tail):
            assert statement.text
            assert statement.source
            assert statement.status in ("theorem", "empirical fit", "observation")
    assert len({row.name for row in CLASSES}) == len(CLASSES) == 5


def test_limits_are_theorems_and_shapes_at_practical_sizes_are_not():
    for row in CLASSES:
        assert row.limit.status == "theorem"
        assert row.finite_size.status != "theorem"
    for row in (GAUSSIAN, SPIKED, WEAKLY_HEAVY, MODERATELY_HEAVY):
        assert row.limit.text.startswith("Marchenko-Pastur")  # finite variance
    assert "Levy" in VERY_HEAVY.limit.text
    assert MODERATELY_HEAVY.finite_size.status == "empirical fit"


def test_the_table_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        MODERATELY_HEAVY.name = "other"


def test_theorem_and_fit_are_kept_apart():
    mu = np.array([0.5, 1.9, 2.0, 2.1, 3.5, 4.0, nan])
    np.testing.assert_allclose(alpha_from_tail_index(mu), [1.25, 1.95, nan, nan, nan, nan, nan])
    fitted = alpha_from_tail_index(mu, empirical=True)
    np.testing.assert_allclose(fitted, [1.25, 1.95, nan, 2.5157, 4.2097, nan, nan], rtol=1e-12)
    assert LIMIT_RELATION.status == "theorem"
    assert (FINITE_SIZE_FIT.slope, FINITE_SIZE_FIT.intercept, FINITE_SIZE_FIT.size) == (1.21, -0.0253, (2000, 1000))
    assert FINITE_SIZE_FIT.status == "empirical fit"


@pytest.mark.parametrize("tail_mu", [0.5, 1.0, 1.5])
def test_the_theorem_is_the_decay_of_the_exact_density(tail_mu):
    law, l = LevyWishart(tail_mu, 2.0), np.array([1.0, 10.0]) * 1e12 ** (2 / tail_mu)  # noqa: E741
    assert -np.diff(np.log10(law.pdf(l)))[0] == pytest.approx(alpha_from_tail_index(tail_mu), abs=1e-9)


def test_the_rule_of_the_authors_code_is_kept_as_theirs():
    alpha = [1.5, 2.0, 2.5, 3.0, 3.5, 6.0]
    assert tail_index_from_alpha(alpha).tolist() == [1, 2, 2, 2, 2.5, 5]
    np.testing.assert_equal(tail_index_from_alpha([1.0, 0.5, nan]), [nan, nan, nan])
    assert np.isscalar(tail_index_from_alpha(1.5))


@given(st.floats(0.01, 1.99))
def test_where_it_is_exact_the_rule_inverts_the_theorem(tail_mu):
    assert tail_index_from_alpha(alpha_from_tail_index(tail_mu)) == pytest.approx(tail_mu, rel=1e-12)
