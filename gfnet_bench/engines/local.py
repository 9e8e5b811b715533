"""Workers that are processes of this machine: one for each GPU, or on its processors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from gfnet_bench import interrupts
from gfnet_bench.engines.base import ENGINES, Engine, Place


@ENGINES.register("local")
@dataclass
class Local(Engine):
    """Processes of this machine.

    Attributes:
        workers: how many; None for one for each GPU that is visible, and one on a machine without any.
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        self._most = 1

    def size(self, gpus: Sequence[str]) -> int:
        """See `Engine`."""
        return self.workers or max(len(gpus), 1)

    def start(self, command: Sequence[str], places: Sequence[Place]) -> list[subprocess.Popen[bytes]]:
        """See `Engine`. Processors are shared out, unless OMP_NUM_THREADS says how many threads each is to have."""
        self._most = max(self._most, len(places))  # one that is replaced has as many threads as the first
        threads = str(max((os.cpu_count() or 1) // self._most, 1))
        started = []
        for place in places:
            sees = {} if place.gpu is None else {"CUDA_VISIBLE_DEVICES": place.gpu}
            environment = {"OMP_NUM_THREADS": threads, **os.environ, **sees}
            with place.log.open("ab") as log, interrupts.held():
                started.append(subprocess.Popen(list(command), env=environment, stdout=log, stderr=log))
            interrupts.ends(started[-1])
        return started

    def is_alive(self, worker: subprocess.Popen[bytes]) -> bool:
        """See `Engine`."""
        return worker.poll() is None

    def stop(self, workers: Sequence[subprocess.Popen[bytes]]) -> None:
        """See `Engine`."""
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
