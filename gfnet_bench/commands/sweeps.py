"""Ranges on a command line, `0.25/255..8/255` and `1..50`: the points of a sweep."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from gfnet_bench import spelling
from gfnet_bench.commands import argtypes
from gfnet_bench.errors import UsageError

MOST = 64
"""Points of a range; a longer one is a slip."""


def radii(words: Sequence[str] | None) -> list[str] | None:
    """Radii as a user wrote them, every range put out as its points: from the lower end on each twice the last.

    The upper end is a point too. None stays None.

    Raises:
        UsageError: for a range whose ends are none.
    """
    if words is None:
        return None
    found = []
    for word in words:
        first, dots, last = word.partition("..")
        if not dots:
            found.append(word)
            continue
        low, high = spelling.read_number(first), spelling.read_number(last)
        if not 0 < low < high:
            raise UsageError(f"--eps {word}: expected two ends above 0, the lower one first, as in 0.25/255..8/255")
        of_255 = "/" in word
        found += [spelling.number(point, of_255=of_255) for point in _doubling(f"--eps {word}", low, high)]
    return list(dict.fromkeys(found))


def counts(text: str) -> list[int]:
    """`20`, or the points of `1..50`, as an argparse type."""
    ends = re.fullmatch(r"([0-9]{1,9})\.\.([0-9]{1,9})", text)
    if ends is None:
        return [argtypes.positive(text)]
    low, high = int(ends[1]), int(ends[2])
    if not 0 < low < high:
        raise argparse.ArgumentTypeError(f"expected two ends above 0, the lower one first, as in 1..50, found {text!r}")
    return [int(point) for point in _doubling(text, low, high)]


def _doubling(what: str, low: float, high: float) -> list[float]:
    points = [low]
    while points[-1] * 2 < high * (1 - 1e-9):
        points.append(points[-1] * 2)
        if len(points) >= MOST:
            raise UsageError(f"{what}: expected a range of at most {MOST} points, each twice the last, found more")
    return [*points, high]
