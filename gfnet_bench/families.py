"""Families: models of one design, how every figure draws them, and what they cite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gfnet_bench.registry import Registry


class Look(NamedTuple):
    """How one series is drawn: never by colour alone."""

    colour: str
    marker: str


# Okabe and Ito's palette, made for every kind of colour vision. One design keeps its colour in every figure: a global
# filter is blue whether it is a block, a model or a row of a table.
BLUE, SKY, RED, ORANGE, GREEN, PURPLE = "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7"


@dataclass(frozen=True)
class Family:
    """One design of models.

    Attributes:
        look: its colour and marker (matplotlib's) in every figure.
        cites: who made it known: keys of `reports/references.bib`, or whole BibTeX entries.
    """

    look: Look
    cites: tuple[str, ...] = ()


FAMILIES: Registry[Family] = Registry("family")

FAMILIES.add("GFNet", Family(Look(BLUE, "o"), ("rao2021gfnet",)))
FAMILIES.add("DeiT", Family(Look(RED, "s"), ("touvron2021deit",)))
FAMILIES.add("Swin", Family(Look(ORANGE, "D"), ("liu2021swin",)))
FAMILIES.add("PVT", Family(Look(SKY, "P"), ("wang2021pvt",)))
FAMILIES.add("PVTv2", Family(Look(SKY, "X"), ("wang2022pvt",)))
FAMILIES.add("ResMLP", Family(Look(GREEN, "^"), ("touvron2021resmlp",)))
FAMILIES.add("gMLP", Family(Look(GREEN, "<"), ("liu2021pay",)))
FAMILIES.add("Mixer", Family(Look(GREEN, ">"), ("tolstikhin2021mixer",)))
FAMILIES.add("ResNet", Family(Look(PURPLE, "v"), ("he2016deep",)))
FAMILIES.add("ResNeXt", Family(Look(PURPLE, "p"), ("xie2017aggregated",)))
FAMILIES.add("RegNetY", Family(Look(PURPLE, "h"), ("radosavovic2020designing",)))
