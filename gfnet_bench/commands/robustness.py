"""`gfnet-bench robustness`: the columns of the paper's Table 3, for any model."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, machine, options, plan, spreading, sweeps
from gfnet_bench.suites import SUITES

if TYPE_CHECKING:
    from gfnet_bench.benches.robustness import Bench
    from gfnet_bench.inputs import Inputs
    from gfnet_bench.perturbations import Perturbation
    from gfnet_bench.records import Cell, Record
    from gfnet_bench.reports.base import Report
    from gfnet_bench.runs import Run
    from gfnet_bench.store import Store

NAME = "robustness"
HELP = "accuracy, attacks, ImageNet-A, -C, -V2, -ReaL ...: Table 3 of the GFNet paper, for any model"
EXAMPLES = """\
examples:
  gfnet-bench robustness --suite mini
      four small networks on the embedded images: a complete result in minutes
  gfnet-bench robustness --model gfnet_s deit_small --data-dir DATA
      the paper's table; what is measured already is not measured again
  gfnet-bench robustness -m 'gfnet_*' --dataset imagenet imagenet_a --attack clean pgd --eps 1/255 4/255 --limit 1000
  gfnet-bench robustness --suite mini --attack pgd random --eps 0.25/255..8/255 --dry-run
      a sweep: every radius twice the last; the report draws accuracy against it. Likewise --steps 1..50
  gfnet-bench robustness -m resnet50.a1_in1k --transform model --format json
  gfnet-bench robustness -m gfnet_s --checkpoint my.pth --name mine --dry-run
  gfnet-bench robustness -m mynet.py:make --mean 0.5 --std 0.5 --img-size 96
      any callable that gives an nn.Module
  gfnet-bench robustness -m gfnet_xs --checkpoint my.pth --img-size 96 --images pets
      images of your own, a class a folder: the classes are found by name, else in sorted order, and the table says so
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to measure, on what, how."""
    what = parser.add_argument_group("what to measure")
    options.add_model_option(
        what,
        "short name (`gfnet-bench list models`), wildcard ('gfnet_*'), timm name, or your own code: FILE.py:FACTORY, "
        "PACKAGE.MODULE:FACTORY (default: the suite's)",
    )
    options.add_suite_option(what, "default: the models', else imagenet")
    options.add_own_images_options(what)
    what.add_argument(
        "--reference",
        metavar="MODEL",
        help="with --images: also corruption errors relative to those of this model on the same images",
    )
    options.add_list(what, "--dataset", metavar="NAME", help="default: all of Table 3")
    options.add_list(
        what,
        "--attack",
        metavar="NAME",
        help="clean, fgsm, pgd, autoattack, worst:pgd+apgd_ce+square, torchattacks:NAME or another that `list attacks` "
        "names, each with fields of its own behind a colon: pgd:norm=l2,epsilon=0.5,steps=20 (default: the first "
        "three, on the suite's main data set alone)",
    )
    options.add_list(
        what,
        "--eps",
        metavar="E",
        help="radius in pixel units, 4/255, or a sweep, 0.25/255..8/255, each twice the last (default: 1/255; mini: "
        "4/255; not L-infinity: the attack's own)",
    )
    what.add_argument(
        "--steps", type=sweeps.counts, metavar="N", help="gradient steps of an attack, or a sweep, 1..50 (default: 5)"
    )
    what.add_argument(
        "--relative-step", type=argtypes.above_zero, metavar="R", help="step as a share of epsilon (default: 0.5)"
    )
    what.add_argument("--no-random-start", action="store_true", help="start attacks at the image itself")
    options.add_corruption_options(what)

    what.add_argument(
        "--recipe",
        metavar="NAME",
        help="how corrupted sets are generated: imagenet_c (default), imagecorruptions, cifar_c (default of mini_c), "
        "tiny_imagenet_c",
    )

    how = parser.add_argument_group("how")
    options.add_checkpoint_options(how)
    options.add_own_options(how)
    how.add_argument(
        "--transform", choices=("paper", "model"), default="paper", help="default: paper, the same for all"
    )
    options.add_size_option(how)
    options.add_limit_option(how)
    options.add_seed_option(how)
    dtype = how.add_mutually_exclusive_group()
    options.add_dtype_option(dtype)
    dtype.add_argument("--amp", dest="dtype", action="store_const", const="float16", help="same as --dtype float16")
    how.add_argument("--channels-last", action="store_true", help="memory layout; the cell is the same")
    how.add_argument("--torchcompile", action="store_true", help="compile the networks; the cell is the same")
    options.add_data_options(how)
    options.add_device_options(how)

    out = parser.add_argument_group("results")
    options.add_result_options(out)
    options.add_config_option(out)
    out.add_argument("--dry-run", action="store_true", help="print what would be measured and what is missing for it")
    others = out.add_mutually_exclusive_group()
    spreading.add_plan_option(others)
    spreading.add_engine_option(others)
    options.add_overwrite_option(out, "measure again what is on disk (default: only what failed)")
    options.add_time_limit_option(out)
    options.add_progress_option(out)


def run(arguments: argparse.Namespace) -> int:
    """Measure what is missing and print the table."""
    from gfnet_bench.studies import robustness as study

    asked = ask(arguments)
    if arguments.dry_run:
        return _plan(asked, arguments)
    if spreading.planned(arguments, asked.cells, asked.store, _present(arguments), together=study.together):
        return 0
    records, report = measure(asked, arguments)
    print(report.render(arguments.format, screen=terminal.screen()), end="")
    return 1 if any(record.error is not None for record in records) else 0


class Asked(NamedTuple):
    """What the options ask for.

    Attributes:
        models: names.
        cells: what is to be measured.
        store: where records are.
        classes_by: see `benches.robustness.Bench`.
    """

    models: Sequence[str]
    cells: Sequence[Cell]
    store: Store
    classes_by: Mapping[str, str]


def ask(arguments: argparse.Namespace) -> Asked:
    """What these options ask for.

    Raises:
        UsageError: if they do not go together, or one of them would do nothing.
    """
    from gfnet_bench.datasets.base import DATASETS
    from gfnet_bench.store import Store
    from gfnet_bench.studies import robustness as study
    from gfnet_bench.studies.own_images import of_models

    named = [DATASETS[name].name for name in arguments.dataset or ()]
    of_suite, models = options.suite_and_models(arguments, named)
    models = _with_reference(arguments, of_suite, models)
    found = options.matched(arguments, models, of_suite)
    suite = SUITES[of_suite]
    models = options.or_usual(models, suite.models, suite)
    datasets = _datasets(arguments, suite, named)
    options.check_one_model(arguments, models)
    settings = study.Options(
        transform=arguments.transform,
        img_size=arguments.img_size,
        checkpoint=options.checkpoint_sha256(arguments),
        weights_key=arguments.weights_key,
        limit=arguments.limit,
        seed=arguments.seed,
        dtype=arguments.dtype,
        of_model=of_models(found, options.own_settings(arguments, models)),
    )
    cells = study.cells(
        models,
        datasets=datasets,
        corruptions=options.corruptions(arguments),
        severities=options.levels(arguments),
        recipe=_recipe(arguments),
        options=settings,
    )
    options.refuse(arguments, _unheeded(cells))
    return Asked(models, cells, Store(arguments.output_dir), {model: of.how for model, of in found.items()})


def _plan(asked: Asked, arguments: argparse.Namespace) -> int:
    from gfnet_bench.present import absent

    return plan.show(
        asked.cells,
        asked.store,
        arguments,
        kind=_kind,
        describe=_describe,
        lacking=partial(absent, data_dirs=options.data_dirs(arguments)),
        inputs=_present(arguments),
    )


def _present(arguments: argparse.Namespace) -> Callable[[Record], Inputs]:
    """What a record's cell would be measured on now, told without a network."""
    from gfnet_bench.present import Present

    return Present(options.data_dirs(arguments), not arguments.no_progress).inputs


def _with_reference(arguments: argparse.Namespace, suite: str, models: list[str]) -> list[str]:
    """The models, with the reference last unless options about one model are given: then it was measured before.

    Raises:
        UsageError: if a reference is named, but no images of the user's own.
    """
    from gfnet_bench.catalog import find_spec
    from gfnet_bench.suites.own import settle

    if arguments.images is None:
        options.refuse(arguments, {"reference": "expected images of your own (--images) with it, found none"})
        return models
    settle(suite, reference=None)
    if arguments.reference is None:
        return models
    of_one = any(getattr(arguments, name) is not None for name in options.ABOUT_ONE_MODEL)
    name = arguments.reference if of_one else find_spec(arguments.reference).name
    settle(suite, reference=name)
    return models if of_one or name in models else [*models, name]


def measure(asked: Asked, arguments: argparse.Namespace) -> tuple[list[Record], Report]:
    """Measure what is missing: a record a cell, and the report on them."""
    from gfnet_bench import planning, runner
    from gfnet_bench.benches.robustness import missing
    from gfnet_bench.reports.robustness import robustness as table3
    from gfnet_bench.studies.robustness import together, weight

    options.check_dtype(arguments.dtype, options.device(arguments))
    bench = machine.bench(
        arguments,
        channels_last=arguments.channels_last,
        compile=arguments.torchcompile,
        classes_by=asked.classes_by,
        progress=not arguments.no_progress,
    )
    cells, store = asked.cells, asked.store
    to_do = planning.plan(cells, store, arguments.overwrite, bench.inputs, progress=bench.progress).to_do
    store.prepare(to_do)  # before weights are loaded
    lacking = missing(to_do, bench)
    for sentence in lacking:
        options.note(f"not ready: {sentence}")
    if lacking:
        options.note("The rest is measured. A result that needs none of these: gfnet-bench robustness --suite mini")
    how: dict[str, Any] = {"overwrite": arguments.overwrite, "inputs": bench.inputs, "progress": bench.progress}
    how |= {"limit_s": arguments.time_limit}
    run = getattr(arguments, "of_run", None)
    if run is not None:
        how |= {"weight": weight}
        _measure_pieces(bench, to_do, run, store, how)
    records = runner.run_together(cells, bench.measure, together, store, told=lacking, label=arguments.name, **how)
    return records, table3(records, store=store, models=asked.models)


def _measure_pieces(bench: Bench, to_do: Sequence[Cell], run: Run, store: Store, how: Mapping[str, Any]) -> None:
    """Measure the pieces that the cells of a run are cut into, if they are."""
    from gfnet_bench import pieces, runner
    from gfnet_bench.store import Store
    from gfnet_bench.studies.robustness import together

    if run.pieces == 1:
        return
    bench.parts = run.pieces, Store(spreading.folder_of(run, store) / spreading.PIECES)
    cells = pieces.cut([cell for cell in to_do if cell.settings["dtype"] == "float32"], run.pieces)
    runner.run_together(cells, bench.measure_pieces, together, bench.parts[1], **{**how, "overwrite": {}})


def _datasets(arguments: argparse.Namespace, suite: Any, named: Sequence[str]) -> list[tuple[str, list[Perturbation]]]:
    """Data sets, each with the attacks on it.

    Unless told otherwise only the main set is attacked, as in the paper; attacks that are named go to every set named.
    """
    from gfnet_bench.perturbations import CLEAN

    attacks = _attacks(arguments, suite.epsilon)
    everywhere = bool(named and arguments.attack)
    names = dict.fromkeys(named or (suite.main, *suite.others))
    return [(name, attacks if everywhere or name == suite.main else [CLEAN]) for name in names]


def _attacks(arguments: argparse.Namespace, epsilon: float) -> list[Perturbation]:
    """The attacks, each once; one for each epsilon of those that have one."""
    from gfnet_bench.perturbations import attacked

    how = {"relative_step": arguments.relative_step, "random_start": False if arguments.no_random_start else None}
    words, radii = arguments.attack or ("clean", "fgsm", "pgd"), sweeps.radii(arguments.eps)
    each = [(word, steps) for word in words for steps in arguments.steps or [None]]
    return list(dict.fromkeys(p for word, steps in each for p in attacked(word, radii, epsilon, steps=steps, **how)))


def _recipe(arguments: argparse.Namespace) -> str | None:
    if arguments.recipe is None:
        return None
    from gfnet_bench.corruptions import RECIPES

    return RECIPES[arguments.recipe].name


def _unheeded(cells: Sequence[Cell]) -> dict[str, str]:
    """The options that decide nothing about these cells, each with the reason."""
    from gfnet_bench.datasets import DATASETS
    from gfnet_bench.perturbations import Corrupted, of_cell

    datasets = dict.fromkeys(cell.settings["dataset"] for cell in cells)
    known = {name: DATASETS[name] for name in (*DATASETS, *datasets)}
    clean, corrupted = ([name for name in datasets if known[name].is_corrupted == is_so] for is_so in (False, True))
    attacks = [p for p in map(of_cell, cells) if not isinstance(p, Corrupted)]
    reasons: dict[str, str] = {}
    if not clean:
        reasons["attack"] = f"expected a clean data set to attack, found {', '.join(corrupted)}"
    for option, field in _FIELDS.items():
        if not any(field in attack.takes for attack in attacks):
            names = ", ".join(dict.fromkeys(attack.name for attack in attacks)) or "none"
            reasons[option] = f"expected an attack that has it, found {names}"
    if not corrupted:
        every = ", ".join(name for name in known if known[name].is_corrupted)
        why = f"expected a corrupted data set ({every}), found {', '.join(clean)}"
        reasons |= dict.fromkeys(("corruption", "severity"), why)
    if not any(known[name].recipe for name in corrupted):
        generated, found = ", ".join(name for name in known if known[name].recipe), ", ".join(datasets)
        reasons["recipe"] = f"expected a data set that is generated ({generated}), found {found}"
    return reasons


_FIELDS = {
    "eps": "epsilon",
    "steps": "steps",
    "relative_step": "relative_step",
    "no_random_start": "random_start",
}
"""Options of attacks to the fields that they fill."""


def _kind(cell: Cell) -> tuple[str, str]:
    """What stands in one row of the plan: a data set under an attack, or under all corruptions."""
    from gfnet_bench.perturbations import Corrupted, of_cell

    perturbation = of_cell(cell)
    return cell.settings["dataset"], "" if isinstance(perturbation, Corrupted) else perturbation.spelling


def _describe(cells: Sequence[Cell]) -> dict[str, Any]:
    from gfnet_bench.perturbations import Corrupted, of_cell

    each = list(dict.fromkeys(map(of_cell, cells)))
    of = [p for p in each if isinstance(p, Corrupted)]
    names, severities = ({getattr(p, key) for p in of} for key in ("name", "severity"))
    words = each[0].spelling
    if len(of) > 1:
        words = f"{plan.numbered(len(names), 'corruption')} x {plan.numbered(len(severities), 'severity')}"
        words = words if len(of) == len(names) * len(severities) else f"{len(of)} corrupted sets"
        words += f" by {', '.join(recipes)}" if (recipes := sorted({p.recipe for p in of if p.recipe})) else ""
    return {"dataset": cells[0].settings["dataset"], "perturbation": words}
