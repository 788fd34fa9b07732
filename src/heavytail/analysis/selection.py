"""Which rows are asked for: patterns of names, and of phases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from heavytail.diagnosis.layer import Layer
from heavytail.errors import RequestError
from heavytail.rmt.ensembles.phases import PHASES
from heavytail.tails.alternatives import UNDECIDED
from heavytail.weights.layout import Plan
from heavytail.weights.tensor import Source

__all__ = ["Selection", "selection"]

_BY_PHASE = "phase="


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows that are asked for.

    Attributes:
        names: patterns of which a row's name, or its tensor's, must match one; none where all will do.
        phases: patterns of which a row's phase must match one; none where all will do.
    """

    names: tuple[str, ...]
    phases: tuple[str, ...]

    def of_plans(self, plans: tuple[Plan, ...], source: Source) -> tuple[Plan, ...]:
        """Keep what is planned of matching names, before anything is computed.

        Raises:
            RequestError: if nothing matches.
        """
        if not self.names:
            return plans
        kept = []
        for p in plans:
            parts = tuple(part for part in p.parts if _matches(self.names, part.name, p.tensor.name))
            if parts or (not p.parts and _matches(self.names, p.name, p.tensor.name)):
                kept.append(replace(p, parts=parts))
        if not kept:
            examples = [part.name for p in plans for part in p.parts][:3]
            raise RequestError(
                f"no layer of {source.name} matches {', '.join(map(repr, self.names))}; "
                + (f"there are for example {', '.join(map(repr, examples))}" if examples else "it has no matrices")
            )
        return tuple(kept)

    def of_layers(self, layers: list[Layer], source: Source) -> list[Layer]:
        """Keep what was found to be of a matching phase.

        Raises:
            RequestError: if nothing is.
        """
        if not self.phases:
            return layers
        kept = [layer for layer in layers if layer.row.phase and _matches(self.phases, layer.row.phase)]
        if not kept:
            counts = Counter(layer.row.phase for layer in layers if layer.row.phase)
            there = ", ".join(f"{count} {phase}" for phase, count in counts.most_common())
            wanted = ", ".join(repr(_BY_PHASE + pattern) for pattern in self.phases)
            raise RequestError(f"no layer of {source.name} matches {wanted}; there are {there or 'none with a phase'}")
        return kept


def selection(layers: str | Iterable[str] | None) -> Selection:
    """Read a request for layers.

    Args:
        layers: glob patterns; those that begin with "phase=" are of phases, the others of names. None for all.

    Raises:
        RequestError: if there is no pattern, or one of phases that none can match.

    Example:
        >>> selection(["encoder.*", "phase=heavy*"])
        Selection(names=('encoder.*',), phases=('heavy*',))
    """
    if layers is None:
        return Selection((), ())
    patterns = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else [layers]
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise RequestError(f"layers is {layers!r}; it must be a glob pattern or several")
    if not patterns:
        raise RequestError("layers is empty; leave it out to analyse all of them")
    phases = tuple(pattern.removeprefix(_BY_PHASE).lower() for pattern in patterns if pattern.startswith(_BY_PHASE))
    for pattern in phases:
        if not any(fnmatchcase(phase, pattern) for phase in (*PHASES, UNDECIDED)):
            raise RequestError(f"no phase matches {pattern!r}; there are {', '.join((*PHASES, UNDECIDED))}")
    return Selection(tuple(pattern for pattern in patterns if not pattern.startswith(_BY_PHASE)), phases)


def _matches(patterns: tuple[str, ...], *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
