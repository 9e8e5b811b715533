"""A number with its 95 % interval, as people read it."""

from __future__ import annotations

from gfnet_bench.metrics import Interval
from gfnet_bench.reports.drawing.tables import decimals

LOPSIDED = 0.1
"""Share of its length by which the middle of an interval may miss the value before both ends are shown."""

NOTE = (
    "± is half of the 95 % interval over the images; where the value is not in its middle, both ends are in square "
    "brackets."
)


def with_interval(value: float, interval: Interval | None, digits: int = 1) -> str:
    """`88.2 ±2.0`, or `100.0 [92.9–100.0]` where ± would promise what cannot be.

    Args:
        value: in the unit of the column.
        interval: in the same; None for a number that is exact.
        digits: decimals.
    """
    shown = decimals(value, digits)
    if interval is None:
        return shown
    low, high = interval
    if abs((low + high) / 2 - value) > LOPSIDED * (high - low):
        return f"{shown} [{decimals(low, digits)}–{decimals(high, digits)}]"
    return f"{shown} ±{decimals((high - low) / 2, digits)}"
