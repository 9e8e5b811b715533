"""Robustness measured: images through networks, as the cells of the study say."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnet_bench import corruptions, evaluation, metrics, pieces
from gfnet_bench.attacks.base import Attack
from gfnet_bench.attacks.transfer import Transfer
from gfnet_bench.benches import fast_modes
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets import DATASETS, Images, load_images, suite_of
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.evaluation import Corrupt, Evaluation
from gfnet_bench.feeding import resident
from gfnet_bench.inputs import Inputs
from gfnet_bench.models import NOTHING, Asked, Model, check_unchanged, load_model
from gfnet_bench.perturbations import CLEAN, Attacked, Corrupted, Perturbation, of_cell, published_files
from gfnet_bench.present import Present, absent_sets
from gfnet_bench.records import Cell, Record
from gfnet_bench.runner import Outcome
from gfnet_bench.store import Store
from gfnet_bench.suites.own import is_own

T = TypeVar("T")

# The published script corrupts crops of its own, whatever the model; a smaller model sees their centre.
CROPS = {"imagenet_c": Transform("imagenet_c", 224, 224, 256, "bilinear")}


@dataclass
class Bench:
    """A machine with data: where images are, where to compute. Keeps the images, and the models in use.

    Attributes:
        data_dirs: folders to look for data sets in.
        device: where to compute.
        batch_size: images at a time, at most.
        workers: processes that decode.
        asked: what is asked of the models beside what the cells say.
        channels_last: memory layout of the images on the device.
        compile: run the networks through torch.compile.
        classes_by: of anyone's images, how their classes were found among those of each model, for the record.
        progress: bars on stderr.
        operate: what is done to a network that was loaded before a cell is measured on it.
        parts: how many pieces cells were cut into, and the records of those.
    """

    data_dirs: Sequence[Path] = ()
    device: str = "cpu"
    batch_size: int = 64
    workers: int = 0
    asked: Asked = NOTHING
    channels_last: bool = False
    compile: bool = False
    classes_by: Mapping[str, str] = field(default_factory=dict)
    progress: bool = True
    operate: Callable[[Model, Cell], Model] = lambda model, cell: model
    parts: tuple[int, Store] | None = None
    _models: dict[Any, Model | GfnetBenchError] = field(default_factory=dict)
    _images: dict[Any, Images | GfnetBenchError] = field(default_factory=dict)
    _present: Present | None = None
    _sources: dict[Any, Model | GfnetBenchError] = field(default_factory=dict)
    _resident: tuple[Images, Any] | None = None
    _piece: tuple[int, int] | None = None

    def model(self, cell: Cell) -> Model:
        """The model of a cell, loaded once until it is let go."""
        s = cell.settings
        size = _size(cell)

        def load() -> Model:
            model = load_model(
                cell.model,
                self.asked._replace(img_size=size, mean=s.get("mean"), std=s.get("std")),
                transform=s.get("transform", "paper"),
                device=self.device,
                check=lambda classes: check_classes(cell.model, classes, s.get("dataset")),
                suite=DATASETS[s["dataset"]].suite if "dataset" in s else None,
            )
            check_unchanged(model, s)
            if "classes" in s:
                first = {name: s["classes"][name] for name in DATASETS[s["dataset"]].names}
                model.choose(list((first | s["classes"]).values()))
            if self.channels_last:
                model = model.to(memory_format=torch.channels_last)
            if self.compile:
                model.net.compile()
            return model

        return self.operate(_once(self._models, _network(cell), load), cell)

    def keep(self, cells: Sequence[Cell] = ()) -> None:
        """Let go of every model that none of these cells needs, and remember those that could not be loaded."""
        wanted = {_network(cell) for cell in cells}
        kept = {k: m for k, m in self._models.items() if k in wanted or isinstance(m, GfnetBenchError)}
        if len(kept) < len(self._models):
            self._models = kept
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()

    def images(self, cell: Cell, model: Model) -> Images:
        """The images of a cell before any perturbation of ours: decoded once, memory-mapped ever after."""
        s = cell.settings
        transform = _transform(cell, model)
        corruption = published_files(cell)
        key = (s["dataset"], transform, s["limit"], s["seed"], corruption)
        if corruption is not None and key not in self._images:  # 75 sets of 7.5 GB: keep the one in use
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

    def inputs(self, record: Record) -> Inputs:
        """What a record's cell would be measured on now."""
        if self._present is None:
            self._present = Present(self.data_dirs, self.progress)
        return self._present.inputs(record)

    def measure(self, cells: Sequence[Cell]) -> list[Outcome | Exception]:
        """Measure cells that differ in their models alone, in one pass over their images, or in their attacks alone.

        Those whose pieces are all there are put together.

        Returns:
            One outcome a cell, or what kept that one from being measured.
        """
        found: dict[Cell, Outcome | Exception] = {
            cell: put for cell in cells if (put := self._put_together(cell)) is not None
        }
        left = [cell for cell in cells if cell not in found]
        found.update(zip(left, self._measure_whole(left), strict=True))
        return [found[cell] for cell in cells]

    def measure_pieces(self, cells: Sequence[Cell]) -> list[Outcome | Exception]:
        """The same for the same range of the images of such cells, see `pieces`."""
        self._piece = pieces.number(cells[0])
        try:
            return self._measure_whole([pieces.whole(cell) for cell in cells])
        finally:
            self._piece = None

    def _put_together(self, cell: Cell) -> Outcome | None:
        found = None if self.parts is None else pieces.put_together(cell, *self.parts)
        if found is None:
            return None
        model = self.fitting_model(cell)
        return self._outcome(cell, model, self.images(cell, model), found, {})

    def _measure_whole(self, cells: Sequence[Cell]) -> list[Outcome | Exception]:
        """Measure cells, in one pass where they share one."""
        if len({cell.model for cell in cells}) == 1 < len(cells):
            found = self._measure_with_clean(cells)
            return [found[cell] if cell in found else self._measure_whole([cell])[0] for cell in cells]
        found = {}
        waiting = list(cells)
        while waiting:  # once, unless the models together are too large for the device
            models: dict[Cell, Model] = {}
            self.keep(waiting)
            if not self._has_room(models):
                self.keep(waiting[:1])
            while waiting and (not models or self._has_room(models)):
                cell = waiting.pop(0)
                try:
                    models[cell] = self.fitting_model(cell)
                except Exception as problem:  # the other models are measured all the same
                    found[cell] = problem
            found.update(self._measure_loaded(models))
        return [found[cell] for cell in cells]

    def _measure_with_clean(self, cells: Sequence[Cell]) -> dict[Cell, Outcome | Exception]:
        """Measure clean images and the first attack of one model in one pass; nothing where that cannot be."""
        clean, attacked = ([cell for cell in cells if (of_cell(cell) == CLEAN) is so] for so in (True, False))
        if not (clean and attacked):
            return {}
        try:
            self.keep(cells)
            model = self.fitting_model(attacked[0])
            images = self._shown(attacked[0], model)
            (seen,) = self._evaluate(attacked[:1], [model], images, self._pixels(images), "float32", clean_too=True)
        except Exception:  # each by itself, to see of which
            return {}
        if isinstance(seen, Exception):
            return {}
        assert seen.clean is not None
        pair = (attacked[0], seen), (clean[0], Evaluation(seen.clean, seen.batch_size))
        return {cell: self._outcome(cell, model, images, found, {}) for cell, found in pair}

    def _measure_loaded(self, models: dict[Cell, Model]) -> dict[Cell, Outcome | Exception]:
        """Measure cells, those whose models see the same pixels in one pass."""
        found: dict[Cell, Outcome | Exception] = {}
        shown: dict[tuple[Transform, int, int], list[Cell]] = {}
        for cell, model in models.items():
            try:
                pixels = _transform(cell, model), model.transform.height, model.transform.width
                shown.setdefault(pixels, []).append(cell)
            except GfnetBenchError as problem:
                found[cell] = problem
        for alike in shown.values():
            try:
                found.update(zip(alike, self._measure(alike, [models[cell] for cell in alike]), strict=True))
            except MissingError as problem:
                found.update(dict.fromkeys(alike, problem))
            except Exception as problem:  # perhaps of one model: each by itself, to see of which
                if len(alike) == 1:
                    found[alike[0]] = problem
                else:
                    for cell in alike:
                        found |= self._measure_loaded({cell: models[cell]})
        return found

    def _has_room(self, models: dict[Cell, Model]) -> bool:
        """Whether one more model may be loaded beside these and those that are kept."""
        resident = {*models.values(), *(m for m in self._models.values() if not isinstance(m, GfnetBenchError))}
        return sum(p.numel() * p.element_size() for model in resident for p in model.parameters()) < self._room()

    def _room(self) -> float:
        """Bytes that the weights of models in one pass may take: a quarter of the memory there is."""
        if self.device.startswith("cuda"):
            return torch.cuda.mem_get_info(self.device)[1] / 4
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 4 if hasattr(os, "sysconf") else 2**32

    def fitting_model(self, cell: Cell) -> Model:
        """The model of a cell, whose classes are those of its data set.

        Raises:
            GfnetBenchError: if they are not, before any weights are fetched where the catalogue tells.
        """
        model = self.model(cell)
        check_classes(cell.model, model.num_classes, cell.settings["dataset"])
        return model

    def _measure(self, cells: Sequence[Cell], models: Sequence[Model]) -> list[Outcome | Exception]:
        """Measure cells whose models see the same pixels."""
        images, dtype = self._shown(cells[0], models[0]), cells[0].settings["dtype"]
        evaluations = self._evaluate(cells, models, images, self._pixels(images), dtype)
        noted: list[dict[str, Any]] = [{} for _ in cells]
        if dtype != "float32":
            rows = fast_modes.sample(len(images))
            some = images.subset(rows)
            exact = self._evaluate(cells, models, some, some.pixels[:], "float32")
            for note, a, b in zip(noted, evaluations, exact, strict=True):
                if isinstance(a, Evaluation) and isinstance(b, Evaluation):
                    note[fast_modes.NOTED] = fast_modes.against_float32(a.predictions, b.predictions, rows)
        return [
            found if isinstance(found, Exception) else self._outcome(cell, model, images, found, note)
            for cell, model, found, note in zip(cells, models, evaluations, noted, strict=True)
        ]

    def _evaluate(
        self,
        cells: Sequence[Cell],
        models: Sequence[Model],
        images: Images,
        pixels: Any,
        dtype: str,
        *,
        clean_too: bool = False,
    ) -> list[Evaluation | GfnetBenchError]:
        """One pass over images for cells that differ in their models alone."""
        s, perturbation = cells[0].settings, of_cell(cells[0])
        names = ", ".join(cell.model for cell in cells)
        return evaluation.evaluate_all(
            models,
            pixels,
            images.labels,
            images.ids,
            corrupt=_corrupt(perturbation, models[0].transform) if isinstance(perturbation, Corrupted) else None,
            attack=self.attack(cells[0], perturbation) if isinstance(perturbation, Attacked) else None,
            classes=images.classes,
            batch_size=self.batch_size,
            device=self.device,
            dtype=dtype,
            seed=s["seed"],
            salt=perturbation.salt,
            clean_too=clean_too,
            progress=f"{names} {s['dataset']} {perturbation.spelling}" if self.progress else None,
        )

    def attack(self, cell: Cell, perturbation: Attacked) -> Attack:
        """What attacks; one whose images are made for another network gets that.

        Raises:
            GfnetBenchError: if that is not shown the same images.
        """
        attack = perturbation.attack
        if not isinstance(attack, Transfer):
            return attack
        model, source = self.model(cell), self.source(cell, attack)
        if _shown(source) != _shown(model) or source.num_classes != model.num_classes:
            wanted, found = ("{} classes of {} x {} pixels".format(m.num_classes, *_shown(m)) for m in (model, source))
            raise GfnetBenchError(f"{perturbation.spelling}: expected a network for {wanted}, found one for {found}")
        return attack.on(source)

    def source(self, cell: Cell, attack: Transfer) -> Model:
        """The network that images of a cell are made for: the published one, whatever is asked of the others."""
        if cell.model == attack.source and self.asked.checkpoint is None:
            return self.model(cell)
        transform, asked = cell.settings["transform"], Asked(img_size=_size(cell))

        def load() -> Model:
            return load_model(attack.source, asked, transform=transform, device=self.device)

        return _once(self._sources, (attack.source, transform, asked), load)

    def _shown(self, cell: Cell, model: Model) -> Images:
        """Those of a cell, or of the piece of it that is measured.

        Raises:
            GfnetBenchError: if there are fewer batches than pieces, and none is left for this one.
        """
        images = self.images(cell, model)
        if self._piece is None:
            return images
        rows = pieces.rows(len(images), self.batch_size, self._piece)
        if not rows:
            raise GfnetBenchError(
                f"expected a batch of {self.batch_size} for each of {self._piece[1]} pieces, found fewer"
            )
        return images.subset(rows)

    def _pixels(self, images: Images) -> Any:
        """Those of a set of images, kept on the device while it is the one in use, if they take up little of it."""
        if self._resident is None or self._resident[0] is not images:
            self._resident = None  # first: there may be no room for two
            self._resident = images, resident(images.pixels, torch.device(self.device))
        return self._resident[1]

    def _outcome(self, cell: Cell, model: Model, images: Images, found: Evaluation, noted: dict[str, Any]) -> Outcome:
        predictions, batch_size, seen, _ = found
        if self._piece is not None:
            return Outcome({}, pieces.to_arrays(found), self.provenance(cell, model, images, batch_size))
        values = {
            **metrics.scores(predictions, images.answers),
            "excluded": len(images.excluded),
            "expected": images.expected,
        }
        arrays = metrics.to_arrays(predictions, images.answers)
        told = about_attack(of_cell(cell), seen)
        return Outcome(values, arrays, {**self.provenance(cell, model, images, batch_size), **told, **noted})

    def provenance(self, cell: Cell, model: Model, images: Images, batch_size: int) -> dict[str, Any]:
        """What a number of this model on these images rests on, and where it was computed."""
        return {
            "device": device_name(self.device),
            "batch_size": batch_size,
            "params": model.params,
            "weights_sha256": model.weights_sha256,
            "weights_source": model.weights_source,
            "weights_key": model.weights_key,
            **about_images(images),
            **({"classes_by": self.classes_by[cell.model]} if cell.model in self.classes_by else {}),
        }


def about_images(images: Images) -> dict[str, Any]:
    """Provenance: which images were scored, and which are missing."""
    return {
        "data_sha256": images.data_sha256,
        "data_fingerprint": images.fingerprint,
        "ids_sha256": metrics.ids_sha256(images.ids),
        "excluded": [list(pair) for pair in images.excluded],
        **({"available": list(images.available)} if images.available else {}),
    }


def about_attack(perturbation: Perturbation, noted: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Provenance: passes for an image, on average, and what the attack itself `says` of what it noted."""
    if not isinstance(perturbation, Attacked):
        return {}
    passes = {name: round(float(noted[name].mean()), 3) for name in ("forward_passes", "backward_passes")}
    says = getattr(perturbation.attack, "says", None)
    return {"attack": {**passes, **(says(noted) if callable(says) else {})}}


def check_classes(model: str, num_classes: int, dataset: str | None) -> None:
    """Raise GfnetBenchError if the logits of a model are not for the classes of a data set."""
    expected = None if dataset is None else suite_of(dataset).classes
    if expected not in (None, num_classes):
        raise GfnetBenchError(f"{model}: expected logits for the {expected} classes of {dataset}, found {num_classes}")


def _size(cell: Cell) -> tuple[int, int] | None:
    size = cell.settings["img_size"]
    return None if size is None else (size[0], size[1])


def _network(cell: Cell) -> Hashable:
    """Equal for cells that are measured with the same loaded model."""
    return cell.model, cell.settings.get("transform", "paper"), _size(cell), str(cell.settings.get("classes"))


def _shown(model: Model) -> tuple[int, int]:
    return model.transform.height, model.transform.width


def _transform(cell: Cell, model: Model) -> Transform:
    """How the files of a cell become pixels: as the model wants them, or as the recipe that corrupts them does.

    Raises:
        GfnetBenchError: if the recipe's images are too small for the model, or whole ones of another size.
    """
    perturbation, own = of_cell(cell), model.transform
    recipe = perturbation.recipe if isinstance(perturbation, Corrupted) else None
    suite = suite_of(cell.settings["dataset"])
    # Of anyone's images nothing is published: they are corrupted as the model is shown them.
    crop = None if recipe is None or is_own(suite.name) else CROPS.get(recipe)
    if recipe is not None and suite.whole and (own.height, own.width) != (suite.side, suite.side):
        raise GfnetBenchError(
            f"{cell.settings['dataset']}: its images of {suite.side} x {suite.side} pixels are corrupted as they are, "
            f"but {cell.model} takes {own.width} x {own.height}; measure it with --img-size {suite.side}"
        )
    if crop is None:
        return own
    if own.height > crop.height or own.width > crop.width:
        raise GfnetBenchError(
            f"recipe {recipe} makes images of {crop.width} x {crop.height} pixels, but {cell.model} takes "
            f"{own.width} x {own.height}; measure it with --img-size {crop.height} or --recipe imagecorruptions"
        )
    return crop


def _corrupt(p: Corrupted, own: Transform) -> Corrupt | None:
    """The corruption of a cell, and then the centre of each image, as large as the model takes it; None for files."""
    if (recipe := p.recipe) is None:
        return None

    def corrupted_centre(images: Tensor, seeds: Tensor) -> Tensor:
        made = corruptions.corrupt(images, p.name, p.severity, recipe=recipe, seeds=seeds)
        top, left = (made.shape[2] - own.height) // 2, (made.shape[3] - own.width) // 2
        return made[..., top : top + own.height, left : left + own.width]

    return corrupted_centre


def device_name(device: str) -> str:
    """What computes, for the record."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return device


def missing(cells: Sequence[Cell], bench: Bench) -> list[str]:
    """What keeps these cells from being measured here, a sentence each, found before any model runs.

    Every model is loaded once to see that its weights are whole, and let go again.

    Raises:
        UsageError: if a model cannot be built as asked.
    """
    sentences = dict.fromkeys(absent_sets(cells, bench.data_dirs).values())
    for cell in {cell.model: cell for cell in cells}.values():
        try:
            bench.fitting_model(cell)
        except UsageError:
            raise
        except GfnetBenchError as error:
            sentences[str(error)] = None
        bench.keep()
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
