"""The seven GFNets of the paper for timm."""

from __future__ import annotations

from typing import Any

from timm.models import generate_default_cfgs, register_model
from torch import nn

from gfnet_bench.models.classifier import Classifier, build, pretrained_cfg
from gfnet_bench.models.classifier import resampled_checkpoint as checkpoint_filter_fn
from gfnet_bench.models.gfnet import GFNet, GFNetPyramid

__all__ = ["checkpoint_filter_fn"]

_FLAT = pretrained_cfg(first_conv="patch_embed.proj", license="mit", pool_size=(14, 14))
_PYRAMID = pretrained_cfg(first_conv="patch_embed.0.proj", license="mit", pool_size=(7, 7))

default_cfgs = generate_default_cfgs(
    {
        **{f"gfnet_{size}": _FLAT for size in ("ti", "xs", "s", "b")},
        **{f"gfnet_h_{size}": _PYRAMID for size in ("ti", "s", "b")},
    }
)


def _create(cls: type[Classifier], variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    last = 3  # of twelve maps of one size, as of a vision transformer
    kwargs.setdefault("feature_cfg", {"out_indices": (0, 1, 2, 3) if cls is GFNetPyramid else last})
    return build(cls, variant, pretrained, **kwargs)


@register_model
def gfnet_ti(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GFNet-Ti, 7.5 M parameters."""
    return _create(GFNet, "gfnet_ti", pretrained, **{"embed_dim": 256, "depth": 12, **kwargs})


@register_model
def gfnet_xs(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GFNet-XS, 16.0 M parameters."""
    return _create(GFNet, "gfnet_xs", pretrained, **{"embed_dim": 384, "depth": 12, **kwargs})


@register_model
def gfnet_s(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GFNet-S, 24.9 M parameters."""
    return _create(GFNet, "gfnet_s", pretrained, **{"embed_dim": 384, "depth": 19, **kwargs})


@register_model
def gfnet_b(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GFNet-B, 43.1 M parameters."""
    return _create(GFNet, "gfnet_b", pretrained, **{"embed_dim": 512, "depth": 19, **kwargs})


@register_model
def gfnet_h_ti(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GFNet-H-Ti, 15.1 M parameters."""
    return _create(GFNetPyramid, "gfnet_h_ti", pretrained, **{"init_values": 1e-3, **kwargs})


@register_model
def gfnet_h_s(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GFNet-H-S, 32.2 M parameters."""
    settings = {"embed_dim": (96, 192, 384, 768), "depth": (3, 3, 10, 3), "init_values": 1e-5}
    return _create(GFNetPyramid, "gfnet_h_s", pretrained, **{**settings, **kwargs})


@register_model
def gfnet_h_b(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GFNet-H-B, 53.7 M parameters."""
    settings = {"embed_dim": (96, 192, 384, 768), "depth": (3, 3, 27, 3), "init_values": 1e-6}
    return _create(GFNetPyramid, "gfnet_h_b", pretrained, **{**settings, **kwargs})
