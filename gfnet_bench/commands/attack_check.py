"""`gfnet-bench attack-check`: is a robust accuracy of this model under this attack to be believed?"""

from __future__ import annotations

import argparse
from functools import partial

from gfnet_bench.commands import options

NAME = "attack-check"
HELP = "self-checks of an attack against a model: the ball, the box, more steps, large epsilon, hidden gradients"
EXAMPLES = """\
examples:
  gfnet-bench attack-check --model gfnet_mini
  gfnet-bench attack-check --model gfnet_s --attack pgd --eps 1/255 --limit 128 --data-dir DATA
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which model, which attack, which images."""
    parser.add_argument("-m", "--model", default="gfnet_mini", metavar="NAME", help="default: gfnet_mini")
    parser.add_argument("--attack", default="pgd", metavar="NAME", help="fgsm, pgd (default) or torchattacks:NAME")
    parser.add_argument("--eps", metavar="E", help="radius in pixel units (default: 1/255; mini: 4/255)")
    parser.add_argument("--dataset", metavar="NAME", help="default: imagenet, or mini for a mini model")
    options.add_checkpoint_options(parser)
    parser.add_argument("--limit", type=options.positive, default=64, metavar="N", help="images (default: 64)")
    parser.add_argument("--seed", type=options.seed, default=0)
    options.add_data_options(parser)
    options.add_device_options(parser)
    parser.add_argument("--format", default="text", choices=options.FORMATS)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a check; exit status 1 if one does not hold."""
    from gfnet_bench.attacks.base import make_attack, parse_epsilon
    from gfnet_bench.attacks.checks import check
    from gfnet_bench.catalog import find_spec
    from gfnet_bench.datasets import load_images
    from gfnet_bench.evaluate import to_pixels
    from gfnet_bench.models import load_model
    from gfnet_bench.reports.tables import Column, render
    from gfnet_bench.studies.robustness import SUITES

    suite = SUITES[find_spec(arguments.model).suite]
    device = options.device(arguments)
    options.checkpoint_sha256(arguments)  # before the network is built: is there such a file?
    model = load_model(
        arguments.model, checkpoint=arguments.checkpoint, weights_key=arguments.weights_key, device=device
    )
    images = load_images(
        arguments.dataset or suite.main,
        options.data_dirs(arguments),
        model.transform,
        limit=arguments.limit,
        seed=arguments.seed,
        workers=options.workers(arguments),
    )
    import torch

    results = check(
        model,
        to_pixels(images.pixels[:], torch.device(device)),
        torch.from_numpy(images.labels).to(device),
        images.ids,
        partial(make_attack, arguments.attack),
        epsilon=parse_epsilon(arguments.eps) if arguments.eps else suite.epsilon,
        batch_size=options.batch_size(arguments, device),
    )
    if arguments.format == "text":
        for result in results:
            print(options.paragraph("holds   " if result.passed else "FAILS   ", f"{result.name}: {result.detail}"))
    else:
        rows = [{"check": r.name, "holds": "yes" if r.passed else "no", "detail": r.detail} for r in results]
        print(render(rows, [Column(key, key) for key in ("check", "holds", "detail")], arguments.format), end="")
    return 0 if all(r.passed for r in results) else 1
