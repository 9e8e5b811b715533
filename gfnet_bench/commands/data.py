"""`gfnet-bench data`: what is on this machine, and getting what is not."""

from __future__ import annotations

import argparse
from typing import Any

from gfnet_bench import terminal
from gfnet_bench.commands import options
from gfnet_bench.errors import UsageError

NAME = "data"
HELP = "what data sets were found where, and downloading the open ones"
EXAMPLES = """\
examples:
  gfnet-bench data status --data-dir DATA
  gfnet-bench data get imagenet_v2 imagenet_a --data-dir DATA
  gfnet-bench data get imagenet_c --corruption noise blur --dry-run
  gfnet-bench data get ade20k --data-dir DATA     0.97 GB, for `segmentation`
  gfnet-bench data prune                          remove decoded pixels that no run will read again

ImageNet itself cannot be downloaded: point at it with --data-dir or GFNET_BENCH_DATA. If it lies there packed (a tar,
a zip, webdataset shards, parquet files of the hub), `gfnet-bench data get imagenet --data-dir DATA` unpacks it.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to do, with which sets."""
    parser.add_argument("action", choices=("status", "get", "prune"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets to get; `gfnet-bench list datasets`")
    options.add_data_options(parser)
    parser.add_argument("--corruption", nargs="+", default=(), metavar="NAME", help="of ImageNet-C, or groups of them")
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched, and how much")
    options.add_progress_option(parser)
    parser.add_argument("--format", default="text", choices=options.FORMATS)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    if (arguments.action == "get") != bool(arguments.names):
        raise UsageError(
            "data get needs names, `gfnet-bench data get imagenet_v2`; data status and data prune take none"
        )
    return {"status": _status, "get": _get, "prune": _prune}[arguments.action](arguments)


def _status(arguments: argparse.Namespace) -> int:
    from gfnet_bench.datasets.doctor import status
    from gfnet_bench.reports.drawing.tables import Column, render
    from gfnet_bench.segmentation import doctor as scenes

    looked = options.data_dirs(arguments)
    rows = [
        {**s._asdict(), "state": f"{s.found:,} of {s.expected:,} {s.unit}" if s.where else "missing"}
        for s in (*status(looked), *scenes.status(looked))
    ]
    if arguments.format == "text":
        for row in rows:
            head = f"{row['name']:22} {row['state']:28} "
            print(options.paragraph(head, f"{row['where']} ({row['note']})" if row["where"] else row["note"]))
    else:
        columns = [Column(key, key) for key in ("name", "state", "found", "expected", "unit", "where", "note")]
        print(render(rows, columns, arguments.format, terminal.screen()), end="")
    options.note(f"looked in {', '.join(f'{d}' if d.is_dir() else f'{d} (which is no folder)' for d in looked)}")
    return 0


def _get(arguments: argparse.Namespace) -> int:
    from gfnet_bench.datasets.sources import get

    get(
        arguments.names,
        options.data_dirs(arguments)[0],
        corruptions=arguments.corruption,
        dry_run=arguments.dry_run,
        progress=not arguments.no_progress,
    )
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    """Remove what no run will read again and show what stays."""
    from gfnet_bench.datasets import storage
    from gfnet_bench.reports.drawing.tables import Column, render

    removed = [] if arguments.dry_run else storage.prune()
    kept = storage.stored()
    rows = [{"state": "removed", **_size(one)} for one in removed] + [{"state": s.state, **_size(s)} for s in kept]
    columns = [
        Column("state", "state"),
        Column("files", "files"),
        Column("images", "images"),
        Column("size_bytes", "size", "GB", scale=1e-9),
    ]
    print(render(rows, columns, arguments.format, terminal.screen()), end="")
    return 0


def _size(one: Any) -> dict[str, Any]:
    return {"files": one.files, "images": one.images, "size_bytes": one.bytes}
