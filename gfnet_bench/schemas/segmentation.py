"""Records of the segmentation study: mean IoU, and the regions it was counted from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfnet_bench.scene_sets import SCENE_SETS
from gfnet_bench.schemas.kinds import (
    COUNT,
    OBJECT,
    SHA256,
    SHARE,
    TEXT,
    Array,
    Arrays,
    Beside,
    Fields,
    check,
    having,
    none_or,
    whole,
    word,
)

MOST_IMAGES = 10**6
MOST_CLASSES = 255

CORRUPTION: Fields = {"name": TEXT, "severity": whole(1, 5), "recipe": TEXT}
TRAINING: Fields = {"iterations": whole(1), "batch": whole(1)}
SETTINGS: Fields = {
    "scenes": word(*SCENE_SETS),
    "corruption": none_or(having(CORRUPTION)),
    "training": none_or(OBJECT),
    "checkpoint": none_or(SHA256),
    "limit": none_or(whole(1)),
    "seed": whole(0),
    "dtype": word("float32", "bfloat16"),
}
VALUES: Fields = {
    "miou": SHARE,
    "pixel_accuracy": SHARE,
    "mean_accuracy": SHARE,
    "images": whole(1, MOST_IMAGES),
    "classes": whole(1, MOST_CLASSES),
    "expected": COUNT,
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise Unfit for settings no cell of the study has."""
    check(settings, SETTINGS)
    if settings["training"] is not None:
        check(settings["training"], TRAINING)


def check_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Beside:
    """Raise Unfit for values that are not of such a cell; what lies beside them."""
    check(values, VALUES)
    k, n = values["classes"], values["images"]
    arrays = {
        **dict.fromkeys(("intersect", "predicted", "labelled"), Array("i4", (n, k), 0)),
        "confusion": Array("i8", (k, k), 0),
    }
    if settings["training"] is not None and settings["corruption"] is None:
        arrays |= dict.fromkeys(("losses", "rates"), Array("f4", (settings["training"]["iterations"],), 0))
    return Beside(arrays, _scores)


def _scores(arrays: Arrays) -> dict[str, Any]:
    """The values of these regions, worked out once more."""
    from gfnet_bench.metrics import segmentation as metrics

    return metrics.values(metrics.Regions(arrays["intersect"], arrays["predicted"], arrays["labelled"]))
