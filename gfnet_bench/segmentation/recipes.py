"""How each network is trained unless something else is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gfnet_bench.catalog import find_spec
from gfnet_bench.segmentation import ade20k, mini_scenes
from gfnet_bench.segmentation.augmentation import Augmentation
from gfnet_bench.segmentation.networks import MINI
from gfnet_bench.segmentation.resizing import Box
from gfnet_bench.segmentation.training import Recipe

DROP_PATH = 0.1

BOXES: Mapping[str, Box | None] = {ade20k.NAME: (2048, 512), mini_scenes.NAME: None}
"""What validation images are fitted into."""

CORRUPTED = {ade20k.NAME: "imagenet_c", mini_scenes.NAME: "tiny_imagenet_c"}
"""The recipe of corruptions, by the size of the images."""

_MINI = Recipe(
    iterations=600,
    rate=3e-3,
    augmentation=Augmentation(mini_scenes.SIDE, (mini_scenes.SIDE,) * 2, (0.9, 1.1), most=1.0, colours=False),
)


def scenes_of(model: str) -> str:
    """The set a network is for."""
    return mini_scenes.NAME if model in MINI else ade20k.NAME


def usual(model: str) -> Recipe:
    """The published recipe: AdamW for transformers and GFNet, SGD for ResNets; a short one for the small networks.

    Raises:
        UsageError: if there is no such model.
    """
    if model in MINI:
        return _MINI
    if find_spec(model).family.startswith("ResNe"):
        return replace(Recipe(), optimizer="sgd", rate=0.01, weight_decay=5e-4)
    return Recipe()


def settings_of(model: str, recipe: Recipe) -> dict[str, Any]:
    """What a cell says of the training."""
    return {**recipe.settings(), "drop_path": 0.0 if model in MINI else DROP_PATH}


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """The inverse of `settings_of`."""
    own = {key: value for key, value in settings.items() if key != "drop_path"}
    made: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in own.pop("augmentation").items()}
    return Recipe(**own, augmentation=Augmentation(**made))
