from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from heavytail.rmt.edges import bulk_edge, largest_eigenvalue
from heavytail.rmt.ensembles import PHASES, draw_phase
from heavytail.rmt.ensembles.phases import CLEAR_GAP, COLLAPSED
from heavytail.rmt.marchenko_pastur import MarchenkoPastur
from heavytail.rmt.spikes import AdditiveSpike
from heavytail.rmt.universality import alpha_from_tail_index

NOISY = {"signals": (0, 3), "strength": (0, 1)}
BLEEDING = {"signals": (1, 0.05), "reach": (1, 1 / CLEAR_GAP)}  # a part of M for the number of signals
SPIKES = {"signals": (1, 0.05), "reach": (1 / CLEAR_GAP, 30)}
STATED = {  # (phase, ensemble): what it draws and the range of each, then the range where it is well inside
    ("random-like", "noise"): (NOISY, NOISY | {"strength": (0, 0.6)}),
    ("bleeding-out", "low-rank signal"): (BLEEDING, BLEEDING),
    ("bulk+spikes", "low-rank signal"): (SPIKES, SPIKES | {"signals": (1, 0.03)}),
    ("bulk-decay", "broad signal"): (
        {"share": (1 / 7, 1 / 2), "scale": (1.3, 2.5), "spikes": (0, 3)},
        {"share": (1 / 4, 2 / 5), "scale": (1.5, 2), "spikes": (0, 3)},
    ),
    ("bulk-decay", "log-normal correlations"): (
        {"spread": (0.25, 0.7), "spikes": (0, 3)},
        {"spread": (0.4, 0.6), "spikes": (0, 3)},
    ),
    ("heavy-tailed", "inverse gamma correlations"): ({"alpha": (1.5, 3.25)}, {"alpha": (1.5, 2.25)}),
    ("heavy-tailed", "inverse Wishart"): ({"aspect": (1, 1.18)}, {"aspect": (1, 1.18)}),
    ("heavy-tailed", "Pareto entries"): ({"tail_mu": (0.8, 2)}, {"tail_mu": (0.8, 1.4)}),
}


def draws(phase, N, M, count, seed=0):
    return [draw_phase(phase, N, M, np.random.default_rng([seed, PHASES.index(phase), i])) for i in range(count)]


def lost(draw):
    """How many directions a draw has lost, from its entries: columns that are nothing beside its large ones."""
    size = np.sqrt((draw.matrix**2).mean(axis=0))
    return int((size < 1e-3 * np.quantile(size, 0.95)).sum())


def kept(draw):
    """The matrix without its columns of zeros, which stand last."""
    M = draw.matrix.shape[1]
    return draw.matrix[:, : M - round(draw.parameters["lost"] * M)]


def variance(draw):
    """That of the noise: 1, or the 1/N of `spiked`, which no observation can tell from it."""
    return 1.0 if np.median(kept(draw) ** 2) > 0.1 else 1 / len(draw.matrix)


def eigenvalues(W):
    return np.linalg.eigvalsh(W.T @ W)


def within(parameters, ranges, M):
    """Whether each parameter is in its range; a number of signals is at least one whatever M is."""
    for name, (low, high) in ranges.items():
        most = max(1, round(high * M)) if name == "signals" and high < 1 else high
        if not low - 1e-12 <= parameters[name] <= most + 1e-12:
            return False
    return True


def one_of(phase, model, N, M, where=lambda parameters: True):
    """The first draw of an ensemble that has lost nothing; draws of a small size tell its kind."""
    for seed in range(10_000):
        small = draw_phase(phase, 60, 60, seed)
        if small.model == model and small.parameters["lost"] == 0:
            draw = draw_phase(phase, N, M, seed)
            if where(draw.parameters):
                return draw
    raise AssertionError


def without_spikes(parameters):
    return parameters["spikes"] == 0


# ------------------------------------------------------------------------------------------------- what is promised


def test_the_phases_are_those_of_the_paper_in_its_order():
    assert PHASES == ("random-like", "bleeding-out", "bulk+spikes", "bulk-decay", "heavy-tailed", "rank-collapse")
    assert {phase for phase, _ in STATED} == set(PHASES) - {"rank-collapse"}


@pytest.mark.parametrize("phase", PHASES)
def test_the_seed_alone_decides_the_draw(phase):
    one, same, generator, other = (draw_phase(phase, 90, 40, s) for s in (3, 3, np.random.default_rng(3), 4))
    assert one.matrix.dtype == np.float64
    assert one.matrix.tobytes() == same.matrix.tobytes() == generator.matrix.tobytes()
    assert (one.phase, one.model, one.parameters, one.inside) == (same.phase, same.model, same.parameters, same.inside)
    assert one.matrix.tobytes() != other.matrix.tobytes()
    rng = np.random.default_rng(3)
    assert draw_phase(phase, 90, 40, rng).matrix.tobytes() != draw_phase(phase, 90, 40, rng).matrix.tobytes()


@pytest.mark.parametrize(
    ("phase", "N", "M", "said"),
    [
        ("noise", 60, 40, "phase is 'noise'; it can be random-like, .*, rank-collapse"),
        ("random-like", 40, 60, "N >= M >= 30; got N = 40, M = 60"),
        ("rank-collapse", 40, 29, "N >= M >= 30; got N = 40, M = 29"),
    ],
)
def test_a_bad_request_is_told_what_was_seen_and_expected(phase, N, M, said):
    with pytest.raises(ValueError, match=said) as caught:
        draw_phase(phase, N, M, 0)
    assert "\n" not in str(caught.value)


@given(phase=st.sampled_from(PHASES), M=st.integers(30, 70), more=st.integers(0, 60), seed=st.integers(0, 10**6))
def test_a_draw_has_the_shape_asked_for_and_finite_entries(phase, M, more, seed):
    draw = draw_phase(phase, M + more, M, seed)
    assert draw.phase == phase
    assert np.isfinite(draw.matrix).all()
    assert draw.matrix.any()
    if draw.model == "inverse Wishart":
        rows, columns = draw.matrix.shape
        assert columns == M
        assert M <= rows <= max(M, int(1.18 * M))
    else:
        assert draw.matrix.shape == (M + more, M)


@pytest.mark.parametrize("phase", PHASES[:-1])
@pytest.mark.parametrize(("N", "M", "count"), [(30, 30, 150), (120, 60, 150), (3200, 200, 40)])
def test_parameters_are_in_the_stated_ranges_and_the_tighter_ones_well_inside(phase, N, M, count):
    found = draws(phase, N, M, count)
    assert {(draw.phase, draw.model) for draw in found} == {key for key in STATED if key[0] == phase}
    for draw in found:
        ranges, tighter = STATED[phase, draw.model]
        assert set(draw.parameters) == {*ranges, "lost"}
        assert within(draw.parameters, ranges, M)
        assert 0 <= draw.parameters["lost"] <= COLLAPSED
        if draw.inside:
            assert within(draw.parameters, tighter, M) or draw.parameters.get("signals") == 0
            assert draw.parameters["lost"] <= COLLAPSED / 2 + 1e-12
            assert kept(draw).shape[1] >= 50
    # Between noise and spikes of a small layer there is no room that is clear of both.
    assert any(draw.inside for draw in found) == (M >= 50 if phase != "bleeding-out" else M == 200)
    assert not all(draw.inside for draw in found)


@pytest.mark.parametrize("phase", PHASES[:-1])
def test_a_quarter_of_the_draws_have_lost_up_to_a_tenth_of_their_directions(phase):
    found = draws(phase, 60, 50, 400, seed=1)
    directions = [lost(draw) for draw in found]
    assert [50 * draw.parameters["lost"] for draw in found] == pytest.approx(directions, abs=1e-9)
    # Of 50 directions up to a tenth, rounded down: from none to four, each as often.
    chances = np.array([3 / 4 + 1 / 20, *[1 / 20] * 4])
    assert stats.chisquare(np.bincount(directions, minlength=5), 400 * chances).pvalue > 0.001


def test_a_collapsed_matrix_has_lost_the_stated_number_of_directions_sharply_or_softly():
    N, M = 200, 100
    found = draws("rank-collapse", N, M, 120)
    assert {draw.model for draw in found} == {model for _, model in STATED}
    exact = 0
    for draw in found:
        share = draw.parameters["lost"]
        assert COLLAPSED <= share <= 0.9
        zeros = round(share * M)
        assert zeros == pytest.approx(share * M, abs=1e-9)  # the true share, of whole directions
        assert draw.inside == (zeros >= M / 5)
        assert lost(draw) == zeros
        assert len(draw.matrix) >= M
        s = np.linalg.svd(draw.matrix, compute_uv=False)[::-1]
        kept = draw.matrix[:, : M - zeros]
        kept = kept[np.abs(kept).max(axis=1) > 1e-3 * np.quantile(np.abs(kept).max(axis=1), 0.95)]  # not the padding
        noise = sqrt(np.median(kept**2)) * (sqrt(len(draw.matrix)) + sqrt(M))
        assert s[zeros - 1] < 1.1e-4 * noise
        assert s[zeros] > 1e3 * s[zeros - 1]
        exact += s[zeros - 1] < 1e-12 * s[-1]
    assert stats.binomtest(exact, 120, 0.5).pvalue > 0.001


# ------------------------------------------------------------------------------------------------------ the physics


def test_noise_well_inside_passes_the_tracy_widom_points_as_often_as_theory_says():
    N, M = 120, 60
    top = {0: [], 1: []}
    for draw in draws("random-like", N, M, 1500, seed=2):
        if draw.inside:
            W = kept(draw)
            chance = largest_eigenvalue(N, W.shape[1]).p_value(eigenvalues(W)[-1] / variance(draw))
            top[int(draw.parameters["signals"] > 0)].append(float(chance))
    alone, lifted = np.array(top[0]), np.array(top[1])
    assert min(alone.size, lifted.size) > 300
    for level in (0.001, 0.05, 0.5):
        assert stats.binomtest(int((alone < level).sum()), alone.size, level).pvalue > 0.001
    # Signals up to 0.6 of the threshold lift it a little at this size: to within a factor 2 of the chance.
    assert stats.binomtest(int((lifted < 0.001).sum()), lifted.size, 0.002, alternative="greater").pvalue > 0.001
    assert stats.binomtest(int((lifted < 0.05).sum()), lifted.size, 0.1, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("phase", ["bleeding-out", "bulk+spikes"])
def test_the_strongest_eigenvalue_stands_where_the_reach_says(phase):
    N, M = 3200, 200
    alone, others = [], []
    for draw in draws(phase, N, M, 80, seed=3):
        W, reach = kept(draw), draw.parameters["reach"]
        model = AdditiveSpike(W.shape[1] / N)
        strength = model.strength(sqrt(reach) * model.edge)
        deviation = 2 * reach * model.fluctuation(strength, N) / model.location(strength)
        place = eigenvalues(W)[-1] / variance(draw) / bulk_edge(N, W.shape[1])
        if draw.inside:
            (alone if draw.parameters["signals"] == 1 else others).append((place - reach) / deviation)
    assert len(others) > 20
    # A lone signal scatters about its reach; others beneath it push it out, by about one deviation.
    assert np.abs(alone).max() < 3.5
    assert -4 < min(others) < max(others) < 5
    assert -0.5 < np.mean(others) < 1.5


def test_broad_signals_have_the_stated_share_and_scale():
    N, M = 400, 200
    draw = one_of("bulk-decay", "broad signal", N, M, without_spikes)
    count = int(draw.parameters["share"] * M)
    # The mean square of the entries is 1 of the noise and that of the strengths.
    power = count * (draw.parameters["scale"] * (M / N) ** 0.25) ** 2 / M
    spread = power * sqrt(2 / count) + sqrt(2 / (N * M))
    unit = 1.0 if (draw.matrix**2).mean() > 0.1 else 1 / N
    assert (draw.matrix**2).mean() / unit == pytest.approx(1 + power, abs=4 * spread)


def test_log_normal_correlations_have_the_stated_deviation():
    draw = one_of("bulk-decay", "log-normal correlations", 1000, 500, without_spikes)
    logs = np.log((draw.matrix**2).mean(axis=0))
    spread = draw.parameters["spread"]
    assert logs.std() == pytest.approx(spread, rel=4 / sqrt(2 * 500))  # samples add 2/1000 to the variance of the log
    assert stats.kstest(logs, stats.norm(0, sqrt(spread**2 + 2 / 1000)).cdf).pvalue > 0.01


def test_bulk_decay_carries_none_to_three_spikes_up_to_thirty_times_its_largest_eigenvalue():
    found = [draw for draw in draws("bulk-decay", 60, 60, 1200, seed=4) if draw.parameters["lost"] == 0]
    counts = np.bincount([draw.parameters["spikes"] for draw in found])
    assert counts.size == 4
    assert stats.chisquare(counts).pvalue > 0.001
    ratios = {spikes: [] for spikes in range(4)}
    for draw in found:
        x, spikes = eigenvalues(draw.matrix)[::-1], draw.parameters["spikes"]
        ratios[spikes].append(x[0] / x[max(spikes, 1)])  # the largest over the largest of what is no spike
    assert np.quantile(ratios[0], 0.9) < 2
    # Log-uniform from 1 to 30: half are beyond sqrt(30). The body's own largest two are less than a factor 2 apart.
    lone = np.array(ratios[1])
    assert stats.binomtest(int((lone > 2 * sqrt(30)).sum()), lone.size, 0.5, alternative="greater").pvalue > 0.001
    assert stats.binomtest(int((lone > sqrt(30) / 2).sum()), lone.size, 0.5, alternative="less").pvalue > 0.001
    assert 20 < lone.max() < 2 * 30
    assert np.median(ratios[1]) < np.median(ratios[2]) < np.median(ratios[3])  # the farthest of more


def test_inverse_gamma_correlations_have_the_tail_exponent_alpha():
    draw = one_of("heavy-tailed", "inverse gamma correlations", 1500, 1500)
    alpha, law = draw.parameters["alpha"], stats.invgamma(draw.parameters["alpha"] - 1)
    assert stats.kstest((draw.matrix**2).mean(axis=0), law.cdf).pvalue > 0.01
    far = law.ppf(1 - np.array([1e-8, 1e-9]))
    assert -np.diff(law.logpdf(far))[0] / log(far[1] / far[0]) == pytest.approx(alpha, abs=1e-3)
    x = eigenvalues(draw.matrix)[-60:]
    assert 1 / np.log(x / x[0]).mean() == pytest.approx(alpha - 1, rel=4 / sqrt(60))


@pytest.mark.parametrize("band", [(0.8, 1.1), (1.1, 1.4), (1.4, 1.7)])
def test_pareto_entries_give_the_exponent_of_the_very_heavy_class(band):
    draw = one_of("heavy-tailed", "Pareto entries", 1000, 500, lambda p: band[0] <= p["tail_mu"] < band[1])
    tail_mu = draw.parameters["tail_mu"]
    assert stats.kstest(np.abs(draw.matrix).ravel(), stats.pareto(tail_mu).cdf).pvalue > 0.01
    x = eigenvalues(draw.matrix)[-50:]
    slope = 1 / np.log(x / x[0]).mean()
    assert float(alpha_from_tail_index(tail_mu)) == 1 + tail_mu / 2
    assert slope == pytest.approx(tail_mu / 2, rel=4 / sqrt(50))


def test_inverse_wishart_matrices_have_the_inverses_of_marchenko_pasturs_eigenvalues_at_their_own_aspect():
    draw = one_of("heavy-tailed", "inverse Wishart", 900, 300)
    N, M = draw.matrix.shape
    assert (N, M) == (int(draw.parameters["aspect"] * 300), 300)
    law = MarchenkoPastur(N / M)
    y = eigenvalues(draw.matrix) / N
    assert np.abs(law.cdf(np.sort(1 / y)) - np.arange(0.5, M) / M).max() < 3 / M * log(M)
