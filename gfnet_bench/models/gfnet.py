"""GFNet and GFNet-H: image classifiers whose tokens are mixed by learned global filters.

Source: Rao et al. 2021, "Global Filter Networks for Image Classification". Parameter names and shapes are those of
the official checkpoints, which therefore load unchanged. Feature maps stay channel-last, (b, h, w, d), throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from timm.layers import DropPath, Mlp
from timm.models import checkpoint_seq, register_notrace_module
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from gfnet_bench.models.classifier import Classifier, ImageSize, LayerNorm, as_maps, token_grid
from gfnet_bench.models.global_filter import global_filter, way_taken, with_torch_fft
from gfnet_bench.models.resampling import resize_filter, resize_pos_embed


@register_notrace_module
class GlobalFilter(nn.Module):
    """Multiply the 2-D spectrum of every channel by learned complex weights.

    Args:
        dim: number of channels d.
        grid: (h, w), the token grid; the weight is (h, w // 2 + 1, d, 2), real and imaginary parts.
    """

    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        height, width = grid
        self.grid = grid
        self.complex_weight = nn.Parameter(torch.randn(height, width // 2 + 1, dim, 2) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(b, h, w, d) to (b, h, w, d); computed in float32, as the authors do under mixed precision too."""
        if torch.jit.is_scripting():
            return with_torch_fft(x.float(), self.complex_weight.float()).to(x.dtype)
        return global_filter(x, self.complex_weight)

    def set_grid(self, grid: tuple[int, int]) -> None:
        """Take another token grid, the weight resampled."""
        weight = resize_filter(self.complex_weight.detach(), grid)
        self.grid, self.complex_weight = grid, nn.Parameter(weight, self.complex_weight.requires_grad)


def ways_taken(net: nn.Module, device: torch.device) -> list[str]:
    """The ways, each once, in which the global filters of `net` are computed on `device`; empty if it has none."""
    filters = (module for module in net.modules() if isinstance(module, GlobalFilter))
    maps = dict.fromkeys((module.grid, module.complex_weight.shape[2]) for module in filters)
    return list(dict.fromkeys(way_taken(grid, channels, device) for grid, channels in maps))


class Block(nn.Module):
    """Global filter and feed-forward network under one residual; LayerScale where `init_values` is given."""

    if TYPE_CHECKING:  # TorchScript reads the annotations of a class, and not these
        gamma: Tensor | None

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        init_values: float | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.filter = GlobalFilter(dim, grid)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.register_parameter("gamma", None if init_values is None else nn.Parameter(torch.full((dim,), init_values)))

    def forward(self, x: Tensor) -> Tensor:
        """(b, h, w, d) to (b, h, w, d)."""
        y = self.mlp(self.norm2(self.filter(self.norm1(x))))
        if self.gamma is not None:
            y = self.gamma * y
        return x + self.drop_path(y)


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens: (b, c, H, W) to (b, h, w, d)."""

    def __init__(self, in_chans: int, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Project each patch."""
        return self.proj(x).permute(0, 2, 3, 1)


class DownLayer(PatchEmbed):
    """Two by two tokens to one of the next stage: (b, h, w, d) to (b, h / 2, w / 2, d')."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__(dim_in, dim_out, patch_size=2)

    def forward(self, x: Tensor) -> Tensor:
        """Merge tokens."""
        return self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class _GlobalFilterClassifier(Classifier):
    """What both variants share: the position embedding, and a network that is a list of stages."""

    pools = ("avg", "")
    output_fmt = "NHWC"
    if TYPE_CHECKING:  # see Block
        blocks: Any  # a stage each
        pos_embed: Tensor

    def _positioned(self, x: Tensor) -> Tensor:
        """Tokens with their place added, (b, h, w, d); as the blocks want them in memory, or each would copy them."""
        return (x + self.pos_embed.reshape(1, x.shape[1], x.shape[2], -1)).contiguous()

    def _stage(self, i: int, x: Tensor) -> Tensor:
        """Stage `i` of what the stage before gave, or of the images."""
        raise TypeError("a variant defines its stages")

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Feature maps along the network, as timm's `features_only` wants them.

        Args:
            x: (b, 3, H, W) images.
            indices: which of `feature_info`; the last n for an int, all for None.
            norm: apply the final norm to the last feature map.
            stop_early: leave out what follows the last one wanted.
            output_fmt: "NCHW", "NHWC" or "NLC".
            intermediates_only: return the list alone.

        Returns:
            The final features and the list, or the list alone.
        """
        wanted, last = feature_take_indices(len(self.blocks), indices)
        maps = []
        for i in range(last + 1 if stop_early else len(self.blocks)):
            x = self._stage(i, x)
            if i in wanted:
                maps.append(as_maps(self.norm(x) if norm and i == len(self.blocks) - 1 else x, output_fmt))
        return maps if intermediates_only else (self.norm(x), maps)

    def _drop_stages(self, kept: int) -> None:
        self.blocks = self.blocks[:kept]

    def _regrid(self, grids: list[tuple[int, int]]) -> None:
        pos_embed = resize_pos_embed(self.pos_embed.detach(), grids[0], before=self.grids[0])
        self.pos_embed = nn.Parameter(pos_embed, self.pos_embed.requires_grad)
        new = dict(zip(self.grids, grids, strict=True))
        for module in self.modules():
            if isinstance(module, GlobalFilter):
                module.set_grid(new[module.grid])

    def resampled(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """See `Classifier`; a position embedding must have been learned on a square grid."""
        fitting, own = dict(tensors), self.state_dict()
        for name, tensor in fitting.items():
            if name not in own or tensor.shape == own[name].shape:
                continue
            if name == "pos_embed":
                fitting[name] = resize_pos_embed(tensor, self.grids[0])
            elif name.endswith("filter.complex_weight"):
                layer = self.get_submodule(name.rpartition(".")[0])
                assert isinstance(layer, GlobalFilter)
                fitting[name] = resize_filter(tensor, layer.grid)
        return fitting

    def pooled(self, x: Tensor) -> Tensor:
        """(b, h, w, d) to the mean over tokens."""
        return x.mean(dim=(1, 2)) if self.global_pool == "avg" else x


class GFNet(_GlobalFilterClassifier):
    """The transformer-style GFNet: one token grid from the first block to the last.

    Args:
        img_size: side of the image, or (height, width); multiples of `patch_size`.
        patch_size: side of a patch in pixels.
        in_chans: image channels.
        num_classes: k; 0 for pooled features.
        embed_dim: channels d.
        depth: number of blocks.
        mlp_ratio: hidden over outer channels of the feed-forward network.
        drop_rate: dropout before the head.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0.
    """

    def __init__(
        self,
        img_size: ImageSize = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 384,
        depth: int = 12,
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__(img_size, num_classes, embed_dim, drop_rate, global_pool)
        self.patch_size = patch_size
        self.grids = self._token_grids(img_size)
        (grid,) = self.grids
        rates = torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()
        self.patch_embed = PatchEmbed(in_chans, embed_dim, patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid[0] * grid[1], embed_dim))
        self.blocks = nn.Sequential(*(Block(embed_dim, grid, mlp_ratio, rate) for rate in rates))
        self.feature_info = [
            {"num_chs": embed_dim, "reduction": patch_size, "module": f"blocks.{i}"} for i in range(depth)
        ]
        self._init_weights()

    def _token_grids(self, img_size: ImageSize) -> list[tuple[int, int]]:
        return [token_grid(img_size, self.patch_size)]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Parameters by depth, for layer-wise learning rates."""
        return {"stem": r"^pos_embed|patch_embed", "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]}

    def _embed(self, images: Tensor) -> Tensor:
        self.check(images)
        return self._positioned(self.patch_embed(images))

    def _stage(self, i: int, x: Tensor) -> Tensor:
        x = self._embed(x) if i == 0 else x
        return checkpoint_seq(self.blocks[i : i + 1], x) if self.grad_checkpointing else self.blocks[i](x)

    def forward_features(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) normalised images to (b, h, w, d) features after the final norm."""
        x = self._embed(images)
        if self.grad_checkpointing and not torch.jit.is_scripting():
            x = checkpoint_seq(self.blocks, x)
        else:
            x = self.blocks(x)
        return self.norm(x)


class GFNetPyramid(_GlobalFilterClassifier):
    """The hierarchical GFNet-H: four stages, each on a quarter of the tokens of the one before.

    Args:
        img_size: side of the image, or (height, width); multiples of 8 * `patch_size`.
        patch_size: side of a patch of the first stage in pixels.
        in_chans: image channels.
        num_classes: k; 0 for pooled features.
        embed_dim: channels of each stage.
        depth: blocks of each stage.
        mlp_ratio: hidden over outer channels of the feed-forward network.
        drop_rate: dropout before the head.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0.
        init_values: what LayerScale starts from.
    """

    def __init__(
        self,
        img_size: ImageSize = 224,
        patch_size: int = 4,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: Sequence[int] = (64, 128, 256, 512),
        depth: Sequence[int] = (3, 3, 10, 3),
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        init_values: float = 1e-3,
        global_pool: str = "avg",
    ) -> None:
        super().__init__(img_size, num_classes, embed_dim[-1], drop_rate, global_pool)
        self.patch_size = patch_size
        self.reductions = [patch_size << stage for stage in range(len(depth))]
        self.grids = self._token_grids(img_size)
        rates = iter(torch.linspace(0, drop_path_rate, sum(depth), device="cpu").tolist())
        self.patch_embed = nn.ModuleList(
            PatchEmbed(in_chans, dim, patch_size) if stage == 0 else DownLayer(embed_dim[stage - 1], dim)
            for stage, dim in enumerate(embed_dim)
        )
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grids[0][0] * self.grids[0][1], embed_dim[0]))
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(dim, grid, mlp_ratio, next(rates), init_values) for _ in range(count)))
            for dim, grid, count in zip(embed_dim, self.grids, depth, strict=True)
        )
        self.feature_info = [
            {"num_chs": dim, "reduction": reduction, "module": f"blocks.{stage}"}
            for stage, (dim, reduction) in enumerate(zip(embed_dim, self.reductions, strict=True))
        ]
        self._init_weights()

    def _token_grids(self, img_size: ImageSize) -> list[tuple[int, int]]:
        token_grid(img_size, self.reductions[-1])
        return [token_grid(img_size, reduction) for reduction in self.reductions]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Parameters by depth, for layer-wise learning rates; `coarse` makes a stage one group."""
        if coarse:
            blocks: Any = r"^(?:patch_embed|blocks)\.(\d+)"
            return {"stem": r"^pos_embed|^patch_embed\.0", "blocks": blocks}
        down, block, norm = r"^patch_embed\.(\d+)", r"^blocks\.(\d+)\.(\d+)", r"^norm"
        return {"stem": r"^pos_embed|^patch_embed\.0", "blocks": [(block, None), (down, (0,)), (norm, (99999,))]}

    def _stage(self, i: int, x: Tensor) -> Tensor:
        if i == 0:
            self.check(x)
        x = self.patch_embed[i](x)
        x = self._positioned(x) if i == 0 else x
        return checkpoint_seq(self.blocks[i], x) if self.grad_checkpointing else self.blocks[i](x)

    def forward_features(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) normalised images to (b, h, w, d) features after the final norm."""
        self.check(images)
        x = images
        for i, (embed, stage) in enumerate(zip(self.patch_embed, self.blocks)):  # noqa: B905  (scripting knows no strict)
            x = embed(x)
            if i == 0:
                x = self._positioned(x)
            if self.grad_checkpointing and not torch.jit.is_scripting():
                x = checkpoint_seq(stage, x)
            else:
                x = stage(x)
        return self.norm(x)
