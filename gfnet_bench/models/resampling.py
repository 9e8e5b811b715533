"""Learned tensors of a token grid for another one, when a network is shown images of another size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def resize_pos_embed(
    pos_embed: Tensor, grid: Grid, mode: str = "bicubic", prefix: int = 0, before: Grid | None = None
) -> Tensor:
    """Position embedding for another token grid, antialiasing left aside as the authors of GFNet and PVT do.

    Args:
        pos_embed: (1, prefix + n, d).
        grid: (h, w) wanted.
        mode: `bicubic` (GFNet) or `bilinear` (PVT).
        prefix: leading tokens that have no place on the grid, such as a class token.
        before: the (h, w) grid of the n tokens; None if it is square.

    Returns:
        (1, prefix + h * w, d).

    Raises:
        ValueError: if n is no square and nobody says what it is.
    """
    head, tokens = pos_embed[:, :prefix], pos_embed[:, prefix:]
    side = round(tokens.shape[1] ** 0.5)
    if before is None and side * side != tokens.shape[1]:
        raise ValueError(f"a position embedding of {tokens.shape[1]} tokens is not of a square grid")
    maps = tokens.float().transpose(1, 2).unflatten(2, before or (side, side))
    maps = F.interpolate(maps, size=grid, mode=mode, align_corners=False)
    return torch.cat((head, maps.flatten(2).transpose(1, 2).to(head.dtype)), dim=1)


def resize_filter(weight: Tensor, grid: Grid) -> Tensor:
    """A learned filter for another token grid: bicubic over the half spectrum with aligned corners, as the authors do.

    Args:
        weight: (h, w // 2 + 1, d, 2).
        grid: (h, w) wanted.

    Returns:
        (h, w // 2 + 1, d, 2).
    """
    maps = weight.float().flatten(2).permute(2, 0, 1)[None]
    maps = F.interpolate(maps, size=(grid[0], grid[1] // 2 + 1), mode="bicubic", align_corners=True)
    return maps[0].permute(1, 2, 0).reshape(grid[0], grid[1] // 2 + 1, -1, 2).to(weight.dtype)
