"""Random matrix theory: the laws of noise, its edges, spikes and heavy-tailed classes.

The laws are here; `ensembles` samples the matrices, `extremes` has the largest eigenvalue of heavy-tailed ones,
`universality` Martin and Mahoney's classes, with what is proved and what is fitted kept apart.

Example:
    >>> from heavytail import rmt
    >>> rmt.MarchenkoPastur(Q=4.0).edges
    (0.25, 2.25)
    >>> print(f"{rmt.TracyWidom(1).ppf(0.99):.4f}")
    2.0234
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heavytail.rmt import ensembles, extremes, universality
    from heavytail.rmt.edges import largest_eigenvalue
    from heavytail.rmt.levy import LevyWigner, LevyWishart
    from heavytail.rmt.marchenko_pastur import MarchenkoPastur
    from heavytail.rmt.noise_bulk import NoiseBulk, fit_noise_bulk
    from heavytail.rmt.scaled_noise import ScaledNoise
    from heavytail.rmt.semicircle import Semicircle
    from heavytail.rmt.spikes import AdditiveSpike, CovarianceSpike, WignerSpike
    from heavytail.rmt.tracy_widom import TracyWidom

__all__ = [
    "AdditiveSpike",
    "CovarianceSpike",
    "LevyWigner",
    "LevyWishart",
    "MarchenkoPastur",
    "NoiseBulk",
    "ScaledNoise",
    "Semicircle",
    "TracyWidom",
    "WignerSpike",
    "ensembles",
    "extremes",
    "fit_noise_bulk",
    "largest_eigenvalue",
    "universality",
]

_HOMES = {
    "AdditiveSpike": "spikes",
    "CovarianceSpike": "spikes",
    "LevyWigner": "levy",
    "LevyWishart": "levy",
    "MarchenkoPastur": "marchenko_pastur",
    "NoiseBulk": "noise_bulk",
    "ScaledNoise": "scaled_noise",
    "Semicircle": "semicircle",
    "TracyWidom": "tracy_widom",
    "WignerSpike": "spikes",
    "fit_noise_bulk": "noise_bulk",
    "largest_eigenvalue": "edges",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: an analysis needs few of them."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
