"""Sphinx's configuration of the book."""

import heavytail
from heavytail.diagnosis.row import DEFINITIONS, GROUPS

project = "heavytail"
release = heavytail.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "heavytail"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
nitpicky = False


def _columns() -> str:
    """Write the tables of columns from the definitions in the source, so that the two cannot differ."""
    groups = []
    for group, columns in GROUPS.items():
        rows = "\n".join(f"| `{column}` | {DEFINITIONS[column]} |" for column in columns)
        groups.append(f"## {group.capitalize()}\n\n| column | meaning |\n|---|---|\n{rows}\n")
    return "\n".join(groups)


def _magnitudes(_: object, __: str, ___: str, ____: object, _____: object, lines: list[str]) -> None:
    """Keep |x| of docstrings from being read as a substitution, outside formulas."""
    formula = False
    for i, line in enumerate(lines):
        formula = line.lstrip().startswith(".. math::") or (formula and line.strip() != "" and line[0] == " ")
        if not formula:
            lines[i] = line.replace("|", "\\|")


def setup(app: object) -> None:
    """Fill the placeholder on the page of columns."""
    app.connect("autodoc-process-docstring", _magnitudes)  # type: ignore[attr-defined]

    def fill(_: object, page: str, source: list[str]) -> None:
        if page == "columns":
            source[0] = source[0].replace("{{ columns }}", _columns())

    app.connect("source-read", fill)  # type: ignore[attr-defined]
