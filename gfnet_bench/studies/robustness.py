"""Robustness and generalisation: the columns of the paper's Table 3, for any model.

`cells` lists what to measure. Cells of one model stand together, so that only one need be in memory; those of a
corrupted set by corruption, so that an image is decoded or corrupted once for all models.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.images import taken
from gfnet_bench.errors import UsageError
from gfnet_bench.perturbations import Attacked, Perturbation, corrupted, of_cell
from gfnet_bench.records import PROTOCOLS, Cell, canonical_json

STUDY = "robustness"

OF_ONE_MODEL = ("code", "weights", "mean", "std", "classes")
"""Settings that only some models' cells have: see `models.own_settings` and `own_images.of_models`."""


@dataclass(frozen=True)
class Options:
    """What decides the numbers beside model, data set and perturbation: stored in every cell.

    Attributes:
        transform: `paper` or `model`.
        img_size: (height, width) when asked for; None for the model's own.
        checkpoint: sha256 of a checkpoint given by path; None for the published weights.
        weights_key: which weights of that file were asked for; None, which cells do not mention, if that was left open.
        limit: number of images, or a share of them below 1, drawn with the seed and stratified by class; None for all.
        seed: changes the sample and every random draw.
        dtype: precision of the forward pass that is scored.
        of_model: what the cells of single models say beside, see `models.own_settings`.
    """

    transform: str = "paper"
    img_size: tuple[int, int] | None = None
    checkpoint: str | None = None
    weights_key: str | None = None
    limit: float | None = None
    seed: int = 0
    dtype: str = "float32"
    of_model: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    @property
    def weights(self) -> dict[str, Any]:
        """What a cell says of the weights."""
        key = {} if self.weights_key is None else {"weights_key": self.weights_key}
        return {"checkpoint": self.checkpoint, **key}

    def settings(self, dataset: str, perturbation: Perturbation, model: str = "") -> dict[str, Any]:
        """A cell's settings."""
        return {
            "dataset": dataset,
            "perturbation": perturbation.settings,
            "transform": self.transform,
            "img_size": None if self.img_size is None else list(self.img_size),
            **self.weights,
            "limit": self.limit,
            "seed": self.seed,
            "dtype": self.dtype,
            **self.of_model.get(model, {}),
        }


def perturbations(
    dataset: str,
    attacks: Sequence[Perturbation],
    corruptions: Sequence[str],
    severities: Sequence[int] | None = None,
    recipe: str | None = None,
) -> list[Perturbation]:
    """What is done to the images of one data set: corruptions where it is a corrupted set, attacks elsewhere.

    Raises:
        UsageError: see `perturbations.corrupted`; also for a recipe of files that are published.
    """
    spec = DATASETS[dataset]
    if not spec.is_corrupted:
        return list(attacks)
    own = recipe if spec.recipe else None
    found = [p for text in corruptions for p in corrupted(text, severities, own, spec.recipe)]
    if not spec.recipe and (odd := next((p for p in found if p.recipe), None)):
        raise UsageError(f"{odd.spelling}: expected no recipe, since the files of {dataset} are published")
    return list(dict.fromkeys(found))


def cells(
    models: Sequence[str],
    *,
    datasets: Sequence[tuple[str, Sequence[Perturbation]]],
    corruptions: Sequence[str],
    severities: Sequence[int] | None = None,
    recipe: str | None = None,
    options: Options = Options(),
) -> list[Cell]:
    """The cells of a command, those that share a model or a corruption next to one another.

    Args:
        models: names.
        datasets: names, each with the attacks to make on it (`CLEAN` for none).
        corruptions: for the corrupted data sets among them, as `perturbations.corrupted` reads them.
        severities: 1 to 5, of corruptions that do not state one; None for all.
        recipe: how generated sets are made, the same; None for each one's own.
        options: what else decides the numbers.
    """
    wanted = [
        (dataset, perturbation)
        for dataset, attacks in datasets
        for perturbation in perturbations(dataset, attacks, corruptions, severities, recipe)
    ]
    ordered = [(model, *pair) for model in models for pair in wanted if not DATASETS[pair[0]].is_corrupted]
    ordered += [(model, *pair) for pair in wanted if DATASETS[pair[0]].is_corrupted for model in models]
    return [
        Cell(
            STUDY,
            PROTOCOLS[STUDY],
            model,
            {**options.settings(dataset, perturbation), **options.of_model.get(model, {})},
        )
        for model, dataset, perturbation in ordered
    ]


def weight(cell: Cell) -> float:
    """About how long a cell takes beside others: passes over its images, by the fields of its attack."""
    perturbation = of_cell(cell)
    passes = _passes(perturbation.attack) if isinstance(perturbation, Attacked) else 1
    limit, images = cell.settings["limit"], DATASETS[cell.settings["dataset"]].images
    return passes * (images if limit is None else taken(limit, images))


def _passes(attack: Any) -> float:
    """About how many forward and backward passes an image takes that stands."""
    if hasattr(attack, "members"):
        return sum(map(_passes, attack.members))
    counts = {name: getattr(attack, name, None) for name in ("queries", "steps", "restarts", "targets", "draws")}
    known = {name: count for name, count in counts.items() if isinstance(count, int)}  # a plug-in's may mean anything
    return known["queries"] if "queries" in known else 1 + 2 * math.prod(known.values())


def together(cell: Cell) -> Hashable:
    """What cells have in common that are measured in one pass.

    A corrupted batch is used for every model; a model's clean logits are those of an attack's first look. That is
    float32, so that clean images in another precision are a pass of their own.
    """
    if DATASETS[cell.settings["dataset"]].is_corrupted:
        return canonical_json({key: value for key, value in cell.settings.items() if key not in OF_ONE_MODEL})
    if cell.settings["dtype"] == "float32" and of_cell(cell).begins_at_image:
        return cell.model, canonical_json({key: value for key, value in cell.settings.items() if key != "perturbation"})
    return cell
