"""What PEFT writes beside the weights of an adapter: its scaling, by module, and how its factors are to be read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["AdapterConfig"]

_OTHER_PRODUCTS = ("use_bdlora", "use_qalora")  # a block-diagonal factor, and one that acts on averaged inputs
_LONGEST, _MOST_CHOICES = 256, 3  # of a pattern, and of the names that it is held against


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What PEFT's adapter_config.json says; what is not of the type it should be counts as not said.

    Attributes:
        lora_alpha: alpha of all modules but those below.
        alphas: patterns of modules with another one.
        rank: the rank of all modules but those below.
        ranks: patterns of modules with another one.
        use_rslora: whether alpha is over sqrt(r).
        fan_in_fan_out: whether the base stores its weights (in, out).
        shared: whether factors may be shared by experts, in which case their rank is not the one stated.
        other: what makes the product another one, if anything does.
        odd: patterns that are not understood.
    """

    lora_alpha: float | None
    alphas: tuple[tuple[re.Pattern[str], Any], ...]
    rank: float | None
    ranks: tuple[tuple[re.Pattern[str], Any], ...]
    use_rslora: bool
    fan_in_fan_out: bool
    shared: bool
    other: str
    odd: tuple[str, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> AdapterConfig:
        """Take from a configuration what matters here."""
        tables = [config.get(f"{what}_pattern") for what in ("alpha", "rank")]
        patterns = [list(table.items()) if isinstance(table, dict) else [] for table in tables]
        compiled = [[(key, _pattern(key), value) for key, value in items] for items in patterns]
        alphas, ranks = (tuple((found, value) for _, found, value in items if found) for items in compiled)
        return cls(
            _number(config.get("lora_alpha")),
            alphas,
            _number(config.get("r")),
            ranks,
            config.get("use_rslora") is True,
            config.get("fan_in_fan_out") is True,
            bool(config.get("target_parameters")),
            next((name for name in _OTHER_PRODUCTS if config.get(name)), ""),
            tuple(dict.fromkeys(key for items in compiled for key, found, _ in items if found is None)),
        )

    def alpha(self, module: str) -> float | None:
        """Give the alpha of a module by its name in the base model; None if it is not said."""
        return _of_module(self.alphas, module, self.lora_alpha)

    def misfit(self, module: str, rank: int) -> str:
        """Say why the factors of a module, of some rank, are not those of one product; empty if nothing says so."""
        if self.other:
            return f"adapter_config.json says {self.other}: another product"
        stated = _of_module(self.ranks, module, self.rank)
        if self.shared and stated is not None and rank != stated:
            return f"rank {rank}, adapter_config.json says {stated:g}: shared by experts"
        return ""


def _of_module(patterns: Iterable[tuple[re.Pattern[str], Any]], module: str, otherwise: float | None) -> float | None:
    """Give what the first pattern that matches says, as PEFT does."""
    for pattern, value in patterns:
        if pattern.match(module[-_LONGEST:]):
            return _number(value)
    return otherwise


def _pattern(key: str) -> re.Pattern[str] | None:
    """Compile a pattern of modules: a regular expression that matches their names, or the end of them after a dot.

    None for one that is damaged, or has so many choices that matching it could take for ever.
    """
    repeats = key.replace("(?:", "(")
    choices = len(re.findall(r"[*+?{(]", repeats))
    if len(key) > _LONGEST or choices > _MOST_CHOICES or re.search(r"\)[*+?{]", repeats):
        return None
    try:
        return re.compile(rf"(.*\.)?({key})$")
    except (re.error, ArithmeticError, Warning):
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
