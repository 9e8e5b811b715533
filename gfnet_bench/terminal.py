"""What a terminal is shown: names that come from outside reach it as text, never as commands to it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TextIO

# Controls (line feed and tab apart), what turns the direction of writing, and halves of characters: a file name may
# hold all of these, and may hide or fake a line with them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CURSOR_UP = re.compile(r"(\x1b\[A)+")

BOLD, UNDERLINED, _PLAIN = "\x1b[1m", "\x1b[4m", "\x1b[0m"
_STYLE = re.compile("\x1b\\[[014]m")


class Screen(NamedTuple):
    """What text is laid out for.

    Attributes:
        width: characters of a line.
        styled: whether bold and underlined may be used.
    """

    width: int
    styled: bool = False


FILE = Screen(120)
"""A file or a pipe: the same bytes everywhere."""


def screen() -> Screen:
    """That of standard output."""
    if not sys.stdout.isatty():
        return FILE
    return Screen(max(40, shutil.get_terminal_size().columns), not os.environ.get("NO_COLOR"))


def styled(text: str, style: str) -> str:
    """Text in bold or underlined; as it is where there is no style."""
    return f"{style}{text}{_PLAIN}" if style else text


def visible(text: str) -> str:
    r"""`text` with everything that is no plain text spelt out: an escape is `\u001b`, as JSON spells it."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """`text` in one line, whatever the names in it hold."""
    return text.rstrip("\n").replace("\n", r"\n")


def shortened(text: str, most: int = 1000) -> str:
    """`text` without its middle if it is too long for a message."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 4 :]}"


class _Screen:
    """A text stream that makes visible what is written to it, the moves of progress bars apart.

    No work ends because it cannot be told of: the first problem is kept, and everything after it is lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.problem: OSError | None = None

    def write(self, text: str) -> int:
        if not _CURSOR_UP.fullmatch(text):
            line = text.strip("\r")  # bars begin with a return, or end in one
            text = text.replace(line, self._visible(line), 1)
        self._attempt(self._stream.write, text)
        return len(text)

    def _visible(self, text: str) -> str:
        if not (_STYLE.search(text) and self._stream.isatty()):
            return visible(text)
        styles = [*_STYLE.findall(text), ""]  # the worst that a name can do with one of these is to be bold
        return "".join(visible(part) + style for part, style in zip(_STYLE.split(text), styles, strict=True))

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[..., object], *arguments: str) -> None:
        if self.problem is None:
            try:
                action(*arguments)
            except OSError as error:
                error.filename = "standard output"
                self.problem = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def screened() -> Iterator[None]:
    """Standard output and standard error show only what is `visible`; a stream that is closed swallows all of it.

    What their encoding has no character for is spelt out as well.

    Raises:
        OSError: in the end, if standard output could not be written: a full disk, or a reader that went away.
    """
    kept = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  # no path, a device
        for stream in kept:
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        output = _Screen(sys.stdout or nowhere)
        sys.stdout, sys.stderr = output, _Screen(sys.stderr or nowhere)
        try:
            yield
        finally:
            output.flush()
            sys.stdout, sys.stderr = kept
            if output.problem is not None:
                _forget_output()
                raise output.problem


def _forget_output() -> None:
    """Python would try again to write what is left, and complain, when the process ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a captured stream has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
