"""Workers that are the tasks of a Slurm job array, by submitit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnet_bench.engines.base import ENGINES, Engine, Place
from gfnet_bench.errors import GfnetBenchError, MissingError


@ENGINES.register("slurm")
@dataclass
class Slurm(Engine):
    """A job array of one worker a task; one that is preempted, or runs out of its time, is queued again.

    Attributes:
        workers: how many tasks.
        partition: of the cluster; None for its own default.
        minutes: that a task may take before it is queued again.
        gpus: of each task.
        cpus: of each task.
        cluster: `slurm`, or `local`, which runs the same on this machine to try it out.
    """

    workers: int | None = None
    partition: str | None = None
    minutes: int = 24 * 60
    gpus: int = 1
    cpus: int = 8
    cluster: str = "slurm"

    def size(self, gpus: Sequence[str]) -> int:
        """See `Engine`."""
        return self.workers or 1

    def start(self, command: Sequence[str], places: Sequence[Place]) -> list[Any]:
        """See `Engine`."""
        submitit = _submitit()
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise GfnetBenchError(
                "--engine slurm: expected Slurm on this machine, found no sbatch; call it where jobs are submitted"
            )
        executor = submitit.AutoExecutor(places[0].log.parent / "submitit", cluster=self.cluster)
        on_gpus = {"gpus_per_node": self.gpus} if self.cluster == "slurm" else {}
        executor.update_parameters(name="gfnet-bench", timeout_min=self.minutes, cpus_per_task=self.cpus, **on_gpus)
        if self.partition is not None:
            executor.update_parameters(slurm_partition=self.partition)
        return list(executor.map_array(Task(list(command), str(Path.cwd())), [str(p.log.resolve()) for p in places]))

    def is_alive(self, worker: Any) -> bool:
        """See `Engine`."""
        return not worker.done()

    def stop(self, workers: Sequence[Any]) -> None:
        """See `Engine`."""
        for worker in workers:
            worker.cancel(check=False)


class Task:
    """What a task of the array does; submitit queues it again where Slurm ends it before its time."""

    def __init__(self, command: Sequence[str], folder: str) -> None:
        self.command, self.folder = command, folder

    def __call__(self, log: str) -> int:
        """Run the worker to its end; its status."""
        with open(log, "ab") as file:  # noqa: PTH123  (a pickled task)
            return subprocess.run(self.command, stdout=file, stderr=file, cwd=self.folder, check=False).returncode

    def checkpoint(self, log: str) -> Any:
        """The same once more: what it was measuring goes to another by its lease."""
        return _submitit().helpers.DelayedSubmission(self, log)


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        hint = "pip install 'gfnet-bench[slurm]'"
        raise MissingError(f"--engine slurm: expected the package submitit, found none; {hint}") from error
    return submitit
