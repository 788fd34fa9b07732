"""What a monitor writes for TensorBoard: flat names, numbers that are there, phases as text."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import isfinite
from os import fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.row import Row
from heavytail.errors import RequestError
from heavytail.lab._looks import Look
from heavytail.rmt.ensembles.phases import PHASES

__all__ = ["LOGGED", "Log", "Spectra", "numbers_of"]

_logger = logging.getLogger(__name__)

LOGGED = (
    *("log_norm", "log_spectral_norm", "stable_rank", "matrix_rank", "entropy"),
    *("alpha", "alpha_lo", "alpha_hi", "alpha_weighted", "tail_score"),
    *("mp_softrank", "num_spikes", "num_traps", "rand_distance", "phase_probability"),
)
"""Columns that are logged; the table has all of them."""

Spectra = Mapping[str, NDArray[np.float64]]


def numbers_of(row: Row) -> dict[str, float]:
    """Give the numbers of a row that are there, by flat names; a phase as its place in the order of training.

    Example:
        >>> numbers_of(Row(name="fc", kind="linear", dtype="float32", status="ok", alpha=2.5, phase="bulk+spikes"))
        {'spectra/fc/alpha': 2.5, 'spectra/fc/phase': 2}
    """
    numbers = {f"spectra/{row.name}/{c}": v for c in LOGGED if isfinite(v := getattr(row, c))}
    return numbers | ({f"spectra/{row.name}/phase": PHASES.index(row.phase)} if row.phase in PHASES else {})


class Log:
    """Where a monitor writes, or nowhere; a log that fails is given up in one line, and the training goes on.

    Args:
        where: a folder, opened when there is something to write; a SummaryWriter, which stays open; None for nowhere.

    Raises:
        RequestError: if it is none of these, or TensorBoard is not installed.
    """

    def __init__(self, where: Any) -> None:
        self._folder: str | None = None
        self._writer: Any = where if hasattr(where, "add_scalar") else None
        self._resumed: int | None = None
        self._held: tuple[Look, Spectra, float, int] | None = None
        if where is not None and self._writer is None:
            self._folder = _folder(where)

    def hold(self, look: Look, spectra: Spectra, cost: float, left_out: int) -> None:
        """Keep a look until it is sure to count."""
        self._held = (look, spectra, cost, left_out)

    def release(self) -> None:
        """Write what is held."""
        if self._held is not None:
            held, self._held = self._held, None
            self.write(*held)

    def resume(self, step: int) -> None:
        """Drop what is held, and hide what the folder has of later steps, which are made once more."""
        self._held, self._resumed = None, step

    def write(self, look: Look, spectra: Spectra, cost: float, left_out: int) -> None:
        """Write a look: numbers and the histogram of log10 of the eigenvalues of each layer, phases, and the cost.

        Args:
            look: the look.
            spectra: eigenvalues by row.
            cost: the share of the time that the monitor took.
            left_out: number of rows that were due and not seen.
        """
        if self._writer is None and self._folder is None:
            return
        try:
            if self._writer is None:
                self._writer = _opened(self._folder, self._resumed)
                self._resumed = None
            _write(self._writer, look, spectra)
            self._writer.add_scalar("monitor/cost", cost, look.step)
            self._writer.add_scalar("monitor/left_out", left_out, look.step)
            self._writer.flush()
        except Exception as error:  # a full disk, a writer that was closed
            _logger.warning("the log of spectra ends at step %d: %s", look.step, error)
            self._writer = self._folder = None

    def close(self) -> None:
        """Close a writer that was opened here."""
        if self._folder is not None and self._writer is not None:
            try:
                self._writer.close()
            except Exception as error:
                _logger.warning("the log of spectra is not closed: %s", error)
            self._writer = None


def _folder(where: Any) -> str:
    try:
        folder = fspath(where)
    except TypeError:
        raise RequestError(f"log is {where!r}; it must be a folder or a SummaryWriter") from None
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise RequestError("log needs TensorBoard: pip install tensorboard") from error
    return str(folder)


def _opened(folder: str | None, resumed: int | None) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder, purge_step=None if resumed is None else resumed + 1)


def _write(writer: Any, look: Look, spectra: Spectra) -> None:
    for row in look.rows:
        for name, value in numbers_of(row).items():
            writer.add_scalar(name, value, look.step)
        positive = spectra.get(row.name, np.zeros(1))
        if (positive := positive[positive > 0]).size:
            writer.add_histogram(f"spectra/{row.name}/log10_evals", np.log10(positive), look.step)
    if look.rows:
        lines = "\n".join(f"| {row.name} | {row.phase or row.reason} |" for row in look.rows)
        writer.add_text("spectra/phases", f"| layer | phase |\n|---|---|\n{lines}", look.step)
