"""PVT, the Pyramid Vision Transformer: attention on four shrinking grids, with keys and values on coarser ones still.

Source: Wang et al. 2021, "Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions".
Parameter names and shapes are those of the official release files, which therefore load unchanged. (timm has the
second version only.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp, use_fused_attn
from timm.models import generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from gfnet_bench.models.classifier import Classifier, Grid, ImageSize, LayerNorm, build, pretrained_cfg, token_grid


class SpatialReductionAttention(nn.Module):
    """Attention whose keys and values come from a grid `reduction` times coarser.

    Args:
        dim: features d.
        num_heads: heads they are split into.
        reduction: side of the cells that become one key each; 1 for ordinary attention.
    """

    def __init__(self, dim: int, num_heads: int, reduction: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.reduction = reduction
        self.fused_attn = use_fused_attn()
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, kernel_size=reduction, stride=reduction)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(b, n, d) to (b, n, d); n is the size of `grid` wherever keys are reduced."""
        b, n, d = x.shape
        q = self.q(x).reshape(b, n, self.num_heads, -1).transpose(1, 2)
        if self.reduction > 1:
            x = self.sr(x.transpose(1, 2).reshape(b, d, *grid))
            x = self.norm(x.flatten(2).transpose(1, 2))
        k, v = self.kv(x).reshape(b, x.shape[1], 2, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        if self.fused_attn:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    """Attention and feed-forward network, each under a residual of its own."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = SpatialReductionAttention(dim, num_heads, reduction)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, dim * mlp_ratio)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(b, n, d) to (b, n, d)."""
        x = x + self.drop_path(self.attn(self.norm1(x), grid))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Non-overlapping patches of a feature map to tokens: (b, c, h, w) to (b, n, d)."""

    def __init__(self, in_chans: int, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Project each patch."""
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class PVT(Classifier):
    """The four stages, a class token in the last one, and the head on that token.

    Args:
        img_size: side of the image, or (height, width); multiples of 8 * `patch_size`.
        patch_size: side of a patch of the first stage in pixels; each later stage halves the grid.
        in_chans: image channels.
        num_classes: k; 0 for the features of the class token.
        embed_dim: features d of each stage.
        depth: blocks of each stage.
        num_heads: heads of each stage.
        mlp_ratio: hidden over outer features of the feed-forward networks of each stage.
        reduction: how much coarser the grid of keys is in each stage.
        drop_rate: dropout before the head.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0.
    """

    global_pool = "token"

    def __init__(
        self,
        img_size: ImageSize = 224,
        patch_size: int = 4,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: Sequence[int] = (64, 128, 320, 512),
        depth: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratio: Sequence[int] = (8, 8, 4, 4),
        reduction: Sequence[int] = (8, 4, 2, 1),
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(img_size, num_classes, embed_dim[-1], drop_rate)
        reductions = [patch_size << stage for stage in range(len(depth))]
        token_grid(img_size, reductions[-1])
        self.grids: list[Grid] = [token_grid(img_size, reduction) for reduction in reductions]
        rates = iter(torch.linspace(0, drop_path_rate, sum(depth), device="cpu").tolist())
        for i, (rows, columns) in enumerate(self.grids):
            dim = embed_dim[i]
            before, patch = (in_chans, patch_size) if i == 0 else (embed_dim[i - 1], 2)
            tokens = rows * columns + (i == len(depth) - 1)
            blocks = (Block(dim, num_heads[i], mlp_ratio[i], reduction[i], next(rates)) for _ in range(depth[i]))
            setattr(self, f"patch_embed{i + 1}", PatchEmbed(before, dim, patch))
            setattr(self, f"pos_embed{i + 1}", nn.Parameter(torch.zeros(1, tokens, dim)))
            setattr(self, f"block{i + 1}", nn.ModuleList(blocks))
        self.feature_info = [
            {"num_chs": dim, "reduction": reduction, "module": f"block{i + 1}"}
            for i, (dim, reduction) in enumerate(zip(embed_dim, reductions, strict=True))
        ]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.num_features))
        self._init_weights()

    def forward_features(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) normalised images to (b, 1 + n, d) tokens of the last stage after the final norm."""
        return self.norm(self._stages(images)[-1])

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Feature maps of the stages, as timm's `features_only` wants them; the class token is no part of the last.

        Args:
            x: (b, 3, H, W) images.
            indices: which of the four stages; the last n for an int, all for None.
            norm: apply the final norm to the last map.
            stop_early: accepted for timm's sake; all stages are computed.
            output_fmt: "NCHW".
            intermediates_only: return the list alone.

        Returns:
            The final tokens and the list, or the list alone.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be NCHW, found {output_fmt!r}")
        wanted, _ = feature_take_indices(len(self.grids), indices)
        *maps, tokens = self._stages(x)
        normed = self.norm(tokens)
        last = (normed if norm else tokens)[:, 1:]
        maps.append(last.transpose(1, 2).unflatten(2, self.grids[-1]))
        taken = [maps[i] for i in wanted]
        return taken if intermediates_only else (normed, taken)

    def _stages(self, images: Tensor) -> list[Tensor]:
        """The maps (b, d, h, w) of all stages but the last, and that one's tokens (b, 1 + n, d)."""
        self.check_size(images)
        x, found = images, []
        for i, grid in enumerate(self.grids, start=1):
            last = i == len(self.grids)
            x = getattr(self, f"patch_embed{i}")(x)
            if last:
                x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1)
            x = x + getattr(self, f"pos_embed{i}")
            for block in getattr(self, f"block{i}"):
                x = block(x, grid)
            if not last:
                x = x.transpose(1, 2).unflatten(2, grid)
            found.append(x)
        return found

    def pooled(self, x: Tensor) -> Tensor:
        """(b, 1 + n, d) to the class token."""
        return x[:, 0]


def resize_pos_embed(pos_embed: Tensor, grid: Grid, cls_tokens: int) -> Tensor:
    """Position embedding for another token grid, bilinear as the authors do.

    Args:
        pos_embed: (1, cls_tokens + n, d), learned on a square grid.
        grid: (h, w) wanted.
        cls_tokens: leading tokens that have no place on the grid, 0 or 1.

    Returns:
        (1, cls_tokens + h * w, d).
    """
    head, maps = pos_embed[:, :cls_tokens], pos_embed[:, cls_tokens:]
    side = round(maps.shape[1] ** 0.5)
    maps = maps.float().transpose(1, 2).unflatten(2, (side, side))
    maps = F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
    return torch.cat((head, maps.flatten(2).transpose(1, 2).to(head.dtype)), dim=1)


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: PVT) -> dict[str, Tensor]:
    """A checkpoint in the official form, resampled where `model` was built for another image size.

    Args:
        state_dict: the tensors, or the tensors under the key `model`.
        model: the PVT they are for.
    """
    tensors = dict(state_dict.get("model", state_dict))
    for i, grid in enumerate(model.grids, start=1):
        name, cls_tokens = f"pos_embed{i}", int(i == len(model.grids))
        if name in tensors and tensors[name].shape[1] != cls_tokens + grid[0] * grid[1]:
            tensors[name] = resize_pos_embed(tensors[name], grid, cls_tokens)
    return tensors


_CFG = pretrained_cfg(first_conv="patch_embed1.proj", license="apache-2.0")
default_cfgs = generate_default_cfgs({f"pvt_{size}": _CFG for size in ("tiny", "small", "medium", "large")})


def _create(variant: str, pretrained: bool, depth: Sequence[int], **kwargs: Any) -> PVT:
    kwargs.setdefault("feature_cfg", {"out_indices": (0, 1, 2, 3)})
    return build(PVT, variant, pretrained, checkpoint_filter_fn, **{"depth": depth, **kwargs})


@register_model
def pvt_tiny(pretrained: bool = False, **kwargs: Any) -> PVT:
    """PVT-Tiny, 13.2 M parameters."""
    return _create("pvt_tiny", pretrained, (2, 2, 2, 2), **kwargs)


@register_model
def pvt_small(pretrained: bool = False, **kwargs: Any) -> PVT:
    """PVT-Small, 24.5 M parameters."""
    return _create("pvt_small", pretrained, (3, 4, 6, 3), **kwargs)


@register_model
def pvt_medium(pretrained: bool = False, **kwargs: Any) -> PVT:
    """PVT-Medium, 44.2 M parameters."""
    return _create("pvt_medium", pretrained, (3, 4, 18, 3), **kwargs)


@register_model
def pvt_large(pretrained: bool = False, **kwargs: Any) -> PVT:
    """PVT-Large, 61.4 M parameters."""
    return _create("pvt_large", pretrained, (3, 8, 27, 3), **kwargs)
