"""What a value or an array of a record has to be, in words for a message and as a check; and checking against it."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 2**64
"""No whole number in a record is larger, not even a seed."""

DEEPEST = 16
"""Levels of lists and objects in one another; records have five."""


class Unfit(ValueError):
    """Says what was expected of a record and what was found."""


class Kind(NamedTuple):
    """What a value has to be.

    Attributes:
        words: for a message, `a number from 0 to 1`.
        fits: whether a value is that.
        optional: whether it may be left out.
    """

    words: str
    fits: Callable[[Any], bool]
    optional: bool = False


class Array(NamedTuple):
    """What an array has to be.

    Attributes:
        dtype: kind and bytes of a number, `f4`; either byte order will do.
        shape: numbers, or letters that stand for the same number in all arrays of a record.
        least: no element is below.
        most: none is above.
    """

    dtype: str
    shape: tuple[int | str, ...]
    least: float = -math.inf
    most: float = math.inf


Fields = Mapping[str, Kind]
Arrays = Mapping[str, "NDArray[Any]"]


class Beside(NamedTuple):
    """What lies beside a record.

    Attributes:
        arrays: by name.
        follows: values that the arrays themselves tell.
    """

    arrays: Mapping[str, Array] = {}
    follows: Callable[[Arrays], Mapping[str, Any]] = lambda arrays: {}


def _is_number(x: object) -> bool:
    if isinstance(x, bool):
        return False
    return -MOST <= x <= MOST if isinstance(x, int) else isinstance(x, float) and math.isfinite(x)


def _range(least: float, most: float) -> str:
    if -MOST < least and most < MOST:
        return f" from {least:g} to {most:g}"
    return f" from {least:g} up" if -MOST < least else ""


def number(least: float = -math.inf, most: float = math.inf) -> Kind:
    """A finite number in a range."""
    return Kind(f"a number{_range(least, most)}", lambda x: _is_number(x) and least <= x <= most)


def whole(least: int = -MOST, most: int = MOST) -> Kind:
    """A whole number in a range."""
    words = f"a whole number{_range(least, most)}"
    return Kind(words, lambda x: isinstance(x, int) and _is_number(x) and least <= x <= most)


def word(*words: object) -> Kind:
    """One of a few values."""
    listed = " or ".join(map(str, words))
    return Kind(listed, lambda x: any(type(x) is type(one) and x == one for one in words))


def none_or(kind: Kind) -> Kind:
    """A kind, or null."""
    return kind._replace(words=f"{kind.words}, or null", fits=lambda x: x is None or kind.fits(x))


def either(*kinds: Kind) -> Kind:
    """One of several kinds."""
    return Kind(" or ".join(kind.words for kind in kinds), lambda x: any(kind.fits(x) for kind in kinds))


def list_of(kind: Kind, count: int | None = None) -> Kind:
    """A list of equal things."""
    words = f"a list of {'' if count is None else f'{count} times '}{kind.words}"
    return Kind(words, lambda x: isinstance(x, list) and count in (None, len(x)) and all(map(kind.fits, x)))


def object_of(kind: Kind) -> Kind:
    """Equal things by name."""
    return Kind(f"an object of {kind.words} each", lambda x: isinstance(x, dict) and all(map(kind.fits, x.values())))


def having(fields: Fields) -> Kind:
    """An object with these fields."""
    return Kind(f"an object with {', '.join(fields)}", lambda x: isinstance(x, dict) and _problem(x, fields) is None)


def maybe(fields: Fields) -> Fields:
    """Fields that may be left out, all of them."""
    return {name: kind._replace(optional=True) for name, kind in fields.items()}


ANY = Kind("anything", lambda x: True)
TEXT = Kind("text", lambda x: isinstance(x, str))
SHA256 = Kind("64 hexadecimal digits", lambda x: isinstance(x, str) and re.fullmatch("[0-9a-f]{64}", x) is not None)
FLAG = Kind("true or false", lambda x: isinstance(x, bool))
OBJECT = Kind("an object", lambda x: isinstance(x, dict))
COUNT = whole(0)
SHARE = number(0, 1)
SIZE = list_of(whole(1, 65536), 2)  # (height, width)
LIMIT = either(whole(1), Kind("a share between 0 and 1", lambda x: isinstance(x, float) and 0 < x < 1))


def check(content: Mapping[str, Any], fields: Fields, of: str = "") -> None:
    """Raise Unfit if a field is missing or of another kind.

    Args:
        content: values by name; those that no field is about are let be.
        fields: what they have to be.
        of: what has the fields, for the message.
    """
    problem = _problem(content, fields)
    if problem is not None:
        raise Unfit(f"{of}{problem}")


def _problem(content: Mapping[str, Any], fields: Fields) -> str | None:
    for name, kind in fields.items():
        if name not in content:
            if not kind.optional:
                return f"{name} is not there"
        elif not kind.fits(content[name]):
            return f"{name} is {reprlib.repr(content[name])}, expected {kind.words}"
    return None


def check_plain(content: Any, level: int = 0) -> None:
    """Raise Unfit for what JSON can spell and nothing here can use: endless numbers, half characters, deep nesting."""
    if level > DEEPEST:
        raise Unfit(f"it is nested deeper than {DEEPEST} levels")
    if isinstance(content, dict):
        for key, value in content.items():
            check_plain(key)
            check_plain(value, level + 1)
    elif isinstance(content, list):
        for value in content:
            check_plain(value, level + 1)
    elif isinstance(content, str):
        if not content.isascii() and any("\ud800" <= c <= "\udfff" for c in content):
            raise Unfit(f"{reprlib.repr(content)} holds half a character")
    elif isinstance(content, (int, float)) and not isinstance(content, bool) and not _is_number(content):
        raise Unfit(f"a number is {reprlib.repr(content)}")


def check_range(name: str, array: NDArray[Any], kind: Array) -> None:
    """Raise Unfit if an element is not finite, or out of range."""
    if array.size == 0:
        return
    least, most = float(array.min()), float(array.max())
    if not (kind.least <= least and most <= kind.most and math.isfinite(least) and math.isfinite(most)):
        raise Unfit(f"{name} goes from {least:g} to {most:g}, expected finite numbers{_range(kind.least, kind.most)}")
