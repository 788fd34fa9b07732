"""All that is found of one row: its numbers, its noise, and on request its shuffled copies and its vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from zlib import crc32

import numpy as np

from heavytail.diagnosis.metrics import diagnose
from heavytail.diagnosis.noise import LEVEL, Noise, find_noise
from heavytail.diagnosis.phases import Phase, find_phase
from heavytail.diagnosis.row import Row
from heavytail.diagnosis.shuffles import shuffle
from heavytail.diagnosis.tail import NO_ENTRIES, Tail, TailEntries, best_fit, find_tail, measure_tail
from heavytail.diagnosis.vectors import Localisation, localisation
from heavytail.spectra.certified import Bounds
from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import RANK_OPEN
from heavytail.spectra.factors import FACTORS
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.power_law import MIN_TAIL

__all__ = ["Layer", "Measured", "Wanted", "diagnose_layer", "measure"]

_SHUFFLES, _RESAMPLING, _SCORE = 0, 1, 2  # what random numbers are drawn for


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for beyond the table's cheap columns.

    Attributes:
        nulls: number of shuffled copies of each matrix.
        vectors: whether the singular vectors are measured.
        bootstrap: number of resampled spectra of each row.
        seed: of the shuffles and the resampling; a row's own depend on its name too, and on nothing else.
        farms: whether windows are looked at even without resampled spectra, so that they are known later.
    """

    nulls: int = 0
    vectors: bool = False
    bootstrap: int = 0
    seed: int = 0
    farms: bool = False


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
        certified: bounds of the row's numbers, by column, where its eigenvalues are enclosed and not computed.
    """

    row: Row
    spectrum: Spectrum | None = None
    tail: Tail | None = None
    phase: Phase | None = None
    noise: Noise | None = None
    vectors: tuple[Localisation, ...] = ()
    certified: Mapping[str, Bounds] | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """All that is read off the matrices of a row; what else is found of the row follows from it without them.

    Attributes:
        spectrum: the eigenvalues.
        tail: what the entries say of the tail.
        noise: the noise under the spectrum; None where there is nothing but zeros, or it could not be found.
        vectors: how localised the singular vectors are, where asked for.
        problem: why there is no noise, where it could not be found.
    """

    spectrum: Spectrum
    tail: TailEntries = NO_ENTRIES
    noise: Noise | None = None
    vectors: tuple[Localisation, ...] = ()
    problem: str = ""


def measure(spectrum: Spectrum, matrices: Sequence[Blocks], wanted: Wanted, *, name: str, dtype: str) -> Measured:
    """Measure a row's matrices where the spectrum alone does not tell.

    Args:
        spectrum: the row's spectrum.
        matrices: the matrices it was computed from, N x M each; none where they are a convolution's frequencies.
        wanted: what is asked for.
        name: name of the row, for its random numbers.
        dtype: name of the type of the numbers.
    """
    if spectrum.evals[-1] == 0:
        return Measured(spectrum)
    rng = partial(_random, wanted.seed, name)
    tail = measure_tail(spectrum, matrices, wanted.nulls, wanted.farms or wanted.bootstrap > 0, rng(_SCORE))
    try:
        shuffles = None
        if wanted.nulls and matrices:
            shuffles = shuffle(spectrum, matrices, dtype, wanted.nulls, LEVEL, rng(_SHUFFLES))
        noise = find_noise(spectrum, matrices, shuffles)
        vectors = _vectors(spectrum, matrices, noise) if wanted.vectors and matrices else ()
    except (ArithmeticError, ValueError, MemoryError, np.linalg.LinAlgError) as error:
        # What the spectrum tells is not lost with it.
        return Measured(spectrum, tail, problem=f"noise: {type(error).__name__}: {error}")
    return Measured(spectrum, tail, noise, vectors)


def _random(seed: int, name: str, purpose: int) -> np.random.Generator:
    """Give the random numbers of one row for one purpose: they depend on nothing else."""
    return np.random.default_rng([seed, crc32(name.encode("utf-8", "surrogateescape")), purpose])


def _vectors(spectrum: Spectrum, matrices: Sequence[Blocks], noise: Noise) -> tuple[Localisation, ...]:
    thresholds = [nan] * len(matrices) if noise.reason else [bulk.threshold for bulk in noise.bulks]
    best, _ = best_fit(spectrum)
    return localisation(matrices, thresholds, nan if best is None else best.xmin, spectrum.floor)


def diagnose_layer(measured: Measured, wanted: Wanted, *, name: str, kind: str, dtype: str) -> Layer:
    """Diagnose a row from what was measured of its matrices.

    Args:
        measured: what was measured.
        wanted: what is asked for.
        name: name of the row.
        kind: what the matrix is.
        dtype: name of the stored type, for the table.

    Example:
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(0).standard_normal((300, 100))
        >>> spectrum = spectrum_of_stack(W[None], "float64")
        >>> measured = measure(spectrum, [lambda r: [W]], Wanted(), name="fc", dtype="float64")
        >>> row = diagnose_layer(measured, Wanted(), name="fc", kind="linear", dtype="float64").row
        >>> row.num_spikes, 0.99 < row.sigma_mp < 1.01
        (0, True)
    """
    spectrum, noise = measured.spectrum, measured.noise
    tail = find_tail(spectrum, measured.tail, wanted.bootstrap, _random(wanted.seed, name, _RESAMPLING))
    row = diagnose(spectrum, tail, name=name, kind=kind, dtype=dtype)
    if row.lambda_max == 0:
        return Layer(row, spectrum)
    if spectrum.method == FACTORS and 2 * spectrum.rank < spectrum.M:
        lacks = "no noise bulk, no phase" if tail.fit else "no tail, no noise bulk, no phase"
        found = {} if noise is None else noise.columns(spectrum)
        row = replace(row, **found, reason=measured.problem or f"of rank {spectrum.rank} by its making: {lacks}")
        return Layer(row, spectrum, tail, None, noise, measured.vectors)
    try:
        phase = find_phase(spectrum)
    except (ArithmeticError, ValueError, MemoryError, np.linalg.LinAlgError) as error:
        return Layer(replace(row, reason=f"phase: {type(error).__name__}: {error}"), spectrum, tail, None, noise)
    row = replace(row, **phase.columns())
    if noise is None:
        return Layer(replace(row, reason=measured.problem), spectrum, tail, phase)
    # What is too narrow for a tail is too narrow for a bulk, and its row says so already.
    reasons = [row.reason, noise.reason if spectrum.M >= MIN_TAIL else ""]
    if spectrum.method == RANK_OPEN:
        reasons.insert(0, "the rank is a lower bound: there was no memory for singular values")
    if phase.evidence or not any(reasons):
        reasons.append(phase.reason)
    row = replace(row, **noise.columns(spectrum), reason="; ".join(filter(None, reasons)))
    return Layer(row, spectrum, tail, phase, noise, measured.vectors)
