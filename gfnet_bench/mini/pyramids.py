"""Three small pyramids for `mini_scenes`: versions of the backbones of Table 2, at a size that trains on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


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
