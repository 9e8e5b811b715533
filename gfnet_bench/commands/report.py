"""`gfnet-bench report`: tables, figures and a page again, from records alone; needs neither torch nor the data sets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, options
from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.suites.own import is_own, settle

if TYPE_CHECKING:
    from gfnet_bench.reports.base import Report
    from gfnet_bench.store import Store

NAME = "report"
HELP = "draw tables, figures and an HTML page from the records on disk, without torch or data"
EXAMPLES = """\
examples:
  gfnet-bench report robustness
  gfnet-bench report robustness --model gfnet_s deit_small --format md --details
  gfnet-bench report robustness --metric ece nll          calibration and likelihood beside accuracy
  gfnet-bench report robustness --write md csv latex      files under <output-dir>/tables and figures
  gfnet-bench report claims --details                     what the paper says, each sentence with a verdict
  gfnet-bench report --html report.html                   everything, one page that works from a file
  gfnet-bench report --compare results other/results      two runs; status 1 if they differ
  gfnet-bench report --bibtex > references.bib            what the numbers rest on
"""

ORDER = ("robustness", "accuracy", "complexity", "filters", "claims")
"""Reports that a page begins with."""

METRICS = ("brier", "ece", "mean_ce", "relative_mce", "nll")
"""Those of `gfnet_bench.metrics` that have columns on request, which are not imported for a help text."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which reports, of which records, to where."""
    parser.add_argument(
        "report", nargs="*", metavar="REPORT", help="names, or `all` (default: robustness; with --html all)"
    )
    options.add_model_option(parser, "these alone, in this order")
    options.add_suite_option(parser, "this alone, or images:NAME")
    parser.add_argument(
        "--reference", metavar="MODEL", help="corruption errors relative to this model's, with --suite images:NAME"
    )
    options.add_list(
        parser,
        "--metric",
        metavar="NAME",
        help=f"robustness tables also with columns of {', '.join(METRICS)}, or any other metric's (CSV and JSON "
        "have them always, but for what accuracies tell as well)",
    )
    parser.add_argument("--details", action="store_true", help="also the long tables: models compared in pairs")
    options.add_result_options(parser)
    options.add_list(
        parser,
        "--write",
        choices=options.FORMATS,
        metavar="FORMAT",
        help="also save tables in these formats",
    )
    parser.add_argument("--html", type=argtypes.path, metavar="FILE", help="write a page instead of printing")
    parser.add_argument(
        "--compare", type=argtypes.path, nargs=2, metavar=("A", "B"), help="two results folders, cell by cell"
    )
    parser.add_argument("--bibtex", action="store_true", help="print BibTeX of what the records rest on, and stop")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the reports."""
    from gfnet_bench.store import Store

    options.refuse(arguments, _unheeded(arguments))
    if arguments.compare:
        return _compare(arguments)
    store = Store(arguments.output_dir)
    if arguments.bibtex:
        from gfnet_bench.reports.bibliography import bibtex

        print(bibtex(store), end="")
        return 0
    if arguments.reference:
        settle(arguments.suite, reference=arguments.reference)
    reports = _draw(arguments, store)
    if arguments.html:
        from gfnet_bench.reports.page import write_page

        options.note(f"wrote {write_page(reports, store, arguments.html)}")
    else:
        _print(reports, arguments)
    for report in reports.values():
        for path in report.write(arguments.output_dir, arguments.write) if arguments.write else ():
            options.note(f"wrote {path}")
    return 0


def _unheeded(arguments: argparse.Namespace) -> dict[str, str]:
    """The options that change nothing of what is asked for, each with the reason."""
    reasons: dict[str, str] = {}
    alone = "--compare" if arguments.compare else "--bibtex" if arguments.bibtex else ""
    if alone and arguments.report:
        raise UsageError(f"{', '.join(arguments.report)}: {alone} takes no names of reports; leave them out")
    if alone:
        reasons |= dict.fromkeys(("model", "suite", "details", "write", "metric"), f"{alone} has no use for it")
    if not is_own(arguments.suite or ""):
        reasons["reference"] = f"expected --suite images:NAME with it, found {arguments.suite or 'none'}"
    if arguments.compare:
        reasons |= dict.fromkeys(("output_dir", "bibtex"), "--compare has no use for it")
    if arguments.bibtex:
        reasons |= dict.fromkeys(("html", "format"), "--bibtex has no use for it")
    if arguments.html:
        reasons |= dict.fromkeys(("format", "details"), "--html writes a page, which has all of it")
    if arguments.format in ("csv", "json"):
        reasons["details"] = f"--format {arguments.format} has a row for every number as it is"
    if arguments.report and not {"all", "robustness", "filters", "claims"}.intersection(arguments.report):
        reasons["suite"] = f"{', '.join(arguments.report)} is the same in every suite"
    if arguments.report and set(arguments.report) <= {"ablation", "transfer"}:
        reasons["model"] = f"{', '.join(arguments.report)} is shown as published"
    if arguments.report == ["claims"]:
        reasons["model"] = "every claim names its models"
    return reasons


def _draw(arguments: argparse.Namespace, store: Store) -> dict[str, Report]:
    """The reports that were asked for; of all of them those that have records.

    Raises:
        MissingError: if one that was named has none, or none has.
    """
    from gfnet_bench.reports import REPORTS

    named = arguments.report or (["all"] if arguments.html else ["robustness"])
    everything = "all" in named
    names = [str(REPORTS.canonical(name) or name) for name in named if name != "all"]
    names += sorted(REPORTS, key=_place) if everything else []
    if arguments.metric and "robustness" not in names:
        raise UsageError(f"--metric adds columns to the report robustness, but {', '.join(names)} was asked for")
    found = {}
    reasons = []
    for name in dict.fromkeys(names):
        more = {"metrics": arguments.metric} if arguments.metric and name == "robustness" else {}
        try:
            found[name] = REPORTS[name](store, suite=arguments.suite, models=arguments.model, **more)
        except MissingError as error:
            if not everything:
                raise
            reasons.append(str(error))
    if not found:
        raise MissingError("; ".join(reasons))
    return found


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER)), name


def _print(reports: dict[str, Report], arguments: argparse.Namespace) -> None:
    if len(reports) > 1 and arguments.format in ("csv", "json"):
        raise UsageError(f"--format {arguments.format} prints one report at a time; name one of {', '.join(reports)}")
    form, screen = arguments.format, terminal.screen()
    print("\n".join(r.render(form, details=arguments.details, screen=screen) for r in reports.values()), end="")


def _compare(arguments: argparse.Namespace) -> int:
    """Like `diff`: status 0 if the runs are the same, 1 if they differ."""
    from gfnet_bench.reports.compare import compare
    from gfnet_bench.store import Store

    first, second = arguments.compare
    found = compare(Store(first), Store(second))
    if arguments.html:
        from gfnet_bench.reports.page import write_page

        title = f"{first} and {second} compared"
        options.note(f"wrote {write_page({'comparison': found.report}, found.records, arguments.html, title=title)}")
    else:
        print(found.report.render(arguments.format, screen=terminal.screen()), end="")
    return 0 if found.same else 1
