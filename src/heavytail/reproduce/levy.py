"""The limit laws of Levy matrices against their reference values and against sampled spectra."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from heavytail.reproduce.claim import Check, Claim
from heavytail.reproduce.spectrum import eigenvalues, ks_distance
from heavytail.rmt.ensembles import pareto
from heavytail.rmt.levy import LevyWigner, LevyWishart

__all__ = ["CLAIMS"]

Generator = np.random.Generator

_AT_ZERO = {0.5: 4.1796118, 1.0: 1 / np.pi, 1.5: 0.1518004, 1.9: 0.0675519}
_AT_ONE = {1.0: 0.130005, 1.5: 0.136028, 1.9: 0.067078}
_AT_THREE = {1.0: 0.038608, 1.5: 0.069169}
_TAIL = {1.0: 0.9995, 1.5: 1.0074, 1.9: 1.0115}
_WISHART = {(1.5, 2.0, 0.469): 0.196591, (1.5, 2.0, 1.0): 0.18764, (1.5, 2.0, 5.156): 0.056783}
_WISHART |= {(1.0, 2.0, 1.0): 0.17548, (1.5, 1.0, 1.0): 0.1360284}  # (tail_mu, Q, eigenvalue): density


def _densities(_: Generator) -> dict[str, float]:
    found = {}
    for tail_mu in _AT_ZERO:
        law = LevyWigner(tail_mu)
        for x in (0.0, 1.0, 3.0):
            found[f"Wigner, mu = {tail_mu}: density at {x:g}"] = float(law.pdf(x))
        found[f"Wigner, mu = {tail_mu}: over its tail at 100"] = float(law.pdf(100.0) / law.tail_density(100.0))
    for tail_mu, Q, evals in _WISHART:
        found[f"Wishart, mu = {tail_mu}, Q = {Q}: density at {evals}"] = float(LevyWishart(tail_mu, Q).pdf(evals))
    return found


_B5 = Claim(
    "B5",
    "Densities of Levy matrices",
    "Ben Arous and Guionnet 2008, Theorem 1.4; Belinschi, Dembo and Guionnet 2009, Theorem 1.10",
    "Densities of the limit laws of symmetric (Wigner) and covariance (Wishart) Levy matrices, and the ratio to their "
    "power-law tail.",
    "formulas alone, nothing is drawn",
    _densities,
    (
        *(Check(f"Wigner, mu = {mu}: density at 0", value, 6e-8, "closed form") for mu, value in _AT_ZERO.items()),
        *(Check(f"Wigner, mu = {mu}: density at 1", value, 6e-7, "reference value") for mu, value in _AT_ONE.items()),
        *(Check(f"Wigner, mu = {mu}: density at 3", value, 6e-7, "reference value") for mu, value in _AT_THREE.items()),
        *(
            Check(f"Wigner, mu = {mu}: over its tail at 100", value, 6e-5, "reference value")
            for mu, value in _TAIL.items()
        ),
        *(
            Check(f"Wishart, mu = {mu}, Q = {Q}: density at {x}", value, 4e-5, "the eigenvalue is given to 3 decimals")
            for (mu, Q, x), value in _WISHART.items()
        ),
    ),
    seconds=0.03,
)


def _symmetric(n: int, tail_mu: float, rng: Generator) -> NDArray[np.float64]:
    """Eigenvalues of a symmetric n x n matrix of Pareto entries, P(|A_ij| > u) = u^-tail_mu / n."""
    A = np.triu(pareto(n, n, tail_mu, rng))
    return np.asarray(np.linalg.eigvalsh(A + np.triu(A, 1).T) / n ** (1 / tail_mu))


_MISMATCH = {0.7: (2000, 4, 0.01), 1.0: (2000, 4, 0.01), 1.5: (4000, 2, 0.015)}  # tail_mu: N, draws, published
_DISTANCES = {1.0: (0.017, 0.012), 1.5: (0.012, 0.012), 1.8: (0.116, 0.03)}  # tail_mu: published, tolerance


def _samples(rng: Generator) -> dict[str, float]:
    found = {}
    for tail_mu in _DISTANCES:
        law = LevyWigner(tail_mu)
        x = np.concatenate([np.abs(_symmetric(1600, tail_mu, rng)) for _ in range(2)])
        knots = np.sort(x)[::10]  # between them the distribution is interpolated, to 1e-4
        mass = 2 * np.asarray(law.cdf(knots)) - 1
        found[f"Wigner, mu = {tail_mu}: KS distance"] = ks_distance(x, partial(np.interp, xp=knots, fp=mass))
    deciles = np.arange(1, 10) / 10
    for tail_mu, (N, draws, _) in _MISMATCH.items():
        spectra = [eigenvalues(pareto(N, N // 2, tail_mu, rng)) / N ** (2 / tail_mu) for _ in range(draws)]
        below = np.mean(np.concatenate(spectra)[:, None] < LevyWishart(tail_mu, 2.0).ppf(deciles), axis=0)
        found[f"Wishart, mu = {tail_mu}: mismatch at deciles"] = float(np.abs(below - deciles).max())
    return found


_B5_SAMPLED = Claim(
    "B5-sampled",
    "Spectra of Levy matrices against their limit laws",
    "Ben Arous and Guionnet 2008; Belinschi, Dembo and Guionnet 2009",
    "Kolmogorov-Smirnov distance of sampled spectra from the limit law; at mu = 1.8 the convergence, like "
    "N^-(2/mu - 1), is slow.",
    "Wigner: 1600, 2 draws pooled, |x|; Wishart: 2000 x 1000, 4 draws pooled; 4000 x 2000, 2 draws at mu = 1.5",
    _samples,
    (
        *(
            Check(f"Wigner, mu = {mu}: KS distance", value, tolerance, "reference simulation of 2 draws")
            for mu, (value, tolerance) in _DISTANCES.items()
        ),
        *(
            Check(f"Wishart, mu = {mu}: mismatch at deciles", 0.0, most + 0.01, f"at most {most}; 2 deviations more")
            for mu, (_, _, most) in _MISMATCH.items()
        ),
    ),
    seconds=3.6,
)

CLAIMS = (_B5, _B5_SAMPLED)
"""The claims of this group, in the order of the reference."""
