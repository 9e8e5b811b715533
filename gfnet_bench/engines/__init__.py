"""Where the workers of a run are started: processes here, a Ray cluster, Slurm. All start one and the same command."""

from gfnet_bench.engines import local, ray, slurm
from gfnet_bench.engines.base import ENGINES, Engine, read_engine

__all__ = ["ENGINES", "Engine", "local", "ray", "read_engine", "slurm"]
