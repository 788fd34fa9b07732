"""Random matrices to draw: noise, heavy tails, planted signals, and the phases of training.

A sampler is `name(N, M, ..., seed)` and gives a float64 array of N rows and M columns, N and M at least 1 (ValueError
otherwise). The seed is a number or a generator, and the same seed gives the same bytes. Entries are independent, of
mean 0 and variance 1, where nothing else is said.
"""

from heavytail.rmt.ensembles.entries import ENTRIES, gaussian, laplace, levy, lomax, pareto, student_t, uniform
from heavytail.rmt.ensembles.matrices import (
    correlated,
    goe,
    haar,
    inverse_wishart,
    largest_eigenvalues,
    low_rank,
    rank_deficient,
    spiked,
    wishart_bidiagonal,
)
from heavytail.rmt.ensembles.phases import PHASES, PhaseDraw, draw_phase

__all__ = [
    "ENTRIES",
    "PHASES",
    "PhaseDraw",
    "correlated",
    "draw_phase",
    "gaussian",
    "goe",
    "haar",
    "inverse_wishart",
    "laplace",
    "largest_eigenvalues",
    "levy",
    "lomax",
    "low_rank",
    "pareto",
    "rank_deficient",
    "spiked",
    "student_t",
    "uniform",
    "wishart_bidiagonal",
]
