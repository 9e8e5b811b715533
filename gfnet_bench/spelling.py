"""How a thing with settings is written in one word of a command line: `pgd:epsilon=4/255,steps=20`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args

from gfnet_bench.errors import UsageError
from gfnet_bench.terminal import shortened

_WORDS = {"true": True, "false": False, "none": None}
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number such as 0.5 or 4/255", str: "a word"}


def split(
    text: str, prefix: str = "", bare: Callable[[str], str | None] = lambda _: None
) -> tuple[str, dict[str, str]]:
    """The name, and the fields that stand behind its colon, still as text.

    Args:
        text: as it was written.
        prefix: where a name begins with it, in any capitals, it ends at the colon after that.
        bare: the field of a name that may be given first without being named, if it has one.

    Raises:
        UsageError: if what follows the name is no list of fields, each once.
    """
    start = len(prefix) if text.lower().startswith(prefix.lower()) else 0
    member, colon, rest = text[start:].partition(":")
    name, fields = text[:start] + member, dict[str, str]()
    if odd := re.search("[,=]", member):
        wanted = f"{text[: start + odd.start()]}:FIELD=VALUE,FIELD=VALUE"
        raise UsageError(f"{shortened(text)}: expected fields behind a colon, {wanted}, found {odd[0]!r} before it")
    for part in rest.split(",") if colon else ():
        if not fields and part and "=" not in part and (first := bare(name)):
            fields[first] = part.strip()
            continue
        key, equals, value = (side.strip() for side in part.partition("="))
        if not (key and equals) or key in fields:
            raise UsageError(
                f"{shortened(text)}: expected {name}:FIELD=VALUE,FIELD=VALUE, each field once, found {part!r}"
            )
        fields[key] = value
    return name, fields


def read(name: str, fields: Mapping[str, str], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The values of fields.

    Args:
        name: of what has them, for messages.
        fields: as `split` gives them.
        kinds: every field there is, with its type: bool, int, float, str, or a union of these and None.

    Raises:
        UsageError: for a field that there is not, and for a value of another type.
    """
    found = {}
    for key, text in fields.items():
        if key not in kinds:
            known = ", ".join(kinds) or "no fields at all"
            raise UsageError(f"{name}: expected fields among {known}, found {shortened(key)!r}")
        found[key] = _value(f"{name}: {key}", text, kinds[key])
    return found


def _value(what: str, text: str, kind: Any) -> Any:
    kinds = get_args(kind) or (kind,)
    word = _WORDS.get(text.lower(), text)
    if type(word) in kinds and type(word) in (bool, NoneType):
        return word
    if int in kinds and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if float in kinds and math.isfinite(number := read_number(text)):
        return number
    if str in kinds:
        return text
    wanted = " or ".join(["none"] * (NoneType in kinds) + [_PLAIN[one] for one in kinds if one in _PLAIN])
    raise UsageError(f"{what}: expected {wanted or 'to be left out'}, found {shortened(text)!r}")


def read_number(text: str) -> float:
    """`4/255` or `0.0157`; NaN for what is no number."""
    numerator, slash, denominator = text.partition("/")
    try:
        if not text.isascii() or "_" in text:
            return math.nan
        return (float(numerator) / float(denominator) if slash else float(numerator)) + 0.0  # no negative zero
    except (ValueError, ZeroDivisionError):
        return math.nan


def number(value: float, *, of_255: bool = False) -> str:
    """`0.5`, or `4/255` for a length in pixel values: the shortest spelling that is read back to the last bit."""
    spellings = [f"{value:.6g}", *([f"{255 * value:.6g}/255"] if of_255 else []), repr(value)]
    return min((text for text in spellings if read_number(text) == value), key=len, default=repr(value))


def written(name: str, fields: Mapping[str, str]) -> str:
    """The inverse of `split`."""
    return name + ":" * bool(fields) + ",".join(f"{key}={value}" for key, value in fields.items())


def word(value: Any) -> str:
    """A value as `read` takes it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return number(value) if isinstance(value, float) else str(value)
