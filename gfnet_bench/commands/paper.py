"""`gfnet-bench paper`: the evidence of the GFNet paper, measured where it can be, and one report of all of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, options
from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.suites import DEFAULT, SUITES

if TYPE_CHECKING:
    from gfnet_bench.records import Cell
    from gfnet_bench.reports.base import Report
    from gfnet_bench.store import Store
    from gfnet_bench.studies.paper import Item, Wish

    Plans = dict[str, list[Cell]]

NAME = "paper"
HELP = "all tables and figures of the GFNet paper, published beside measured, as one report"
EXAMPLES = """\
examples:
  gfnet-bench paper --suite mini                   the complete report in minutes; needs no data, no GPU, no network
  gfnet-bench paper --data-dir DATA --device cuda
  gfnet-bench paper table3 figure2 --data-dir DATA
  gfnet-bench paper claims --suite mini            what the paper says, each sentence with a verdict
  gfnet-bench paper --dry-run                      what is behind each item, and what of it is measured
"""

CPU_TOKENS = "196..1024"  # of Figure 2 where nothing else is said: minutes on two cores


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which items, on what, how."""
    parser.add_argument(
        "item",
        nargs="*",
        metavar="ITEM",
        help="table1 table2 table3 figure2 figure3 figure4 figure5 claims ablation transfer (default: all)",
    )
    what = parser.add_argument_group("what to measure")
    options.add_suite_option(what, f"one that has models of its own (default: {DEFAULT})", DEFAULT)
    options.add_limit_option(what)
    options.add_seed_option(what)
    options.add_dtype_option(what)
    what.add_argument("--tokens", metavar="T", help=f"sizes of Figure 2 (default: paper; on a CPU {CPU_TOKENS})")
    what.add_argument("--count-only", action="store_true", help="time nothing: Figure 2 without latency and memory")
    what.add_argument("--time-budget", type=argtypes.seconds, default=3.0, metavar="S", help="seconds a latency (3)")

    how = parser.add_argument_group("how")
    options.add_data_options(how)
    options.add_device_options(how)

    out = parser.add_argument_group("results")
    options.add_result_options(out)
    out.add_argument(
        "--html", type=argtypes.path, metavar="FILE", help="the report (default: <output-dir>/report.html)"
    )
    options.add_overwrite_option(out)
    out.add_argument("--dry-run", action="store_true", help="print what is behind each item, and stop")
    options.add_time_limit_option(out)
    options.add_progress_option(out)


def run(arguments: argparse.Namespace) -> int:
    """Measure what is missing, then write and summarise the report."""
    from gfnet_bench import planning
    from gfnet_bench.present import Present, absent, absent_sets
    from gfnet_bench.store import Store
    from gfnet_bench.studies import paper

    if not SUITES[arguments.suite].models:
        having = ", ".join(name for name in SUITES if SUITES[name].models)
        raise UsageError(f"--suite {arguments.suite}: expected a suite that has models of its own ({having})")
    names = [str(paper.ITEMS.canonical(name) or name) for name in arguments.item or paper.ITEMS]
    items = {name: paper.ITEMS[name] for name in names}
    wish = _wish(arguments)
    plans = {name: item.plan(wish) for name, item in items.items()}
    options.refuse(arguments, _unheeded(plans))
    store = Store(arguments.output_dir)
    cells = [cell for plan in plans.values() for cell in plan]
    lacking = absent_sets(cells, options.data_dirs(arguments))
    present = Present(options.data_dirs(arguments), not arguments.no_progress)
    to_do = planning.plan(cells, store, arguments.overwrite, present.inputs).to_do
    missing = absent(to_do, options.data_dirs(arguments))
    for sentence in missing if arguments.dry_run else dict.fromkeys(lacking.values()):
        options.note(f"not ready: {sentence}")
    if not arguments.dry_run:
        store.prepare((), ("tables", "figures"))
        _measure(plans, lacking, store, arguments)
    summary = _summary(items, plans, lacking, store, arguments.suite)
    evidence = _evidence(summary)
    if not arguments.dry_run:
        _write(items, evidence, store, arguments)
    print(evidence.render(arguments.format, screen=terminal.screen()), end="")
    if arguments.dry_run:
        return 1 if missing else 0
    return 1 if any(row["failed"] or row["missing"] for row in summary) else 0


def _unheeded(plans: Plans) -> dict[str, str]:
    """The options that decide nothing about these cells, each with the reason."""
    settings = [cell.settings for plan in plans.values() for cell in plan]
    scored = any("dataset" in s for s in settings)
    timed = any(s["measure"] in ("memory", "latency") for s in settings if "measure" in s)
    items = ", ".join(plans)
    reasons: dict[str, str] = {}
    if not scored:
        reasons |= dict.fromkeys(("limit", "seed", "dtype"), f"expected something scored on images, found {items}")
    if not timed:
        reasons["time_budget"] = f"expected Figure 2 with its latencies, found {items}"
    if not (scored or timed):
        reasons["batch_size"] = f"expected something scored on images or timed, found {items}"
    if not {"figure2", "claims"}.intersection(plans):
        reasons["tokens"] = f"expected figure2 with it, found {items}"
    if not {"table3", "figure3", "figure4", "figure5", "claims"}.intersection(plans):
        reasons["suite"] = f"{items} is the same in every suite"
    return reasons


def _wish(arguments: argparse.Namespace) -> Wish:
    import torch

    from gfnet_bench.commands.complexity import BATCH
    from gfnet_bench.profiling.devices import device_key
    from gfnet_bench.studies import complexity, robustness
    from gfnet_bench.studies.paper import Wish

    device = torch.device(options.device(arguments))
    options.check_dtype(arguments.dtype, device.type)
    timing = None
    if not arguments.count_only:
        timing = complexity.Options(device_key(device), arguments.batch_size or BATCH[device.type])
    scored = robustness.Options(limit=arguments.limit, seed=arguments.seed, dtype=arguments.dtype)
    tokens = arguments.tokens or ("paper" if device.type == "cuda" else CPU_TOKENS)
    return Wish(arguments.suite, scored, timing, tokens)


def _measure(
    plans: dict[str, list[Cell]], lacking: dict[str, str], store: Store, arguments: argparse.Namespace
) -> None:
    """Run every cell that has no record and whose data set is here, study by study."""
    from gfnet_bench import runner
    from gfnet_bench.benches import complexity, filters, robustness
    from gfnet_bench.studies import complexity as costing
    from gfnet_bench.studies import filters as filtering
    from gfnet_bench.studies import robustness as scores

    cells = dict.fromkeys(cell for plan in plans.values() for cell in plan)
    ready = [cell for cell in cells if cell.settings.get("dataset") not in lacking]
    device = options.device(arguments)
    here: dict[str, Any] = {
        "data_dirs": options.data_dirs(arguments),
        "device": device,
        "batch_size": options.batch_size(arguments, device),
        "workers": options.workers(arguments),
        "progress": not arguments.no_progress,
    }
    how: dict[str, Any] = {"overwrite": arguments.overwrite, "progress": not arguments.no_progress}
    how |= {"limit_s": arguments.time_limit}
    scoring, looking = robustness.Bench(**here), filters.Bench(robustness.Bench(**here))
    for bench, study in ((scoring, scores), (looking, filtering)):
        of_study = [cell for cell in ready if cell.study == study.STUDY]
        runner.run_together(of_study, bench.measure, study.together, store, inputs=bench.inputs, **how)
    # Costs come last, when no worker process is left that could disturb them.
    costs = [cell for cell in ready if cell.study == costing.STUDY]
    runner.run(costs, complexity.Bench(device, arguments.time_budget).measure, store, **how)


def _summary(
    items: dict[str, Item], plans: Plans, lacking: dict[str, str], store: Store, suite: str
) -> list[dict[str, Any]]:
    """For each item how much of it is measured, why the rest is not, and what would fill it."""
    from gfnet_bench.reports.reading.coverage import parts_of_sets

    lines = []
    for name, item in items.items():
        records = {cell: store.find(cell) for cell in plans[name]}
        failed = [record.error for record in records.values() if record is not None and record.error is not None]
        gone = [cell for cell, record in records.items() if record is None]
        reasons = [lacking[d] for cell in gone if (d := cell.settings.get("dataset")) in lacking]
        reasons += [error for error in failed if error]
        reasons += parts_of_sets(record for record in records.values() if record is not None)
        reasons += [item.without] if suite != DEFAULT and item.without else []
        lines.append(
            {
                "item": name,
                "title": item.title,
                "cells": len(records),
                "measured": len(records) - len(failed) - len(gone),
                "missing": len(gone),
                "failed": len(failed),
                "why": reasons[0].splitlines()[0] if reasons else ("" if records else "published only"),
                "fill": item.fill if gone or failed else "",
            }
        )
    return lines


def _write(items: dict[str, Item], evidence: Report, store: Store, arguments: argparse.Namespace) -> None:
    """Tables and figures as files, and all of them on one page."""
    from gfnet_bench.reports.page import write_page

    reports: dict[str, Report] = {"evidence": evidence}
    for item in items.values():
        if item.report in reports:
            continue
        try:
            reports[item.report] = _report(item.report, store, arguments.suite)
        except MissingError as error:
            options.note(f"{item.title}: {error}")
            continue
        reports[item.report].write(arguments.output_dir, ("md", "csv", "latex"))
    page = arguments.html or arguments.output_dir / "report.html"
    write_page(reports, store, page)
    options.note(f"wrote {page}, and tables and figures under {arguments.output_dir}")


def _report(name: str, store: Store, suite: str) -> Report:
    from gfnet_bench.reports import REPORTS
    from gfnet_bench.studies.paper import named_in

    planned = {"planned": named_in("table3_robustness", suite)} if name == "robustness" else {}
    # A claim takes the paper's networks where they are measured, and small ones where they are not.
    return REPORTS[name](store, suite=None if name == "claims" else suite, **planned)


def _evidence(summary: Sequence[dict[str, Any]]) -> Report:
    """What is behind each item, what of it is missing, why, and what would fill it."""
    from gfnet_bench.reports.base import Report
    from gfnet_bench.reports.drawing.tables import Column, Table

    numbers = ("cells", "measured", "missing", "failed")
    columns = [Column("item", "Item"), *(Column(key, key.title(), align="right") for key in numbers)]
    columns += [Column("title", "What"), Column("fill", "To fill it")]
    reasons: dict[str, list[str]] = {}
    for row in summary:
        reasons.setdefault(row["why"], []).append(row["item"])
    notes = [f"{', '.join(those)}: {why}" for why, those in reasons.items() if why]
    table = Table("evidence", "The paper's evidence, and what of it is measured here", columns, summary, notes)
    return Report([table], Table("evidence_long", table.title, [*columns, Column("why", "Why")], summary))
