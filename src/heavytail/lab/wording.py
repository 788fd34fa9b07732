"""Statements and what was measured of them, in words."""

from __future__ import annotations

from math import isinf, isnan

from heavytail.lab.experiments.experiment import Measured, Published

__all__ = ["measured_text", "number_text", "range_text"]

_LARGE = 1e6  # from there on with a power of ten
_NOTHING = 1e-6  # an end of a range that is nearer to zero only leaves zero out


def number_text(value: float) -> str:
    """Write a number to three digits, a large one to its last.

    Example:
        >>> number_text(0.12345), number_text(-0.5), number_text(4096), number_text(float("nan"))
        ('0.123', '−0.5', '4096', '–')
    """
    form = ".0f" if 1000 <= abs(value) < _LARGE else ".3g"
    return "–" if isnan(value) else f"{value:{form}}".replace("-", "−")


def measured_text(measured: Measured) -> str:
    """Write a measured number with its interval and the number of its seeds.

    Example:
        >>> measured_text(Measured(0.9, 0.85, 0.95, 3)), measured_text(Measured(0.9))
        ('0.9 (0.85 to 0.95), 3 seeds', '0.9, 1 seed')
    """
    if isnan(measured.value):
        return "not measured"
    ends = "" if isnan(measured.low) else f" ({number_text(measured.low)} to {number_text(measured.high)})"
    return f"{number_text(measured.value)}{ends}, {measured.runs} seed{'' if measured.runs == 1 else 's'}"


def range_text(statement: Published) -> str:
    """Write where a statement holds.

    Example:
        >>> range_text(Published("gain", 1e-9, 1, "better")), range_text(Published("tau", -1, -0.8, "falls"))
        ('above 0, up to 1', 'from −1 to −0.8')
    """
    low, high = statement.low, statement.high
    if 0 < low < _NOTHING:
        return "above 0" + ("" if isinf(high) else f", up to {number_text(high)}")
    if -_NOTHING < high < 0:
        return "below 0" + ("" if isinf(low) else f", down to {number_text(low)}")
    if isinf(low):
        return f"up to {number_text(high)}"
    return f"from {number_text(low)}" + ("" if isinf(high) else f" to {number_text(high)}")
