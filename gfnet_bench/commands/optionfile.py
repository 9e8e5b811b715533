"""A file of options for `--config`: JSON, YAML or TOML, told apart by its name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gfnet_bench.errors import UsageError
from gfnet_bench.terminal import shortened

LONGEST = 1 << 20
"""Bytes; what is longer is no file of options, and may have no end."""


class _Language(NamedTuple):
    """What a file is written in, and what makes values of its text; raises ValueError for what is none."""

    name: str
    read: Callable[[bytes], Any]


def read(file: Path) -> dict[str, Any]:
    """The options by name.

    Raises:
        UsageError: if the file cannot be read, or is anything else.
    """
    language = _LANGUAGES.get(file.suffix.lower(), _JSON)
    try:
        options = language.read(_text(file))
    except RecursionError:
        raise UsageError(f"--config {file}: expected options by name, found some nested too deeply") from None
    except (OSError, ValueError) as error:
        found = shortened(" ".join(str(error).split()), 300)
        raise UsageError(f"--config {file}: expected a {language.name} file, found {found}") from error
    if not (isinstance(options, dict) and all(isinstance(name, str) for name in options)):
        raise UsageError(f'--config {file}: expected options by name, such as {{"model": ["gfnet_s"], "limit": 1000}}')
    return options


def _text(file: Path) -> bytes:
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # no wait for a pipe that nobody fills
    with open(handle, "rb") as stream:  # noqa: PTH123  # a handle
        if hasattr(os, "O_NONBLOCK"):
            os.set_blocking(handle, True)
        text = stream.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise ValueError(f"more than {LONGEST} bytes")
    return text


def _toml(text: bytes) -> Any:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib  # type: ignore[import-not-found, no-redef, unused-ignore]
    return tomllib.loads(text.decode())


def _yaml(text: bytes) -> Any:
    import yaml

    class Plain(yaml.SafeLoader):
        """Without aliases: a few lines of these stand for more than memory holds."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("an alias (*), which stands for what is written elsewhere")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader=Plain)
    except yaml.YAMLError as error:
        raise ValueError(error) from error


_JSON = _Language("JSON", json.loads)
_YAML = _Language("YAML", _yaml)
_LANGUAGES = {".toml": _Language("TOML", _toml), ".yaml": _YAML, ".yml": _YAML}
