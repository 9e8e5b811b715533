"""`gfnet-bench attack-check`: is a robust accuracy of this model under this attack to be believed?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gfnet_bench import terminal
from gfnet_bench.commands import argtypes, machine, options
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from gfnet_bench.records import Record

NAME = "attack-check"
HELP = "is a robust accuracy to be believed? pass, suspicious or fail, with reasons, and the power of the attack"
EXAMPLES = """\
examples:
  gfnet-bench attack-check --model gfnet_mini
  gfnet-bench attack-check --model gfnet_xs --checkpoint my.pth --images pets
  gfnet-bench attack-check --model gfnet_mini --attack pgd:steps=20,epsilon=8/255
  gfnet-bench attack-check --model gfnet_s --attack pgd --eps 1/255 --limit 128 --data-dir DATA
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which model, which attack, which images."""
    parser.add_argument("-m", "--model", default="gfnet_mini", metavar="NAME", help="as of `robustness` (gfnet_mini)")
    parser.add_argument(
        "--attack",
        default="pgd",
        metavar="NAME",
        help="fgsm, pgd (default) or torchattacks:NAME, with fields as in robustness",
    )
    parser.add_argument(
        "--eps", metavar="E", help="radius in pixel units (default: 1/255; mini: 4/255; not L-infinity: its own)"
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: imagenet, or mini for a mini model")
    options.add_own_images_options(parser)
    options.add_checkpoint_options(parser)
    options.add_own_options(parser, named=False)
    options.add_size_option(parser)
    parser.add_argument("--limit", type=argtypes.positive, default=64, metavar="N", help="images (default: 64)")
    options.add_seed_option(parser)
    options.add_data_options(parser)
    options.add_device_options(parser)
    options.add_result_options(parser)
    options.add_overwrite_option(parser, "check again what is on disk (default: only what could not be checked)")


def run(arguments: argparse.Namespace) -> int:
    """Print a line a check and the verdict; exit status 1 unless that is `pass`."""
    from gfnet_bench import runner
    from gfnet_bench.benches import attack_check as benches
    from gfnet_bench.catalog import find_spec
    from gfnet_bench.datasets import DATASETS
    from gfnet_bench.datasets.own_images import use
    from gfnet_bench.perturbations import Attacked, attacked
    from gfnet_bench.store import Store
    from gfnet_bench.studies import attack_check, robustness
    from gfnet_bench.studies.own_images import of_models
    from gfnet_bench.suites import DEFAULT, SUITES

    if arguments.images:
        options.refuse(arguments, {"dataset": "expected this or --images, found both"})
        arguments.dataset = use(arguments.images).name
    models = [arguments.model]
    found = options.matched(arguments, models, arguments.dataset)
    of_dataset = DATASETS[arguments.dataset].suite if arguments.dataset else None
    suite = SUITES[of_dataset or find_spec(arguments.model).suite or DEFAULT]
    dataset = DATASETS[arguments.dataset or suite.main].name
    if DATASETS[dataset].is_corrupted:
        raise UsageError(f"--dataset {dataset}: is corrupted, and attacks are made on clean images; name a clean set")
    (made,) = attacked(arguments.attack, [arguments.eps] if arguments.eps else None, suite.epsilon)
    if not isinstance(made, Attacked):
        raise UsageError(f"--attack {arguments.attack}: expected an attack to check, found none; name one, pgd or fgsm")
    if arguments.eps and made.attack.epsilon is None:
        raise UsageError(f"--eps {arguments.eps}: {made.name} has no radius; leave it out")
    how = robustness.Options(
        img_size=arguments.img_size,
        checkpoint=options.checkpoint_sha256(arguments),
        weights_key=arguments.weights_key,
        limit=arguments.limit,
        seed=arguments.seed,
        of_model=of_models(found, options.own_settings(arguments, models)),
    )
    scored = machine.bench(arguments, progress=False)
    (record,) = runner.run(
        [attack_check.cell(arguments.model, dataset, made, how)],
        benches.Bench(scored).measure,
        Store(arguments.output_dir),
        overwrite=arguments.overwrite,
        inputs=scored.inputs,
        progress=False,
    )
    _show(record, arguments.format)
    return 0 if record.values.get("verdict") == "pass" else 1


def _show(record: Record, form: str) -> None:
    """A line a check, and the verdict at last."""
    from gfnet_bench.reports.drawing.tables import Column, render
    from gfnet_bench.reports.reading.verdicts import Verdict

    if record.error is not None:
        return
    told = Verdict.of(record)
    rows = [*record.values["checks"], {"name": "verdict", "outcome": told.word, "detail": told.reasons}]
    if form != "text":
        columns = [Column("name", "check"), Column("outcome", "outcome"), Column("detail", "detail")]
        print(render(rows, columns, form, terminal.screen()), end="")
        return
    for row in rows:
        print(options.paragraph(f"{row['outcome']:<12}", f"{row['name']}: {row['detail']}"))
