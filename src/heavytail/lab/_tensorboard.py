"""What a monitor writes for TensorBoard: flat names, numbers that are there, phases as text."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.row import Row
from heavytail.errors import RequestError
from heavytail.lab._looks import Look
from heavytail.rmt.ensembles.phases import PHASES

__all__ = ["LOGGED", "check_tensorboard", "numbers_of", "open_writer", "write_look"]

LOGGED = (
    *("log_norm", "log_spectral_norm", "stable_rank", "matrix_rank", "entropy"),
    *("alpha", "alpha_lo", "alpha_hi", "alpha_weighted", "tail_score"),
    *("mp_softrank", "num_spikes", "num_traps", "rand_distance", "phase_probability"),
)
"""Columns that are logged; the table has all of them."""


def check_tensorboard() -> None:
    """Raise an error that says what to install, unless torch can write for TensorBoard.

    Raises:
        RequestError: if it cannot.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise RequestError("log needs TensorBoard: pip install tensorboard") from error


def open_writer(folder: str | PathLike[str], resumed: int | None) -> Any:
    """Open a torch SummaryWriter; one that resumes after a step hides what the folder holds of later steps."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(fspath(folder), purge_step=None if resumed is None else resumed + 1)  # type: ignore[no-untyped-call]


def numbers_of(row: Row) -> dict[str, float]:
    """Give the numbers of a row that are there, by flat names; a phase as its place in the order of training.

    Example:
        >>> numbers_of(Row(name="fc", kind="linear", dtype="float32", status="ok", alpha=2.5, phase="bulk+spikes"))
        {'spectra/fc/alpha': 2.5, 'spectra/fc/phase': 2}
    """
    numbers = {f"spectra/{row.name}/{c}": v for c in LOGGED if isfinite(v := getattr(row, c))}
    return numbers | ({f"spectra/{row.name}/phase": PHASES.index(row.phase)} if row.phase in PHASES else {})


def write_look(writer: Any, look: Look, spectra: Mapping[str, NDArray[np.float64]], cost: float) -> None:
    """Write a look: numbers and the histogram of log10 of the eigenvalues of each layer, phases, and the cost."""
    for row in look.rows:
        for name, value in numbers_of(row).items():
            writer.add_scalar(name, value, look.step)
        positive = spectra.get(row.name, np.zeros(1))
        if (positive := positive[positive > 0]).size:
            writer.add_histogram(f"spectra/{row.name}/log10_evals", np.log10(positive), look.step)
    if look.rows:
        lines = "\n".join(f"| {row.name} | {row.phase or row.reason} |" for row in look.rows)
        writer.add_text("spectra/phases", f"| layer | phase |\n|---|---|\n{lines}", look.step)
    writer.add_scalar("monitor/cost", cost, look.step)
    writer.add_scalar("monitor/left_out", len(look.left_out), look.step)
    writer.flush()
