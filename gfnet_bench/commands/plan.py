"""`--dry-run`: what a command would measure, a row for what belongs together, and what is missing for it."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench import terminal
from gfnet_bench.commands import options

if TYPE_CHECKING:
    from gfnet_bench.inputs import Inputs
    from gfnet_bench.records import Cell, Record
    from gfnet_bench.store import Store

Describe = Callable[[Sequence["Cell"]], dict[str, Any]]


def show(
    cells: Sequence[Cell],
    store: Store,
    arguments: argparse.Namespace,
    *,
    kind: Callable[[Cell], Hashable],
    describe: Describe,
    lacking: Callable[[Sequence[Cell]], Sequence[str]] = lambda cells: (),
    inputs: Callable[[Record], Inputs] | None = None,
) -> int:
    """Print the plan of a command and what is missing for it.

    Args:
        cells: what the command asks for.
        store: where some of them may have records.
        arguments: for `--overwrite` and `--format`.
        kind: cells of equal kind share a row.
        describe: the columns of a row, made from its cells.
        lacking: sentences about data and weights that these cells need and this machine lacks.
        inputs: see `planning.plan`.

    Returns:
        The exit status: 1 if something is missing.
    """
    from gfnet_bench import planning
    from gfnet_bench.reports.drawing.tables import Column, render

    planned = planning.plan(cells, store, arguments.overwrite, inputs)
    to_do = set(planned.to_do)
    together: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        together.setdefault(kind(cell), []).append(cell)
    rows = []
    for group in together.values():
        left = len(to_do.intersection(group))
        models = ", ".join(dict.fromkeys(cell.model for cell in group))
        counts = {"cells": len(group), "to_do": left, "state": _state(len(group), left)}
        rows.append({**describe(group), **counts, "models": models})
    columns = [Column(key, key.replace("_", " ")) for key in rows[0] if key != "models"]
    columns.append(Column("models", "models", show=lambda row: _few(row["models"]), fields=["models"]))
    print(render(rows, columns, arguments.format, terminal.screen()), end="")
    missing = list(dict.fromkeys(lacking([cell for cell in cells if cell in to_do])))
    for sentence in planned.notes:
        options.note(sentence)
    for sentence in missing:
        options.note(f"not ready: {sentence}")
    options.note(f"{len(cells)} cells, {len(to_do)} to do")
    return 1 if missing else 0


def _few(names: str) -> str:
    return textwrap.shorten(names, 48, placeholder=" ...")


def _state(cells: int, left: int) -> str:
    if left in (0, cells):
        return "to do" if left else "measured"
    return f"{cells - left} of {cells} measured"


def numbered(count: int, noun: str) -> str:
    """`1 severity`, `5 severities`."""
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
