"""What an engine is."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from gfnet_bench import spelling
from gfnet_bench.errors import UsageError
from gfnet_bench.registry import Registry


class Place(NamedTuple):
    """Where a worker is started.

    Attributes:
        log: what it says is added to this file.
        gpu: the one that it is to see; None where the engine hands them out itself, or there is none.
    """

    log: Path
    gpu: str | None = None


class Engine(ABC):
    """Starts the workers of a run, and nothing more: they share its cells among themselves, by leases in the results.

    A worker is a command line, `python -m gfnet_bench work RUN`, that ends when no cell is left; an engine that loses
    some of them loses no number. Subclasses are dataclasses, whose fields are written behind the name:
    `slurm:8,partition=gpu`.

    Attributes:
        workers: how many; None for as many as suit it.
    """

    workers: int | None

    @abstractmethod
    def size(self, gpus: Sequence[str]) -> int:
        """How many workers there are to be, where these GPUs are visible."""

    @abstractmethod
    def start(self, command: Sequence[str], places: Sequence[Place]) -> list[Any]:
        """Start a worker at each place; what each is known by.

        Raises:
            GfnetBenchError: if there is nothing to start them on.
        """

    @abstractmethod
    def is_alive(self, worker: Any) -> bool:
        """Whether it is at work, or waiting to be."""

    @abstractmethod
    def stop(self, workers: Sequence[Any]) -> None:
        """End those that are left."""


ENGINES: Registry[type[Engine]] = Registry("engine")


def read_engine(text: str) -> Engine:
    """The engine that is written so: `local`, `local:2`, `ray:8`, `slurm:8,partition=gpu`.

    Raises:
        UsageError: if there is none of the kind, or no such field, or fewer than one worker.
    """
    name, fields = spelling.split(text, bare=lambda _: "workers")
    engine = ENGINES[name]
    hints = get_type_hints(engine)
    kinds = {field.name: hints[field.name] for field in dataclasses.fields(engine)}  # type: ignore[arg-type]
    made = engine(**spelling.read(name, fields, kinds))
    if made.workers is not None and made.workers < 1:
        raise UsageError(f"{text}: expected one worker or more, found {made.workers}")
    return made
