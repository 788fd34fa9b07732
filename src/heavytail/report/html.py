"""What every page is made of: its assets, its template, its policy, and texts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from math import isfinite
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from heavytail.report.payload import printable

__all__ = ["LAYERS", "human", "page", "plain_items", "plain_text", "plural", "two_decimals"]

LAYERS = (
    "depth.js",
    "noise.js",
    "phase.js",
    "spectrum.js",
    "tail.js",
    "table.js",
    "layers.js",
    "controls.js",
    "panel.js",
)
"""The scripts of a page that has a table of layers, each of which opens."""

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def page(template: str, data: Any, styles: Sequence[str] = (), scripts: Sequence[str] = (), **shown: Any) -> str:
    """Write one self-contained HTML page.

    The page opens from a file without a network: style, script and data are inside, and its content security policy
    admits only the style and the script that belong to it. The same arguments give the same page.

    Args:
        template: the file of its template.
        data: what its script reads.
        styles: files of its own style, after the style of every page.
        scripts: files of its own script, after the script of every page.
        **shown: what the template shows.

    Returns:
        The page, which UTF-8 can carry.
    """
    style = "\n".join(map(_asset, ("page.css", *styles)))
    script = "\n".join(map(_asset, ("draw.js", "page.js", *scripts)))
    own = {"policy": _policy(style, script), "style": Markup(style), "script": Markup(script), "data": _embedded(data)}
    return printable(_environment().get_template(template).render(**own, **shown))


def _asset(name: str) -> str:
    return resources.files("heavytail.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["link"] = lambda name: "#layer=" + quote(name, safe="!~*'()")
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """Let a name, which has no spaces, break behind what joins its parts."""
    return Markup("<wbr>").join(re.split(r"(?<=[-_./])(?=[^-_./])", name))


def _policy(style: str, script: str) -> str:
    """Give the content security policy that admits this style and this script and nothing else."""
    return (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(data: Any) -> Markup:
    """Write JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def two_decimals(value: float | None) -> str:
    """Write a number with two decimals; a dash where it is missing."""
    return "–" if value is None or not isfinite(value) else f"{value:.2f}".replace("-", "−")


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
