"""Sphinx's configuration of the book."""

from collections.abc import Iterable, Mapping
from dataclasses import fields

import heavytail
from heavytail.comparison import row as comparison
from heavytail.diagnosis.row import DEFINITIONS, GROUPS

project = "heavytail"
release = heavytail.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2  # so that one page can point into another
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "heavytail"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_mock_imports = ["torch"]  # the book is made without it
napoleon_use_ivar = True
nitpicky = False


def _table(columns: Iterable[str], definitions: Mapping[str, str]) -> str:
    """Write a table of columns from the definitions in the source, so that the two cannot differ."""
    rows = "\n".join(f"| `{column}` | {definitions[column]} |" for column in columns)
    return f"| column | meaning |\n|---|---|\n{rows}\n"


def _columns() -> str:
    return "\n".join(f"## {group.capitalize()}\n\n{_table(names, DEFINITIONS)}" for group, names in GROUPS.items())


def _columns_of_comparison() -> str:
    """Write those that a comparison has once; each metric has five more."""
    names = [field.name for field in fields(comparison.ChangeRow) if field.name != "metrics"]
    return _table(names, comparison.DEFINITIONS)


_PLACEHOLDERS = {
    "columns": {"columns": _columns},
    "comparing": {
        "comparison": _columns_of_comparison,
        "metrics": lambda: ", ".join(f"`{name}`" for name in comparison.METRICS),
    },
}
"""What is filled in, by page."""


def _magnitudes(_: object, __: str, ___: str, ____: object, _____: object, lines: list[str]) -> None:
    """Keep |x| of docstrings from being read as a substitution, outside formulas."""
    formula = False
    for i, line in enumerate(lines):
        formula = line.lstrip().startswith(".. math::") or (formula and line.strip() != "" and line[0] == " ")
        if not formula:
            lines[i] = line.replace("|", "\\|")


def setup(app: object) -> None:
    """Fill the placeholders."""
    app.connect("autodoc-process-docstring", _magnitudes)  # type: ignore[attr-defined]

    def fill(_: object, page: str, source: list[str]) -> None:
        for name, write in _PLACEHOLDERS.get(page, {}).items():
            source[0] = source[0].replace(f"{{{{ {name} }}}}", write())

    app.connect("source-read", fill)  # type: ignore[attr-defined]
