"""Models meet anyone's images: which of a model's logits are the classes of a folder, and what is usual at its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gfnet_bench.datasets.label_names import Matched, match
from gfnet_bench.datasets.own_images import OwnImages
from gfnet_bench.errors import UsageError
from gfnet_bench.suites import own

if TYPE_CHECKING:
    from gfnet_bench.models import Asked


def matched(
    images: OwnImages, models: Sequence[str], class_names: Sequence[str] | None = None, asked: Asked | None = None
) -> dict[str, Matched]:
    """Where each model has the classes of these images; the first model's size settles what is usual for them.

    Args:
        images: as `own_images.use` gives them.
        models: names.
        class_names: what all of them call their classes, in the order of their logits; None for what each says.
        asked: what else is asked of them.

    Raises:
        UsageError: if classes are none of a model's, see `label_names.match`; also as `models.head_of`.
    """
    from gfnet_bench.models import NOTHING, head_of

    heads = {model: head_of(model, asked or NOTHING) for model in models}
    for head in list(heads.values())[:1]:
        own.settle(images.name, side=max(head.size))
    found = {}
    for model, head in heads.items():
        if images.logits is not None:
            if max(images.found.items.labels.max(), *images.logits, 0) >= head.classes:
                raise UsageError(
                    f"{model}: expected labels that are indices of its {head.classes} logits, found higher ones; give "
                    "the names of the classes, or another model"
                )
            if images.classes:
                logits = dict(zip(images.classes, images.logits, strict=True))
                found[model] = Matched(logits, "the labels are indices of its logits")
            continue
        names, source = (class_names, "--class-names") if class_names else (head.names, head.source)
        found[model] = match(model, images.classes, head.classes, names, source)
    return found


def of_models(found: Mapping[str, Matched], rest: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """`Options.of_model`: what the cells of each model say beside, and the logits of its classes."""
    return {**rest, **{model: {**rest.get(model, {}), "classes": dict(of.logits)} for model, of in found.items()}}
