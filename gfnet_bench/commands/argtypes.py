"""What the words of a command line may be: argparse types, each of which says what it expected and what it found."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from gfnet_bench.errors import UsageError
from gfnet_bench.terminal import shortened

MOST_PIXELS = 16384
"""A side of an image; beyond that even the sizes of tensors overflow."""


def severities(text: str) -> list[int]:
    """`3`, or `2..4` for 2, 3, 4, as an argparse type."""
    first, dots, last = text.partition("..")
    ends = first, last if dots else first
    if not all(end in ("1", "2", "3", "4", "5") for end in ends) or ends[0] > ends[1]:
        raise argparse.ArgumentTypeError(f"expected 1 to 5, or a range such as 1..5, found {text!r}")
    return list(range(int(ends[0]), int(ends[1]) + 1))


def severity(text: str) -> int:
    """One severity, as an argparse type."""
    return whole(text, 1, 5)


def positive(text: str) -> int:
    """A whole number from 1 up, as an argparse type."""
    return whole(text, 1)


def limit(text: str) -> float:
    """How many images: a whole number from 1 up, or a share between 0 and 1, as an argparse type."""
    if re.fullmatch(r"0?\.[0-9]{1,9}", text) and 0 < float(text) < 1:
        return float(text)
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(str(error).replace(", found", ", or a share such as 0.1, found", 1)) from None


def processes(text: str) -> int:
    """A number of processes, none included, as an argparse type."""
    return whole(text, 0, 1024)


def seed(text: str) -> int:
    """Any whole number of 64 bits, as an argparse type."""
    return whole(text, -(1 << 63), (1 << 63) - 1)


def whole(text: str, least: int, most: int = 10**9) -> int:
    """A whole number between two others, in plain digits."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, found {shortened(text)!r}")
    return int(text)


def seconds(text: str) -> float:
    """Seconds of more than nothing, as an argparse type."""
    return _above_zero(text, "a number of seconds")


def above_zero(text: str) -> float:
    """A number above 0, as an argparse type."""
    return _above_zero(text, "a number")


def _above_zero(text: str, noun: str) -> float:
    value = number(text)
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"expected {noun} above 0, at most 1e6, found {shortened(text)!r}")
    return value


def number(text: str) -> float:
    """A finite number, as an argparse type."""
    try:
        value = float(text) if text.isascii() else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, found {shortened(text)!r}")
    return value + 0.0  # no negative zero, which would be another cell


def image_size(text: str) -> tuple[int, int]:
    """`224` or `224x320` (height first) as (height, width), as an argparse type."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(re.fullmatch("[0-9]{1,9}", side) and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"expected 224 or 224x320 (height first), found {shortened(text)!r}")
    height, width = int(sides[0]), int(sides[-1])
    if max(height, width) > MOST_PIXELS:
        raise UsageError(f"--img-size: expected at most {MOST_PIXELS} pixels a side, found {max(height, width)}.")
    return height, width


def path(text: str) -> Path:
    """The name of a file or folder, as an argparse type."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected the name of a file or folder, found {text!r}")
    return Path(text)


def label(text: str) -> str:
    """What a table calls something, in one line, as an argparse type."""
    if not text.strip() or len(text) > 80 or not text.isprintable():
        raise argparse.ArgumentTypeError(f"expected a name of up to 80 characters, found {shortened(text)!r}")
    return text.strip()
