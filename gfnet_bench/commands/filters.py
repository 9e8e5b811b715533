"""`gfnet-bench filters`: the paper's Figure 5 for any GFNet, filter surgery, and Fourier heat maps of any model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, machine, options, plan, spreading
from gfnet_bench.errors import UsageError
from gfnet_bench.suites import SUITES, Suite
from gfnet_bench.terminal import shortened

if TYPE_CHECKING:
    from gfnet_bench.perturbations import Perturbation
    from gfnet_bench.records import Cell

NAME = "filters"
HELP = "learned filters in frequency and space (Figure 5 of the GFNet paper), filter surgery, Fourier heat maps"
EXAMPLES = """\
examples:
  gfnet-bench filters --model gfnet_mini           Figure 5 and the statistics of its filters, in seconds
  gfnet-bench filters --model gfnet_xs --layers 0..3 --channels 1 5 7
  gfnet-bench filters --suite mini                 all of it: filters, surgery, heat maps of four networks; minutes
  gfnet-bench filters --model gfnet_s --surgery --limit 500 --data-dir DATA
  gfnet-bench filters --model gfnet_s deit_small --heatmap --frequencies 31 --data-dir DATA
  gfnet-bench filters --model gfnet_mini resnet_mini --perturbation --attack pgd --eps 4/255 --dry-run
      which frequencies each network gives way at: the spectrum of what the attack adds, and a few images
"""


_ONLY_FOR = {
    ("surgery",): ("kind", "cutoff", "corruption", "severity"),
    ("heatmap",): ("norm", "frequencies"),
    ("surgery", "perturbation"): ("attack", "eps"),
    ("surgery", "heatmap", "perturbation"): ("dataset", "images", "limit", "transform", "seed", "dtype"),
}
"""Measures to the options that nothing else heeds."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which filters, what is done to them, on which images."""
    what = parser.add_argument_group("what to measure")
    options.add_model_option(
        what,
        "those without global filters take part in --heatmap and --perturbation alone (default: gfnet_xs; mini: all)",
    )
    options.add_suite_option(what, "mini, with no measure named, measures everything")
    options.add_own_images_options(what)
    what.add_argument("--surgery", action="store_true", help="accuracy without a band of the filters' frequencies")
    what.add_argument("--heatmap", action="store_true", help="error under noise of one Fourier frequency at a time")
    what.add_argument(
        "--perturbation", action="store_true", help="spectrum of what an attack adds to images, and a few of these"
    )

    figure = parser.add_argument_group("figure 5")
    options.add_list(figure, "--layers", metavar="N", help="rows, counted from 0: 0..11, or 1 5 7 (default: all)")
    options.add_list(figure, "--channels", metavar="N", help="columns (default: 0..23)")

    images = parser.add_argument_group("surgery, heat maps and perturbations")
    images.add_argument("--dataset", metavar="NAME", help="default: imagenet, or mini")
    images.add_argument(
        "--limit",
        type=argtypes.limit,
        metavar="N",
        help="a seeded, stratified sample of N images (default: 1000, 256 for heat maps; mini: 100 and 50)",
    )
    options.add_list(
        images,
        "--kind",
        choices=("low_pass", "high_pass", "band_stop"),
        help="default: the first two",
    )
    options.add_list(
        images,
        "--cutoff",
        type=argtypes.number,
        metavar="R",
        help="radii in cycles per token; 0.5 is the Nyquist frequency",
    )
    options.add_list(
        images, "--attack", metavar="NAME", help="as in robustness, on the operated network too (default: pgd)"
    )
    images.add_argument("--eps", metavar="E", help="radius in pixel units (default: 1/255; mini: 4/255)")
    options.add_list(
        images, "--corruption", metavar="NAME", help="fog, or fog:severity=2 (default: gaussian_noise fog)"
    )
    images.add_argument("--severity", type=argtypes.severity, metavar="S", help="1 to 5 (default: 3)")
    images.add_argument(
        "--norm",
        type=argtypes.above_zero,
        metavar="V",
        help="L2 norm of the noise in each channel (default: 15.7; mini: 4)",
    )
    images.add_argument(
        "--frequencies", type=argtypes.positive, metavar="N", help="the lowest N x N, N odd (default: 63; mini: all)"
    )

    how = parser.add_argument_group("how")
    options.add_checkpoint_options(how)
    options.add_own_options(how)
    how.add_argument("--transform", choices=("paper", "model"), help="default: paper")
    options.add_size_option(how)
    options.add_seed_option(how)
    options.add_dtype_option(how)
    options.add_data_options(how)
    options.add_device_options(how)

    out = parser.add_argument_group("results")
    options.add_result_options(out)
    out.add_argument("--details", action="store_true", help="also the long tables: every operation, layer by layer")
    options.add_config_option(out)
    out.add_argument("--dry-run", action="store_true", help="print what would be measured and what is missing for it")
    others = out.add_mutually_exclusive_group()
    spreading.add_plan_option(others)
    spreading.add_engine_option(others)
    options.add_overwrite_option(out)
    options.add_time_limit_option(out)
    options.add_progress_option(out)


def run(arguments: argparse.Namespace) -> int:
    """Measure what is missing, draw the figures and print the tables."""
    from gfnet_bench import runner
    from gfnet_bench.benches.filters import Bench
    from gfnet_bench.present import Present, absent
    from gfnet_bench.reports.filters import CHANNELS, filters
    from gfnet_bench.store import Store
    from gfnet_bench.studies import filters as study

    layers = numbers(arguments.layers, "--layers") if arguments.layers else None
    channels = numbers(arguments.channels, "--channels") if arguments.channels else CHANNELS
    cells = _cells(arguments)
    store = Store(arguments.output_dir)
    present = Present(options.data_dirs(arguments), not arguments.no_progress)
    if arguments.dry_run:
        return plan.show(
            cells,
            store,
            arguments,
            kind=lambda cell: tuple(_describe([cell]).values()),
            describe=_describe,
            lacking=partial(absent, data_dirs=options.data_dirs(arguments)),
            inputs=present.inputs,
        )
    if spreading.planned(arguments, cells, store, present.inputs):
        return 0
    store.prepare((), ("tables", "figures"))
    options.check_dtype(arguments.dtype, options.device(arguments))
    scoring = machine.bench(arguments, progress=not arguments.no_progress)
    bench = Bench(scoring)
    how: dict[str, Any] = {"overwrite": arguments.overwrite, "inputs": bench.inputs, "progress": scoring.progress}
    how |= {"label": arguments.name, "limit_s": arguments.time_limit}
    records = runner.run_together(cells, bench.measure, study.together, store, **how)
    report = filters(records, store=store, layers=layers, channels=channels)
    print(report.render(arguments.format, details=arguments.details, screen=terminal.screen()), end="")
    for path in report.write(arguments.output_dir):
        options.note(f"wrote {path}")
    return 1 if any(record.error is not None for record in records) else 0


def _cells(arguments: argparse.Namespace) -> list[Cell]:
    """What the command asks for.

    Raises:
        UsageError: if it asks for filters of a model that has none, or for things that do not go together.
    """
    from gfnet_bench.models.surgery import depth
    from gfnet_bench.studies import filters as study
    from gfnet_bench.studies.own_images import of_models
    from gfnet_bench.studies.robustness import Options

    of_suite, named = options.suite_and_models(arguments, [arguments.dataset] if arguments.dataset else ())
    suite, usual = SUITES[of_suite], SUITES[of_suite].filters
    everything = (
        arguments.suite and usual.whole and not (arguments.surgery or arguments.heatmap or arguments.perturbation)
    )
    measured = {"surgery": arguments.surgery or everything, "heatmap": arguments.heatmap or everything}
    measured["perturbation"] = arguments.perturbation
    for measures, names in _ONLY_FOR.items():
        if not any(measured[measure] for measure in measures):
            wanted = " or ".join(f"--{measure}" for measure in measures)
            options.refuse(arguments, dict.fromkeys(names, f"expected {wanted} with it, found none"))
    found = options.matched(arguments, named, of_suite)
    suite, usual = SUITES[of_suite], SUITES[of_suite].filters  # settled by the models' size, of anyone's images
    models = options.or_usual(named, usual.models or suite.models, suite)
    of_model = of_models(found, options.own_settings(arguments, models))
    depths = {model: layers for model in models if (layers := depth(model, arguments.img_size))}
    of_any = measured["heatmap"] or measured["perturbation"]
    idle = [] if of_any else [model for model in models if model not in depths]
    if idle:
        raise UsageError(
            f"{', '.join(idle)}: no global filters to draw; --heatmap and --perturbation work for any model"
        )
    if not depths:
        options.refuse(arguments, dict.fromkeys(("surgery", "layers", "channels"), "no model here has global filters"))
    if arguments.layers and max(numbers(arguments.layers, "--layers")) >= min(depths.values()):
        shallow = min(depths, key=depths.__getitem__)
        raise UsageError(f"--layers: expected numbers below {depths[shallow]}, the layers of {shallow}")

    def settings(limit: int) -> Options:
        return Options(
            transform=arguments.transform or "paper",
            img_size=arguments.img_size,
            checkpoint=options.checkpoint_sha256(arguments),
            weights_key=arguments.weights_key,
            limit=arguments.limit or limit,
            seed=arguments.seed,
            dtype=arguments.dtype,
            of_model=of_model,
        )

    cells = study.spectra_cells(depths, settings(usual.surgery_limit))
    if measured["surgery"]:
        if arguments.cutoff and set(arguments.kind or ()) == {"band_stop"} and len(set(arguments.cutoff)) < 2:
            raise UsageError("--kind band_stop: expected two --cutoff at least, the ends of a band, found one")
        own = {"cutoffs": arguments.cutoff, "layer_cutoffs": arguments.cutoff} if arguments.cutoff else {}
        cells += study.surgery_cells(
            depths,
            perturbations=_perturbations(arguments, suite),
            kinds=arguments.kind or study.KINDS,
            options=settings(usual.surgery_limit),
            **own,
        )
    if measured["heatmap"]:
        if arguments.frequencies and arguments.frequencies % 2 == 0:
            raise UsageError(f"--frequencies: expected an odd number, found {arguments.frequencies}")
        cells += study.heatmap_cells(
            models,
            dataset=_dataset(arguments, suite),
            norm=usual.norm if arguments.norm is None else arguments.norm,
            frequencies=arguments.frequencies or usual.frequencies,
            parts=usual.parts,
            options=settings(usual.heatmap_limit),
        )
    if measured["perturbation"]:
        cells += study.perturbation_cells(
            models,
            dataset=_dataset(arguments, suite),
            attacks=_only_attacks(arguments, suite),
            options=settings(usual.surgery_limit),
        )
    return cells


def _dataset(arguments: argparse.Namespace, suite: Suite) -> str:
    from gfnet_bench.datasets import DATASETS

    name = DATASETS[arguments.dataset or suite.main].name
    if DATASETS[name].is_corrupted:
        raise UsageError(f"--dataset {name}: is corrupted already; name a clean set, and corruptions with --corruption")
    return name


def _perturbations(arguments: argparse.Namespace, suite: Suite) -> list[tuple[str, Perturbation]]:
    """Data sets with what is done to their images."""
    from gfnet_bench.datasets import DATASETS, generated_of
    from gfnet_bench.studies import filters as study

    dataset = _dataset(arguments, suite)
    if generated_of(dataset) is None:
        why = f"expected one of {', '.join(filter(generated_of, DATASETS))} as data set, found {dataset}"
        options.refuse(arguments, dict.fromkeys(("corruption", "severity"), why))
    corruptions = arguments.corruption or study.CORRUPTIONS
    return study.perturbations(dataset, _attacks(arguments, suite), corruptions, arguments.severity)


def _attacks(arguments: argparse.Namespace, suite: Suite) -> list[Perturbation]:
    """What is named, clean images among it, or PGD."""
    from gfnet_bench.perturbations import CLEAN, attacked

    words = arguments.attack or ("pgd",)
    if all(word == CLEAN.spelling for word in words):
        options.refuse(arguments, {"eps": "expected an attack that has it, found clean"})
    radii = [arguments.eps] if arguments.eps else None
    return list(dict.fromkeys(p for word in words for p in attacked(word, radii, suite.epsilon)))


def _only_attacks(arguments: argparse.Namespace, suite: Suite) -> list[Perturbation]:
    from gfnet_bench.perturbations import CLEAN

    found = [attack for attack in _attacks(arguments, suite) if attack != CLEAN]
    if not found:
        raise UsageError("--perturbation: expected an attack, whose perturbation has a spectrum, found clean images")
    return found


def numbers(words: Sequence[str], option: str) -> list[int]:
    """`0..23` and `1 5 7` as whole numbers, each once, in order.

    Raises:
        UsageError: for anything else.
    """
    found: dict[int, None] = {}
    for word in words:
        ends = re.fullmatch(r"([0-9]{1,4})(?:\.\.([0-9]{1,4}))?", word)  # no network has ten thousand of anything
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, -1)
        if last < first:
            raise UsageError(
                f"{option}: expected numbers such as 1 5 7, or a range such as 0..23, up to 9999, "
                f"found {shortened(word)!r}"
            )
        found.update(dict.fromkeys(range(first, last + 1)))
    return list(found)


def _describe(cells: Sequence[Cell]) -> dict[str, Any]:
    """A row of the plan: what is measured, on which images."""
    from gfnet_bench.perturbations import of_cell

    settings = cells[0].settings
    words = of_cell(cells[0]).spelling if "perturbation" in settings else None
    return {"measure": settings["measure"], "dataset": settings.get("dataset"), "perturbation": words}
