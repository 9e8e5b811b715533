"""What the classifiers written here share: the check of their input, first weights, head, and how timm builds them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from timm.layers import to_2tuple, trunc_normal_
from timm.models import build_model_with_cfg
from torch import Tensor, nn

from gfnet_bench.catalog import MODELS
from gfnet_bench.models.weights import fetch_weights

LayerNorm = partial(nn.LayerNorm, eps=1e-6)
ImageSize = int | tuple[int, int]
Grid = tuple[int, int]


class Classifier(nn.Module):
    """Features, pooled to one vector, and a linear head on it.

    Args:
        img_size: side of the image, or (height, width).
        num_classes: k; 0 for pooled features.
        num_features: d of the last feature map.
        drop_rate: dropout before the head.
    """

    # timm's word for how features become one vector.
    global_pool: str

    def __init__(self, img_size: ImageSize, num_classes: int, num_features: int, drop_rate: float) -> None:
        super().__init__()
        self.img_size: tuple[int, int] = to_2tuple(img_size)
        self.num_features = self.head_hidden_size = self.embed_dim = num_features
        self.drop_rate = drop_rate
        self.norm = LayerNorm(num_features)
        self.reset_classifier(num_classes)

    def _init_weights(self) -> None:
        for name, parameter in self.named_parameters():
            if name.startswith(("pos_embed", "cls_token")):
                trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A fresh head; 0 classes gives pooled features instead of logits."""
        if global_pool not in (None, self.global_pool):
            raise ValueError(f"{type(self).__name__} pools by {self.global_pool!r}, found global_pool={global_pool!r}")
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def check_size(self, images: Tensor) -> None:
        """Position embeddings fit one size of image.

        Raises:
            ValueError: if this is another one.
        """
        if tuple(images.shape[-2:]) != self.img_size:
            raise ValueError(
                f"this model was built for images of {self.img_size[0]} x {self.img_size[1]}, "
                f"found {images.shape[-2]} x {images.shape[-1]}; pass img_size when building it"
            )

    def pooled(self, x: Tensor) -> Tensor:
        """Features after the final norm to (b, d)."""
        raise TypeError("a classifier defines how it pools")

    def forward_features(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) normalised images to features after the final norm."""
        raise TypeError("a classifier defines its features")

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features to (b, k) logits, or to (b, d) pooled features."""
        x = F.dropout(self.pooled(x), self.drop_rate, self.training)
        return x if pre_logits else self.head(x)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) normalised images to (b, k) logits."""
        return self.forward_head(self.forward_features(images))


def token_grid(img_size: ImageSize, stride: int) -> Grid:
    """Tokens of (height, width) where one token stands for `stride` pixels a side.

    Raises:
        ValueError: if they do not divide the image.
    """
    height, width = to_2tuple(img_size)
    if height % stride or width % stride or not (height and width):
        raise ValueError(f"image sides must be multiples of {stride} for this model, found {height} x {width}")
    return height // stride, width // stride


def pretrained_cfg(**kwargs: Any) -> dict[str, Any]:
    """What timm wants to know of weights: the authors' transform, and what else is given."""
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "fixed_input_size": True,
        "crop_pct": 224 / 256,
        "interpolation": "bicubic",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "classifier": "head",
        **kwargs,
    }


def build(
    cls: type[Classifier], variant: str, pretrained: bool, fit: Callable[..., dict[str, Tensor]], **kwargs: Any
) -> Any:
    """A model as timm builds it; `fit` makes the tensors of a checkpoint those of the model."""
    overlay = kwargs.pop("pretrained_cfg_overlay", None) or {}
    weights = MODELS[variant].weights
    if pretrained and weights and not overlay.get("file"):
        # timm cannot read the official file shares; our download can, and leaves a verified file behind.
        overlay = {**overlay, "file": str(fetch_weights(weights, variant))}
    kwargs.setdefault("feature_cfg", {}).setdefault("feature_cls", "getter")
    return build_model_with_cfg(
        cls, variant, pretrained, pretrained_filter_fn=fit, pretrained_cfg_overlay=overlay, **kwargs
    )
