"""`gfnet-bench status`: how far a run is, from its records and leases alone: while it runs, and after all died."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfnet_bench import terminal
from gfnet_bench.commands import options, spreading

if TYPE_CHECKING:
    from gfnet_bench.records import Record
    from gfnet_bench.runs import Run
    from gfnet_bench.store import Store

NAME = "status"
HELP = "how far a run is: done, running and where, failed and why, remaining, time left"
EXAMPLES = """\
examples:
  gfnet-bench status run.json
  gfnet-bench status run.json --format json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    spreading.add_run_argument(parser)
    parser.add_argument("--format", default="text", choices=options.FORMATS, help="of the table on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Print a row a state; exit status 1 if something failed."""
    from gfnet_bench.reports.drawing.tables import Column, render
    from gfnet_bench.store import Store

    planned, command = spreading.of_run(arguments.file, arguments.top)
    store = Store(command.output_dir)
    records = {record.cell.sha256: record for record in store.load(arrays=False).records}
    rows = summary(planned, records, working(store.folder)) + in_pieces(planned, store)
    columns = [Column(name, name) for name in ("state", "cells", "where", "what")]
    print(render(rows, columns, arguments.format, terminal.screen()), end="")
    return 1 if any(row["state"] == "failed" for row in rows) else 0


def working(folder: Path) -> dict[str, dict[str, Any]]:
    """What the leases of a results folder say, by the first half of a cell's sha256; those of the dead left out."""
    from gfnet_bench import leases

    place = folder / leases.FOLDER
    newest: dict[str, tuple[int, Path]] = {}
    for path in place.glob("*.*"):
        key, _, number = path.name.partition(".")
        if number.isdigit():
            newest[key] = max(newest.get(key, (-1, path)), (int(number), path))
    told = {key: leases.read(path) for key, (_, path) in newest.items()}
    return {key: about for key, about in told.items() if about and not leases.has_ended(place, about)}


def summary(run: Run, records: Mapping[str, Record], running: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a device for what is done, a row a cell for what runs, a row a reason for what failed, and what remains.

    Args:
        run: its cells.
        records: by the sha256 of a cell.
        running: leases of the living, by the first half of that.
    """
    from gfnet_bench.runs import fingerprint

    done: defaultdict[str, list[float]] = defaultdict(list)
    failed: Counter[str] = Counter()
    at_work: list[dict[str, Any]] = []
    left = 0
    for cell in run.cells:
        sha256 = cell["sha256"]
        record, lease = records.get(sha256), running.get(sha256[:32])
        counts = record is not None and run.again.get(sha256) != fingerprint(record)
        if record is not None and counts and record.error is None:
            done[str(record.provenance.get("device", "?"))].append(float(record.provenance.get("seconds", 0)))
        elif lease is not None:
            where = f"{lease.get('host')}, process {lease.get('pid')}"
            at_work.append({"state": "running", "cells": 1, "where": where, "what": cell["name"]})
        elif record is not None and counts:
            failed[str(record.error)] += 1
        else:
            left += 1
    rows = [
        {"state": "done", "cells": len(each), "where": device, "what": f"{_per_hour(each)} cells an hour and worker"}
        for device, each in done.items()
    ]
    rows += at_work
    rows += [{"state": "failed", "cells": count, "where": "", "what": why} for why, count in failed.items()]
    if left:
        workers = len({row["where"] for row in at_work})
        rows.append({"state": "remaining", "cells": left, "where": "", "what": _time_left(left, done, workers)})
    return rows or [{"state": "done", "cells": 0, "where": "", "what": "nothing was asked for"}]


def in_pieces(run: Run, store: Store) -> list[dict[str, Any]]:
    """A row for the pieces that cells are cut into, while there are any."""
    from gfnet_bench.store import Store

    folder = spreading.folder_of(run, store) / spreading.PIECES
    if not folder.is_dir():
        return []
    done, at_work = len(Store(folder).load(arrays=False).records), len(working(folder))
    return [{"state": "pieces", "cells": done, "where": f"{at_work} at work", "what": f"{run.pieces} a cell"}]


def _per_hour(seconds: Sequence[float]) -> str:
    return f"{3600 * len(seconds) / sum(seconds):.3g}" if sum(seconds) else "?"


def _time_left(left: int, done: Mapping[str, Sequence[float]], workers: int) -> str:
    """As long as cells took up to now, on the workers that there are."""
    seconds = [each for of_device in done.values() for each in of_device]
    if not workers:
        return "nobody is at work; gfnet-bench work goes on"
    if not seconds:
        return "no cell is done yet, which would tell how long"
    return f"about {left * sum(seconds) / len(seconds) / workers / 60:.3g} minutes, by {workers} workers"
