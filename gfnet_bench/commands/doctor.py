"""`gfnet-bench doctor`: find what would make numbers wrong, before any model runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, options
from gfnet_bench.errors import GfnetBenchError

if TYPE_CHECKING:
    from gfnet_bench.datasets.doctor import Finding

NAME = "doctor"
HELP = "look for wrong class orders, missing or truncated images and wrong counts, and what of a GPU works"
EXAMPLES = """\
examples:
  gfnet-bench doctor --data-dir DATA
  gfnet-bench doctor imagenet imagenet_a --deep      decode every image
  gfnet-bench doctor --images pets                   your own: classes, counts, files that cannot be read
  gfnet-bench doctor --device cpu                    (or cuda) precision, repeatability, bandwidth, kernels
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which sets, how deep."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets (default: all that are found)")
    options.add_images_option(parser)
    options.add_data_options(parser)
    parser.add_argument("--device", help="try out cuda, cuda:1, mps or cpu in place of data sets")
    parser.add_argument("--deep", action="store_true", help="decode every image (minutes for 50,000)")
    parser.add_argument("-j", "--workers", type=argtypes.processes, metavar="N", help="processes that decode")
    parser.add_argument("--format", default="text", choices=options.FORMATS)


def run(arguments: argparse.Namespace) -> int:
    """Print findings; exit status 1 if one is an error, or a set or folder that was named is not there."""
    from gfnet_bench.datasets.doctor import examine_own
    from gfnet_bench.reports.drawing.tables import Column, render

    how = {"deep": arguments.deep, "workers": options.workers(arguments)}
    findings: list[Finding] = []
    whole = True
    if (arguments.images or arguments.device) and not arguments.names:
        alone = "--images" if arguments.images else "--device"
        options.refuse(arguments, {"data_dir": f"expected names of data sets with it, found {alone} alone"})
    else:
        findings, whole = _of_sets(arguments, how)
    if arguments.images:
        findings += examine_own(arguments.images, **how)
    if arguments.device:
        from gfnet_bench.benches.device_check import examine_device

        findings += examine_device(options.device(arguments))
    if arguments.format == "text":
        for finding in findings:
            print(options.paragraph(f"{finding.severity:8}", f"{finding.dataset}: {finding.text}"))
    else:
        columns = [Column("dataset", "data set"), Column("severity", "severity"), Column("text", "finding")]
        print(render([finding._asdict() for finding in findings], columns, arguments.format, terminal.screen()), end="")
    return 1 if not whole or any(f.severity == "error" for f in findings) else 0


def _of_sets(arguments: argparse.Namespace, how: dict[str, Any]) -> tuple[list[Finding], bool]:
    """Findings about the sets that were named, else those that are there; and whether all of them are."""
    from gfnet_bench.datasets import DATASETS
    from gfnet_bench.datasets.doctor import examine, there
    from gfnet_bench.scene_sets import SCENE_SETS
    from gfnet_bench.segmentation import doctor as scenes

    looked = options.data_dirs(arguments)
    named = [(SCENE_SETS if name in SCENE_SETS else DATASETS)[name].name for name in arguments.names]
    if not named or any(_has_folder(name) for name in named):
        for data_dir in looked:
            if not data_dir.is_dir():
                raise GfnetBenchError(f"expected a folder of data sets, found none at {data_dir}; pass --data-dir")
    found = [*there(looked), *scenes.there(looked)]
    names = named or found
    look = {name: scenes.examine if name in SCENE_SETS else examine for name in names}
    findings = [finding for name in names for finding in look[name](name, looked, **how)]
    return findings, set(names) <= set(found)


def _has_folder(name: str) -> bool:
    """Whether a set lies in a folder and is not part of the package."""
    from gfnet_bench.datasets import DATASETS
    from gfnet_bench.scene_sets import SCENE_SETS

    return bool(SCENE_SETS[name].downloads if name in SCENE_SETS else DATASETS[name].source.folders)
