"""What does AutoAttack cost here, at equal settings and equal verdicts, against torchattacks?

Run:      python experiments/autoattack_speed.py     (about 1 minute on one CPU core; longer where more images stand)
Result:   results/tables/autoattack_speed.md
Outcome:  2026-11-26, where all images fall (16/255) 14 to 19 times less processor time, 9 passes an image in place of
          86 forward passes and as many backward: those that are fooled leave at once. Where they stand there is
          nothing to save; that was not measured.

The networks of the embedded suite, whose trained weights decide who falls when, under both: APGD-CE, APGD-T and FAB-T
of 100 steps and Square of 5,000 queries, in L-infinity. torchattacks' own `AutoAttack` takes ten steps: its parts are
put together at equal settings. They take turns, and processor time counts. Passes are forward and backward passes an
image, ours counted; how many images stand under each says whether the verdicts are equal.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401  (the package of this checkout)
import torch
from torch import Tensor, nn

from gfnet_bench.attacks.autoattack import AutoAttack
from gfnet_bench.datasets import load_images
from gfnet_bench.evaluation import precision, to_pixels
from gfnet_bench.models import load_model
from gfnet_bench.randomness import image_seeds
from gfnet_bench.spelling import read_number
from gfnet_bench.watch import Watch

RESULT = Path(__file__).parents[1] / "results" / "tables" / "autoattack_speed.md"


class Counted(nn.Module):
    """A model whose forward passes are counted; gradients go back in plain memory, which torchattacks' `view` needs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.count = model, 0

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits."""
        self.count += len(pixels)
        shown = pixels.view_as(pixels)
        if shown.requires_grad:
            shown.register_hook(torch.Tensor.contiguous)
        return self.model(shown)


def theirs(model: nn.Module, epsilon: float) -> Any:
    """The four attacks of torchattacks at AutoAttack's settings, each on what the ones before it left."""
    import torchattacks

    ball = {"eps": epsilon, "norm": "Linf", "seed": 0}
    return torchattacks.MultiAttack(
        [
            torchattacks.APGD(model, steps=100, **ball),
            torchattacks.APGDT(model, steps=100, n_classes=10, **ball),
            torchattacks.FAB(model, steps=100, multi_targeted=True, n_classes=10, **ball),
            torchattacks.Square(model, n_queries=5000, resc_schedule=False, **ball),
        ]
    )


def row(name: str, count: int, epsilon: float) -> str:
    """One model under both."""
    model = load_model(name)
    images = load_images("mini", (), model.transform, limit=count)
    pixels = to_pixels(images.pixels[:], torch.device("cpu")).contiguous()
    labels, seeds = torch.from_numpy(images.labels[:]), image_seeds(images.ids, "autoattack_speed")

    def standing(found: Tensor) -> int:
        with torch.no_grad():
            return int((model(found).argmax(1) == labels).sum())

    counted, watch = Counted(model).eval(), Watch(model, pixels, 10)
    start = time.process_time()
    other = theirs(counted, epsilon)(pixels, labels)
    middle = time.process_time()
    own = AutoAttack(epsilon)(watch, pixels, labels, seeds)
    end = time.process_time()
    cells = (
        name,
        f"{standing(pixels)} of {count}",
        f"{standing(own)}, {standing(other)}",
        f"{end - middle:.1f}, {middle - start:.1f}",
        f"{(middle - start) / (end - middle):.2f}",
        f"{float(watch.forward.mean()):.0f} + {float(watch.backward.mean()):.0f}",
        f"{counted.count / count:.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Time both on every model and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["resnet_mini", "vit_mini", "gfnet_mini"], metavar="NAME")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--eps", type=read_number, default=16 / 255)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Cost of AutoAttack",
        "",
        f"{platform.machine()} CPU, one thread; torch {torch.__version__}, float32, {arguments.images} images of the "
        f"embedded suite in one batch, epsilon {255 * arguments.eps:g}/255; gfnet-bench first, torchattacks "
        f"{version('torchattacks')} second. Made by `experiments/autoattack_speed.py`.",
        "",
        "| model | right | stand | processor s | times faster | our forward + backward passes | their forward passes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    with precision("float32", torch.device("cpu")):
        for name in arguments.model:
            lines.append(row(name, arguments.images, arguments.eps))
            print(lines[-1], flush=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
