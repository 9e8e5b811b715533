"""`gfnet-bench list`: the names the other commands take."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gfnet_bench import plugins, terminal
from gfnet_bench.commands import options
from gfnet_bench.suites import DEFAULT

if TYPE_CHECKING:
    from gfnet_bench.registry import Registry

NAME = "list"
HELP = "the names the other commands take: models, data sets, suites, attacks, corruptions, metrics, mixers, reports"
EXAMPLES = """\
examples:
  gfnet-bench list models
  gfnet-bench list models --timm 'convnext*'     any timm model can be named too
  gfnet-bench list corruptions --format json
  gfnet-bench list attacks --plugin slide.py     those that code of yours brings too
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which names."""
    parser.add_argument("noun", nargs="?", choices=plugins.GROUPS, help="default: all of them")
    parser.add_argument("--timm", metavar="PATTERN", help="timm models with weights whose name fits the pattern")
    parser.add_argument("--format", default="text", choices=options.FORMATS)


def run(arguments: argparse.Namespace) -> int:
    """Print names."""
    from gfnet_bench.reports.drawing.tables import Column, render

    if arguments.noun not in (None, "models"):
        options.refuse(arguments, {"timm": f"expected models, found {arguments.noun}"})
    rows = _timm(arguments.timm) if arguments.timm else _rows(arguments.noun)
    if arguments.format == "text":  # so that a row is a line
        rows = [{**row, "title": textwrap.shorten(row["title"], 46, placeholder=" ...")} for row in rows]
    columns = [Column(key, key) for key in ("kind", "name", "title", "suite", "from")]
    print(render(rows, columns, arguments.format, terminal.screen()), end="")
    return 0


def _timm(pattern: str) -> list[dict[str, Any]]:
    import timm

    found = timm.list_models(pattern, pretrained=True)
    return [{"kind": "model", "name": name, "title": "timm", "suite": DEFAULT, "from": "timm"} for name in found]


def _rows(noun: str | None) -> list[dict[str, Any]]:
    from gfnet_bench.attacks.base import ATTACKS
    from gfnet_bench.catalog import CORRUPTIONS, MODELS
    from gfnet_bench.datasets.base import DATASETS
    from gfnet_bench.metrics import METRICS
    from gfnet_bench.mixers import MIXERS
    from gfnet_bench.reports import REPORTS
    from gfnet_bench.scene_sets import SCENE_SETS
    from gfnet_bench.suites import SUITES

    listed: dict[str, tuple[Registry[Any], Callable[[Any], str]]] = {
        "models": (MODELS, lambda model: model.title),
        "datasets": (DATASETS, lambda dataset: dataset.title),
        "suites": (SUITES, lambda suite: suite.title),
        "attacks": (ATTACKS, _first_line),
        "corruptions": (CORRUPTIONS, lambda corruption: corruption.group),
        "metrics": (METRICS, lambda metric: metric.title),
        "mixers": (MIXERS, lambda mixer: mixer.title),
        "reports": (REPORTS, _first_line),
    }
    rows = []
    for group in plugins.GROUPS if noun is None else (noun,):
        things, title = listed[group]
        for name in things:
            suite, origin = getattr(things[name], "suite", ""), things.origin(name)
            where = "built in" if origin is None else origin.name
            rows.append(
                {"kind": things.noun, "name": name, "title": title(things[name]), "suite": suite, "from": where}
            )
        if group == "datasets":
            rows += [
                {"kind": things.noun, "name": s.name, "title": s.title, "suite": "", "from": "built in"}
                for s in map(SCENE_SETS.__getitem__, SCENE_SETS)
            ]
        if group == "attacks":
            others = "Any attack of torchattacks, extra [reference]"
            rows.append(
                {"kind": "attack", "name": "torchattacks:NAME", "title": others, "suite": "", "from": "built in"}
            )
    return rows


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or thing.__name__).strip().splitlines()[0]
