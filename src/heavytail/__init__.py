"""heavytail reads the weights of a trained network and gives the spectrum and the tail of every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heavytail.analysis import analyze
    from heavytail.comparison import Comparison, compare
    from heavytail.errors import HeavytailError
    from heavytail.report.model_report import ModelReport

__version__ = "0.1.0"
__all__ = ["Comparison", "HeavytailError", "ModelReport", "__version__", "analyze", "compare"]

_HOMES = {
    "Comparison": "comparison",
    "HeavytailError": "errors",
    "ModelReport": "report.model_report",
    "analyze": "analysis",
    "compare": "comparison",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import heavytail` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
