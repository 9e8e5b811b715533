"""What a token mixer is: how it is built and what it costs in closed form, what it is called, drawn as and cites.

Its file is imported by whoever prints or draws it, so it needs torch only where it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gfnet_bench.families import Look
from gfnet_bench.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from gfnet_bench.conventions import Convention


class Formula(NamedTuple):
    """A row of Table 1, with all constants: formulas of H, W, D and k.

    Attributes:
        complexity: multiply-adds on one image.
        params: numbers it learns, biases left out.
        learned: (side, width) to `params` worked out.
    """

    complexity: str
    params: str
    learned: Callable[[int, int], int]


@dataclass(frozen=True)
class Mixer:
    """One token mixer.

    Attributes:
        title: as figures and tables for people call it.
        place: of its rows in tables.
        build: (side, width) to a module that takes and returns (b, n, d) tokens of a square grid, n = side * side, row
            by row.
        operators: (side, width, convention) to its cost on one image by kind of operator, in the convention's unit.
        look: its colour and marker in every figure; None for that of no series.
        cites: who made it known: keys of `reports/references.bib`, or whole BibTeX entries.
        formula: its row of Table 1; None for one that has none.
        counted_as: for another way to compute what another mixer does, that one's name: their multiply-adds are equal.
        affine: whether its block scales and shifts features, as ResMLP's, where others have a LayerNorm.
        one_residual: whether mixer and feed-forward network of its block are under one residual, as GFNet's.
    """

    title: str
    place: int
    build: Callable[[int, int], nn.Module]
    operators: Callable[[int, int, Convention], Mapping[str, int]]
    look: Look | None = None
    cites: tuple[str, ...] = ()
    formula: Formula | None = None
    counted_as: str | None = None
    affine: bool = False
    one_residual: bool = False


MIXERS: Registry[Mixer] = Registry("mixer", "mixers")
