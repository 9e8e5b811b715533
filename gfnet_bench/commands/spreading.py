"""`--plan-only` and `--engine`: what a command measures as a file, which any number of workers measure together."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gfnet_bench.commands import argtypes, options
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.files import resolved, shown

if TYPE_CHECKING:
    from gfnet_bench.engines import Engine
    from gfnet_bench.inputs import Inputs
    from gfnet_bench.records import Cell, Record
    from gfnet_bench.runs import Run
    from gfnet_bench.store import Store


def add_plan_option(parser: argparse._ActionsContainer) -> None:
    """Plan now, measure later."""
    parser.add_argument(
        "--plan-only",
        type=argtypes.path,
        metavar="RUN.json",
        help="write what would be measured to a file, for `gfnet-bench work` in as many processes as you like",
    )


def add_engine_option(parser: argparse._ActionsContainer) -> None:
    """Who measures."""
    parser.add_argument(
        "--engine",
        metavar="NAME[:N]",
        help="have N workers measure: local:2 (processes; default: one a GPU), ray:8 (a cluster by RAY_ADDRESS, or one "
        "here), slurm:8,partition=NAME,minutes=M (a job array)",
    )


def add_run_argument(parser: argparse._ActionsContainer) -> None:
    """The file that `--plan-only` wrote."""
    parser.add_argument("file", type=argtypes.path, metavar="RUN.json", help="written by --plan-only")


def planned(
    arguments: argparse.Namespace,
    cells: Sequence[Cell],
    store: Store,
    inputs: Callable[[Record], Inputs] | None = None,
    *,
    shares: bool = True,
    together: Callable[[Cell], Hashable] | None = None,
) -> bool:
    """Write the run if that is all that is asked for, or have an engine's workers measure it; for a worker, check it.

    Args:
        arguments: of the command.
        cells: what it measures.
        store: where their records are.
        inputs: see `planning.plan`.
        shares: whether the command has `--engine`.
        together: what cells that are measured in one pass have in common, where cells can be cut (`pieces`).

    Returns:
        Whether nothing else is to be done.

    Raises:
        GfnetBenchError: if the cells of a worker's run are others, or an engine's workers left some.
    """
    of_worker: Run | None = getattr(arguments, "of_run", None)
    if of_worker is not None:
        of_worker.check_cells(cells)
        return False
    engine, gpus = _engine(arguments) if shares and arguments.plan_only is None else (None, [])
    if engine is None and arguments.plan_only is None:
        return False
    from gfnet_bench import runs

    run, to_do = _run(arguments, cells, store, inputs)
    if arguments.plan_only is not None:
        runs.write(arguments.plan_only, run)
        counts = f"{len(cells)} cells, {len(to_do)} to do"
        options.note(f"wrote {shown(arguments.plan_only)}: {counts}; gfnet-bench work does them")
        return True
    assert engine is not None
    if together is not None and to_do:
        groups = len(set(map(together, to_do)))
        run = replace(run, pieces=math.ceil(engine.size(gpus) / groups))
    _drive(engine, gpus, run, cells, store, arguments)
    arguments.overwrite = run.again
    return False


def _run(
    arguments: argparse.Namespace,
    cells: Sequence[Cell],
    store: Store,
    inputs: Callable[[Record], Inputs] | None,
) -> tuple[Run, list[Cell]]:
    """The run that this command line is, and those of its cells that are to be measured."""
    from gfnet_bench import planning, runner, runs

    to_do = planning.plan(cells, store, arguments.overwrite, inputs).to_do
    again = {cell.sha256: runs.fingerprint(record) for cell in to_do if (record := store.find(cell)) is not None}
    versions = {name: str(version) for name, version in runner.environment().items()}
    named = [{"sha256": cell.sha256, "name": str(cell)} for cell in cells]
    return runs.Run(arguments.words, os.getcwd(), named, again, versions, pieces=1), to_do  # noqa: PTH109


def _engine(arguments: argparse.Namespace) -> tuple[Engine | None, list[str]]:
    """The engine that was asked for, and the GPUs that are its to share out; none for a command that measures itself.

    Unless told otherwise, that is this process on a processor or one GPU, and a process a GPU where there are several.

    Raises:
        UsageError: if there is none of the name.
    """
    gpus = _gpus() if arguments.device in (None, "cuda") else []
    if arguments.engine is None and len(gpus) < 2:
        return None, []
    from gfnet_bench.engines import read_engine
    from gfnet_bench.engines.local import Local

    engine = read_engine(arguments.engine or "local")
    return (None if engine == Local() and len(gpus) < 2 else engine), gpus


def _gpus() -> list[str]:
    """Those that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] if named else [str(number) for number in range(count)]


def _drive(
    engine: Engine, gpus: Sequence[str], run: Run, cells: Sequence[Cell], store: Store, arguments: argparse.Namespace
) -> None:
    """Have the workers of an engine measure a run, in a file beside its records.

    Raises:
        GfnetBenchError: if they leave some of it.
    """
    from gfnet_bench import runs
    from gfnet_bench.engines.drive import drive

    file = resolved(folder_of(run, store).with_suffix(".json"))
    waiting = {cell.sha256: cell for cell in cells}

    def left() -> int:
        for sha256, cell in list(waiting.items()):
            record = store.find(cell)
            if record is not None and run.again.get(sha256) != runs.fingerprint(record):
                del waiting[sha256]
        return len(waiting)

    if not left():
        return
    with contextlib.suppress(UsageError):  # begun before, perhaps by another number of workers: its pieces stay
        run = replace(run, pieces=runs.read(file).pieces)
    runs.write(file, run)
    command = [sys.executable, "-m", "gfnet_bench", "work", str(file)]
    logs = file.with_suffix("")
    if still := drive(engine, command, gpus, logs, left, not arguments.no_progress):
        why = f"the workers ended before; {shown(logs)} says why, and the same command goes on"
        raise GfnetBenchError(f"{still} cells are left, {why}")
    shutil.rmtree(logs / PIECES, ignore_errors=True)  # cells are whole now


PIECES = "pieces"
"""Of the folder of a run: the records of cells that are cut."""


def folder_of(run: Run, store: Store) -> Path:
    """For what its workers say, and for pieces of cells; a file beside it is the run."""
    return store.folder / "runs" / run.name


def of_run(file: Path, parser: argparse.ArgumentParser) -> tuple[Run, argparse.Namespace]:
    """The run in a file, and the options of its command, as if it were given where it was planned.

    Raises:
        UsageError: if the file holds no run, or one of a folder or a command that there is not.
    """
    from gfnet_bench import runs
    from gfnet_bench.commands.parser import parse

    run = runs.read(file)
    if not Path(run.folder).is_dir():
        raise UsageError(f"{shown(file)}: expected the folder {run.folder} that it was planned in, found none here")
    os.chdir(run.folder)
    arguments = parse(parser, run.words)
    if not hasattr(arguments, "plan_only"):
        raise UsageError(f"{shown(file)}: expected a command that has --plan-only, found {arguments.command!r}")
    options.settle(arguments)
    arguments.plan_only, arguments.of_run, arguments.overwrite = None, run, run.again
    return run, arguments
