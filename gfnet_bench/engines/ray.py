"""Workers that are actors of a Ray cluster: one that is there, by RAY_ADDRESS, or one of this machine for the run."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnet_bench.engines.base import ENGINES, Engine, Place
from gfnet_bench.errors import GfnetBenchError, MissingError


@ENGINES.register("ray")
@dataclass
class Ray(Engine):
    """Actors, each with a GPU of its own where the cluster has any; Ray starts one anew whose machine is lost.

    An actor keeps one process for the whole run, so that networks, prepared images and corrupted batches stay warm.
    The results, and the data, have one path on all machines.

    Attributes:
        workers: how many; None for one for each GPU of the cluster, or for each processor where it has none.
        cpus: processors that are set aside for each.
    """

    workers: int | None = None
    cpus: int = 1

    def size(self, gpus: Sequence[str]) -> int:
        """See `Engine`; the GPUs that count are the cluster's."""
        there = _cluster().cluster_resources()
        return self.workers or int(there.get("GPU", 0)) or max(int(there.get("CPU", 1)) // self.cpus, 1)

    def start(self, command: Sequence[str], places: Sequence[Place]) -> list[tuple[Any, Any]]:
        """See `Engine`."""
        ray = _cluster()
        gpus = int(ray.cluster_resources().get("GPU", 0) > 0)
        kind = ray.remote(num_cpus=self.cpus, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)(Actor)
        actors = [kind.remote() for _ in places]
        return [
            (actor, actor.work.remote(list(command), str(place.log.resolve()), str(Path.cwd())))
            for actor, place in zip(actors, places, strict=True)
        ]

    def is_alive(self, worker: tuple[Any, Any]) -> bool:
        """See `Engine`."""
        return not _cluster().wait([worker[1]], timeout=0)[0]

    def stop(self, workers: Sequence[tuple[Any, Any]]) -> None:
        """See `Engine`."""
        ray = _cluster()
        for actor, _ in workers:
            ray.kill(actor)
        ray.shutdown()


class Actor:
    """What stands on a machine of the cluster."""

    def work(self, command: Sequence[str], log: str, folder: str) -> int:
        """Run the worker to its end; its status."""
        with open(log, "ab") as file:  # noqa: PTH123  (this runs without our package's files)
            return subprocess.run(command, stdout=file, stderr=file, cwd=folder, check=False).returncode


def _cluster() -> Any:
    """The ray module, joined to the cluster.

    Raises:
        MissingError: if it is not installed.
        GfnetBenchError: if the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without a GPU the environment stays as it is
    try:
        import ray
    except ImportError as error:
        raise MissingError(
            "--engine ray: expected the package ray, found none; pip install 'gfnet-bench[ray]'"
        ) from error
    if not ray.is_initialized():
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
        except Exception as error:  # of many kinds, none of them ours
            raise GfnetBenchError(f"--engine ray: expected a cluster to join or to start, found {error}") from error
    return ray
