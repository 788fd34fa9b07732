"""The limit laws of Levy matrices against their reference values and against sampled spectra."""

from __future__ import annotations

import numpy as np

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
        for x in (0, 1, 3):
            found[f"Wigner, mu = {tail_mu}: density at {x}"] = float(law.pdf(float(x)))
        found[f"Wigner, mu = {tail_mu}: over its tail at 100"] = float(law.pdf(100.0) / law.tail_density(100.0))
    for tail_mu, Q, x in _WISHART:
        found[f"Wishart, mu = {tail_mu}, Q = {Q}: density at {x}"] = float(LevyWishart(tail_mu, Q).pdf(x))
    return found


_B5 = Claim(
    "B5",
    "Densities of Levy matrices",
    "Ben Arous and Guionnet 2008, Theorem 1.4; Belinschi, Dembo and Guionnet 2009, Theorem 1.10",
    "Densities of the limit laws of symmetric (Wigner) and covariance (Wishart) Levy matrices, and the ratio to their "
    "power-law tail.",
    "exact",
    _densities,
    (
        *(Check(f"Wigner, mu = {mu}: density at 0", value, 6e-8, "closed form") for mu, value in _AT_ZERO.items()),
        *(Check(f"Wigner, mu = {mu}: density at 1", value, 6e-7, "digits given") for mu, value in _AT_ONE.items()),
        *(Check(f"Wigner, mu = {mu}: density at 3", value, 6e-7, "digits given") for mu, value in _AT_THREE.items()),
        *(
            Check(f"Wigner, mu = {mu}: over its tail at 100", value, 6e-5, "digits given")
            for mu, value in _TAIL.items()
        ),
        *(
            Check(f"Wishart, mu = {mu}, Q = {Q}: density at {x}", value, 4e-5, "the eigenvalue is given to 3 decimals")
            for (mu, Q, x), value in _WISHART.items()
        ),
    ),
    seconds=0.1,
)


def _symmetric(n: int, tail_mu: float, rng: Generator) -> np.ndarray:
    """Eigenvalues of a symmetric n x n matrix of Pareto entries, P(|A_ij| > u) = u^-tail_mu / n."""
    A = np.triu(pareto(n, n, tail_mu, rng))
    return np.linalg.eigvalsh(A + np.triu(A, 1).T) / n ** (1 / tail_mu)


_DISTANCES = {1.0: (0.017, 0.012), 1.5: (0.012, 0.012), 1.8: (0.116, 0.03)}  # tail_mu: published, tolerance


def _samples(rng: Generator) -> dict[str, float]:
    found = {}
    for tail_mu in _DISTANCES:
        law = LevyWigner(tail_mu)
        x = np.concatenate([np.abs(_symmetric(1600, tail_mu, rng)) for _ in range(2)])
        found[f"Wigner, mu = {tail_mu}: KS distance"] = ks_distance(x, lambda x, law=law: 2 * law.cdf(x) - 1)
    for tail_mu in (0.7, 1.0, 1.5):
        evals = eigenvalues(pareto(2000, 1000, tail_mu, rng)) / 2000 ** (2 / tail_mu)
        found[f"Wishart, mu = {tail_mu}: KS distance"] = ks_distance(evals, LevyWishart(tail_mu, 2.0).cdf)
    return found


_B5_SAMPLED = Claim(
    "B5-sampled",
    "Spectra of Levy matrices against their limit laws",
    "Ben Arous and Guionnet 2008; Belinschi, Dembo and Guionnet 2009",
    "Kolmogorov-Smirnov distance of sampled spectra from the limit law; at mu = 1.8 the convergence, like "
    "N^-(2/mu - 1), is slow.",
    "Wigner: 1600, 2 draws pooled, |x|; Wishart: 2000 x 1000, 1 draw (published: 2000 rows)",
    _samples,
    (
        *(
            Check(f"Wigner, mu = {mu}: KS distance", value, tolerance, "simulation of 2 draws")
            for mu, (value, tolerance) in _DISTANCES.items()
        ),
        Check("Wishart, mu = 0.7: KS distance", 0.0, 0.02, "below 0.01 at quantiles; the sample's own steps added"),
        Check("Wishart, mu = 1.0: KS distance", 0.0, 0.02, "below 0.01 at quantiles; likewise"),
        Check("Wishart, mu = 1.5: KS distance", 0.0, 0.025, "below 0.015 at quantiles; likewise"),
    ),
    seconds=4.0,
)

CLAIMS = (_B5, _B5_SAMPLED)
"""The claims of this group, in the order of the reference."""
