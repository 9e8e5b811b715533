"""`gfnet-bench retry`: have what failed in a run measured again by the workers that are started next."""

from __future__ import annotations

import argparse
from dataclasses import replace

from gfnet_bench.commands import options, spreading
from gfnet_bench.files import resolved

NAME = "retry"
HELP = "have what failed in a run measured again by the next `gfnet-bench work`"
EXAMPLES = """\
examples:
  gfnet-bench retry run.json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which run, and which of its cells."""
    spreading.add_run_argument(parser)
    parser.add_argument("--failed", action="store_true", help="those that failed, which is what is retried anyway")


def run(arguments: argparse.Namespace) -> int:
    """Note in the run which failures are to give way."""
    from gfnet_bench import runs
    from gfnet_bench.store import Store

    file = resolved(arguments.file)
    planned, command = spreading.of_run(file, arguments.top)
    wanted = {cell["sha256"] for cell in planned.cells}
    records = Store(command.output_dir).load(arrays=False).records
    failed = [record for record in records if record.error is not None and record.cell.sha256 in wanted]
    again = {record.cell.sha256: runs.fingerprint(record) for record in failed}
    runs.write(file, replace(planned, again={**planned.again, **again}))
    options.note(f"wrote {arguments.file}: {len(failed)} failed cells are measured again by gfnet-bench work")
    return 0
