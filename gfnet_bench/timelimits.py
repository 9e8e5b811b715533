"""A block that has to end in time: if it does not, its process ends, and a file says where it stood."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

STATUS = 75
"""The exit status of a process that ended so: another try may succeed."""

GRACE_S = 5.0
"""So long after its time a block is ended by force where native code lets no thread of Python speak."""

_FRAME = re.compile(r'  File "(?:.*[/\\])?([^"/\\]+)", line (\d+) in (.+)')


@contextlib.contextmanager
def within(seconds: float, file: Path, about: Sequence[str], text: str) -> Iterator[None]:
    """End this process with `STATUS` unless the block ends in time.

    Args:
        seconds: how long it may take.
        file: gets what all threads were doing; gone again where the block ends by itself.
        about: what the block is about, for the file: words without blanks.
        text: what is said on stderr then.

    Raises:
        OSError: if the file cannot be made.
    """
    ended = threading.Event()
    with file.open("w", encoding="utf-8") as stacks:
        print(f"thread 0x{threading.get_ident():016x}", *about, file=stacks, flush=True)
        faulthandler.dump_traceback_later(seconds + GRACE_S, file=stacks, exit=True)
        threading.Thread(target=_end, args=(ended, seconds, stacks, text), name="time limit", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            faulthandler.cancel_dump_traceback_later()
            file.unlink(missing_ok=True)


def _end(ended: threading.Event, seconds: float, stacks: TextIO, text: str) -> None:
    if ended.wait(seconds):
        return
    try:
        faulthandler.dump_traceback(stacks)
        os.write(2, f"{text}\n".encode())
    finally:
        os._exit(STATUS)


def stood(file: Path, about: str, frames: int = 3) -> str | None:
    """Where a block stood that did not end: its innermost frames, `attack.py:12 in step`; None where it was not ended.

    Args:
        file: see `within`.
        about: one of the things that the block must have been about.
        frames: how many, at most.
    """
    try:
        head, _, dump = file.read_text(encoding="utf-8", errors="replace").partition("\n")
    except OSError:
        return None
    _, number, *things = head.split()
    if "(most recent call first)" not in dump or about not in things:
        return None
    _, _, thread = dump.partition(number)
    found = _FRAME.findall(thread.partition("\n\n")[0])[:frames]
    return ", ".join(f"{name}:{line} in {of}" for name, line, of in found) or "no frame of Python"
