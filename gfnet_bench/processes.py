"""Worker processes that start clean, never outlive the one that wanted them, and end at once when it is interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from gfnet_bench import plugins
from gfnet_bench.interrupts import held

PATIENCE = 1.0  # seconds a process has for ending by itself


@contextlib.contextmanager
def pool(workers: int, prepare: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """So many processes; each calls `prepare` with the arguments before its first task.

    Spawned, not forked: this process may hold a CUDA context or threads. If the block ends by an exception, Ctrl-C
    above all, the processes are ended in the middle of their tasks.
    """
    before = set(multiprocessing.active_children())
    if os.name == "posix":
        _start_tracker()
    known = plugins.files(), prepare, arguments
    executor = ProcessPoolExecutor(workers, _Spawn(), initializer=_start, initargs=known)
    try:
        yield executor
        executor.shutdown()
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)  # first, or its thread takes their end for a failure
        _end([process for process in multiprocessing.active_children() if process not in before])
        raise


class _Process(SpawnProcess):
    def start(self) -> None:
        with held():  # Ctrl-C is this process's to handle: the child is deaf to it from the first
            super().start()


class _Spawn(SpawnContext):
    Process = _Process


def _start_tracker() -> None:
    """Multiprocessing's tracker of semaphores tidies up after an interrupt; that is no news, and it is told so."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker"
    try:
        resource_tracker.ensure_running()
    finally:
        del os.environ["PYTHONWARNINGS"]
        os.environ.update({} if before is None else {"PYTHONWARNINGS": before})


def _end(processes: list[multiprocessing.process.BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
        process.kill()  # no harm to one that has ended


def _start(files: list[Path], prepare: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    plugins.expect(files)
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
