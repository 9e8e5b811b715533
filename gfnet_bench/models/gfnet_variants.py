"""The seven GFNets of the paper for timm, and fitting their weights to another image size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from gfnet_bench.models.classifier import Classifier, build, pretrained_cfg
from gfnet_bench.models.gfnet import GFNet, GFNetPyramid, GlobalFilter


def resize_pos_embed(pos_embed: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embedding for another token grid, bicubic as the authors do.

    Args:
        pos_embed: (1, n, d), learned on a square grid.
        grid: (h, w) wanted.

    Returns:
        (1, h * w, d).
    """
    side = round(pos_embed.shape[1] ** 0.5)
    if side * side != pos_embed.shape[1]:
        raise ValueError(f"a position embedding of {pos_embed.shape[1]} tokens is not of a square grid")
    maps = pos_embed.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, size=grid, mode="bicubic", align_corners=False)
    return maps.permute(0, 2, 3, 1).flatten(1, 2).to(pos_embed.dtype)


def resize_filter(weight: Tensor, grid: tuple[int, int]) -> Tensor:
    """A learned filter for another token grid: bicubic over the half spectrum with aligned corners, as the authors do.

    Args:
        weight: (h', w' // 2 + 1, d, 2).
        grid: (h, w) wanted.

    Returns:
        (h, w // 2 + 1, d, 2).
    """
    maps = weight.float().flatten(2).permute(2, 0, 1)[None]
    maps = F.interpolate(maps, size=(grid[0], grid[1] // 2 + 1), mode="bicubic", align_corners=True)
    return maps[0].permute(1, 2, 0).reshape(grid[0], grid[1] // 2 + 1, -1, 2).to(weight.dtype)


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: GFNet | GFNetPyramid) -> dict[str, Tensor]:
    """A checkpoint in the official form, resampled where `model` was built for another image size.

    Args:
        state_dict: the tensors, or the tensors under the key `model`.
        model: the GFNet they are for.

    Returns:
        Tensors of the model's own shapes, where resampling can give them.
    """
    tensors = dict(state_dict.get("model", state_dict))
    own = model.state_dict()
    for name, tensor in tensors.items():
        if name not in own or tensor.shape == own[name].shape:
            continue
        if name == "pos_embed":
            tensors[name] = resize_pos_embed(tensor, model.grids[0])
        elif name.endswith("filter.complex_weight"):
            layer = model.get_submodule(name.rpartition(".")[0])
            assert isinstance(layer, GlobalFilter)
            tensors[name] = resize_filter(tensor, layer.grid)
    return tensors


_FLAT = pretrained_cfg(first_conv="patch_embed.proj", license="mit")
_PYRAMID = pretrained_cfg(first_conv="patch_embed.0.proj", license="mit")

default_cfgs = generate_default_cfgs(
    {
        **{f"gfnet_{size}": _FLAT for size in ("ti", "xs", "s", "b")},
        **{f"gfnet_h_{size}": _PYRAMID for size in ("ti", "s", "b")},
    }
)


def _create(cls: type[Classifier], variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    if cls is GFNetPyramid:
        kwargs.setdefault("feature_cfg", {"out_indices": (0, 1, 2, 3)})
    return build(cls, variant, pretrained, checkpoint_filter_fn, **kwargs)


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
