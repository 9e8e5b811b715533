"""A run from the first worker to the last cell, by any engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gfnet_bench.bars import tqdm
from gfnet_bench.engines.base import Engine, Place

POLLS_S = 0.2, 5.0
"""So long the results are let alone between two looks, at first and at last: they may lie on a network."""

AGAIN = 3
"""So often a worker that ended too early is started again with no cell done in between."""

PATIENCE_S = 60.0
"""So long workers may take to end once there is nothing left: they still draw their tables."""

_sleep = time.sleep


def drive(
    engine: Engine, command: Sequence[str], gpus: Sequence[str], logs: Path, left: Callable[[], int], progress: bool
) -> int:
    """Have the workers of an engine measure until nothing is left, or none of them lives.

    Args:
        engine: where they are.
        command: what each of them is.
        gpus: those that are visible here.
        logs: a folder for what they say.
        left: how many cells have no record yet.
        progress: a bar on stderr.

    Returns:
        How many cells are left.

    Raises:
        GfnetBenchError: if workers cannot be started.
    """
    remaining = total = left()
    if not total:
        return 0
    logs.mkdir(parents=True, exist_ok=True)
    size = engine.size(gpus)
    places = [Place(logs / f"worker-{n}.log", gpus[n % len(gpus)] if gpus else None) for n in range(size)]
    print(f"{size} workers for {total} cells; what they say: {logs}", file=sys.stderr)
    workers, again, pause = engine.start(command, places), 0, POLLS_S[0]
    try:
        with tqdm(total=total, desc="cells", unit="cell", disable=not progress, tells=True) as bar:
            while remaining:
                _sleep(pause)
                pause = min(1.2 * pause, POLLS_S[1])
                now = left()
                again, remaining = (0, now) if now < remaining else (again, now)
                bar.update(total - remaining - bar.n)
                ended = [n for n, worker in enumerate(workers) if not engine.is_alive(worker)] if remaining else []
                if ended and again < AGAIN * size:
                    again += len(ended)
                    for n, worker in zip(ended, engine.start(command, [places[n] for n in ended]), strict=True):
                        workers[n] = worker
                elif len(ended) == size:
                    break
        _await(engine, workers)
    finally:
        engine.stop([worker for worker in workers if engine.is_alive(worker)])
    return left()


def _await(engine: Engine, workers: Sequence[object]) -> None:
    """Let workers that have nothing left end by themselves, and give back their leases."""
    until = time.monotonic() + PATIENCE_S
    while any(map(engine.is_alive, workers)) and time.monotonic() < until:
        _sleep(POLLS_S[0])
