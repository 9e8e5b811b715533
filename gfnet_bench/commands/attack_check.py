"""`gfnet-bench attack-check`: is a robust accuracy of this model under this attack to be believed?"""

from __future__ import annotations

import argparse
from functools import partial

from gfnet_bench.commands import options
from gfnet_bench.errors import GfnetBenchError, UsageError, out_of_memory

NAME = "attack-check"
HELP = "self-checks of an attack against a model: the ball, the box, more steps, large epsilon, hidden gradients"
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
    parser.add_argument("--limit", type=options.positive, default=64, metavar="N", help="images (default: 64)")
    options.add_seed_option(parser)
    options.add_data_options(parser)
    options.add_device_options(parser)
    parser.add_argument("--format", default="text", choices=options.FORMATS)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a check; exit status 1 if one does not hold."""
    import torch

    from gfnet_bench.attacks import make_attack
    from gfnet_bench.attacks.checks import CHECKS, check
    from gfnet_bench.benches.robustness import check_classes
    from gfnet_bench.catalog import find_spec
    from gfnet_bench.datasets import DATASETS, load_images
    from gfnet_bench.datasets.own_images import use
    from gfnet_bench.evaluation import precision, to_pixels
    from gfnet_bench.models import load_model
    from gfnet_bench.perturbations import Attacked, attacked
    from gfnet_bench.reports.drawing.tables import Column, render
    from gfnet_bench.suites import DEFAULT, SUITES

    if arguments.images:
        options.refuse(arguments, {"dataset": "expected this or --images, found both"})
        arguments.dataset = use(arguments.images).name
    found = options.matched(arguments, [arguments.model], arguments.dataset)
    of_dataset = DATASETS[arguments.dataset].suite if arguments.dataset else None
    suite = SUITES[of_dataset or find_spec(arguments.model).suite or DEFAULT]
    dataset = DATASETS[arguments.dataset or suite.main].name
    if DATASETS[dataset].is_corrupted:
        raise UsageError(f"--dataset {dataset}: is corrupted, and attacks are made on clean images; name a clean set")
    (made,) = attacked(arguments.attack, [arguments.eps] if arguments.eps else None, suite.epsilon)
    if not isinstance(made, Attacked):
        raise UsageError(f"--attack {arguments.attack}: expected an attack to check, found none; name one, pgd or fgsm")
    attack = made.attack
    if arguments.eps and attack.epsilon is None:
        raise UsageError(f"--eps {arguments.eps}: {attack.name} has no radius; leave it out")
    device = options.device(arguments)
    options.checkpoint_sha256(arguments)  # before the network is built: is there such a file?
    model = load_model(
        arguments.model,
        checkpoint=arguments.checkpoint,
        weights_key=arguments.weights_key,
        img_size=arguments.img_size,
        mean=arguments.mean,
        std=arguments.std,
        num_classes=arguments.num_classes,
        suite=DATASETS[dataset].suite,
        device=device,
        check=lambda classes: check_classes(arguments.model, classes, dataset),
    )
    check_classes(arguments.model, model.num_classes, dataset)
    for of in found.values():
        model.choose(list(of.logits.values()))
    images = load_images(
        dataset,
        options.data_dirs(arguments),
        model.transform,
        limit=arguments.limit,
        seed=arguments.seed,
        workers=options.workers(arguments),
    )
    classes = sorted(images.classes or range(model.num_classes))
    try:
        with precision("float32", torch.device(device)):
            results = check(
                lambda pixels: model(pixels)[:, classes],
                to_pixels(images.pixels[:], torch.device(device)),
                torch.tensor([classes.index(label) for label in images.labels.tolist()], device=device),
                images.ids,
                partial(make_attack, arguments.attack),
                epsilon=attack.epsilon,
                batch_size=options.batch_size(arguments, device),
            )
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise GfnetBenchError(f"memory ran out on {device}; run it again with a smaller --batch-size") from error
    left_out = [name for name in CHECKS if results[0].passed and name not in {r.name for r in results}]
    if left_out:
        options.note(f"left out, since {attack.name} is no attack to hold to it: {'; '.join(left_out)}")
    if arguments.format == "text":
        for result in results:
            print(options.paragraph("holds   " if result.passed else "FAILS   ", f"{result.name}: {result.detail}"))
    else:
        rows = [{"check": r.name, "holds": "yes" if r.passed else "no", "detail": r.detail} for r in results]
        print(render(rows, [Column(key, key) for key in ("check", "holds", "detail")], arguments.format), end="")
    return 0 if all(r.passed for r in results) else 1
