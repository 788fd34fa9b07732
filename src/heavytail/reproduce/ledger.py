"""The ledger: every claim of the literature that is recomputed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from heavytail.errors import RequestError
from heavytail.reproduce.calibration import CLAIMS as CALIBRATION
from heavytail.reproduce.claim import Claim, Outcome
from heavytail.reproduce.extremes import CLAIMS as EXTREMES
from heavytail.reproduce.heavy_tails import CLAIMS as HEAVY_TAILS
from heavytail.reproduce.laboratory import CLAIMS as LABORATORY
from heavytail.reproduce.laboratory import read_runs
from heavytail.reproduce.learning import CLAIMS as LEARNING
from heavytail.reproduce.levy import CLAIMS as LEVY
from heavytail.reproduce.osmr import CLAIMS as OSMR
from heavytail.reproduce.published import read_tables
from heavytail.reproduce.relations import CLAIMS as RELATIONS
from heavytail.reproduce.spectra import CLAIMS as SPECTRA
from heavytail.reproduce.symmetric import CLAIMS as SYMMETRIC
from heavytail.reproduce.theory import CLAIMS as THEORY
from heavytail.reproduce.trends import CLAIMS as TRENDS

__all__ = ["HEADER", "claims", "reproduce", "table"]

_RANDOM_MATRICES = (*SPECTRA, *HEAVY_TAILS, *SYMMETRIC, *CALIBRATION, *RELATIONS, *THEORY, *EXTREMES, *LEVY)
_LEDGER = (*_RANDOM_MATRICES, *TRENDS, *OSMR, *LEARNING, *LABORATORY)

HEADER = ("claim", "what", "ours", "published", "difference", "tolerance", "verdict")
"""Names of the columns of `table`."""


_SIGNS = {"": "", "at least": "≥ ", "at most": "≤ "}


def claims() -> tuple[Claim, ...]:
    """Give all claims, slow ones too.

    Example:
        >>> claims()[0].id
        'E2'
    """
    return _LEDGER


def reproduce(
    ids: Iterable[str] | None = None,
    seed: int = 0,
    *,
    slow: bool = False,
    data: str | Path | None = None,
    runs: str | Path | None = None,
) -> Iterator[Outcome]:
    """Recompute claims, one after the other as they are asked for.

    Args:
        ids: the claims, in any case of letters, each run once, in the order given; "all" among them, or None, stands
            for all. A claim that is asked for by name runs even if it is slow.
        seed: it alone decides the result of a claim, whatever else is run.
        slow: whether "all" takes the slow claims too.
        data: the folder of the published tables that some claims are computed from; without it, these come out as
            "data missing".
        runs: the folder of full runs of the laboratory, each in a folder of the experiment's name, that some claims are
            computed from; those whose run is not there come out as "data missing".

    Returns:
        One outcome a claim. A claim that does not exist is refused before any is run, and so is a table that is needed
        and cannot be read.

    Raises:
        RequestError: if there is no such claim.
        SourceError: if a published table that a claim needs is not in the folder, or is damaged, or a run is.

    Example:
        >>> [outcome] = reproduce(["F7"])
        >>> str(outcome.verdict)
        'published value wrong'
    """
    known = {claim.id.lower(): [claim] for claim in _LEDGER}
    known["all"] = [claim for claim in _LEDGER if slow or not claim.slow]
    wanted = ["all"] if ids is None else list(ids)
    unknown = [name for name in wanted if name.lower() not in known]
    if unknown:
        raise RequestError(f"no claim {unknown[0]!r}; there are {', '.join(claim.id for claim in _LEDGER)}")
    once = {claim.id: claim for name in wanted for claim in known[name.lower()]}
    needed = {name for claim in once.values() for name in claim.data}
    tables = None if data is None else read_tables(Path(data), needed)
    found = read_runs(None if runs is None else Path(runs), [claim.experiment for claim in once.values()])
    return (claim.run(seed, tables, found) for claim in once.values())


def table(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Give the rows of outcomes as text, one tuple a published number, in the columns of `HEADER`.

    A verdict that is not the expected one ends with an exclamation mark.

    Example:
        >>> table(list(reproduce(["F7"])))[0]
        ('F7', 'slope at mu = 1.15', '0.492459', '0.5', '-0.00754078', '0.01', 'reproduced')
    """
    return [
        (
            outcome.claim.id,
            row.name,
            f"{row.ours:.6g}",
            f"{_SIGNS[row.side]}{row.published:.6g}",
            *(f"{value:.6g}" for value in (row.difference, row.tolerance)),
            f"{row.verdict}{' !' if row.surprising else ''}",
        )
        for outcome in outcomes
        for row in outcome.rows
    ]
