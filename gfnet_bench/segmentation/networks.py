"""The networks that are trained: backbones of the catalogue, and three small pyramids for `mini_scenes`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

from gfnet_bench.errors import GfnetBenchError, acquit
from gfnet_bench.mini.pyramids import MINI
from gfnet_bench.models import load_model
from gfnet_bench.models.classifier import Classifier
from gfnet_bench.models.semantic_fpn import SemanticFPN, build, takes_any_size
from gfnet_bench.segmentation.resizing import Size


def network(name: str, side: int, classes: int, drop_path: float) -> SemanticFPN:
    """Semantic FPN with fresh weights for crops of `side` pixels.

    Args:
        name: of `MINI`, or a backbone of the catalogue.
        side: pixels.
        classes: k.
        drop_path: stochastic depth of the last block.

    Raises:
        GfnetBenchError: see `build`.
    """
    small = MINI.get(name)
    backbone, settings = (name, {}) if small is None else (small.backbone, dict(small.settings))
    rate: dict[str, Any] = (
        {} if backbone.startswith("resnet") else {"drop_path_rate": drop_path}
    )  # CNNs go without in the recipe
    return build(backbone, side, classes, **settings, **rate)


def start(net: SemanticFPN, name: str) -> None:
    """Give the backbone its weights of ImageNet.

    Raises:
        GfnetBenchError: if they cannot be had, or are not those of this backbone.
    """
    model = load_model(name)
    given = {re.sub(r"^(stages|layers|blocks)\.(\d+)", r"\1_\2", k): v for k, v in model.net.state_dict().items()}
    given |= model.net.state_dict()
    target = net.backbone.get_submodule("network")
    inner = getattr(target, "model", target)
    tensors = inner.resampled(model.net.state_dict()) if isinstance(inner, Classifier) else given
    own = inner.state_dict()
    if missing := [key for key in own if key not in tensors]:
        raise GfnetBenchError(
            f"{name}: expected weights for {missing[0]} of the backbone, found none; name --checkpoint"
        )
    try:
        inner.load_state_dict({key: tensors[key] for key in own})
    except RuntimeError as error:
        acquit(error)
        raise GfnetBenchError(f"{name}: its weights do not fit the backbone ({error})") from error


def load(net: SemanticFPN, tensors: Mapping[str, Any], source: str) -> None:
    """Give a network weights that were trained here.

    Raises:
        GfnetBenchError: if they are those of another network.
    """
    try:
        net.load_state_dict(tensors)
    except (RuntimeError, TypeError, AttributeError) as error:
        acquit(error)
        raise GfnetBenchError(
            f"{source}: expected the weights of this backbone with a Semantic FPN of {net.classify.out_channels} "
            "classes, found others; name the model they were trained with"
        ) from error


def rebuilt(net: SemanticFPN, name: str, classes: int) -> Callable[[Size], SemanticFPN] | None:
    """How the network is made for images of another size; None if it takes any.

    What was learned for a token grid is resampled each time from the grid it was learned on.
    """
    small = MINI.get(name)
    if takes_any_size(name if small is None else small.backbone):
        return None

    def of(size: Size) -> SemanticFPN:
        backbones = [module for module in net.modules() if isinstance(module, Classifier)]
        if backbones:
            other = copy.deepcopy(net)
            for module in other.modules():
                if isinstance(module, Classifier):
                    module.set_input_size(size)
            return other
        device = next(net.parameters()).device
        fresh = build(name, size, classes).to(device)
        fresh.load_state_dict(net.state_dict())  # windows are as large, so that no tensor differs
        return fresh

    return of
