"""How each network is trained unless something else is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gfnet_bench.catalog import find_spec
from gfnet_bench.scene_sets import ADE20K, MINI_SCENES, SceneSet
from gfnet_bench.segmentation.augmentation import Augmentation
from gfnet_bench.segmentation.networks import MINI
from gfnet_bench.segmentation.training import Recipe

DROP_PATH = 0.1

_MINI = Recipe(
    iterations=600,
    rate=3e-3,
    augmentation=Augmentation(MINI_SCENES.side, (MINI_SCENES.side,) * 2, (0.9, 1.1), most=1.0, colours=False),
)


def scenes_of(model: str) -> SceneSet:
    """The set a network is for."""
    return MINI_SCENES if model in MINI else ADE20K


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
