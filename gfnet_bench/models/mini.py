"""The small networks of the `mini` suite: 32 x 32 pixels, ten classes, about 19 M multiply-adds each.

They are built from the code of their big relatives, at a size that trains on two CPU cores.
`experiments/train_mini.py` made the weights that ship with the package.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from gfnet_bench.models.gfnet import GFNet


def _cfg(first_conv: str, classifier: str, **kwargs: Any) -> dict[str, Any]:
    return {
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "first_conv": first_conv,
        "classifier": classifier,
        **kwargs,
    }


default_cfgs = generate_default_cfgs(
    {
        "gfnet_mini": _cfg("patch_embed.proj", "head", fixed_input_size=True, pool_size=(16, 16)),
        "vit_mini": _cfg("patch_embed.proj", "head", fixed_input_size=True),
        "resmlp_mini": _cfg("stem.proj", "head", fixed_input_size=True),
        "resnet_mini": _cfg("conv1", "fc", pool_size=(1, 1)),
        "gfnet_mini_at": _cfg("patch_embed.proj", "head", fixed_input_size=True, pool_size=(16, 16)),
        "resnet_mini_at": _cfg("conv1", "fc", pool_size=(1, 1)),
    }
)


def _create(cls: type[nn.Module], variant: str, pretrained: bool, settings: dict[str, Any], **kwargs: Any) -> nn.Module:
    if pretrained:
        from gfnet_bench.mini import weights_path

        kwargs["pretrained_cfg_overlay"] = {
            **(kwargs.get("pretrained_cfg_overlay") or {}),
            "file": str(weights_path(variant)),
        }
    return build_model_with_cfg(cls, variant, pretrained, **{"num_classes": 10, **settings, **kwargs})


def _gfnet(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    settings = {"img_size": 32, "patch_size": 2, "embed_dim": 48, "depth": 4}
    kwargs.setdefault("feature_cfg", {"feature_cls": "getter", "out_indices": (0, 1, 2, 3)})
    return _create(GFNet, variant, pretrained, settings, **kwargs)


def _resnet(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    settings = {"block": BasicBlock, "layers": (3, 1, 1, 1), "channels": (64, 64, 64, 64)}
    return _create(ResNet, variant, pretrained, settings, **kwargs)


@register_model
def gfnet_mini(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A GFNet on 16 x 16 tokens: width 48, four blocks."""
    return _gfnet("gfnet_mini", pretrained, **kwargs)


@register_model
def gfnet_mini_at(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`gfnet_mini`, trained on images attacked by PGD at 8/255."""
    return _gfnet("gfnet_mini_at", pretrained, **kwargs)


@register_model
def vit_mini(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A vision transformer on 8 x 8 tokens: width 64, five blocks, four heads, mean pooling."""
    settings = {"img_size": 32, "patch_size": 4, "embed_dim": 64, "depth": 5, "num_heads": 4}
    pooling = {"class_token": False, "global_pool": "avg"}
    return _create(VisionTransformer, "vit_mini", pretrained, {**settings, **pooling}, **kwargs)


@register_model
def resmlp_mini(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A ResMLP on 8 x 8 tokens: width 64, eight blocks."""
    settings = {"img_size": 32, "patch_size": 4, "embed_dim": 64, "num_blocks": 8, "mlp_ratio": 4}
    layers = {"block_layer": ResBlock, "norm_layer": Affine}
    return _create(MlpMixer, "resmlp_mini", pretrained, {**settings, **layers}, **kwargs)


@register_model
def resnet_mini(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A ResNet of basic blocks, 64 channels, 8 x 8 positions in its first stage."""
    return _resnet("resnet_mini", pretrained, **kwargs)


@register_model
def resnet_mini_at(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`resnet_mini`, trained on images attacked by PGD at 8/255."""
    return _resnet("resnet_mini_at", pretrained, **kwargs)
