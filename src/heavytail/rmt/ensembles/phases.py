r"""The phases of training as ensembles of random matrices: what a layer of each phase is taken to be.

Martin and Mahoney (2018) describe five phases and one more by their spectra, W = noise + signal, and sort layers by
eye. Here each is an ensemble that can be drawn from, so that a rule that sorts layers can be held against the truth,
and a reader can disagree with a number. The noise is Gaussian, of any variance; lambda_+ is the upper edge of its
spectrum, theta_c = Q^(-1/4) the strength at which a signal leaves it (in units of sqrt N deviations of an entry), and
the reach of a signal is the place of its eigenvalue over lambda_+ (`heavytail.rmt.spikes.AdditiveSpike`).

============== ================================================================ ====================================
phase          ensemble                                                         well inside
============== ================================================================ ====================================
random-like    noise + 0 to 3 signals of at most theta_c                        strengths up to 0.6 theta_c
bleeding-out   noise + 1 to M/20 signals; the reach of the strongest is         2.5 deviations of the strongest
               between noise's own 99.9 % point and 1/0.85                      eigenvalue from either end
bulk+spikes    noise + 1 to M/20 signals; the reach of the strongest is         2.5 deviations above 1/0.85,
               between 1/0.85 and 30, more often near                           at most M/33 signals
bulk-decay     noise + M/7 to M/2 signals whose strengths are half-normal,      M/4 to 2M/5, scale 1.5 to 2
               of a scale of 1.3 to 2.5 theta_c
bulk-decay     Gaussian rows with log-normal population eigenvalues of          deviation 0.4 to 0.6
               log deviation 0.25 to 0.7
heavy-tailed   Gaussian rows with inverse gamma population eigenvalues: a       exponent up to 2.25
               power law of exponent alpha from 1.5 to 3.25
heavy-tailed   inverse Wishart matrices, N up to 1.18 M: a power law 3/2        all
heavy-tailed   independent Pareto entries, tail_mu from 0.8 to 2                tail_mu up to 1.4
rank-collapse  one of the above in M/10 to 9M/10 fewer directions, the rest 0   M/5 directions lost or more
               or noise 10^4 to 10^8 times weaker
============== ================================================================ ====================================

Both kinds of bulk-decay carry 0 to 3 signals more, of 1 to 30 times their largest eigenvalue. A quarter of all draws of
the first five have lost up to a tenth of their directions; they are well inside up to M/20, and with at least 50
directions left. A bleeding-out that is well inside needs room between its two borders. There is none for square
matrices below M = 600, for Q = 2 below 410, for Q = 4 below 270 and for Q = 16 below 110: there the largest eigenvalue
of one and the same ensemble may show any of three phases.

Four borders are choices.

- A soft rank of 0.85 parts bleeding-out from bulk+spikes. It lies between the published 0.92 and 0.80 of the two, of a
  small AlexNet at batch sizes 150 and 50.
- Low rank ends at M/20. LeNet5 with 5.3 % of spikes is called bulk+spikes; the small AlexNet is called bulk-decay with
  4.6 % already, where the bulk has changed as well. Shares from M/20 to M/7 are in no ensemble.
- heavy-tailed ends at an exponent of 3.25, and at tail_mu = 2. Martin and Mahoney let it reach farther, to exponents of
  5 and tail_mu = 4. But a power law with an exponent of 4 cannot be told from a log-normal of deviation 0.5 in a
  spectrum of usual size, and for tail_mu from 2 to 4 the spectrum has a bulk of noise in the limit, with outliers of
  single entries. What lies between an exponent of 3.25 and exponential decay is in no ensemble, nor are log-normal
  correlations of more than 0.7, which look like a power law.
- A tenth of the directions is what is called a large mass at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from heavytail.rmt.edges import bulk_edge, largest_eigenvalue
from heavytail.rmt.ensembles.entries import Matrix, Seed, gaussian, pareto
from heavytail.rmt.ensembles.matrices import correlated, inverse_wishart, low_rank, spiked
from heavytail.rmt.spikes import AdditiveSpike

__all__ = ["CLEAR_GAP", "COLLAPSED", "PHASES", "PhaseDraw", "draw_phase"]

PHASES = ("random-like", "bleeding-out", "bulk+spikes", "bulk-decay", "heavy-tailed", "rank-collapse")
"""The phases in the order of Martin and Mahoney: five along training, and the collapse."""

CLEAR_GAP = 0.85
"""Soft rank from which on, downwards, an eigenvalue beyond the bulk is a spike apart from it."""

COLLAPSED = 0.1
"""Share of lost directions from which on a layer has collapsed."""

_LOW_RANK = 0.05
_FARTHEST = 30.0
_MARGIN = 2.5  # deviations of the strongest eigenvalue
_LEAST = 10  # directions that a collapsed layer keeps
_SMALL = 50  # directions below which nothing is well inside a phase


@dataclass(frozen=True, slots=True)
class PhaseDraw:
    """A matrix of a phase.

    Attributes:
        matrix: (N, M) float64.
        phase: one of `PHASES`.
        model: which of its ensembles it is from.
        parameters: what was drawn for it.
        inside: whether they are well inside the phase.
    """

    matrix: Matrix
    phase: str
    model: str
    parameters: Mapping[str, float]
    inside: bool


def draw_phase(phase: str, N: int, M: int, seed: Seed) -> PhaseDraw:
    """Draw a matrix of a phase, its parameters over their whole range.

    Args:
        phase: one of `PHASES`.
        N: larger dimension. An inverse Wishart matrix has its own, smaller one.
        M: smaller dimension, at least 30.
        seed: a number or a generator.

    Raises:
        ValueError: if the phase is not one of them, or not N >= M >= 30.

    Example:
        >>> draw = draw_phase("bulk+spikes", 400, 200, seed=1)
        >>> draw.matrix.shape, draw.model, draw.inside
        ((400, 200), 'low-rank signal', True)
    """
    if phase not in PHASES:
        raise ValueError(f"phase is {phase!r}; it can be {', '.join(PHASES)}")
    if not N >= M >= 30:
        raise ValueError(f"a phase is drawn for N >= M >= 30; got N = {N}, M = {M}")
    rng = np.random.default_rng(seed)
    if phase == PHASES[-1]:
        return _rank_collapse(N, M, rng)
    lost = rng.uniform(0, COLLAPSED) if rng.random() < 1 / 4 else 0.0
    rank = M - int(lost * M)
    draw = _DRAWS[phase](N, rank, rng)
    inside = draw.inside and rank >= _SMALL and M - rank <= COLLAPSED / 2 * M
    return PhaseDraw(_padded(draw.matrix, M), phase, draw.model, {**draw.parameters, "lost": 1 - rank / M}, inside)


def _random_like(N: int, M: int, rng: np.random.Generator) -> PhaseDraw:
    count, most = int(rng.integers(0, 4)), float(rng.uniform(0, 1))
    strengths = most * AdditiveSpike(M / N).threshold * np.linspace(1, 0.5, count)
    W = spiked(N, M, strengths, rng) if count else gaussian(N, M, rng)
    return PhaseDraw(W, PHASES[0], "noise", {"signals": count, "strength": most}, not count or most <= 0.6)


def _bleeding_out(N: int, M: int, rng: np.random.Generator) -> PhaseDraw:
    noise = min(float(largest_eigenvalue(N, M).quantile(0.999)) / bulk_edge(N, M), 1 / CLEAR_GAP)
    reach = rng.uniform(noise, 1 / CLEAR_GAP)
    W, count, deviation = _low_rank(N, M, reach, rng)
    inside = noise + _MARGIN * deviation <= reach <= 1 / CLEAR_GAP - _MARGIN * deviation
    return PhaseDraw(W, PHASES[1], "low-rank signal", {"signals": count, "reach": reach}, inside)


def _bulk_spikes(N: int, M: int, rng: np.random.Generator) -> PhaseDraw:
    reach = 1 + float(np.exp(rng.uniform(log(1 / CLEAR_GAP - 1), log(_FARTHEST - 1))))
    W, count, deviation = _low_rank(N, M, reach, rng)
    inside = reach >= 1 / CLEAR_GAP + _MARGIN * deviation and count <= max(1, 0.6 * _LOW_RANK * M)
    return PhaseDraw(W, PHASES[2], "low-rank signal", {"signals": count, "reach": reach}, inside)


def _low_rank(N: int, M: int, reach: float, rng: np.random.Generator) -> tuple[Matrix, int, float]:
    """Draw noise and signals; give also their number, and the deviation of the strongest one's reach."""
    model = AdditiveSpike(M / N)
    count = int(rng.integers(1, max(1, round(_LOW_RANK * M)) + 1))
    strongest = float(model.strength(sqrt(reach) * model.edge))
    weaker = np.exp(rng.uniform(log(0.9 * model.threshold), log(strongest), count - 1))
    deviation = 2 * reach * float(model.fluctuation(strongest, N)) / float(model.location(strongest))
    return spiked(N, M, np.r_[strongest, weaker], rng), count, deviation


def _bulk_decay(N: int, M: int, rng: np.random.Generator) -> PhaseDraw:
    if rng.random() < 1 / 2:
        share, scale = rng.uniform(1 / 7, 0.5), rng.uniform(1.3, 2.5)
        strengths = scale * AdditiveSpike(M / N).threshold * np.abs(rng.standard_normal(int(share * M)))
        W, model, parameters = spiked(N, M, strengths, rng), "broad signal", {"share": share, "scale": scale}
        inside = 0.25 <= share <= 0.4 and 1.5 <= scale <= 2
    else:
        spread = float(np.exp(rng.uniform(log(0.25), log(0.7))))
        W = correlated(N, np.exp(spread * rng.standard_normal(M)), rng)
        model, parameters, inside = "log-normal correlations", {"spread": spread}, 0.4 <= spread <= 0.6
    spikes = int(rng.integers(0, 4))
    if spikes:
        farther = np.exp(rng.uniform(0, log(_FARTHEST), spikes) / 2)
        W += low_rank(N, M, farther * np.linalg.norm(W, 2), rng)
    return PhaseDraw(W, PHASES[3], model, {**parameters, "spikes": spikes}, inside)


def _heavy_tailed(N: int, M: int, rng: np.random.Generator) -> PhaseDraw:
    model = rng.random()
    if model < 0.45:
        alpha = rng.uniform(1.5, 3.25)
        W = correlated(N, 1 / rng.gamma(alpha - 1, size=M), rng)
        return PhaseDraw(W, PHASES[4], "inverse gamma correlations", {"alpha": alpha}, alpha <= 2.25)
    if model < 0.9:
        tail_mu = rng.uniform(0.8, 2)
        return PhaseDraw(pareto(N, M, tail_mu, rng), PHASES[4], "Pareto entries", {"tail_mu": tail_mu}, tail_mu <= 1.4)
    aspect = rng.uniform(1, 1.18)
    return PhaseDraw(inverse_wishart(int(aspect * M), M, rng), PHASES[4], "inverse Wishart", {"aspect": aspect}, True)


def _rank_collapse(N: int, M: int, rng: np.random.Generator) -> PhaseDraw:
    kept = _DRAWS[PHASES[int(rng.integers(0, 5))]]
    lost = rng.uniform(COLLAPSED, 0.9)
    rank = max(M - int(np.ceil(lost * M)), _LEAST)
    rest = kept(N, rank, rng)
    W = _padded(rest.matrix, M)
    if rng.random() < 1 / 2:
        size = sqrt(float(np.median(rest.matrix**2)))
        W += size * 10 ** rng.uniform(-8, -4) * gaussian(len(W), M, rng)
    return PhaseDraw(W, PHASES[5], rest.model, {**rest.parameters, "lost": 1 - rank / M}, rank <= 0.8 * M)


def _padded(W: Matrix, M: int) -> Matrix:
    """Add columns of zeros, and rows where there are fewer than M."""
    return np.pad(W, ((0, max(0, M - len(W))), (0, M - W.shape[1])))


_DRAWS: dict[str, Callable[[int, int, np.random.Generator], PhaseDraw]] = dict(
    zip(PHASES[:5], (_random_like, _bleeding_out, _bulk_spikes, _bulk_decay, _heavy_tailed), strict=True)
)
