"""`gfnet-bench report`: tables again, from records alone; needs neither torch nor the data sets."""

from __future__ import annotations

import argparse

from gfnet_bench.commands import options

NAME = "report"
HELP = "draw tables from the records on disk, without torch or data"
EXAMPLES = """\
examples:
  gfnet-bench report robustness
  gfnet-bench report robustness --model gfnet_s deit_small --format md --details
  gfnet-bench report robustness --write md csv latex      files under <output-dir>/tables
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which report, of which records."""
    parser.add_argument("report", nargs="?", default="robustness", metavar="REPORT", help="default: robustness")
    parser.add_argument("-m", "--model", nargs="+", action="extend", metavar="NAME", help="these alone, in this order")
    parser.add_argument("--suite", choices=("imagenet", "mini"), help="this alone")
    parser.add_argument("--details", action="store_true", help="also the long tables: models compared in pairs")
    options.add_result_options(parser)
    parser.add_argument(
        "--write", nargs="+", choices=options.FORMATS, metavar="FORMAT", help="also save tables in these formats"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the report, and save it if asked."""
    from gfnet_bench.records import Store
    from gfnet_bench.reports import REPORTS

    draw = REPORTS[arguments.report]
    report = draw(Store(arguments.output_dir), suite=arguments.suite, models=arguments.model)
    print(report.render(arguments.format, details=arguments.details), end="")
    for path in report.write(arguments.output_dir, arguments.write) if arguments.write else ():
        options.note(f"wrote {path}")
    return 0
