"""Worker processes that start clean, never outlive the one that wanted them, and end at once when it is interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

PATIENCE = 1.0  # seconds a process has for ending by itself


@contextlib.contextmanager
def pool(workers: int, prepare: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """So many processes; each calls `prepare` with the arguments before its first task.

    Spawned, not forked: this process may hold a CUDA context or threads. If the block ends by an exception, Ctrl-C
    above all, the processes are ended in the middle of their tasks.
    """
    before = set(multiprocessing.active_children())
    executor = _Pool(workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(prepare, arguments))
    try:
        yield executor
        executor.shutdown()
    except BaseException:
        _end([process for process in multiprocessing.active_children() if process not in before])
        raise
    finally:
        executor.shutdown(cancel_futures=True)


class _Pool(ProcessPoolExecutor):
    """Starts its processes, which it does when it gets a task, deaf to Ctrl-C: that is for this process to handle."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        with _without_interrupts():
            return super().submit(function, *arguments, **options)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C, here until the end of the block and for good in processes that are started in it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: list[multiprocessing.process.BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
        process.kill()  # no harm to one that has ended


def _start(prepare: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*arguments)


def _die_with_parent() -> None:
    """A parent that is killed cannot end its pool."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
