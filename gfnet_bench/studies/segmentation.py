"""Semantic segmentation: a cell is a trained network on the validation images of a set, clean or corrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gfnet_bench.records import PROTOCOLS, Cell

STUDY = "segmentation"


@dataclass(frozen=True)
class Options:
    """What the cells of a command share.

    Attributes:
        limit: images of a seeded sample; None for all.
        seed: of the sample and of corruptions.
        dtype: `float32` or `bfloat16`.
        checkpoint: the hash of weights that were named; None where the network is trained here.
    """

    limit: int | None = None
    seed: int = 0
    dtype: str = "float32"
    checkpoint: str | None = None


def cells(
    model: str,
    scenes: str,
    training: Mapping[str, Any] | None,
    options: Options,
    corruptions: Sequence[Mapping[str, Any]] = (),
) -> list[Cell]:
    """The cell of clean images, and one for each corruption (name, severity, recipe)."""
    settings = {
        "scenes": scenes,
        "training": training,
        "checkpoint": options.checkpoint,
        "limit": options.limit,
        "seed": options.seed,
        "dtype": options.dtype,
    }
    return [Cell(STUDY, PROTOCOLS[STUDY], model, {**settings, "corruption": done}) for done in (None, *corruptions)]
