"""`gfnet-bench list`: the names the other commands take."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from gfnet_bench.commands import options
from gfnet_bench.suites import DEFAULT

NAME = "list"
HELP = "the names the other commands take: models, data sets, attacks, corruptions, metrics, reports"
EXAMPLES = """\
examples:
  gfnet-bench list models
  gfnet-bench list models --timm 'convnext*'     any timm model can be named too
  gfnet-bench list corruptions --format json
"""

NOUNS = ("models", "datasets", "attacks", "corruptions", "metrics", "reports")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which names."""
    parser.add_argument("noun", nargs="?", choices=NOUNS, help="default: all of them")
    parser.add_argument("--timm", metavar="PATTERN", help="timm models with weights whose name fits the pattern")
    parser.add_argument("--format", default="text", choices=options.FORMATS)


def run(arguments: argparse.Namespace) -> int:
    """Print names."""
    from gfnet_bench.reports.drawing.tables import Column, render

    if arguments.noun not in (None, "models"):
        options.refuse(arguments, {"timm": f"expected models, found {arguments.noun}"})
    rows = _timm(arguments.timm) if arguments.timm else _rows(arguments.noun)
    columns = [Column(key, key) for key in ("kind", "name", "title", "suite")]
    print(render(rows, columns, arguments.format), end="")
    return 0


def _timm(pattern: str) -> list[dict[str, Any]]:
    import timm

    found = timm.list_models(pattern, pretrained=True)
    return [{"kind": "model", "name": name, "title": "timm", "suite": DEFAULT} for name in found]


def _rows(noun: str | None) -> list[dict[str, Any]]:
    from gfnet_bench.attacks.base import ATTACKS
    from gfnet_bench.catalog import CORRUPTIONS, MODELS
    from gfnet_bench.datasets.base import DATASETS
    from gfnet_bench.metrics import METRICS
    from gfnet_bench.reports.base import REPORTS

    rows: list[dict[str, Any]] = []
    if noun in (None, "models"):
        rows += [{"kind": "model", "name": n, "title": MODELS[n].title, "suite": MODELS[n].suite} for n in MODELS]
    if noun in (None, "datasets"):
        rows += [
            {"kind": "dataset", "name": n, "title": DATASETS[n].title, "suite": DATASETS[n].suite} for n in DATASETS
        ]
    if noun in (None, "attacks"):
        others = "torchattacks:NAME"
        rows += [{"kind": "attack", "name": n, "title": _first_line(ATTACKS[n]), "suite": ""} for n in ATTACKS]
        rows += [
            {"kind": "attack", "name": others, "title": "Any attack of torchattacks, extra [reference]", "suite": ""}
        ]
    if noun in (None, "corruptions"):
        rows += [{"kind": "corruption", "name": n, "title": CORRUPTIONS[n].group, "suite": ""} for n in CORRUPTIONS]
    if noun in (None, "metrics"):
        rows += [{"kind": "metric", "name": n, "title": METRICS[n].title, "suite": ""} for n in METRICS]
    if noun in (None, "reports"):
        rows += [{"kind": "report", "name": n, "title": _first_line(REPORTS[n]), "suite": ""} for n in REPORTS]
    return rows


def _first_line(thing: Any) -> str:
    return textwrap.shorten((thing.__doc__ or "").strip().splitlines()[0], 80, placeholder=" ...")
