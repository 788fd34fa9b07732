"""What every page is made of: its assets, its template, its policy, and texts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from heavytail.report.payload import printable

__all__ = ["asset", "embedded", "environment", "human", "plain_items", "plain_text", "plural", "policy"]

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def asset(name: str) -> str:
    """Read one of the files that pages are made of."""
    return resources.files("heavytail.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Give the templates of the pages; a name becomes the link to its layer by the filter `link`."""
    environment = Environment(
        loader=FunctionLoader(asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["link"] = lambda name: "#layer=" + quote(name, safe="!~*'()")
    return environment


def policy(style: str, script: str) -> str:
    """Give the content security policy that admits this style and this script and nothing else."""
    return (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embedded(data: Any) -> Markup:
    """Write JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def human(count: float) -> str:
    """Write a large number for people, such as 22.7 M."""
    for unit, letter in _UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {letter}"
    return f"{count:.0f}"


def plural(count: float, one: str, many: str = "") -> str:
    """Write a number with its noun."""
    number = f"{count:,.0f}".replace(",", "\u202f")
    return f"{number} {one if count == 1 else many or one + 's'}"


def plain_items(values: Mapping[str, Any], leave_out: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Give what is known of a source, or was set, as pairs of texts."""
    return [(printable(key), plain_text(value)) for key, value in values.items() if key not in set(leave_out)]


def plain_text(value: Any) -> str:
    """Write any plain value as a text that can be shown."""
    if isinstance(value, (list, tuple)):
        return ", ".join(plain_text(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain_text(item)}" for key, item in value.items()) or "none"
    return "none" if value is None or value == "" else printable(value)
