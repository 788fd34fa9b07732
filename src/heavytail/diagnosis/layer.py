"""All that is found of one row: its numbers, its noise, and on request its shuffled copies and its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from zlib import crc32

import numpy as np

from heavytail.diagnosis.metrics import diagnose
from heavytail.diagnosis.noise import LEVEL, Noise, find_noise
from heavytail.diagnosis.phases import Phase, find_phase
from heavytail.diagnosis.row import Row
from heavytail.diagnosis.shuffles import shuffle
from heavytail.diagnosis.tail import Tail, find_tail
from heavytail.diagnosis.vectors import Localisation, localisation
from heavytail.spectra.entries import Blocks
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.power_law import MIN_TAIL

__all__ = ["Layer", "Wanted", "diagnose_layer"]

_RESAMPLING = 1  # sets the random numbers of the resampling apart from those of the shuffles


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for beyond the table's cheap columns.

    Attributes:
        nulls: number of shuffled copies of each matrix.
        vectors: whether the singular vectors are measured.
        bootstrap: number of resampled spectra of each row.
        seed: of the shuffles and the resampling; a row's own depend on its name too, and on nothing else.
    """

    nulls: int = 0
    vectors: bool = False
    bootstrap: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """One row and what stands behind it.

    Attributes:
        row: the row of the table.
        spectrum: its eigenvalues; None where there are none.
        tail: its power law and the evidence for it; None where there are none, or under another convention.
        noise: the noise under them; None where there are none, or under another convention.
        phase: its phase of training and the evidence for it; None where there are none, or under another convention.
        vectors: how localised its singular vectors are, where asked for.
    """

    row: Row
    spectrum: Spectrum | None = None
    tail: Tail | None = None
    phase: Phase | None = None
    noise: Noise | None = None
    vectors: tuple[Localisation, ...] = ()


def diagnose_layer(
    spectrum: Spectrum, matrices: Sequence[Blocks], wanted: Wanted, *, name: str, kind: str, dtype: str
) -> Layer:
    """Diagnose a row from its spectrum, and from its matrices where the spectrum alone does not tell.

    Args:
        spectrum: the row's spectrum.
        matrices: the matrices it was computed from, N x M each; none where they are a convolution's frequencies.
        wanted: what is asked for.
        name: name of the row.
        kind: what the matrix is.
        dtype: name of the stored type.

    Example:
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(0).standard_normal((300, 100))
        >>> spectrum = spectrum_of_stack(W[None], "float64")
        >>> row = diagnose_layer(spectrum, [lambda r: [W]], Wanted(), name="fc", kind="linear", dtype="float64").row
        >>> row.num_spikes, 0.99 < row.sigma_mp < 1.01
        (0, True)
    """
    crc = crc32(name.encode("utf-8", "surrogateescape"))
    draws = np.random.default_rng([wanted.seed, crc, _RESAMPLING])
    tail = find_tail(spectrum, matrices, wanted.bootstrap, wanted.nulls, draws)
    row = diagnose(spectrum, tail, name=name, kind=kind, dtype=dtype)
    if row.lambda_max == 0:
        return Layer(row, spectrum)
    phase = None
    try:
        phase = find_phase(spectrum)
        row = replace(row, **phase.columns())
        noise, vectors = _look_deeper(spectrum, matrices, wanted, row, np.random.default_rng([wanted.seed, crc]))
    except (ArithmeticError, ValueError, MemoryError, np.linalg.LinAlgError) as error:
        # What the spectrum alone tells is not lost with it.
        what = "phase" if phase is None else "noise"
        return Layer(replace(row, reason=f"{what}: {type(error).__name__}: {error}"), spectrum, tail, phase)
    # What is too narrow for a tail is too narrow for a bulk, and its row says so already.
    reasons = [row.reason, noise.reason if spectrum.M >= MIN_TAIL else ""]
    if phase.evidence or not any(reasons):
        reasons.append(phase.reason)
    row = replace(row, **noise.columns(spectrum), reason="; ".join(filter(None, reasons)))
    return Layer(row, spectrum, tail, phase, noise, vectors)


def _look_deeper(
    spectrum: Spectrum, matrices: Sequence[Blocks], wanted: Wanted, row: Row, rng: np.random.Generator
) -> tuple[Noise, tuple[Localisation, ...]]:
    shuffles = None
    if wanted.nulls and matrices:
        shuffles = shuffle(spectrum, matrices, row.dtype, wanted.nulls, LEVEL, rng)
    noise = find_noise(spectrum, matrices, shuffles)
    if not wanted.vectors or not matrices:
        return noise, ()
    thresholds = [nan] * len(matrices) if noise.reason else [bulk.threshold for bulk in noise.bulks]
    return noise, localisation(matrices, thresholds, row.xmin, spectrum.floor)
