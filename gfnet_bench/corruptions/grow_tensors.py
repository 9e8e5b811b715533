"""Edges grown along weak ones, by tensors: the last step of Canny's edges, which hysteresis is called."""

from __future__ import annotations

import torch
from torch import Tensor


def grown(edges: Tensor, thin: Tensor) -> Tensor:
    """Edges and all of `thin` that leads to one, by steps to any of eight neighbours: (b, h, w) bool."""
    while True:
        rows = edges.clone()
        rows[:, 1:] |= edges[:, :-1]
        rows[:, :-1] |= edges[:, 1:]
        wider = rows.clone()
        wider[:, :, 1:] |= rows[:, :, :-1]
        wider[:, :, :-1] |= rows[:, :, 1:]
        wider &= thin
        if torch.equal(wider, edges):
            return edges
        edges = wider
