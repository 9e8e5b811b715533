"""`gfnet-bench verify`: is a record, or a row of a table, what is measured here?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, machine, options
from gfnet_bench.errors import GfnetBenchError, UsageError

if TYPE_CHECKING:
    from gfnet_bench.records import Record
    from gfnet_bench.store import Store

NAME = "verify"
HELP = "measure some images of a record, or of a row of the robustness table, again: consistent or not, with the odds"
EXAMPLES = """\
examples:
  gfnet-bench verify gfnet_mini --sample 50                  all records of that row; status 1 if one is contradicted
  gfnet-bench verify results/records/robustness/gfnet_mini/mini.clean.99842e.json
  gfnet-bench verify 99842e6b --data-dir DATA                the sha256 of a cell, or how it begins

The images are a sample of those of the record, spread over the classes, and compared one by one. A record is
contradicted where its accuracy on them differs more than chance allows (p < 0.01, McNemar's test), or where fewer than
95 % of its answers are given again. Nothing is saved.
"""

SAMPLE = 200
_FEWEST = 6
"""Digits of a hash that are enough to name a record."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which records, on how many images, where."""
    parser.add_argument(
        "record", metavar="RECORD|ROW", help="a record's file, the sha256 of its cell, or what a table calls a row"
    )
    parser.add_argument(
        "--sample", type=argtypes.positive, default=SAMPLE, metavar="N", help=f"images of each record ({SAMPLE})"
    )
    options.add_checkpoint_options(parser)
    options.add_data_options(parser)
    options.add_device_options(parser)
    options.add_result_options(parser)
    options.add_progress_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a record; exit status 1 unless all of them are borne out."""
    from gfnet_bench.reports.drawing.tables import render
    from gfnet_bench.store import Store

    store = Store(arguments.output_dir)
    records = _meant(arguments.record, store)
    _check_weights(arguments, records)
    bench = machine.bench(arguments, progress=not arguments.no_progress)
    rows = [_row(record, store, bench, arguments.sample) for record in records]
    print(render(rows, _columns(), arguments.format, terminal.screen()), end="")
    borne_out = sum(row["consistent"] for row in rows)
    options.note(f"{borne_out} of {len(rows)} records are borne out by what was measured here")
    return 0 if borne_out == len(rows) else 1


def _meant(word: str, store: Store) -> list[Record]:
    """The records that a word stands for.

    Raises:
        UsageError: if there are none, or none that can be compared image by image.
    """
    from gfnet_bench.reports.reading.labels import labelled
    from gfnet_bench.reports.reading.scores import setup_of

    loaded = store.load().records
    own = [r for r in loaded if r.cell.study == "robustness" and r.error is None]
    rows = labelled(own, lambda r: setup_of(r.cell))
    named = [r for r in own if rows[setup_of(r.cell)].label == word]
    if named:
        return named
    found = [r for r in loaded if _is_called(r, word)]
    if not found:
        some = ", ".join(sorted({rows[setup_of(r.cell)].label for r in own})[:8]) or "none"
        raise UsageError(f"{word}: expected a record in {store.folder} or a row, found neither; rows are {some}")
    if len(found) > 1:
        raise UsageError(f"{word}: expected one record, found {len(found)} whose hashes begin so; give more digits")
    if found[0] not in own:
        raise UsageError(
            f"{found[0].cell}: expected an accuracy that was measured, which alone can be compared image by image; "
            "the page of `report --html` has the command that measures any record again"
        )
    return found


def _is_called(record: Record, word: str) -> bool:
    sha256, path = record.cell.sha256, record.cell.path.as_posix()
    return (len(word) >= _FEWEST and sha256.startswith(word.lower())) or f"/{word}".endswith(f"/{path}")


def _check_weights(arguments: argparse.Namespace, records: list[Record]) -> None:
    """Raise UsageError where weights of one's own are needed, and others or none are named."""
    given = options.checkpoint_sha256(arguments)
    for record in records:
        wanted = record.cell.settings["checkpoint"]
        if wanted != given:
            raise UsageError(
                f"{record.cell}: expected --checkpoint with weights of sha256 {wanted}, found {given or 'none'}"
                if wanted
                else f"--checkpoint: {record.cell} was measured with the published weights; leave it out"
            )


def _row(record: Record, store: Store, bench: Any, sample: int) -> dict[str, Any]:
    from gfnet_bench.benches.verify import verify
    from gfnet_bench.reports.reading.describe import describe

    row: dict[str, Any] = {"record": describe(record), "model": record.cell.model, "sha256": record.cell.sha256[:12]}
    try:
        found = verify(bench, record, store.arrays(record), sample)
    except GfnetBenchError as error:
        return {**row, "verdict": f"not compared: {error}", "consistent": False}
    noticed = found.noticed
    return {
        **row,
        "images": found.images,
        "same_answers": found.alike,
        "recorded_percent": 100 * found.then / found.images,
        "now_percent": 100 * found.now / found.images,
        "p": found.p,
        "would_notice_points": None if noticed is None else 100 * noticed,
        "verdict": found.verdict,
        "consistent": found.is_consistent,
    }


def _columns() -> list[Any]:
    from gfnet_bench.reports.drawing.tables import Column

    return [
        Column("model", "Model"),
        Column("record", "Record"),
        Column("sha256", "sha256"),
        Column("images", "Images", align="right"),
        Column("same_answers", "Same answers", align="right"),
        Column("recorded_percent", "Recorded", "%", align="right"),
        Column("now_percent", "Now", "%", align="right"),
        Column("p", "p", digits=4, align="right"),
        Column("would_notice_points", "Would notice", "points", align="right"),
        Column("verdict", "Verdict"),
    ]
