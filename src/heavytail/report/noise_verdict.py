"""What the noise of a layer, found with the scales of its rows, its columns and its entries, says of its spectrum."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.special import bdtrc

from heavytail.diagnosis.noise import Noise
from heavytail.diagnosis.row import Row
from heavytail.rmt.ensembles.phases import PHASES
from heavytail.rmt.noise_bulk import NoiseBulk

__all__ = ["all_noise", "bulks_fit"]

_SIGNAL = PHASES[1:5]  # phases of more than noise
_SLIGHT = 0.05  # relative spread of the mean squares of rows or columns that is not worth a word


def bulks_fit(bulks: Sequence[NoiseBulk]) -> bool:
    """Whether the shapes of bulks are those of noise, at a level of 1 % for all of them together."""
    beyond = sum(bulk.misfit > bulk.allowance for bulk in bulks)
    # One bulk of noise in a hundred is beyond its allowance.
    return not beyond or float(bdtrc(beyond - 1, len(bulks), 0.01)) > 0.0101


def all_noise(row: Row, noise: Noise | None) -> str:
    """Say that noise explains a spectrum whose phase is one of more than noise; empty where that is not so."""
    if noise is None or row.phase not in _SIGNAL or row.num_spikes != 0 or not bulks_fit(noise.bulks):
        return ""
    return f"{row.phase} by its spectrum alone, but noise {_alike(noise.bulks)} explains it"


def _alike(bulks: Sequence[NoiseBulk]) -> str:
    """Name what the noise has in common with the layer."""
    spreads = {"rows": max(bulk.row_spread for bulk in bulks), "columns": max(bulk.column_spread for bulk in bulks)}
    unequal = " and ".join(lines for lines, spread in spreads.items() if spread > _SLIGHT)
    return f"whose {unequal} differ in size" if unequal else "of entries like its own"
