"""Bars of progress: a terminal's on stderr, in a notebook that can draw them its own, elsewhere lines now and then."""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

if "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets"):
    from tqdm.auto import tqdm as _Bar
else:  # which loads less, as the commands need
    from tqdm import tqdm as _Bar

__all__ = ["tqdm"]

if TYPE_CHECKING:
    from tqdm import tqdm as tqdm
else:

    class tqdm(_Bar):
        """tqdm's bar on a terminal; in a log a line for each thing that is done, of a bar that `tells`, or one a while.

        A log has no use for a thousand returns: it is read later, and by the line.
        """

        def __init__(self, *arguments: Any, tells: bool = False, **settings: Any) -> None:
            if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
                seconds = 0.0 if tells else SELDOM
                settings |= {"file": _Lines(sys.stderr), "mininterval": seconds, "delay": max(seconds, 1e-9)}
                settings |= {"leave": False, **({"bar_format": LINE, "miniters": 1} if tells else {"ncols": 100})}
            super().__init__(*arguments, **settings)


SELDOM = 30.0
"""Seconds between the lines of a bar that goes to a log, and before its first."""

LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed} so far, {remaining} left{postfix}"


class _Lines:
    """A stream for bars, which go back in their line and up and down between lines: here line follows line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        for line in re.split(r"[\r\n]|\x1b\[A", text):
            if line.strip():
                self._stream.write(f"{line.rstrip()}\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
