"""How wrong are the numbers that the field's usual mistakes give, and what here stops each of them?

Run:      python experiments/wrong_numbers.py     (about half a minute of one core; the images are the embedded ones)
Outcome:  2026-11-26, results/tables/wrong_numbers.md: 18 exhibits in 15 s of CPU time. Accuracies are off by 1.5 to 100
          points, counts by factors of nearly 2 and more; every guard speaks to its exhibit.

A museum: each exhibit makes a published kind of mistake on purpose on the images and networks of `mini`, gives the
number as it would have been printed, the right one on the same images, and what our guard says when it meets the
mistake. A guard *refuses* (an error, no number), *tells apart* (the number is made, in another column or row, or with
what it lacks or what contradicts it beside it) or *mends* (through it the mistake cannot be made). The sizes are those
of small images, small networks and a small sample: they show that a mistake matters, not by how much elsewhere.

`tests/test_wrong_numbers.py` has every guard speak to its exhibit, and be silent to twenty honest runs of it.
"""

from __future__ import annotations

import argparse
import atexit
import copy
import csv
import shutil
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import gfnet_bench as gb
from gfnet_bench.catalog import CORRUPTIONS, MCE_NAMES, SEVERITIES, Transform, paper_transform
from gfnet_bench.corruptions import corrupt
from gfnet_bench.corruptions.jpeg_compression import jpeg
from gfnet_bench.datasets import DATASETS, load_images
from gfnet_bench.datasets.classes import real_labels
from gfnet_bench.datasets.prepared import transformed
from gfnet_bench.evaluation import Attack, evaluate, to_pixels
from gfnet_bench.metrics import compare
from gfnet_bench.metrics.corruption_errors import mce
from gfnet_bench.metrics.predictions import ids_sha256
from gfnet_bench.metrics.statistics import Z
from gfnet_bench.mixers import MIXERS
from gfnet_bench.models import Model, load_model, wrap
from gfnet_bench.perturbations import CLEAN, Corrupted, Corruptions
from gfnet_bench.profiling.blocks import block
from gfnet_bench.profiling.flops import count
from gfnet_bench.profiling.formulas import block_operators, table1
from gfnet_bench.profiling.latency import Latency, Repeat, measure
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.reports.reading.coverage import parts_of_sets
from gfnet_bench.reports.reading.scores import Score, scores_of, setup_of
from gfnet_bench.reports.robustness.results import Results, corruption_of
from gfnet_bench.schemas import Unfit
from gfnet_bench.schemas.complexity import check_values
from gfnet_bench.studies.robustness import Options
from gfnet_bench.watch import Predict

TABLE = Path(__file__).parents[1] / "results" / "tables" / "wrong_numbers.md"
IMAGES = 100
WHOLE = Transform("paper", 32, 32, None, "bicubic")
EPSILON = 4 / 255
RECIPE = "cifar_c"


class Sample(NamedTuple):
    """Some of the embedded images: (n, 32, 32, 3) uint8 with (n,) labels and their names, and the seed of the draw."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    seed: int = 0

    def where(self, chosen: NDArray[Any]) -> Sample:
        """Those of a mask, or at these positions."""
        rows = np.arange(len(self.ids))[chosen]
        return Sample(self.pixels[rows], self.labels[rows], tuple(self.ids[row] for row in rows), self.seed)


class Shown(NamedTuple):
    """A number, and what our guard says to the way it was made; None where it has nothing to say."""

    value: float
    said: str | None


@dataclass(frozen=True)
class Exhibit:
    """One kind of mistake.

    Attributes:
        name: for programs.
        mistake: for people.
        seen: where it was published or reported, `owner/name#N`; empty where it is known by word of mouth alone.
        unit: `%` and `± points` are compared by a difference, others by a ratio.
        guard: module and name of what stops it here.
        does: `refuses`, `tells apart` or `mends`.
        show: makes the number, with the mistake or without it.
    """

    name: str
    mistake: str
    seen: str
    unit: str
    guard: str
    does: str
    show: Callable[[Sample, bool], Shown]

    def wrong(self, sample: Sample) -> Shown:
        """The number with the mistake."""
        return self.show(sample, True)

    def right(self, sample: Sample) -> Shown:
        """The same without it."""
        return self.show(sample, False)

    def error(self, wrong: float, right: float) -> str:
        """How far apart the two are."""
        return f"{wrong - right:+.1f} points" if "points" in self.unit or self.unit == "%" else f"{wrong / right:.3g} x"


EXHIBITS: dict[str, Exhibit] = {}


def exhibit(
    mistake: str, *, unit: str = "%", guard: str, does: str, seen: str = ""
) -> Callable[[Callable[[Sample, bool], Shown]], Callable[[Sample, bool], Shown]]:
    """Hang a function of a sample, and of whether to make the mistake, in the museum."""

    def hang(show: Callable[[Sample, bool], Shown]) -> Callable[[Sample, bool], Shown]:
        EXHIBITS[show.__name__] = Exhibit(show.__name__, mistake, seen, unit, f"gfnet_bench.{guard}", does, show)
        return show

    return hang


@cache
def sample(images: int = IMAGES, seed: int = 0, dataset: str = "mini") -> Sample:
    """So many embedded images, spread over the classes."""
    found = load_images(dataset, [], WHOLE, limit=images, seed=seed, progress=False)
    return Sample(found.pixels[:], found.labels, found.ids, seed)


@cache
def network(name: str) -> Model:
    """One of the small networks with its weights."""
    return load_model(name)


def passed(predict: Predict, shown: Sample, attack: Attack | None = None, **options: Any) -> NDArray[np.int64]:
    """(n,) the classes that a model says, through the one loop and all of its guards."""
    options = {"classes": None, "batch_size": 100, **options}
    return (
        evaluate(predict, shown.pixels, shown.labels, shown.ids, attack=attack, **options)
        .predictions.top5[:, 0]
        .astype(np.int64)
    )


def percent(right: Any) -> float:
    """A share in percent."""
    return 100 * float(np.mean(right))


def answers(logits: Tensor) -> NDArray[np.int64]:
    """(n,) from (n, k)."""
    return logits.argmax(1).numpy().astype(np.int64)


# Attacks


def attacked(predict: Predict, shown: Sample, attack: Attack) -> Shown:
    """Accuracy under attack, and what the loop says to it; where it refuses, what a loop without guards would print."""
    try:
        return Shown(percent(passed(predict, shown, attack) == shown.labels), None)
    except gb.GfnetBenchError as error:
        images, labels = to_pixels(shown.pixels, torch.device("cpu")), torch.from_numpy(shown.labels)
        adversarial = attack(predict, images, labels, torch.arange(len(labels)))
        with torch.no_grad():
            return Shown(percent(answers(predict(adversarial)) == shown.labels), str(error))


@dataclass(frozen=True)
class NormalisedPGD:
    """PGD on (image - mean) / std, as a loop has them whose transform normalises; handed back as pixels.

    Attributes:
        epsilon: as stated, in units of pixels.
        radius: of the ball that is really kept to, in normalised units.
        box: least and largest value that is really kept to, in the same.
        steps: each of half the radius; one alone of all of it, which is FGSM.
    """

    model: Model
    epsilon: float
    radius: float
    box: tuple[float, float]
    steps: int = 5
    name: str = "PGD"
    norm: str = "linf"

    def __call__(self, predict: Predict, images: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
        """See `attacks.base.Attack`."""
        mean, std = self.model.mean, self.model.std
        originals = (images - mean) / std
        moved = originals
        for _ in range(self.steps):
            pixels = (moved * std + mean).requires_grad_()
            loss = nn.functional.cross_entropy(predict(pixels), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, pixels)
            change = (moved + self.radius / min(2, self.steps) * gradient.sign() - originals).clamp(
                -self.radius, self.radius
            )
            moved = (originals + change).clamp(*self.box)
        return (moved * std + mean).detach()


@exhibit(
    "attack on normalised tensors, kept in the box [0, 1]",
    guard="ball:Ball.fault",
    does="refuses",
    seen="fra31/auto-attack#13 #46 #53",
)
def normalised_box(shown: Sample, wrong: bool) -> Shown:
    """PGD 4/255 x5 on vit_mini; dark pixels are below 0 once normalised, and the box makes them grey."""
    model = network("vit_mini")
    attack = NormalisedPGD(model, EPSILON, EPSILON, (0, 1)) if wrong else gb.PGD(epsilon=EPSILON)
    return attacked(model, shown, attack)


@exhibit("epsilon divided by std twice", guard="ball:Ball.fault", does="refuses", seen="fra31/auto-attack#13")
def epsilon_twice(shown: Sample, wrong: bool) -> Shown:
    """FGSM 4/255, in the right box, with a radius that was in normalised units already."""
    model = network("vit_mini")
    twice = EPSILON / float(model.std.mean()) ** 2
    attack = NormalisedPGD(model, EPSILON, twice, (-1, 1), steps=1) if wrong else gb.FGSM(epsilon=EPSILON)
    return attacked(model, shown, attack)


# Which images, which classes


@exhibit("batch norm in train mode", guard="models:wrap", does="mends")
def train_mode(shown: Sample, wrong: bool) -> Shown:
    """resnet_mini, ten images a batch in the order of their classes, as loaders of folders have them."""
    net = copy.deepcopy(network("resnet_mini").net).train(wrong)
    handed_over = net.training
    images = (to_pixels(shown.pixels, torch.device("cpu")) - 0.5) / 0.5
    order = np.argsort(shown.labels, kind="stable")
    with torch.no_grad():
        said = np.concatenate([answers(net(images[rows])) for rows in np.array_split(order, max(1, len(order) // 10))])
    model = wrap(net, mean=0.5, std=0.5, img_size=32)
    mended = (
        "wrap put the network, which was in train mode, into eval mode" if handed_over != model.net.training else None
    )
    return Shown(percent(said == shown.labels[order]), mended)


@exhibit(
    "a set of few classes scored over all logits (ImageNet-A over 1,000)",
    guard="evaluation:evaluate_all",
    does="refuses",
    seen="huggingface/pytorch-image-models#176",
)
def all_classes(shown: Sample, wrong: bool) -> Shown:
    """The images of four of the ten classes, and an arg-max over all ten or over the four."""
    classes = (0, 2, 5, 7)
    few, model = shown.where(np.isin(shown.labels, classes)), network("vit_mini")
    options: dict[str, Any] = {} if wrong else {"classes": classes}
    said = None
    try:
        evaluate(model, few.pixels, few.labels, few.ids, batch_size=100, **options)
    except TypeError as error:  # there is no default: leaving out logits is a decision
        said = str(error)
    return Shown(percent(passed(model, few, classes=options.get("classes")) == few.labels), said)


@exhibit(
    "numbers of folders taken for class indices",
    guard="evaluation:evaluate_all",
    does="refuses",
    seen="huggingface/pytorch-image-models#2456",
)
def folder_numbers(shown: Sample, wrong: bool) -> Shown:
    """The images of classes 5, 7 and 9, which as folders would be numbers 0, 1 and 2."""
    classes = (5, 7, 9)
    few = shown.where(np.isin(shown.labels, classes))
    given = few._replace(labels=np.searchsorted(classes, few.labels)) if wrong else few
    model, said = network("vit_mini"), None
    try:
        passed(model, given, classes=classes)
    except gb.GfnetBenchError as error:
        said = str(error)
    return Shown(percent(passed(model, given, classes=None if wrong else classes) == given.labels), said)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for as long as it is looked at."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


_CLASSES = range(50, 1000, 100)
"""Ten of ImageNet's classes, which those of `mini` stand for where a thousand folders are needed."""


@cache
def validation_names() -> tuple[tuple[str, ...], ...]:
    """For each of `_CLASSES` the names of a few validation images that are of this class alone by ReaL."""
    real = real_labels()
    numbers = ([number for number, found in enumerate(real, 1) if found == (index,)] for index in _CLASSES)
    return tuple(tuple(f"ILSVRC2012_val_{number:08d}" for number in found[:30]) for found in numbers)


@cache
def thousand_folders() -> Path:
    """An empty validation set in folders 0 to 999, made once."""
    data = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, data)
    for number in range(1000):
        (data / "val" / str(number)).mkdir(parents=True)
    return data


@exhibit(
    "folders named by class index, sorted as text",
    guard="datasets.imagenet:read_folder",
    does="refuses",
    seen="modestyachts/ImageNetV2#4 #10",
)
def text_sorted(shown: Sample, wrong: bool) -> Shown:
    """The classes of vit_mini stand for ten of a thousand; as text, 150 comes before 2."""
    model, names = network("vit_mini"), validation_names()
    numbers = sorted(range(1000), key=str) if wrong else list(range(1000))
    place = {label: number for number, label in enumerate(numbers)}  # the folder that the class went to
    classes = np.array(_CLASSES)
    data, said = thousand_folders(), None
    files = [
        data / "val" / str(place[index]) / f"{name}.JPEG"
        for index, official in zip(_CLASSES, names, strict=True)
        for name in official[shown.seed % 15 :][:12]  # at least 100 in all, without which no order can be told
    ]
    for file in files:
        file.touch()
    try:
        DATASETS["imagenet"].find([data])
    except gb.GfnetBenchError as error:
        said = str(error).replace(str(data), "DATA")
    for file in files:
        file.unlink()
    labels = np.array([place[index] for index in classes])[shown.labels]
    return Shown(percent(classes[passed(model, shown)] == labels), said)


def record(model: str, dataset: str, done: Any, right: NDArray[np.bool_], expected: int, **options: Any) -> Record:
    """What a run would keep of a pass, the arrays apart."""
    cell = Cell("robustness", PROTOCOLS["robustness"], model, Options(**options).settings(dataset, done))
    return Record(cell, {"top1": float(np.mean(right)), "images": len(right), "expected": expected})


@exhibit(
    "a part of a set called the set",
    guard="reports.reading.coverage:parts_of_sets",
    does="tells apart",
    seen="Jingkang50/OpenOOD#307 #310",
)
def part_of_set(shown: Sample, wrong: bool) -> Shown:
    """The first fifth of the 300 images of mini_a, in the order of class folders, as 5,000 of 50,000 are taken."""
    name = ("vit_mini", "resnet_mini")[shown.seed % 2]
    whole, right = sample(300, dataset="mini_a"), outcomes(name)
    seen = right[np.argsort(whole.labels, kind="stable")][: len(right) // 5] if wrong else right
    said = parts_of_sets([record(name, "mini_a", CLEAN, seen, DATASETS["mini_a"].images)])
    return Shown(percent(seen), said[0] if said else None)


@cache
def outcomes(name: str) -> NDArray[np.bool_]:
    """(300,) which images of mini_a a network has right."""
    whole = sample(300, dataset="mini_a")
    return passed(network(name), whole) == whole.labels


# Corruptions


def corrupted(pixels: NDArray[np.uint8], name: str, severity: int, seeds: Sequence[int]) -> Tensor:
    """(n, 3, h, w) uint8."""
    return corrupt(torch.from_numpy(pixels).permute(0, 3, 1, 2), name, severity, recipe=RECIPE, seeds=seeds)


def batch(images: Tensor) -> NDArray[np.uint8]:
    """(n, h, w, 3) of (n, 3, h, w)."""
    return images.permute(0, 2, 3, 1).contiguous().numpy()


@cache
def all_corrupted(images: int) -> dict[Corrupted, NDArray[np.uint8]]:
    """So many images under each of the 19 corruptions and five severities."""
    cells = [Corrupted(name, severity, RECIPE) for name in CORRUPTIONS for severity in SEVERITIES]
    pixels = sample(images).pixels
    return {cell: batch(corrupted(pixels, cell.name, cell.severity, range(images))) for cell in cells}


@cache
def table(name: str, images: int) -> dict[Corrupted, NDArray[np.bool_]]:
    """Which of them a network has right."""
    shown, cells = sample(images), all_corrupted(images)
    pixels, labels = np.concatenate([*cells.values()]), np.tile(shown.labels, len(cells))
    ids = tuple(f"{row}" for row in range(len(labels)))
    right = passed(network(name), Sample(pixels, labels, ids)) == labels
    return dict(zip(cells, right.reshape(len(cells), images), strict=True))


def corrupted_records(name: str, shown: Sample, names: Sequence[str]) -> list[Record]:
    """Those of mini_c on 40 images; for another seed without four of them, so few that the reference still errs."""
    n = 40 if shown.seed == 0 else 36
    rows, cells = np.random.default_rng(shown.seed).permutation(40)[:n], table(name, 40)
    these = {cell: right[rows] for cell, right in cells.items() if cell.name in names}
    return [record(name, "mini_c", cell, right, n, limit=n) for cell, right in these.items()]


def mean_errors(records: Sequence[Record]) -> dict[str, list[float]]:
    """By corruption, one for each severity."""
    errors: dict[str, list[float]] = {}
    for one in records:
        errors.setdefault(corruption_of(one).name, []).append(1 - one.values["top1"])
    return errors


_MCE = Score("mini_c", Corruptions(RECIPE), "mce")


@exhibit(
    "mCE averaged over 19 corruptions",
    guard="reports.robustness.results:Results.behind",
    does="mends",
)
def nineteen(shown: Sample, wrong: bool) -> Shown:
    """vit_mini relative to resnet_mini, with the four extra corruptions or without."""
    names = list(CORRUPTIONS) if wrong else MCE_NAMES
    own, reference = (corrupted_records(name, shown, names) for name in ("vit_mini", "resnet_mini"))
    results, setup = Results([*own, *reference]), setup_of(own[0].cell)
    behind = set(results.behind(setup, _MCE))
    aside = sorted({corruption_of(one).name for one in own if one.cell.sha256 not in behind})
    said = f"mCE is over 15 corruptions; these are set aside: {', '.join(aside)}" if aside else None
    return Shown(mce(mean_errors(own), mean_errors(reference)), said)


@exhibit(
    "mCE taken as 100 - accuracy",
    guard="reports.robustness.results:Results.outcome",
    does="refuses",
    seen="facebookresearch/mae#104, hendrycks/robustness#35",
)
def unnormalised(shown: Sample, wrong: bool) -> Shown:
    """The same without a network to be relative to."""
    own, reference = (corrupted_records(name, shown, MCE_NAMES) for name in ("vit_mini", "resnet_mini"))
    found = Results(own if wrong else [*own, *reference]).outcome(setup_of(own[0].cell), _MCE)
    value = percent([np.mean(errors) for errors in mean_errors(own).values()])
    return Shown(value, found.reason) if found.value is None else Shown(found.value, None)


@exhibit(
    "corruptions made in memory among published files",
    guard="reports.reading.scores:scores_of",
    does="tells apart",
)
def mixed_sources(shown: Sample, wrong: bool) -> Shown:
    """Errors of vit_mini: of contrast from files (JPEG of quality 85), of three kinds of noise from memory or files."""
    model, rights, cells = network("vit_mini"), [], []
    for name, severity in (("gaussian_noise", 5), ("shot_noise", 5), ("impulse_noise", 5), ("contrast", 5)):
        images, in_memory = corrupted(shown.pixels, name, severity, range(len(shown.ids))), wrong and "noise" in name
        images = images if in_memory else jpeg(images, 85)
        rights.append(passed(model, shown._replace(pixels=batch(images))) == shown.labels)
        done = Corrupted(name, severity, "imagenet_c" if in_memory else None)
        cells.append(
            record("vit_mini", "imagenet_c_generated" if in_memory else "imagenet_c", done, rights[-1], 50000).cell
        )
    columns = dict.fromkeys(score.title for cell in cells for score in scores_of(cell) if score.over_corruptions)
    plain = [column for column in columns if "relative" not in column]
    said = f"{' and '.join(plain)} are different columns" if len(plain) > 1 else None
    return Shown(100 - percent(rights), said)


@exhibit(
    "corrupted 224 px files resized again",
    guard="datasets.base:load_images",
    does="mends",
    seen="RobustBench/robustbench#59",
)
def resized_again(shown: Sample, wrong: bool) -> Shown:
    """Gaussian noise 3, each pixel a square of 7 x 7 in a file of 224; then resized to 256 and cropped, or as it is."""
    model, names = network("vit_mini"), validation_names()
    few = shown.where(np.arange(len(shown.ids)) < 60)
    pixels = batch(corrupted(few.pixels, "gaussian_noise", 3, range(len(few.ids))))
    files = pixels.repeat(7, 1).repeat(7, 2)
    asked = paper_transform(224, 224) if wrong else Transform("paper", 224, 224, None, "bicubic")
    with folder() as data:
        cell = data / "imagenet-c" / "gaussian_noise" / "3"
        (data / "imagenet-c" / "corrupt.json").parent.mkdir()
        (data / "imagenet-c" / "corrupt.json").write_text("{}")
        for row, image in enumerate(files):
            place = cell / wnid(_CLASSES[row % 10])
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{names[row % 10][row // 10]}.png", compress_level=1)
        given = load_images("imagenet_c", [data], asked, corruption=("gaussian_noise", 3), progress=False)
        rows = {names[row % 10][row // 10]: row for row in range(len(files))}
        as_is = np.array_equal(given.pixels[:], files[[rows[image] for image in given.ids]])
    shown_files = transformed(files, asked).pixels[:]
    mended = "its files are 224 x 224 already and are shown as they are, the resize to 256 left out"
    small = shown_files.reshape(len(files), 32, 7, 32, 7, 3).mean((2, 4)).round().astype(np.uint8)
    value = percent(passed(model, few._replace(pixels=small)) == few.labels)
    return Shown(value, mended if as_is and not np.array_equal(shown_files, files) else None)


def wnid(label: int) -> str:
    """The WordNet id of a class."""
    from gfnet_bench.datasets.classes import wnids

    return wnids()[label]


# What is said of two numbers, and of several


@exhibit(
    "unpaired test of two models on the same images",
    unit="± points",
    guard="metrics.statistics:compare",
    does="mends",
    seen="EleutherAI/lm-evaluation-harness#3831",
)
def unpaired(shown: Sample, wrong: bool) -> Shown:
    """Half of the 95 % interval of the difference in accuracy of vit_mini and resnet_mini."""
    found = [
        evaluate(network(name), shown.pixels, shown.labels, shown.ids, classes=None).predictions
        for name in ("vit_mini", "resnet_mini")
    ]
    first, second = (one.top5[:, 0] == one.labels for one in found)
    paired = compare(first, second)
    half = (paired.interval.high - paired.interval.low) / 2
    if not wrong:
        return Shown(100 * half, None)
    p, q, n = first.mean(), second.mean(), len(first)
    apart = Z * float(np.sqrt((p * (1 - p) + q * (1 - q)) / n))
    same = ids_sha256(found[0].ids) == ids_sha256(found[1].ids)
    return Shown(100 * apart, f"the images are the same: p = {paired.p:.3f} by images" if same else None)


@exhibit("the best of ten seeds", guard="reports.reading.scores:setup_of", does="tells apart")
def best_seed(shown: Sample, wrong: bool) -> Shown:
    """vit_mini under gaussian noise 3, drawn by ten seeds or by one."""
    model, records = network("vit_mini"), []
    for seed in range(shown.seed, shown.seed + (10 if wrong else 1)):
        seeds = [1000 * seed + row for row in range(len(shown.ids))]
        noisy = batch(corrupted(shown.pixels, "gaussian_noise", 3, seeds))
        right = passed(model, shown._replace(pixels=noisy)) == shown.labels
        records.append(
            record("vit_mini", "mini_c", Corrupted("gaussian_noise", 3, RECIPE), right, len(right), seed=seed)
        )
    rows = dict.fromkeys(setup_of(one.cell).label for one in records)
    said = f"{len(rows)} rows, not one: {'; '.join(list(rows)[:3])} ..." if len(rows) > 1 else None
    return Shown(100 * max(one.values["top1"] for one in records), said)


# Costs


def against_formula(value: float, formula: float, what: str) -> str | None:
    """What the closed form says to a count."""
    return None if value == formula else f"{what}: counted {value:,.0f}, by its closed form {formula:,.0f}"


def counted_by_torch(module: Callable[[], nn.Module], shape: tuple[int, ...], without: str = "nothing") -> int:
    """Multiply-adds by torch's counter, which has no rule for FFTs; of more operators without theirs.

    On fake tensors, which cost as little as those of the meta device, and have the operators of a CPU.
    """
    counter = FlopCounterMode(display=False)
    counter.flop_registry.update({op: _free for op in counter.flop_registry if without in str(op)})
    with FakeTensorMode(), counter, torch.no_grad():
        module()(torch.empty(shape))
    return counter.get_total_flops() // 2


def counted(module: Callable[[], nn.Module], shape: tuple[int, ...]) -> int:
    """Multiply-adds by ours, as the paper's Table 1 counts them."""
    with torch.device("meta"):
        return count(module(), shape, convention="table1").total


def _free(*_: Any, **__: Any) -> int:
    return 0


@exhibit(
    "FFTs counted as zero (a global filter alone)",
    unit="M multiply-adds",
    guard="profiling.formulas:table1",
    does="tells apart",
    seen="raoyongming/GFNet#3 #12 #15",
)
def free_transform(shown: Sample, wrong: bool) -> Shown:
    """The mixer of 4,096 tokens and 384 channels."""
    side = side_of(shown)
    shape, build = (1, side**2, 384), partial(MIXERS["global_filter"].build, side, 384)
    value = counted_by_torch(build, shape) if wrong else counted(build, shape)
    return Shown(value / 1e6, against_formula(value, table1("global_filter", side).formula_macs, "global filter"))


@exhibit(
    "multiply-adds of products added to FLOPs of FFTs",
    unit="G operations",
    guard="profiling.flops:Count",
    does="tells apart",
    seen="tobna/WhatTransformerToFavor",
)
def mixed_units(shown: Sample, wrong: bool) -> Shown:
    """One block with a global filter, 4,096 tokens."""
    side = side_of(shown)
    with torch.device("meta"):
        one = block("global_filter", side)
    flops, macs = (count(one, (1, side**2, 384), convention=name) for name in ("standard", "table1"))
    products = macs if wrong else flops
    value = sum(cost for kind, cost in flops.operators.items() if kind != "linear") + products.operators["linear"]
    said = f"{flops.unit} and {products.unit} are different units" if flops.unit != products.unit else None
    return Shown(value / 1e9, said or against_formula(value, flops.total, "block"))


@exhibit(
    "fused attention missed",
    unit="G multiply-adds",
    guard="profiling.formulas:block_operators",
    does="tells apart",
    seen="tobna/WhatTransformerToFavor",
)
def fused_missed(shown: Sample, wrong: bool) -> Shown:
    """One block of a ViT, 4,096 tokens, by a counter without a rule for torch's fused attention."""
    side = side_of(shown)
    shape, build = (1, side**2, 384), partial(block, "self_attention_fused", side)
    value = counted_by_torch(build, shape, "scaled_dot") if wrong else counted(build, shape)
    formula = sum(block_operators("self_attention_fused", side**2, 384).values())
    return Shown(value / 1e9, against_formula(value, formula, "block"))


def side_of(shown: Sample) -> int:
    """Of the grid of tokens: 64, and others for other seeds."""
    return 64 - 2 * shown.seed


@contextmanager
def device(shown: Sample) -> Iterator[Callable[[], Future[Any]]]:
    """A device that works while the host goes on, as a GPU does: a thread. What is yielded hands it a product."""
    matrix = torch.from_numpy(shown.pixels.astype(np.float32)).reshape(-1, 3072)[:64].repeat(8, 1)
    with ThreadPoolExecutor(1) as worker:
        try:
            yield lambda: worker.submit(torch.matmul, matrix, matrix.T)
        finally:
            worker.shutdown(cancel_futures=True)


def timed(shown: Sample, waits: bool) -> Latency:
    """The latency of a product on that device, by a clock that waits for it or does not."""
    with device(shown) as hand_over:
        last: list[Future[Any]] = []

        def call() -> None:
            last[:] = [hand_over()]

        def clock(call: Callable[[], object], calls: int) -> Repeat:
            start = time.perf_counter()
            for _ in range(calls):
                call()
            handed_over = time.perf_counter() - start
            if waits:
                last[0].result()
            return Repeat((time.perf_counter() - start) / calls, handed_over / calls)

        return measure(call, torch.device("meta"), budget_s=0.03, clock=clock)


@exhibit(
    "latency without waiting for the device",
    unit="ms",
    guard="profiling.latency:Latency.launch_bound",
    does="tells apart",
)
def unsynchronised(shown: Sample, wrong: bool) -> Shown:
    """A matrix product on a device that works by itself (here a thread)."""
    found = timed(shown, waits=not wrong)
    said = "launch-bound: handing over the work took all the time there was" if found.launch_bound else None
    return Shown(1e3 * found.median, said)


@exhibit(
    "events swapped, milliseconds kept as seconds",
    unit="ms",
    guard="schemas.complexity:check_values",
    does="refuses",
)
def swapped_events(shown: Sample, wrong: bool) -> Shown:
    """The same, from the end to the beginning."""
    found = timed(shown, waits=True)
    if wrong:
        found = replace(found, seconds=tuple(-1000 * seconds for seconds in found.seconds))
    low, high = found.quartiles or (None, None)
    values = {
        **{"latency_s": found.median, "latency_q1_s": low, "latency_q3_s": high, "spread": found.spread},
        **{"repeats": len(found.seconds), "calls_per_repeat": found.calls, "stopped": found.stopped},
        **{"launch_bound": found.launch_bound, "out_of_memory": False},
    }
    said = None
    try:
        check_values({"measure": "latency"}, values)
    except Unfit as error:
        said = str(error)
    return Shown(1e3 * found.median, said)


COLUMNS = ("mistake", "seen", "unit", "wrong", "right", "error", "guard", "does", "says")


def rows(images: int = IMAGES) -> list[dict[str, str]]:
    """A row of the table for each exhibit.

    Raises:
        AssertionError: if a guard is silent to its exhibit, or speaks to an honest run.
    """
    found = []
    for one in EXHIBITS.values():
        (wrong, said), (right, nothing) = one.wrong(sample(images)), one.right(sample(images))
        assert said and nothing is None, (one.name, said, nothing)
        found.append(
            {
                "mistake": one.mistake,
                "seen": one.seen,
                "unit": one.unit,
                "wrong": f"{wrong:,.4g}",
                "right": f"{right:,.4g}",
                "error": one.error(wrong, right),
                "guard": one.guard.removeprefix("gfnet_bench."),
                "does": one.does,
                "says": textwrap.shorten(said, 200, placeholder=" ..."),
            }
        )
    return found


def main() -> None:
    """Walk through the museum, print the table and keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--images", type=int, default=IMAGES, help=f"of the sample (default: {IMAGES}); others print only"
    )
    images = parser.parse_args().images
    torch.set_num_threads(1)
    start = time.process_time()
    found = rows(images)
    text = "\n".join(
        [
            "# A museum of wrong numbers",
            "",
            f"`python experiments/wrong_numbers.py`: each mistake made on purpose on {images} embedded images of mini "
            "(all 300 of mini_a for a part of a set, 40 for mCE, 60 for files), its number, the right one, and what "
            "stops it here. Latencies are of one machine.",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"| {' | '.join('---' for _ in COLUMNS)} |",
            *(f"| {' | '.join(row[column] for column in COLUMNS)} |" for row in found),
            "",
        ]
    )
    print(text, end="")
    print(f"{len(found)} exhibits in {time.process_time() - start:.0f} s of CPU time")
    if images == IMAGES:
        TABLE.write_text(text)
        with TABLE.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()
