"""What PEFT writes beside the weights of an adapter: its scaling, by module, and how its factors are to be read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line, quoted, reading
from heavytail.weights.places.files import File

__all__ = ["LORA", "AdapterConfig"]

LORA = "LORA"  # as PEFT spells its type

_MOST_BYTES = 1 << 24
_OTHER_PRODUCTS = ("use_bdlora", "use_qalora")  # a block-diagonal factor, and one that acts on averaged inputs
_LONGEST, _MOST_CHOICES = 256, 3  # of a pattern, and of the names that it is held against

_Patterns = tuple[tuple[re.Pattern[str], float], ...]


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What PEFT's adapter_config.json says; what is not there, or null, is not said.

    Attributes:
        peft_type: which kind of adapter it is; of another kind than LORA the rest is not known.
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

    peft_type: str = LORA
    lora_alpha: float | None = None
    alphas: _Patterns = ()
    rank: float | None = None
    ranks: _Patterns = ()
    use_rslora: bool = False
    fan_in_fan_out: bool = False
    shared: bool = False
    other: str = ""
    odd: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: File) -> AdapterConfig:
        """Read the file.

        Raises:
            SourceError: it is damaged, or says something of the wrong type. A guess would make every size wrong.
        """
        with reading(file, "the configuration"):
            if file.size > _MOST_BYTES:
                raise SourceError(file, f"is of {file.size} bytes; at most {_MOST_BYTES} are expected")
            with file.open() as stream:
                config = json.loads(stream.read())
            if not isinstance(config, dict):
                raise _unexpected(file, "its content", config, "an object")
            return cls._of(config, file)

    @classmethod
    def _of(cls, config: Mapping[str, Any], file: File) -> AdapterConfig:
        """Take from a configuration what matters here."""
        peft_type = config.get("peft_type")
        if not isinstance(peft_type, str | None):
            raise _unexpected(file, "peft_type", peft_type, "a name")
        if peft_type not in (None, LORA):  # whose keys may mean something else
            return cls(peft_type)
        alphas, ranks = (_table(file, config, f"{what}_pattern") for what in ("alpha", "rank"))
        compiled = {key: _pattern(key) for key in (*alphas, *ranks)}
        return cls(
            LORA,
            _number(file, "lora_alpha", config.get("lora_alpha")),
            tuple((found, alpha) for key, alpha in alphas.items() if (found := compiled[key])),
            _number(file, "r", config.get("r")),
            tuple((found, rank) for key, rank in ranks.items() if (found := compiled[key])),
            _flag(file, config, "use_rslora"),
            _flag(file, config, "fan_in_fan_out"),
            bool(config.get("target_parameters")),
            next((name for name in _OTHER_PRODUCTS if config.get(name)), ""),
            tuple(key for key, found in compiled.items() if found is None),
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


def _of_module(patterns: _Patterns, module: str, otherwise: float | None) -> float | None:
    """Give what the first pattern that matches says, as PEFT does."""
    return next((value for pattern, value in patterns if pattern.match(module[-_LONGEST:])), otherwise)


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


def _number(file: File, what: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unexpected(file, what, value, "a number")
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        number = float("inf")
    if not isfinite(number):
        raise _unexpected(file, what, value, "a finite number")
    return number


def _flag(file: File, config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key)
    if not isinstance(value, bool | None):
        raise _unexpected(file, key, value, "true or false")
    return value is True


def _table(file: File, config: Mapping[str, Any], key: str) -> dict[str, float]:
    """Give the numbers that a table states by patterns of modules."""
    table = config.get(key)
    if not isinstance(table, dict | None):
        raise _unexpected(file, key, table, "an object of numbers")
    numbers = {pattern: _number(file, f"{key} of {quoted(pattern)}", value) for pattern, value in (table or {}).items()}
    return {pattern: number for pattern, number in numbers.items() if number is not None}


def _unexpected(file: File, what: str, seen: object, expected: str) -> SourceError:
    return SourceError(file, f"{what} is {one_line(repr(seen))}; {expected} is expected")
