"""Power-law inference on positive numbers: eigenvalues, or any others.

`fit_power_law` fits the tail, `interval` and `bootstrap` say how sure its exponent is, `compare_laws` which of the
`laws` the evidence prefers, `find_fingers` what hangs on the largest points; `thresholds` has other rules for a start.

Example:
    >>> from heavytail import tails
    >>> x = tails.laws.PowerLaw(alpha=2.5).sample(1000, seed=0)
    >>> x.sort()
    >>> fit = tails.fit_power_law(x)
    >>> low, high = tails.interval.interval(fit, tails.interval.profile(x))
    >>> low < 2.5 < high, tails.compare_laws(x[x >= fit.xmin], xmin=fit.xmin).law
    (True, 'power law')
"""

from heavytail.tails import bootstrap, interval, laws, likelihood, thresholds
from heavytail.tails.alternatives import compare_laws
from heavytail.tails.fingers import find_fingers
from heavytail.tails.power_law import fit_power_law, hill

__all__ = [
    "bootstrap",
    "compare_laws",
    "find_fingers",
    "fit_power_law",
    "hill",
    "interval",
    "laws",
    "likelihood",
    "thresholds",
]
