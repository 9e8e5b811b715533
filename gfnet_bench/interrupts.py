"""Ctrl-C: a process says what it was doing and how to continue, and is gone within two seconds.

A thread waits for the signal and ends the process from there. The main thread may sit in native code for minutes; and
an exception raised at just any line may be swallowed by a library, or be taken for a bad file. Whatever is on disk
survives a kill, and so it survives this.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from gfnet_bench.terminal import visible

STATUS = 130
"""The exit status of a process that was interrupted, as shells count it."""

PATIENCE_S = 0.5
"""So long the end waits for a process that is being born, and for a terminal that takes no more text."""

_activities = ["starting"]
_births = threading.Lock()
_children: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def doing(activity: str) -> Iterator[None]:
    """Note what goes on in this block, "measuring gfnet_s on imagenet": what an interrupt would interrupt.

    After a KeyboardInterrupt it stays noted, for `farewell`.
    """
    _activities.append(activity)
    try:
        yield
    except Exception:
        _activities.pop()
        raise
    _activities.pop()


def farewell() -> str:
    """The last sentence of a process that is interrupted."""
    during = f" while {_activities[-1]}" if _activities else ""
    _activities.clear()
    return f"interrupted{during}; what is done is kept, and the same command continues from there"


def answer() -> None:
    """From now on SIGINT ends this process with one line and `STATUS`; where it was ignored it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a job in the background
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # The handler that matters writes to the pipe, and is not Python's. This one has the main thread wait for the end.
    signal.signal(signal.SIGINT, lambda *_: time.sleep(3 * PATIENCE_S))
    threading.Thread(target=_wait, args=(reader,), name="interrupts", daemon=True).start()


def _wait(reader: int) -> None:
    while os.read(reader, 1) != bytes([signal.SIGINT]):
        pass
    try:
        _end_children()
        _say(visible(f"gfnet-bench: {farewell()}"))
    finally:
        os._exit(STATUS)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """No interrupt while a child process starts: one that is half born cannot be ended, and complains of being left.

    The child inherits that the signal is held back.
    """
    with _births:
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            yield
            return
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def ends(process: subprocess.Popen[bytes]) -> None:
    """From now on an interrupt ends this child as well."""
    _children.append(process)


def _end_children() -> None:
    _births.acquire(timeout=PATIENCE_S)
    for process in _children:
        process.kill()
    multiprocessing = sys.modules.get("multiprocessing")  # an import would wait for the one that may be under way
    if multiprocessing is not None:
        for child in multiprocessing.active_children():
            child.kill()


def _say(line: str) -> None:
    """Past the buffers, whose locks the main thread may hold; below the bars of tqdm."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    bars = "\n" * len(getattr(tqdm, "_instances", ()))
    if not hasattr(select, "poll") or select.select([], [2], [], PATIENCE_S)[1]:  # Windows selects sockets alone
        os.write(2, f"{bars}{line}\n".encode())


class never_swallowed:
    """Lets an interrupt out of its block as KeyboardInterrupt, where Python raises that (not after `answer`).

    Python raises it in the main thread, wherever that happens to be; a library that calls back into Python from C or
    Rust may then report that the call failed, as if its data were bad, or go on as if nothing had happened.
    """

    def __init__(self) -> None:
        self._arrived = False

    def __enter__(self) -> None:
        self._usual = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(self._usual):
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, self._usual)
        assert callable(self._usual)
        try:
            self._usual(number, frame)
        except BaseException:
            self._arrived = True
            raise

    def __exit__(self, *error: object) -> None:
        if signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self._usual)
        if self._arrived:
            raise KeyboardInterrupt
