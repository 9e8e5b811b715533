"""The networks that are trained: backbones of the catalogue, and three small pyramids for `mini_scenes`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gfnet_bench.errors import GfnetBenchError, acquit
from gfnet_bench.models import load_model
from gfnet_bench.models.classifier import Classifier
from gfnet_bench.models.semantic_fpn import SemanticFPN, build, takes_any_size
from gfnet_bench.segmentation.resizing import Size


class Small(NamedTuple):
    """A network for `mini_scenes`.

    Attributes:
        title: as tables print it.
        backbone: the model of the catalogue that it is a small version of.
        settings: what is smaller.
    """

    title: str
    backbone: str
    settings: Mapping[str, Any]


_WIDTHS, _HEAD = (32, 64, 96, 128), {"pyramid": 48, "head": 32}
MINI = {
    "gfnet_h_mini": Small(
        "GFNet-H mini",
        "gfnet_h_ti",
        # LayerScale that starts from a thousandth would take longer than these runs last.
        {"embed_dim": _WIDTHS, "depth": (1, 1, 2, 1), "init_values": 1.0, **_HEAD},
    ),
    "pvt_mini": Small("PVT mini", "pvt_tiny", {"embed_dim": _WIDTHS, "num_heads": (1, 2, 3, 4), **_HEAD}),
    "resnet_h_mini": Small("ResNet mini", "resnet18", {"layers": (1, 1, 1, 1), "channels": (24, 48, 72, 96), **_HEAD}),
}
"""From scratch, since there are no weights for them."""


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


def start(net: SemanticFPN, name: str) -> str | None:
    """Give the backbone its weights of ImageNet; the hash of their file.

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
    return model.weights_sha256


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
