"""What was given, where it is not what was expected: a sentence in place of a traceback from far below."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from gfnet_bench.errors import UsageError
from gfnet_bench.models import Model


def kind(thing: object) -> str:
    """What something is, for an error: `a numpy.ndarray`, `the class PGD`."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    if thing is None:
        return "None"
    module = type(thing).__module__.split(".")[0]
    called = type(thing).__name__ if module == "builtins" else f"{module}.{type(thing).__name__}"
    return f"{'an' if called[0] in 'aeiou' else 'a'} {called}"


def whole(name: str, value: Any, least: int) -> int:
    """A whole number that was given as `name`.

    Raises:
        UsageError: if it is none, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UsageError(f"{name}: expected a whole number from {least} up, found {value!r}")
    return int(value)


def share_or_whole(name: str, value: Any) -> float:
    """A whole number from 1 up, or a share below 1, that was given as `name`.

    Raises:
        UsageError: if it is neither.
    """
    if isinstance(value, float) and 0 < value < 1:
        return value
    return whole(name, value, 1)


def checked_model(model: object) -> Model:
    """The model that something is.

    Raises:
        UsageError: if it is none.
    """
    if isinstance(model, Model):
        return model
    hint = f"load_model({model!r})" if isinstance(model, str) else "wrap(net) makes one of any network"
    raise UsageError(f"expected a model, found {kind(model)}; {hint}")
