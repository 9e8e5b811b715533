"""Robustness and generalisation: the columns of the paper's Table 3, for any model.

`cells` lists what to measure; `Bench.measure` measures one. Cells that use the same images stand together, so that an
image is decoded once, and corrupted once, for all models of a command.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gfnet_bench.catalog import SEVERITIES, Transform
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.records import PROTOCOLS, Cell, canonical_json
from gfnet_bench.runner import Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from gfnet_bench.datasets.images import Images
    from gfnet_bench.evaluate import Corrupt, Evaluation
    from gfnet_bench.models import Model

T = TypeVar("T")

STUDY = "robustness"

CLEAN: dict[str, Any] = {"name": "clean"}
CLASSES = {"imagenet": 1000, "mini": 10}

# Data sets that exist only as corruptions of another one, and the recipe that makes them unless another is asked for.
GENERATED = {"imagenet_c_generated": "imagenet_c", "mini_c": "cifar_c"}
CORRUPTED = ("imagenet_c", *GENERATED)

# The published script corrupts crops of its own, whatever the model; a smaller model sees their centre.
CROPS = {"imagenet_c": Transform("imagenet_c", 224, 224, 256, "bilinear")}


class Suite(NamedTuple):
    """What a command measures when it is not told otherwise."""

    main: str  # the data set that is attacked
    others: tuple[str, ...]
    models: tuple[str, ...]
    epsilon: float


SUITES = {
    "imagenet": Suite(
        "imagenet",
        ("imagenet_real", "imagenet_v2", "imagenet_a", "imagenet_a_control", "imagenet_c"),
        ("gfnet_s",),
        1 / 255,
    ),
    "mini": Suite(
        "mini", ("mini_v2", "mini_a", "mini_c"), ("gfnet_mini", "vit_mini", "resmlp_mini", "resnet_mini"), 4 / 255
    ),
}


@dataclass(frozen=True)
class Options:
    """What decides the numbers beside model, data set and perturbation: stored in every cell.

    Attributes:
        transform: `paper` or `model`.
        img_size: (height, width) when asked for; None for the model's own.
        checkpoint: sha256 of a checkpoint given by path; None for the published weights.
        limit: number of images, drawn with the seed and stratified by class; None for all.
        seed: changes the sample and every random draw.
        dtype: precision of the forward pass that is scored.
    """

    transform: str = "paper"
    img_size: tuple[int, int] | None = None
    checkpoint: str | None = None
    limit: int | None = None
    seed: int = 0
    dtype: str = "float32"

    def settings(self, dataset: str, perturbation: dict[str, Any]) -> dict[str, Any]:
        """A cell's settings."""
        return {
            "dataset": dataset,
            "perturbation": perturbation,
            "transform": self.transform,
            "img_size": None if self.img_size is None else list(self.img_size),
            "checkpoint": self.checkpoint,
            "limit": self.limit,
            "seed": self.seed,
            "dtype": self.dtype,
        }


def perturbations(
    dataset: str,
    attacks: Sequence[dict[str, Any]],
    corruptions: Sequence[str],
    severities: Sequence[int],
    recipe: str | None = None,
) -> list[dict[str, Any]]:
    """What is done to the images of one data set: corruptions where it is a corrupted set, attacks elsewhere."""
    if dataset not in CORRUPTED:
        return list(attacks)
    made = {"recipe": recipe or GENERATED[dataset]} if dataset in GENERATED else {}
    return [{"name": name, "severity": s, **made} for name in corruptions for s in severities]


def cells(
    models: Sequence[str],
    *,
    datasets: Sequence[tuple[str, Sequence[dict[str, Any]]]],
    corruptions: Sequence[str],
    severities: Sequence[int] = SEVERITIES,
    recipe: str | None = None,
    options: Options = Options(),
) -> list[Cell]:
    """The cells of a command, those that share images next to one another.

    Args:
        models: names.
        datasets: names, each with the settings of the attacks to make on it (`CLEAN` for none).
        corruptions: names, for the corrupted data sets among them.
        severities: 1 to 5.
        recipe: how generated sets are made; None for each one's own.
        options: what else decides the numbers.
    """
    return [
        Cell(STUDY, PROTOCOLS[STUDY], model, options.settings(dataset, perturbation))
        for dataset, attacks in datasets
        for perturbation in perturbations(dataset, attacks, corruptions, severities, recipe)
        for model in models
    ]


def together(cell: Cell) -> Hashable:
    """What cells have in common that are measured in one pass: a corrupted batch is used for every model."""
    return canonical_json(cell.settings) if cell.settings["dataset"] in GENERATED else cell


@dataclass
class Bench:
    """A machine with data: where images are, where to compute. Keeps models and the images last used.

    Attributes:
        data_dirs: folders to look for data sets in.
        device: where to compute.
        batch_size: images at a time, at most.
        workers: processes that decode.
        checkpoint: file that replaces the published weights.
        channels_last: memory layout of the images on the device.
        compile: run the networks through torch.compile.
        progress: bars on stderr.
    """

    data_dirs: Sequence[Path] = ()
    device: str = "cpu"
    batch_size: int = 64
    workers: int = 0
    checkpoint: Path | None = None
    channels_last: bool = False
    compile: bool = False
    progress: bool = True
    _models: dict[Any, Model | GfnetBenchError] = field(default_factory=dict)
    _images: dict[Any, Images | GfnetBenchError] = field(default_factory=dict)

    def model(self, cell: Cell) -> Model:
        """The model of a cell, loaded once."""
        import torch

        from gfnet_bench.models import load_model

        s = cell.settings
        size = None if s["img_size"] is None else tuple(s["img_size"])

        def load() -> Model:
            model = load_model(
                cell.model, img_size=size, transform=s["transform"], checkpoint=self.checkpoint, device=self.device
            )
            if self.channels_last:
                model = model.to(memory_format=torch.channels_last)
            if self.compile:
                model.net.compile()
            return model

        return _once(self._models, (cell.model, s["transform"], size), load)

    def images(self, cell: Cell, model: Model) -> Images:
        """The images of a cell before any perturbation of ours: decoded once, memory-mapped ever after."""
        from gfnet_bench.datasets import load_images

        s = cell.settings
        transform = _transform(cell, model)
        from_files = s["dataset"] == "imagenet_c"
        corruption = (s["perturbation"]["name"], s["perturbation"]["severity"]) if from_files else None
        key = (s["dataset"], transform, s["limit"], s["seed"], corruption)
        if from_files and key not in self._images:  # 75 sets of 7.5 GB: keep the one in use
            self._images = {k: v for k, v in self._images.items() if k[-1] is None}

        def load() -> Images:
            return load_images(
                s["dataset"],
                self.data_dirs,
                transform,
                limit=s["limit"],
                seed=s["seed"],
                corruption=corruption,
                workers=self.workers,
                progress=self.progress,
            )

        return _once(self._images, key, load)

    def measure(self, cells: Sequence[Cell]) -> list[Outcome | Exception]:
        """Measure cells that differ in their models alone, in one pass over their images.

        Returns:
            One outcome a cell, or what kept that one from being measured.
        """
        found: dict[Cell, Outcome | Exception] = {}
        models: dict[Cell, Model] = {}
        shown: dict[tuple[Transform, int, int], list[Cell]] = {}
        for cell in cells:
            try:
                model = models[cell] = self._fitting_model(cell)
                pixels = _transform(cell, model), model.transform.height, model.transform.width
                shown.setdefault(pixels, []).append(cell)
            except Exception as problem:  # the other models are measured all the same
                found[cell] = problem
        for alike in shown.values():
            try:
                found.update(zip(alike, self._measure(alike, [models[cell] for cell in alike]), strict=True))
            except MissingError as problem:
                found.update(dict.fromkeys(alike, problem))
            except Exception as problem:  # perhaps of one model: each by itself, to see of which
                by_themselves = [problem] if len(alike) == 1 else [self.measure([cell])[0] for cell in alike]
                found.update(zip(alike, by_themselves, strict=True))
        return [found[cell] for cell in cells]

    def _fitting_model(self, cell: Cell) -> Model:
        from gfnet_bench.datasets import DATASETS

        model = self.model(cell)
        dataset = cell.settings["dataset"]
        expected = CLASSES[DATASETS[dataset].suite]
        if model.num_classes != expected:
            raise GfnetBenchError(
                f"{cell.model}: expected logits for the {expected} classes of {dataset}, found {model.num_classes}"
            )
        return model

    def _measure(self, cells: Sequence[Cell], models: Sequence[Model]) -> list[Outcome | Exception]:
        """Measure cells whose models see the same pixels."""
        from gfnet_bench.attacks import from_settings
        from gfnet_bench.evaluate import evaluate_all

        s = cells[0].settings
        perturbation = s["perturbation"]
        images = self.images(cells[0], models[0])
        attacked = s["dataset"] not in CORRUPTED and perturbation["name"] != "clean"
        names = ", ".join(cell.model for cell in cells)
        evaluations = evaluate_all(
            models,
            images.pixels,
            images.labels,
            images.ids,
            corrupt=_corrupt(perturbation, models[0].transform) if s["dataset"] in GENERATED else None,
            attack=from_settings(perturbation) if attacked else None,
            classes=images.classes,
            batch_size=self.batch_size,
            device=self.device,
            dtype=s["dtype"],
            seed=s["seed"],
            salt=perturbation["name"],
            progress=f"{names} {s['dataset']} {describe(perturbation)}" if self.progress else None,
        )
        return [
            found if isinstance(found, Exception) else self._outcome(model, images, found)
            for model, found in zip(models, evaluations, strict=True)
        ]

    def _outcome(self, model: Model, images: Images, evaluation: Evaluation) -> Outcome:
        from gfnet_bench import metrics

        predictions, batch_size = evaluation
        values = {
            **metrics.scores(predictions, images.answers),
            "excluded": len(images.excluded),
            "expected": images.expected,
        }
        provenance = {
            "device": device_name(self.device),
            "batch_size": batch_size,
            "params": model.params,
            "weights_sha256": model.weights_sha256,
            "weights_source": model.weights_source,
            "data_fingerprint": images.fingerprint,
            "ids_sha256": metrics.ids_sha256(images.ids),
            "excluded": [list(pair) for pair in images.excluded],
        }
        return Outcome(values, metrics.to_arrays(predictions, images.answers), provenance)


def _transform(cell: Cell, model: Model) -> Transform:
    """How the files of a cell become pixels: as the model wants them, or as the recipe that corrupts them does.

    Raises:
        GfnetBenchError: if the recipe's images are too small for the model.
    """
    recipe = cell.settings["perturbation"].get("recipe")
    own, crop = model.transform, CROPS.get(recipe)
    if crop is None:
        return own
    if own.height > crop.height or own.width > crop.width:
        raise GfnetBenchError(
            f"recipe {recipe} makes images of {crop.width} x {crop.height} pixels, but {cell.model} takes "
            f"{own.width} x {own.height}; measure it with --img-size {crop.height} or --recipe imagecorruptions"
        )
    return crop


def _corrupt(perturbation: dict[str, Any], own: Transform) -> Corrupt:
    """The corruption of a cell, and then the centre of each image, as large as the model takes it."""
    from gfnet_bench.corruptions import corrupt

    def corrupted_centre(images: Tensor, seeds: Tensor) -> Tensor:
        name, severity, recipe = perturbation["name"], perturbation["severity"], perturbation["recipe"]
        corrupted = corrupt(images, name, severity, recipe=recipe, seeds=seeds)
        top, left = (corrupted.shape[2] - own.height) // 2, (corrupted.shape[3] - own.width) // 2
        return corrupted[..., top : top + own.height, left : left + own.width]

    return corrupted_centre


def describe(perturbation: dict[str, Any]) -> str:
    """A perturbation in a few characters: `pgd`, `fog 3`."""
    severity = perturbation.get("severity")
    return perturbation["name"] if severity is None else f"{perturbation['name']} {severity}"


def device_name(device: str) -> str:
    """What computes, for the record."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return device


def missing(cells: Sequence[Cell], bench: Bench) -> list[str]:
    """What keeps these cells from being measured here, a sentence each, found before any model runs.

    Raises:
        UsageError: if a model cannot be built as asked.
    """
    from gfnet_bench.datasets import DATASETS

    sentences: dict[str, None] = {}  # three data sets that lack the same folder say so once
    for name in dict.fromkeys(cell.settings["dataset"] for cell in cells):
        try:
            DATASETS[name].locate(bench.data_dirs)
        except GfnetBenchError as error:
            sentences[str(error)] = None
    for cell in {cell.model: cell for cell in cells}.values():
        try:
            bench.model(cell)
        except UsageError:
            raise
        except GfnetBenchError as error:
            sentences[str(error)] = None
    return list(sentences)


def _once(kept: dict[Any, T | GfnetBenchError], key: Any, make: Callable[[], T]) -> T:
    """What `make` gave for this key the first time, a failure included: 75 cells need not wait for 75 time-outs."""
    if key not in kept:
        try:
            kept[key] = make()
        except UsageError:
            raise
        except GfnetBenchError as error:
            kept[key] = error
    found = kept[key]
    if isinstance(found, GfnetBenchError):
        raise found
    return found
