"""The options of a command as Python's keywords: read by the same rules, refused in the same words."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gfnet_bench.commands.parser import Parser
from gfnet_bench.errors import UsageError


class Command(Protocol):
    """A file of `commands`."""

    NAME: str

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Its options."""


def arguments_of(command: Command, given: Mapping[str, Any]) -> argparse.Namespace:
    """What `parser.parse` would give of a command line with these options; None stands for one that is not named.

    Args:
        command: the command.
        given: destinations of options, each with its value; several in a list, a flag as a bool.

    Raises:
        UsageError: if a value is none that the option takes.
    """
    parser = Parser(prog=f"gfnet-bench {command.NAME}")
    command.add_options(parser)
    actions = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    arguments = parser.parse_args([])
    named = {name: value for name, value in given.items() if value is not None and value != actions[name].default}
    for name, value in named.items():
        setattr(arguments, name, _read(actions[name], value))
    arguments.named = set(named)
    return arguments


def _read(action: argparse.Action, value: Any) -> Any:
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise UsageError(f"{action.dest}: expected True or False, found {value!r}")
        return value
    if action.nargs != "+" and not isinstance(action, argparse._AppendAction):
        return _one(action, value)
    is_several = isinstance(value, Sequence) and not isinstance(value, (str, tuple))
    return [_one(action, one) for one in (value if is_several else [value])]


def _one(action: argparse.Action, value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 2:  # (height, width)
        value = "x".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Path)):
        raise UsageError(f"{action.dest}: expected a word or a number, found {value!r}")
    read: Any = action.type or str
    try:
        found = read(str(value))
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{action.dest}: {error}") from None
    if action.choices is not None and found not in action.choices:
        raise UsageError(f"{action.dest}: expected one of {', '.join(map(str, action.choices))}, found {found!r}")
    return found
