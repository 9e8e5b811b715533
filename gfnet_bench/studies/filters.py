"""Learned filters and robustness, side by side: the filters themselves, filter surgery, and Fourier heat maps.

Four measures. `spectra` keeps a network's filters as arrays, from which every figure of them is drawn. `surgery`
is the robustness study on a network whose filters have lost a band of frequencies. `heatmap` is the error of any
network under noise of one frequency after the other (Yin et al. 2019). `perturbation` is the spectrum of what an
attack adds to images, with a few of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from gfnet_bench.datasets import DATASETS, generated_of
from gfnet_bench.perturbations import CLEAN, FourierNoise, Perturbation, corrupted
from gfnet_bench.records import PROTOCOLS, Cell, canonical_json
from gfnet_bench.studies.robustness import OF_ONE_MODEL, Options

STUDY = "filters"
AS_USUAL = Options()

KINDS = ("low_pass", "high_pass")
CUTOFFS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
LAYER_CUTOFFS = (0.0, 0.15, 0.3)
CORRUPTIONS = ("gaussian_noise", "fog")  # one adds high frequencies, the other low ones
SEVERITY = 3


def spectra_cells(models: Iterable[str], options: Options = AS_USUAL) -> list[Cell]:
    """One cell a network: only its weights and the size they are resampled to decide its filters."""
    size = None if options.img_size is None else list(options.img_size)
    settings = {"measure": "spectra", "img_size": size, **options.weights}
    of_model = {model: {k: v for k, v in of.items() if k != "classes"} for model, of in options.of_model.items()}
    return [Cell(STUDY, PROTOCOLS[STUDY], model, {**settings, **of_model.get(model, {})}) for model in models]


def perturbations(
    dataset: str,
    attacks: Sequence[Perturbation],
    corruptions: Sequence[str] = CORRUPTIONS,
    severity: int | None = None,
) -> list[tuple[str, Perturbation]]:
    """What is done to the images of an operated network: nothing, attacks, and corruptions where they can be made.

    A corruption that states no severity has the one given here, or `SEVERITY`.
    """
    found: list[tuple[str, Perturbation]] = [(dataset, p) for p in dict.fromkeys([CLEAN, *attacks])]
    if generated := generated_of(dataset):
        levels, recipe = None if severity is None else [severity], DATASETS[generated].recipe
        each = [corrupted(text, levels, usual=recipe, usually=[SEVERITY]) for text in corruptions]
        found += [(generated, p) for those in each for p in those]
    return list(dict.fromkeys(found))


def surgery_cells(
    depths: Mapping[str, int],
    *,
    perturbations: Sequence[tuple[str, Perturbation]],
    kinds: Sequence[str] = KINDS,
    cutoffs: Sequence[float] = CUTOFFS,
    layer_cutoffs: Sequence[float] = LAYER_CUTOFFS,
    options: Options = AS_USUAL,
) -> list[Cell]:
    """Every operation on every network under every perturbation, and the networks as learned.

    Args:
        depths: networks by name, with the number of their global filter layers (see `depth`).
        perturbations: data sets, each with what is done to its images.
        kinds: of surgery; `band_stop` removes what lies between neighbours among the cutoffs.
        cutoffs: radii in cycles per token for all layers together.
        layer_cutoffs: the same for one layer at a time.
        options: what else decides the numbers.
    """
    return [
        Cell(
            STUDY,
            PROTOCOLS[STUDY],
            model,
            {**options.settings(dataset, perturbation, model), "measure": "surgery", **operation},
        )
        for dataset, perturbation in perturbations
        for model, layers in depths.items()
        for operation in _operations(layers, kinds, cutoffs, layer_cutoffs)
    ]


def _operations(
    layers: int, kinds: Sequence[str], cutoffs: Sequence[float], layer_cutoffs: Sequence[float]
) -> list[dict[str, Any]]:
    def of_kind(kind: str, radii: Sequence[float]) -> list[Any]:
        ordered = sorted(set(radii))
        return [list(pair) for pair in itertools.pairwise(ordered)] if kind == "band_stop" else ordered

    none = {"kind": None, "cutoff": None, "layer": None}
    together = [{"kind": k, "cutoff": c, "layer": None} for k in kinds for c in of_kind(k, cutoffs)]
    alone = [
        {"kind": kind, "cutoff": cutoff, "layer": layer}
        for layer in range(layers)
        for kind in kinds
        for cutoff in of_kind(kind, layer_cutoffs)
    ]
    return [none, *together, *alone]


def heatmap_cells(
    models: Sequence[str],
    *,
    dataset: str,
    norm: float,
    frequencies: int | None,
    parts: int = 1,
    options: Options = AS_USUAL,
) -> list[Cell]:
    """The heat map of each network.

    Args:
        models: names.
        dataset: whose images the noise is added to.
        norm: L2 norm of the noise in each channel, pixels in [0, 1].
        frequencies: the lowest of so many a side, an odd number; None for all.
        parts: cells that share the frequencies of one map, so that a long run can be resumed.
        options: what else decides the numbers.
    """
    noise = FourierNoise(norm, frequencies)
    return [
        Cell(
            STUDY,
            PROTOCOLS[STUDY],
            model,
            {**options.settings(dataset, noise, model), "measure": "heatmap", "part": [part, parts]},
        )
        for model in models
        for part in range(parts)
    ]


def perturbation_cells(
    models: Sequence[str], *, dataset: str, attacks: Sequence[Perturbation], options: Options = AS_USUAL
) -> list[Cell]:
    """What each attack adds to the images of a data set, for each network."""
    return [
        Cell(STUDY, PROTOCOLS[STUDY], model, {**options.settings(dataset, attack, model), "measure": "perturbation"})
        for attack in attacks
        for model in models
    ]


def together(cell: Cell) -> Hashable:
    """What cells have in common that are measured in one pass: images are corrupted once for all operations."""
    s = cell.settings
    if "dataset" not in s or not DATASETS[s["dataset"]].recipe:
        return cell
    return canonical_json(
        {key: value for key, value in s.items() if key not in ("kind", "cutoff", "layer", *OF_ONE_MODEL)}
    )
