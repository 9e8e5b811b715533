"""`gfnet-bench complexity`: multiply-adds, latency and memory against the number of tokens."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, options, plan, spreading
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from gfnet_bench.records import Cell, Record
    from gfnet_bench.reports.base import Report
    from gfnet_bench.store import Store
    from gfnet_bench.studies.complexity import Size

NAME = "complexity"
HELP = "multiply-adds, latency and memory against the number of tokens: Table 1 and Figure 2 of the GFNet paper"
EXAMPLES = """\
examples:
  gfnet-bench complexity --tokens 196..4096
      one block of each mixer at square grids about a factor 2 apart; the figure goes to <output-dir>/figures
  gfnet-bench complexity --tokens paper --device cuda --published
      the 13 sizes of Figure 2, with the paper's curves in grey
  gfnet-bench complexity --tokens paper --count-only --format json
  gfnet-bench complexity --model gfnet_s deit_small --img-size 224 384 1024 --batch-size 1 --backward
  gfnet-bench complexity --mixer global_filter self_attention_fused --tokens 196,784,3136 --dtype bfloat16 --dry-run
"""

DEFAULT_TOKENS = "196..4096"
BATCH = {"cuda": 32, "mps": 32, "cpu": 8}
"""Images at a time: the paper's 32, less where that would take minutes a point."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to measure, at which sizes, how."""
    what = parser.add_argument_group("what to measure")
    options.add_list(what, "--mixer", metavar="NAME", help="blocks of these (default without --model: all)")
    options.add_model_option(what, "whole models, fresh weights; your own code too: FILE.py:FACTORY")
    options.add_name_option(what)
    what.add_argument(
        "--tokens",
        metavar="N",
        help=f"196..4096, 196,784,3136 or paper (default: {DEFAULT_TOKENS}; models: images of 16 px a token)",
    )
    options.add_list(
        what,
        "--img-size",
        type=argtypes.image_size,
        metavar="N",
        help="of models: 224, or 224x320 (height first)",
    )
    what.add_argument("--width", type=argtypes.positive, default=384, metavar="D", help="features of a block (384)")
    what.add_argument("--count-only", action="store_true", help="multiply-adds alone: nothing is timed")
    what.add_argument(
        "--as-trained", action="store_true", help="do not fuse what can be fused for inference (MobileOne, RepVGG ...)"
    )
    what.add_argument("--backward", action="store_true", help="measure forward + backward too")
    what.add_argument(
        "--convention",
        choices=("table1", "authors", "standard", "none"),
        help="what FFTs and norms are charged (default: the paper's, table1 for blocks, authors for models)",
    )

    how = parser.add_argument_group("how")
    how.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the fastest there is)")
    how.add_argument(
        "-b", "--batch-size", type=argtypes.positive, metavar="N", help="images at a time (default: 32, on a CPU 8)"
    )
    options.add_dtype_option(how)
    how.add_argument(
        "--cuda-graphs", action="store_true", help="time replayed CUDA graphs, which launches cannot hold up"
    )
    how.add_argument(
        "--time-budget",
        type=argtypes.seconds,
        default=3.0,
        metavar="S",
        help="seconds a latency (3); what settled ones leave goes to long ones",
    )

    out = parser.add_argument_group("results")
    options.add_result_options(out)
    out.add_argument("--published", action="store_true", help="draw the paper's curves too, thin and grey")
    options.add_overwrite_option(out)
    out.add_argument("--dry-run", action="store_true", help="print what would be measured")
    spreading.add_plan_option(out)
    options.add_time_limit_option(out)
    options.add_progress_option(out, "no bars")


def run(arguments: argparse.Namespace) -> int:
    """Count, measure what has no record yet, print and draw all of it."""
    cells, store = ask(arguments)
    if arguments.dry_run:
        return plan.show(cells, store, arguments, kind=_kind, describe=_describe)
    if spreading.planned(arguments, cells, store, shares=False):
        return 0
    records, report = measure(cells, store, arguments)
    print(report.render(arguments.format, screen=terminal.screen()), end="")
    return 1 if any(record.error is not None for record in records) else 0


def ask(arguments: argparse.Namespace) -> tuple[list[Cell], Store]:
    """The cells that these options ask for, and where their records are.

    Raises:
        UsageError: if they do not go together, or one of them would do nothing.
    """
    from gfnet_bench.store import Store

    blocks, tokens = _blocks(arguments)
    models = _models(arguments, tokens)
    options.refuse(arguments, _unheeded(arguments, blocks, models))
    return _cells(arguments, blocks, tokens, models), Store(arguments.output_dir)


def _blocks(arguments: argparse.Namespace) -> tuple[list[str], list[int]]:
    """Names of the blocks and numbers of tokens, both checked."""
    from gfnet_bench.mixers import MIXERS
    from gfnet_bench.studies import complexity as study
    from gfnet_bench.studies.tokens import parse_tokens

    tokens = parse_tokens(arguments.tokens or DEFAULT_TOKENS)
    names = arguments.mixer or ([] if arguments.model else list(MIXERS))
    blocks = list(dict.fromkeys(MIXERS.canonical(name) or _unknown(MIXERS, name) for name in names))
    if blocks:
        study.check_width(arguments.width)
    if arguments.img_size and not arguments.model:
        raise UsageError("--img-size: expected whole models with it (--model gfnet_s); blocks take --tokens.")
    if arguments.img_size and arguments.tokens and not blocks:
        raise UsageError("expected one of --tokens and --img-size for models, found both.")
    return blocks, tokens


def _unknown(registry: Any, name: str) -> str:
    raise UsageError(f"unknown {registry.noun} {name!r}; {registry.suggestion(name)}")


def _models(arguments: argparse.Namespace, tokens: Sequence[int]) -> list[Size]:
    """Models and the sizes of their images, every one tried without allocating."""
    if not arguments.model:
        return []
    import math

    from gfnet_bench.benches import complexity as bench
    from gfnet_bench.catalog import expand
    from gfnet_bench.studies import complexity as study

    sizes = arguments.img_size or [None]
    if arguments.tokens and not arguments.img_size:
        sizes = [(study.PATCH * math.isqrt(n),) * 2 for n in tokens]
    largest = max((max(size) for size in sizes if size), default=0)
    if largest > argtypes.MOST_PIXELS:
        raise UsageError(f"--img-size: expected at most {argtypes.MOST_PIXELS} pixels a side, found {largest}.")
    models = expand(arguments.model)
    options.check_one_model(arguments, models)
    return bench.sizes(models, sizes, arguments.as_trained)


def _cells(
    arguments: argparse.Namespace, blocks: Sequence[str], tokens: Sequence[int], models: Sequence[Size]
) -> list[Cell]:
    from gfnet_bench.studies import complexity as study

    cells = study.count_cells(blocks, tokens, arguments.width, models, arguments.convention)
    if arguments.count_only:
        return cells
    import torch

    from gfnet_bench.profiling.devices import device_key

    device = torch.device(options.device(arguments))
    if arguments.cuda_graphs and device.type != "cuda":
        raise UsageError(f"--cuda-graphs: expected --device cuda, found {device.type}.")
    options.check_dtype(arguments.dtype, device.type)
    for mode in ("forward", "forward_backward") if arguments.backward else ("forward",):
        how = study.Options(
            device_key(device), arguments.batch_size or BATCH[device.type], arguments.dtype, mode, arguments.cuda_graphs
        )
        cells += study.timed_cells(blocks, tokens, arguments.width, models, how)
    return cells


def measure(cells: Sequence[Cell], store: Store, arguments: argparse.Namespace) -> tuple[list[Record], Report]:
    """Measure what is missing: a record a cell, and the report; its figures, where anything was timed, are drawn."""
    from gfnet_bench import runner
    from gfnet_bench.benches.complexity import Bench
    from gfnet_bench.reports.complexity import complexity as draw

    store.prepare((), () if arguments.count_only else ("figures",))
    bench = Bench("cpu" if arguments.count_only else options.device(arguments), arguments.time_budget)
    how: dict[str, Any] = {"overwrite": arguments.overwrite, "progress": not arguments.no_progress}
    how |= {"label": arguments.name, "limit_s": arguments.time_limit}
    records = runner.run(cells, bench.measure, store, **how)
    report = draw(records, published=arguments.published)
    folder = store.folder / "figures"
    for figure in () if arguments.count_only else report.figures:
        folder.mkdir(parents=True, exist_ok=True)
        for path in figure.write(folder):
            options.note(f"wrote {path}")
    return records, report


def _unheeded(arguments: argparse.Namespace, blocks: Sequence[str], models: Sequence[Size]) -> dict[str, str]:
    """The options that decide nothing here, each with the reason."""
    reasons: dict[str, str] = {}
    if arguments.count_only:
        timing = ("backward", "cuda_graphs", "dtype", "time_budget", "batch_size", "published")
        reasons |= dict.fromkeys(timing, "with --count-only nothing is timed or drawn")
    if not arguments.model:
        reasons["name"] = "expected a model (--model) with it, found blocks alone"
    if not any(size.form for size in models):
        reasons["as_trained"] = "expected a --model that can be fused for inference with it, found none"
    if not blocks:
        reasons |= dict.fromkeys(("width", "published"), "expected blocks (--mixer) with it, found models alone")
    return reasons


def _kind(cell: Cell) -> tuple[str, str, str | None]:
    """What stands in one row of the plan."""
    s = cell.settings
    return s["measure"], s["subject"], s.get("mode")


def _describe(cells: Sequence[Cell]) -> dict[str, Any]:
    measure, subject, mode = _kind(cells[0])
    sizes = dict.fromkeys(_size(cell) for cell in cells)
    return {"measure": measure, "subject": subject, "mode": mode, "sizes": ", ".join(sizes)}


def _size(cell: Cell) -> str:
    pixels = cell.settings.get("img_size")
    return "x".join(map(str, pixels)) + " px" if pixels else f"{cell.settings['tokens']} tokens"
