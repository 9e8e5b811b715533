"""Semantic FPN (Kirillov et al. 2019), the segmentation head of the paper's Table 2, over any pyramid of features.

Widths, strides and depths are those of the configuration that the papers of PVT, Swin and GFNet share: a feature
pyramid of 256 channels, a head of 128 and the 150 classes of ADE20K.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from gfnet_bench.catalog import find_spec
from gfnet_bench.errors import GfnetBenchError, acquit

PYRAMID, HEAD, CLASSES = 256, 128, 150
STRIDES = (4, 8, 16, 32)
DROPOUT = 0.1  # of whole channels before the last layer, in training


class SemanticFPN(nn.Module):
    """A network that gives four feature maps, a feature pyramid, and one label a pixel.

    Args:
        backbone: (b, 3, H, W) images to four maps (b, c_i, H / s_i, W / s_i) for the strides s_i = 4, 8, 16, 32.
        channels: the c_i.
        classes: k.
        pyramid: channels of the feature pyramid.
        head: channels of the head.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        classes: int = CLASSES,
        pyramid: int = PYRAMID,
        head: int = HEAD,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.lateral = nn.ModuleList(nn.Conv2d(c, pyramid, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(pyramid, pyramid, 3, padding=1) for _ in channels)
        self.heads = nn.ModuleList(_ScaleHead(max(1, level), pyramid, head) for level in range(len(channels)))
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classify = nn.Conv2d(head, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) normalised images to (b, k, H / 4, W / 4) logits."""
        maps = [lateral(m) for lateral, m in zip(self.lateral, self.backbone(images), strict=True)]
        for level in range(len(maps) - 1, 0, -1):
            maps[level - 1] = maps[level - 1] + F.interpolate(maps[level], size=maps[level - 1].shape[2:])
        heads = [head(smooth(m)) for head, smooth, m in zip(self.heads, self.smooth, maps, strict=True)]
        total = heads[0]
        for head in heads[1:]:
            total = total + F.interpolate(head, size=total.shape[2:], mode="bilinear", align_corners=False)
        return self.classify(self.dropout(total))


class _ScaleHead(nn.Sequential):
    """Convolutions that bring one level of the pyramid up towards stride 4, doubling its side after each.

    The level at stride 4 has one convolution and keeps its side; the levels below have one for each doubling.
    """

    def __init__(self, doublings: int, pyramid: int, width: int) -> None:
        layers: list[nn.Module] = []
        for i in range(doublings):
            conv = nn.Conv2d(pyramid if i == 0 else width, width, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            if i < doublings - 1:  # the last doubling is the resize before the sum
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        super().__init__(*layers)


def build(
    name: str,
    img_size: int | tuple[int, int],
    classes: int = CLASSES,
    *,
    pyramid: int = PYRAMID,
    head: int = HEAD,
    **settings: Any,
) -> SemanticFPN:
    """Semantic FPN over a pyramid of the catalogue, without weights.

    Args:
        name: a model with feature maps at strides 4, 8, 16 and 32: ResNet, PVT, Swin, GFNet-H, PoolFormer.
        img_size: side of the images, or (height, width).
        classes: k.
        pyramid: channels of the feature pyramid.
        head: channels of the head.
        settings: of the backbone, as timm's `create_model` takes them.

    Raises:
        GfnetBenchError: if the model gives no such maps, or cannot take that size.
    """
    spec = find_spec(name)
    # Convolutional networks take any size, and timm cuts their classifiers off by itself.
    sized: dict[str, Any] = {} if takes_any_size(name) else {"img_size": img_size, "num_classes": 0}
    try:
        backbone: Any = timm.create_model(spec.timm_name, pretrained=False, features_only=True, **sized, **settings)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        acquit(error)
        raise GfnetBenchError(f"{name}: cannot be built for images of {img_size} as a backbone: {error}") from error
    reductions = {stride: i for i, stride in enumerate(backbone.feature_info.reduction())}
    if not set(STRIDES) <= set(reductions):
        found = ", ".join(map(str, reductions))
        raise GfnetBenchError(f"{name}: expected feature maps at strides 4, 8, 16 and 32, found {found}")
    chosen = [reductions[stride] for stride in STRIDES]
    channels = [backbone.feature_info.channels()[i] for i in chosen]
    return SemanticFPN(_Maps(backbone, chosen, channels), channels, classes, pyramid, head)


def takes_any_size(name: str) -> bool:
    """Whether a backbone is convolutional, and takes images of any size as it stands."""
    spec = find_spec(name)
    return spec.family.startswith(("ResNe", "RegNet")) or spec.timm_name.startswith(("poolformer", "convnext"))


class _Maps(nn.Module):
    """The chosen maps of a timm feature extractor, channels first."""

    def __init__(self, network: nn.Module, chosen: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.network, self.chosen, self.channels = network, tuple(chosen), tuple(channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.network(images)
        return [
            m if m.shape[1] == c else m.permute(0, 3, 1, 2)  # Swin's come channels last
            for m, c in zip((maps[i] for i in self.chosen), self.channels, strict=True)
        ]
