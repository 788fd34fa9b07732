"""How much of a fitted exponent hangs on the few largest points, called fingers.

An exponent that a few points decide is not a property of the layer. In MiniLM the value matrix of layer 4 has alpha
8.4 by WeightWatcher's search, which calls it under-trained, and 2.5 once its largest eigenvalue of 384 is left out:
that one point moves the start of the tail from the 9 largest points to the 86 largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from numpy.typing import ArrayLike

from heavytail.tails.power_law import MIN_TAIL, PowerLawFit, as_sample, fit_power_law

__all__ = ["FALL", "Fingers", "find_fingers"]

FALL = 1.0
"""Fall of alpha beyond which the points left out are fingers: WeightWatcher's `finger_thresh`."""


@dataclass(frozen=True, slots=True)
class Fingers:
    """The exponent of a tail as its largest points are left out one after the other.

    Attributes:
        fit: fit to all points.
        alphas: exponent without the k largest points, k = 0, 1, ...; NaN where the rest has no fit.
        count: fewest largest points to leave out for alpha to fall by more than the threshold, 0 where none will do.
        clipped: fit without those points; `fit` itself where count is 0.
    """

    fit: PowerLawFit
    alphas: tuple[float, ...]
    count: int
    clipped: PowerLawFit

    @property
    def shift(self) -> float:
        """Change of alpha farthest from zero, with its sign; zero where nothing could be left out."""
        return max((alpha - self.fit.alpha for alpha in self.alphas if alpha == alpha), key=abs)

    @property
    def shift_in_sigma(self) -> float:
        """The shift in standard errors of the fit to all points."""
        return self.shift / self.fit.sigma

    @property
    def fall(self) -> float:
        """Greatest fall of alpha in standard errors of the fit to all points, zero where it only rises.

        Without up to ten points alpha falls by more than one in about 1 % of pure power laws of 100 to 1000 points.
        """
        return max(self.fit.alpha - alpha for alpha in self.alphas if alpha == alpha) / self.fit.sigma


def find_fingers(
    x: ArrayLike, most: int = 10, *, threshold: float = FALL, min_tail: int = MIN_TAIL, two_sided: bool = True
) -> Fingers | None:
    """Refit a power law with the 1, 2, ..., `most` largest points left out, its start chosen anew each time.

    The points that make alpha fall by more than the threshold count as fingers, by the rule of WeightWatcher's
    `fix_fingers="clip_xmax"`. Its release leaves out 2 to 9 points and never one, reports one finger less than it has
    left out, and gives up once alpha is 2 or less; here the count is that of the points left out.

    A power law without fingers loses nothing by it: leaving the k largest of a tail of n points out raises its alpha,
    by about (alpha - 1) (k / n) ln(n / k) or k ln(n / k) / sqrt(n) sigma, because the fit does not know that the tail
    has been cut (`fit_power_law` with xmax does). The clipped fit is biased upwards by as much. Where there is no power
    law alpha hangs on few points in any case: half of all 60 x 60 Gaussian matrices have fingers.

    Args:
        x: (n,) positive sample, ascending.
        most: greatest number of points to leave out, at least 1.
        threshold: fall of alpha beyond which the points left out are fingers, at least 0.
        min_tail: fewest points a tail may have, at least 2.
        two_sided: see `fit_power_law`.

    Returns:
        The result, or None where the sample has no fit.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite, if most is less than 1 or if the
            threshold is negative.

    Example:
        >>> import numpy as np
        >>> tail = np.sort((np.arange(0.5, 90) / 90) ** -1.0)  # density x^-2 above 1
        >>> knot = 100 * (np.arange(0.5, 12) / 12) ** -0.2  # a dozen points, density x^-6 above 100
        >>> result = find_fingers(np.sort([*tail, *knot]))
        >>> [round(alpha, 1) for alpha in result.alphas[:3]], result.count
        ([5.6, 1.7, 1.7], 1)
        >>> find_fingers(tail).count
        0
    """
    x = as_sample(x)
    if most < 1:
        raise ValueError(f"the number of points to leave out must be at least 1, got {most}")
    if not threshold >= 0:
        raise ValueError(f"the threshold must be at least 0, got {threshold}")
    ends = range(x.size, max(x.size - most, 0) - 1, -1)
    fits = [fit_power_law(x[:end], min_tail=min_tail, two_sided=two_sided) for end in ends]
    fit = fits[0]
    if fit is None:
        return None
    falls = ((k, rest) for k, rest in enumerate(fits) if rest is not None and fit.alpha - rest.alpha > threshold)
    count, clipped = next(falls, (0, fit))
    return Fingers(fit, tuple(rest.alpha if rest is not None else nan for rest in fits), count, clipped)
