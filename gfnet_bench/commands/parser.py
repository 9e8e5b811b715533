"""The words of a command line and of `--config` files to options; argparse, where it suits people."""

from __future__ import annotations

import argparse
import difflib
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from gfnet_bench.commands import optionfile
from gfnet_bench.errors import UsageError
from gfnet_bench.terminal import one_line, shortened

_VALUE = re.compile(r"-\.?(\d|inf\b|nan\b)", re.ASCII | re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """Knows which options were named, takes options from files, and says in one sentence what it expected."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
        # -1/255 and -inf are wrong values of the option before them, which can say so; they are no options.
        self._negative_number_matcher = _VALUE

    def _get_values(self, action: argparse.Action, words: list[str]) -> Any:
        if action.option_strings and "--" in words:  # argparse would take `--limit=--` for no value, and set a list
            raise argparse.ArgumentError(action, "expected a value, found '--'")
        return super()._get_values(action, words)

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"gfnet-bench: {one_line(shortened(message))}; {self.prog} --help shows what there is\n")

    def hint(self, option: str) -> str:
        """The end of a message about an option that there is not."""
        near = difflib.get_close_matches(option.partition("=")[0], self._option_string_actions, 1)
        return f", did you mean {near[0]}?" if near else ""

    def named(self, words: Sequence[str]) -> set[str]:
        """The destinations of the options that these words name, defaults left out."""
        options = self._option_string_actions
        before = itertools.takewhile(lambda word: word != "--", words)
        found = (options.get(word.partition("=")[0]) or options.get(word[:2]) for word in before)  # `-b8` too
        return {action.dest for action in found if action is not None}

    def words_of(self, file: Path, but: set[str]) -> list[str]:
        """The options in a file as words, save those whose destination is in `but`.

        Raises:
            UsageError: if the file cannot be read, or does not name options of this command.
        """
        words: list[str] = []
        for name, value in optionfile.read(file).items():
            option = f"--{name.replace('_', '-')}"
            action = self._option_string_actions.get(option)
            if action is None or option in ("--config", "--help"):
                raise UsageError(f"--config {file}: expected options of {self.prog}, found {name!r}{self.hint(option)}")
            words += [] if action.dest in but else _words(option, value, flag=action.nargs == 0, file=file)
        return words


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; what it names, lists too, wins over the files of `--config`, later files first.

    Args:
        parser: of all commands; each sets its own `Parser` as `parser`.
        words: the command line.

    Returns:
        The options, with `named`: the destinations of those that were named here or there, and `words`, the command
        line itself.

    Raises:
        UsageError: see `Parser.words_of`.
    """
    given, words = list(words), list(words)
    arguments, unknown = parser.parse_known_args(words)
    command: Parser = arguments.parser
    if unknown:
        wanted = "an option that there is" if unknown[0].startswith("-") else "no further word"
        command.error(f"expected {wanted}, found {unknown[0]!r}{command.hint(unknown[0])}")
    named = command.named(words)
    for file in reversed(getattr(arguments, "config", None) or []):
        more = command.words_of(file, named)
        named |= command.named(more)
        words += more
    arguments = parser.parse_args(words)
    arguments.named, arguments.words = named, given
    return arguments


def _words(option: str, value: Any, *, flag: bool, file: Path) -> list[str]:
    """`--option=value`, so that no value can pass for an option."""
    if value is None or (flag and value is False):
        return []
    if flag and value is True:
        return [option]
    values = value if isinstance(value, list) else [value]
    plain = all(isinstance(v, (str, int, float)) and not isinstance(v, bool) for v in values)
    if flag or not values or not plain:
        wanted = "true or false" if flag else "a word, a number or a list of these"
        found = shortened(json.dumps(value, default=str), 100)
        raise UsageError(f"--config {file}: expected {wanted} as {option[2:]!r}, found {found}")
    return [f"{option}={v}" for v in values]
