"""Records of the robustness study: scores, and the predictions they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfnet_bench.schemas.kinds import (
    COUNT,
    LIMIT,
    SHA256,
    SHARE,
    SIZE,
    TEXT,
    Array,
    Arrays,
    Beside,
    Fields,
    check,
    either,
    having,
    list_of,
    maybe,
    none_or,
    number,
    object_of,
    whole,
    word,
)

MOST_IMAGES = 10**7
MOST_CLASSES = 2**15
"""Of an int16, where nobody knows how many there are."""
ROUNDING = 1e-5
"""What float32 probabilities may be above 1."""

PERTURBATION: Fields = {
    "name": TEXT,
    **maybe(
        {
            "norm": either(TEXT, number(0)),
            "epsilon": number(),
            "eps": number(),
            "steps": COUNT,
            "severity": whole(1, 5),
            "recipe": TEXT,
        }
    ),
}
OWN: Fields = maybe(
    {
        "weights_key": TEXT,
        **dict.fromkeys(("code", "weights"), SHA256),
        "classes": object_of(whole(0)),
        **dict.fromkeys(("mean", "std"), either(list_of(number(), 1), list_of(number(), 3))),
    }
)
"""What only the cells of some models say: which weights of a checkpoint, and what code of one's own is and wants; and
of anyone's images the logit of each class."""

SETTINGS: Fields = {
    **OWN,
    "dataset": TEXT,
    "perturbation": having(PERTURBATION),
    "transform": word("paper", "model"),
    "img_size": none_or(SIZE),
    "checkpoint": none_or(TEXT),
    "limit": none_or(LIMIT),
    "seed": whole(),
    "dtype": TEXT,
}
VALUES: Fields = {
    "top1": SHARE,
    "top5": SHARE,
    "images": whole(1, MOST_IMAGES),
    "nll": number(0),
    "ece": number(0, 1 + ROUNDING),
    **maybe({"brier": number(0, 2 + ROUNDING), "excluded": COUNT, "expected": none_or(COUNT)}),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise Unfit for settings no cell of the study has."""
    check(settings, SETTINGS)


def check_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Beside:
    """Raise Unfit for values that are not of such a cell; what lies beside them."""
    from gfnet_bench.datasets import DATASETS, suite_of

    dataset = settings["dataset"]
    has_answers = dataset in DATASETS and DATASETS[dataset].answers is not None
    check(values, {**VALUES, **({"real": SHARE} if has_answers else {})})
    check(values, {"images": whole(1, settings["limit"] if isinstance(settings["limit"], int) else MOST_IMAGES)})
    n = "n" if has_answers else values["images"]  # images without an answer are among the predictions alone
    last = (suite_of(dataset).classes or MOST_CLASSES) - 1
    arrays = {
        "top5": Array("i2", (n, "k"), 0, last),
        "confidence": Array("f4", (n,), 0, 1 + ROUNDING),
        "nll": Array("f4", (n,), 0),
        "labels": Array("i2", (n,), 0, last),
        **({"brier": Array("f4", (n,), 0, 2 + ROUNDING)} if "brier" in values else {}),  # older records have none
        **({"real": Array("i1", (n,), -1, 1)} if has_answers else {}),
    }
    return Beside(arrays, _scores)


def _scores(arrays: Arrays) -> dict[str, Any]:
    """The values of these predictions, worked out once more."""
    from gfnet_bench import metrics

    if "real" in arrays and not (arrays["real"] >= 0).any():
        return {"images": 0}
    return metrics.values(arrays)
