"""`--plan-only`: what a command would measure goes to a file, which any number of workers measure."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfnet_bench.commands import argtypes, options
from gfnet_bench.errors import UsageError
from gfnet_bench.files import shown

if TYPE_CHECKING:
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


def add_run_argument(parser: argparse._ActionsContainer) -> None:
    """The file that `--plan-only` wrote."""
    parser.add_argument("file", type=argtypes.path, metavar="RUN.json", help="written by --plan-only")


def planned(
    arguments: argparse.Namespace,
    cells: Sequence[Cell],
    store: Store,
    inputs: Callable[[Record], Inputs] | None = None,
) -> bool:
    """Write the run if that is all that is asked for; for a worker, see that its run has these cells.

    Args:
        arguments: of the command.
        cells: what it measures.
        store: where their records are.
        inputs: see `planning.plan`.

    Returns:
        Whether nothing else is to be done.

    Raises:
        GfnetBenchError: if the cells of a worker's run are others.
    """
    run: Run | None = getattr(arguments, "of_run", None)
    if run is not None:
        run.check_cells(cells)
        return False
    if arguments.plan_only is None:
        return False
    from gfnet_bench import planning, runner, runs

    to_do = planning.plan(cells, store, arguments.overwrite, inputs).to_do
    again = {cell.sha256: runs.fingerprint(record) for cell in to_do if (record := store.find(cell)) is not None}
    versions = {name: str(version) for name, version in runner.environment().items()}
    named = [{"sha256": cell.sha256, "name": str(cell)} for cell in cells]
    runs.write(arguments.plan_only, runs.Run(arguments.words, os.getcwd(), named, again, versions))  # noqa: PTH109
    counts = f"{len(cells)} cells, {len(to_do)} to do"
    options.note(f"wrote {shown(arguments.plan_only)}: {counts}; gfnet-bench work does them")
    return True


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
    if getattr(arguments, "plan_only", None) is None:
        raise UsageError(f"{shown(file)}: expected a command with --plan-only in it, found {arguments.command!r}")
    options.settle(arguments)
    arguments.plan_only, arguments.of_run, arguments.overwrite = None, run, run.again
    return run, arguments
