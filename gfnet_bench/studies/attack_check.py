"""Is a robust accuracy to be believed? The checks of an attack against a model, and its power, on some of the images.

A cell has the settings of the robust accuracy that it is about, but for the number of images.
"""

from __future__ import annotations

from gfnet_bench.perturbations import Attacked
from gfnet_bench.records import PROTOCOLS, Cell
from gfnet_bench.studies.robustness import Options

STUDY = "attack_check"


def cell(model: str, dataset: str, attacked: Attacked, options: Options) -> Cell:
    """The cell of a model under an attack."""
    return Cell(STUDY, PROTOCOLS[STUDY], model, options.settings(dataset, attacked, model))
