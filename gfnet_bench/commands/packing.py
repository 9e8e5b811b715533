"""`gfnet-bench pack`: many records in one file, and back."""

from __future__ import annotations

import argparse
from pathlib import Path

from gfnet_bench.commands import argtypes, options
from gfnet_bench.files import shown

NAME = "pack"
HELP = "put the records of a results folder into one file of lines, which every command reads, or take them out again"
EXAMPLES = """\
examples:
  gfnet-bench pack results                records.jsonl, the same bytes for the same records
  gfnet-bench pack results --unpack       a file a record again
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which folder, and in which direction."""
    parser.add_argument("folder", type=argtypes.path, nargs="?", default=Path("results"), help="default: results")
    parser.add_argument("--unpack", action="store_true", help="make files of packed records")


def run(arguments: argparse.Namespace) -> int:
    """Pack or unpack; exit status 1 if something stayed as it was."""
    from gfnet_bench import packing
    from gfnet_bench.store import Store

    store = Store(arguments.folder)
    moved = (packing.unpack if arguments.unpack else packing.pack)(store)
    for problem in moved.problems:
        options.note(problem)
    print(f"{'unpacked' if arguments.unpack else 'packed'} {moved.records} records in {shown(store.folder)}")
    return 1 if moved.problems else 0
