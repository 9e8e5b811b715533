"""`gfnet-bench segmentation`: Semantic FPN trained and evaluated, Table 2 of the GFNet paper."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, options, plan
from gfnet_bench.errors import GfnetBenchError, UsageError

if TYPE_CHECKING:
    from gfnet_bench.benches.segmentation import Bench
    from gfnet_bench.records import Cell
    from gfnet_bench.store import Store

NAME = "segmentation"
HELP = "train and evaluate Semantic FPN: Table 2 of the GFNet paper on ADE20K, or small scenes that need no data"
EXAMPLES = """\
examples:
  gfnet-bench segmentation                           three small networks on mini_scenes, minutes on a CPU
  gfnet-bench segmentation --corruption fog gaussian_noise --severity 1 3 5
  gfnet-bench segmentation --model gfnet_h_ti --data-dir DATA
  gfnet-bench segmentation --model gfnet_h_ti --data-dir DATA --train-only --dtype bfloat16
  gfnet-bench segmentation --model gfnet_h_ti --data-dir DATA --eval-only --limit 200

On ADE20K a run is 80,000 iterations of 16 images. One that was stopped goes on from its file in
<output-dir>/segmentation with the same result. On several GPUs:
torchrun --nproc-per-node 4 -m gfnet_bench segmentation --model gfnet_h_ti --data-dir DATA
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which networks, how they are trained, on which images they are evaluated."""
    what = parser.add_argument_group("what to measure")
    options.add_model_option(
        what,
        "backbones: gfnet_h_ti, pvt_tiny, swin_tiny, resnet50, any with maps at strides 4 to 32; or gfnet_h_mini, "
        "pvt_mini, resnet_h_mini (default: these three, on mini_scenes)",
    )
    options.add_data_options(what)
    what.add_argument("--limit", type=argtypes.positive, metavar="N", help="a seeded sample of N validation images")
    options.add_corruption_options(what)
    how = parser.add_argument_group("training")
    parts = how.add_mutually_exclusive_group()
    parts.add_argument("--train-only", action="store_true", help="nothing is evaluated")
    parts.add_argument("--eval-only", action="store_true", help="nothing is trained: the network must be there")
    parts.add_argument("--checkpoint", type=argtypes.path, metavar="FILE", help="evaluate these weights")
    how.add_argument("--iterations", type=argtypes.positive, metavar="N", help="80000 (mini_scenes: 600)")
    how.add_argument(
        "--rate", type=argtypes.above_zero, metavar="R", help="of learning, at first (default: the recipe's)"
    )
    options.add_seed_option(how)
    how.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="bfloat16 by autocast")
    options.add_device_options(parser)
    options.add_result_options(parser)
    options.add_overwrite_option(parser)
    options.add_progress_option(parser)
    options.add_config_option(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be measured")


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate, print the table; exit status 1 if something could not be measured."""
    import torch

    from gfnet_bench.benches.segmentation import Bench
    from gfnet_bench.segmentation.distributed import joined
    from gfnet_bench.store import Store

    models = _models(arguments)
    cells = [cell for model in models for cell in _cells(arguments, model)]
    store = Store(arguments.output_dir)
    bench = Bench(
        options.data_dirs(arguments),
        store.folder,
        workers=options.workers(arguments),
        checkpoint=arguments.checkpoint,
        eval_only=arguments.eval_only,
        progress=not arguments.no_progress,
    )
    if arguments.dry_run:
        return plan.show(cells, store, arguments, kind=_kind, describe=_describe, lacking=bench.lacking)
    with joined(torch.device(options.device(arguments))) as bench.group:
        if arguments.train_only or bench.group.size > 1:
            for cell in cells:
                if cell.settings["corruption"] is None and not arguments.eval_only:
                    bench.trained(cell)
                    if bench.group.rank == 0:
                        options.note(f"trained {cell.model}: {bench.state(cell)}")
        if arguments.train_only or bench.group.rank > 0:
            return 0
        return _evaluated(arguments, cells, bench, store)


def _evaluated(arguments: argparse.Namespace, cells: Sequence[Cell], bench: Bench, store: Store) -> int:
    from gfnet_bench import runner
    from gfnet_bench.files import write_atomic
    from gfnet_bench.reports.segmentation import scores
    from gfnet_bench.segmentation.pictures import sheet

    store.prepare(cells, ("figures",))

    def measure(cell: Cell) -> runner.Outcome:
        outcome = bench.measure(cell)
        if cell.settings["corruption"] is None:
            name = f"segmentation_{cell.settings['scenes']}_{cell.model.replace('/', '-')}.png"
            path = store.folder / "figures" / name
            write_atomic(path, sheet(bench.evaluator(cell), bench.scenes(cell.settings["scenes"], "validation")))
            options.note(f"wrote {path}")
        return outcome

    how: dict[str, Any] = {"overwrite": arguments.overwrite, "progress": bench.progress, "inputs": bench.inputs}
    # The first of a network's cells trains it: another command is to wait for that, not to do it once more.
    records = runner.run(cells, measure, store, claim=lambda cell: cell.model, **how)
    if any(record.error is None for record in records):
        report = scores([record for record in records if record.error is None], store)
        print(report.render(arguments.format, screen=terminal.screen()), end="")
    return 1 if any(record.error is not None for record in records) else 0


def _models(arguments: argparse.Namespace) -> list[str]:
    """Names of networks, and the refusal of options that decide nothing."""
    from gfnet_bench.catalog import expand
    from gfnet_bench.segmentation.networks import MINI

    small = [name for name in arguments.model or MINI if name in MINI]
    large = expand([name for name in arguments.model or () if name not in MINI])
    models = list(dict.fromkeys([*small, *large]))
    unheeded: dict[str, str] = {}
    if arguments.checkpoint:
        if len(models) > 1:
            raise UsageError(f"--checkpoint: expected one --model with it, found {len(models)}")
        unheeded |= dict.fromkeys(("iterations", "rate", "batch_size"), "with --checkpoint nothing is trained")
    if arguments.train_only:
        names = ("limit", "corruption", "severity", "overwrite", "format")
        unheeded |= dict.fromkeys(names, "with --train-only nothing is evaluated")
    if not large:
        unheeded["data_dir"] = "expected a --model for ADE20K with it, found those for mini_scenes, which need no data"
    options.refuse(arguments, unheeded)
    return models


def _cells(arguments: argparse.Namespace, model: str) -> list[Cell]:
    from gfnet_bench.segmentation import recipes
    from gfnet_bench.studies import segmentation as study

    recipe = recipes.usual(model)
    asked = {"iterations": arguments.iterations, "rate": arguments.rate, "batch": arguments.batch_size}
    recipe = replace(recipe, seed=arguments.seed, **{k: v for k, v in asked.items() if v is not None})
    checkpoint = _sha256(arguments)
    how = study.Options(arguments.limit, arguments.seed, arguments.dtype, checkpoint)
    scenes = recipes.scenes_of(model)
    training = None if checkpoint else recipes.settings_of(model, recipe)
    return study.cells(model, scenes.name, training, how, _corruptions(arguments, scenes.corrupted_by))


def _sha256(arguments: argparse.Namespace) -> str | None:
    from gfnet_bench.weightfile import sha256_of_weights

    if arguments.checkpoint is None:
        return None
    try:
        return sha256_of_weights(arguments.checkpoint)
    except GfnetBenchError as error:
        raise UsageError(f"--checkpoint {error}") from error


def _corruptions(arguments: argparse.Namespace, recipe: str) -> list[dict[str, Any]]:
    if not (arguments.corruption or arguments.severity):
        return []
    from gfnet_bench.catalog import CORRUPTIONS, SEVERITIES

    names = options.corruptions(arguments)
    if own := [name for name in names if ":" in name]:
        raise UsageError(f"--corruption {own[0]}: expected a name alone, found fields; use --severity")
    levels = options.levels(arguments) or SEVERITIES
    return [{"name": CORRUPTIONS[name].name, "severity": level, "recipe": recipe} for name in names for level in levels]


def _kind(cell: Cell) -> tuple[str, bool]:
    return cell.settings["scenes"], cell.settings["corruption"] is None


def _describe(cells: Sequence[Cell]) -> dict[str, Any]:
    s = cells[0].settings
    trained = s["training"]
    return {
        "scenes": s["scenes"],
        "images": "clean" if s["corruption"] is None else "corrupted",
        "iterations": trained["iterations"] if trained else None,
    }
