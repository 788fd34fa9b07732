r"""The largest eigenvalue of W^T W when the entries of W have a power-law tail.

Entries are independent of either sign with P(|w| > t) = density t^-tail_mu for t >= 1 and 0 otherwise; W is N x M and
nothing is divided by N. Below tail_mu = 4 the largest eigenvalue follows the largest entry (Soshnikov 2006; Auffinger,
Ben Arous and Peche 2009) and has a Frechet limit; above, it stays at the Marchenko-Pastur edge. For 2 < tail_mu < 4
the limit is out of reach at any practical size, and `largest_eigenvalue_quantile` gives the finite-size law instead.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.stats.distributions import rv_frozen

__all__ = [
    "critical_tail_index",
    "esd_exponent",
    "expected_scaling",
    "largest_eigenvalue_law",
    "largest_eigenvalue_quantile",
    "num_outliers",
    "poisson_edge",
    "spike_law",
]

Vector = NDArray[np.float64]


def largest_eigenvalue_law(N: int, M: int, tail_mu: float, density: float = 1.0) -> rv_frozen:
    r"""Give the limiting Frechet law of the largest eigenvalue, P(lmax <= x) = exp(-density N M x^(-tail_mu/2)).

    It is the law of the square of the largest entry (Auffinger, Ben Arous and Peche 2009). Its mean is
    infinite for tail_mu <= 2: compare medians and quantiles. It is good for tail_mu < 2; between 2 and 4 the bulk adds
    to the largest entry at any practical size, see `largest_eigenvalue_quantile`.

    Args:
        N: rows of W.
        M: columns of W.
        tail_mu: tail index of the entries, in (0, 4).
        density: share of the entries that are not zero, in (0, 1].

    Returns:
        A frozen scipy.stats.invweibull with all its methods.

    Raises:
        ValueError: if an argument is out of range; from tail_mu = 4 on the law is another.

    Example:
        >>> law = largest_eigenvalue_law(200, 100, 1.0)
        >>> round(float(law.median()) / (200 * 100) ** 2, 2)
        2.08
    """
    from scipy.stats import invweibull  # scipy.stats is slow to import

    _check(N, M, tail_mu, density)
    if not tail_mu < 4:
        raise ValueError(f"tail_mu is {tail_mu:g}: from 4 on the largest eigenvalue follows no Frechet law")
    return invweibull(tail_mu / 2, scale=(density * N * M) ** (2 / tail_mu))


def spike_law(largest_entry: ArrayLike, N: int, M: int, sigma: float) -> Vector:
    r"""Give the largest eigenvalue of W^T W with one entry A far above the others, whose standard deviation is sigma.

    .. math:: \lambda = (A^2 + N \sigma^2) (A^2 + M \sigma^2) / A^2 \quad (A > (NM)^{1/4} \sigma),

    and the Marchenko-Pastur edge sigma^2 (sqrt N + sqrt M)^2 for smaller A, which it joins smoothly: a large entry is a
    rank-one perturbation (Biroli, Bouchaud and Potters 2007; Benaych-Georges and Nadakuditi 2012).

    Args:
        largest_entry: A = max |w|, any shape.
        N: rows of W.
        M: columns of W.
        sigma: standard deviation of the entries, not negative.

    Returns:
        The eigenvalues, in the shape of A.

    Raises:
        ValueError: if sigma is negative or not finite, or a size not positive.

    Example:
        >>> spike_law([0.0, 10.0, 100.0], 100, 100, 1.0).tolist()
        [400.0, 400.0, 10201.0]
    """
    if min(N, M) < 1 or not 0 <= sigma < inf:
        raise ValueError(f"expected sizes and a finite sigma >= 0; got N = {N}, M = {M}, sigma = {sigma:g}")
    # Holding A^2 at the threshold where it is smaller gives the edge.
    A2 = np.maximum(np.square(np.asarray(largest_entry, dtype=np.float64)), np.sqrt(float(N) * M) * sigma**2)
    with np.errstate(invalid="ignore"):
        spike = (1 + N * sigma**2 / A2) * (A2 + M * sigma**2)
    return np.where(A2 == 0, 0.0, spike)[()]


def largest_eigenvalue_quantile(q: ArrayLike, N: int, M: int, tail_mu: float, density: float = 1.0) -> Vector:
    r"""Give quantiles of the largest eigenvalue at finite size, for tail_mu above 2.

    `spike_law` at the exact quantile of the largest of the N M entries, P(A <= t) = (1 - density t^-tail_mu)^(N M),
    with sigma^2 = density tail_mu / (tail_mu - 2). As `spike_law` grows with A, this is the quantile itself. From
    tail_mu = 4 on its mass moves to the Marchenko-Pastur edge, whose own fluctuations are left out.

    Args:
        q: probabilities, any shape; NaN outside [0, 1].
        N: rows of W.
        M: columns of W.
        tail_mu: tail index of the entries, above 2.
        density: share of the entries that are not zero, in (0, 1].

    Returns:
        The quantiles, in the shape of q.

    Raises:
        ValueError: if an argument is out of range; up to tail_mu = 2 there is no sigma, see `largest_eigenvalue_law`.

    Example:
        >>> round(float(largest_eigenvalue_quantile(0.5, 200, 100, 2.5)) / (200 * 100) ** (2 / 2.5), 3)
        1.933
    """
    sigma = _sigma(N, M, tail_mu, density)
    q = np.asarray(q, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = -np.expm1(np.log(q) / (float(N) * M))  # P(|w| > A), free of cancellation
        A = (density / np.where(above >= 0, above, np.nan)) ** (1 / tail_mu)
    return spike_law(A, N, M, sigma)


def expected_scaling(N: int, M: int, tail_mu: float) -> float:
    """Give the scale M^(4/tail_mu - 1) Q^(2/tail_mu - 1) of the largest eigenvalue of X = W^T W / N, Q = N/M.

    It is (N M)^(2/tail_mu) / N, in the form of Martin and Mahoney (2018): how the typical value grows with size, up to
    a factor; the mean itself is infinite for tail_mu <= 2.

    Raises:
        ValueError: if an argument is out of range, tail_mu in (0, 4).

    Example:
        >>> expected_scaling(400, 200, 1.0) / expected_scaling(200, 100, 1.0)
        8.0
    """
    _check(N, M, tail_mu, 1.0)
    if not tail_mu < 4:
        raise ValueError(f"tail_mu is {tail_mu:g}, expected below 4: beyond, the edge of X does not grow")
    return float(float(M) ** (4 / tail_mu - 1) * (N / M) ** (2 / tail_mu - 1))


def num_outliers(N: int, M: int, tail_mu: float, density: float = 1.0) -> float:
    """Give the expected number of entries above (N M)^(1/4) sigma, each of which makes one outlier eigenvalue.

    Those barely above the threshold stay hidden in the edge's own fluctuations, so that fewer are seen at finite size.
    For 2 < tail_mu < 4 it grows as N^(2 - tail_mu/2): a vanishing share of the spectrum, which therefore has the
    Marchenko-Pastur law for its limit, while these few eigenvalues carry its visible tail.

    Raises:
        ValueError: if an argument is out of range, tail_mu above 2.

    Example:
        >>> round(num_outliers(1600, 1600, 3.0), 1)
        7.7
    """
    threshold = (float(N) * M) ** 0.25 * _sigma(N, M, tail_mu, density)
    return float(N * M * density * min(1.0, threshold**-tail_mu))


def critical_tail_index(nu: float) -> float:
    """Give the tail index 2 (1 + 1/nu) below which a sparse matrix has Poisson edges (Auffinger and Tang 2016).

    Args:
        nu: sparsity, in (0, 1]: an n x n matrix has about n^(1 + nu) entries that are not zero; 1 is a full matrix.

    Raises:
        ValueError: if nu is out of range.

    Example:
        >>> critical_tail_index(1.0), critical_tail_index(0.5)
        (4.0, 6.0)
    """
    if not 0 < nu <= 1:
        raise ValueError(f"nu is {nu:g}, expected in (0, 1]")
    return 2 * (1 + 1 / nu)


def poisson_edge(tail_mu: float, nu: float = 1.0) -> bool:
    """Tell whether the largest eigenvalues are a Poisson process, as the largest entries are (Auffinger and Tang 2016).

    Otherwise they stay at the edge of the bulk. The critical case itself belongs to neither; it gives False.

    Raises:
        ValueError: if tail_mu is not positive or nu is out of range.

    Example:
        >>> poisson_edge(5.0), poisson_edge(5.0, nu=0.5)
        (False, True)
    """
    if not tail_mu > 0:
        raise ValueError(f"tail_mu is {tail_mu:g}, expected above 0")
    return tail_mu < critical_tail_index(nu)


def esd_exponent(tail_mu: float) -> float:
    """Give the exponent 1 + tail_mu/2 of the limiting eigenvalue density of W^T W, for tail_mu in (0, 2).

    It is exact there (Belinschi, Dembo and Guionnet 2009; `heavytail.rmt.levy`), and has no counterpart above.

    Raises:
        ValueError: if tail_mu is not in (0, 2).

    Example:
        >>> esd_exponent(1.0)
        1.5
    """
    if not 0 < tail_mu < 2:
        raise ValueError(
            f"tail_mu is {tail_mu:g}, expected in (0, 2): from 2 on the variance is finite, the limiting density is "
            "that of Marchenko and Pastur, and a power law is a finite-size effect"
        )
    return 1 + tail_mu / 2


def _check(N: int, M: int, tail_mu: float, density: float) -> None:
    """Check sizes, tail index and density."""
    if min(N, M) < 1 or not tail_mu > 0 or not 0 < density <= 1:
        raise ValueError(
            f"expected sizes >= 1, tail_mu > 0 and density in (0, 1]; got {N} x {M}, tail_mu {tail_mu:g}, "
            f"density {density:g}"
        )


def _sigma(N: int, M: int, tail_mu: float, density: float) -> float:
    """Check the arguments, and give the standard deviation of the entries."""
    _check(N, M, tail_mu, density)
    if not 2 < tail_mu < inf:
        raise ValueError(f"tail_mu is {tail_mu:g}, expected above 2 and finite: up to 2 the entries have no variance")
    return float(np.sqrt(density * tail_mu / (tail_mu - 2)))
