"""Tables of the filters report: learned filters by layer, what removing a part of them costs, Fourier heat maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gfnet_bench import metrics, spectra
from gfnet_bench.reports.drawing import intervals
from gfnet_bench.reports.drawing.tables import RECORDS, Column, Row, Table, data_columns, names_of
from gfnet_bench.reports.filters import surgery_figures
from gfnet_bench.reports.filters.perturbed_figures import MEASURED, measured
from gfnet_bench.reports.filters.results import NO_STRUCTURE, Found, HeatMap, Layer, Network, Surgery
from gfnet_bench.reports.reading.family import P, correct

# Filters

_MEASURES: dict[str, tuple[str, str, Callable[[Layer], float], int]] = {
    "centre_cycles_per_token": ("Centre", "cycles/token", lambda x: float(spectra.centre_of_mass(x.energy)), 3),
    "low_band_percent": ("Low", "%", lambda x: 100 * float(spectra.band_shares(x.energy)[0]), 1),
    "middle_band_percent": ("Middle", "%", lambda x: 100 * float(spectra.band_shares(x.energy)[1]), 1),
    "high_band_percent": ("High", "%", lambda x: 100 * float(spectra.band_shares(x.energy)[2]), 1),
    "angle_degrees": ("Axis", "degrees", lambda x: float(spectra.orientation(x.energy).angle), 0),
    "coherence": ("Coherence", "", lambda x: float(spectra.orientation(x.energy).coherence), 2),
    "erf50_tokens": ("ERF 50 %", "tokens", lambda x: float(np.median(spectra.energy_radius(x.kernels, 0.5))), 1),
    "erf90_tokens": ("ERF 90 %", "tokens", lambda x: float(np.median(spectra.energy_radius(x.kernels, 0.9))), 1),
    "clusters": ("Clusters", "", lambda x: x.groups, 0),
    "silhouette": ("Silhouette", "", lambda x: x.clusters.silhouette, 2),
}

_LAYER_NOTES = (
    "Centre, low, middle and high: where the energy of all channels lies; a third of the Nyquist frequency each, "
    "low with zero frequency, high with the corners.",
    "Axis and coherence: direction of the frequencies (0 horizontal), and from 0 (none) to 1 (one line).",
    "ERF: radius of the disc that holds so much of a spatial kernel's energy, the median over channels.",
    f"Clusters: k-means of log-magnitude spectra of the channels, their number by silhouette; 0 where the best is no "
    f"more than {NO_STRUCTURE}, which shows no substantial structure (Kaufman and Rousseeuw 1990).",
)

_GRID = ("grid_height_tokens", "grid_width_tokens")


def measures(layer: Layer) -> dict[str, float]:
    """What the table says of a layer, by name and unit."""
    return {key: measure(layer) for key, (_, _, measure, _) in _MEASURES.items()}


def layer_table(networks: Sequence[Network], notes: Sequence[str]) -> Table:
    """A row for each layer of each network."""
    rows = [
        {
            "model": network.label,
            "layer": i,
            **dict(zip(_GRID, layer.grid, strict=True)),
            "channels": len(layer.magnitudes),
            **measures(layer),
            RECORDS: dict.fromkeys(_MEASURES, (network.record,)),
        }
        for network in networks
        for i, layer in enumerate(network.layers)
    ]
    columns = [
        Column("model", "Model"),
        Column("layer", "Layer", align="right"),
        Column("grid", "Tokens", show=lambda row: " x ".join(str(row[side]) for side in _GRID), fields=_GRID),
        Column("channels", "Channels", align="right"),
        *(Column(key, title, unit, digits, "right") for key, (title, unit, _, digits) in _MEASURES.items()),
    ]
    explained = [*_LAYER_NOTES[:1], *_flat(networks), *_LAYER_NOTES[1:], *notes] if rows else []
    return Table("filters_layers", "Learned filters by layer", columns, rows, explained)


def _flat(networks: Sequence[Network]) -> list[str]:
    """What the columns say of a filter that prefers no frequency: most frequencies of a grid are high."""
    grids = dict.fromkeys(layer.grid for network in networks for layer in network.layers)
    flat = {grid: np.ones(grid) for grid in grids}
    return [
        f"A flat spectrum on {h} x {w} tokens: centre {float(spectra.centre_of_mass(flat[h, w])):.3f}; "
        f"{', '.join(f'{100 * share:.1f}' for share in spectra.band_shares(flat[h, w]))} %."
        for h, w in grids
    ]


# Surgery


def surgery_table(surgery: Surgery) -> Table:
    """All layers operated on together: a row per cutoff, a column per perturbation."""
    names = names_of(surgery.perturbations)
    columns = [Column("operation", "Filters"), *(_accuracy_of(title, name) for title, name in names.items())]
    operations = dict.fromkeys((o.kind, o.cutoff) for o in surgery.operated if o.layer is None)
    rows: list[Row] = []
    for kind, cutoff in operations:
        found = {name: surgery.find(title, kind, cutoff, None) for title, name in names.items()}
        numbers = {f"{name}_{key}": v for name, o in found.items() if o for key, v in o.percent.items()}
        behind = {f"{name}_top1_percent": (o.record,) for name, o in found.items() if o}
        rows.append({"operation": surgery_figures.operation_title(kind, cutoff), **numbers, RECORDS: behind})
    notes = [
        "Cutoffs are radii in cycles per token: 0.5 is the Nyquist frequency, 0.71 its corners. All layers together; "
        "nothing is retrained, and attacks see the network as operated on.",
        f"{intervals.NOTE} Differences to the filters as learned are in the details.",
    ]
    title = f"Filter surgery, {surgery.label}, top-1, %"
    return Table(f"filters_surgery_{surgery.name}", title, columns, rows, notes)


def _accuracy_of(title: str, name: str) -> Column:
    key = f"{name}_top1_percent"
    ends = (f"{key}_low", f"{key}_high")

    def shown(row: Row) -> str | None:
        if row.get(key) is None:
            return None
        return intervals.with_interval(row[key], metrics.Interval(*(row[end] for end in ends)))

    return Column(key, title, align="right", show=shown, fields=(key, *ends))


_PAIRED = [
    Column("perturbation", "Images"),
    Column("operation", "Filters"),
    Column("layer", "Layer", show=lambda row: "all" if row["layer"] is None else str(row["layer"])),
    Column("images", "n", align="right"),
    Column("top1_percent", "Top-1", "%", align="right"),
    Column("difference_points", "Difference", "points", align="right"),
    Column("low_points", "Low", align="right"),
    Column("high_points", "High", align="right"),
    *P,
]


def paired_table(surgery: Surgery) -> Table:
    """Every operation against the filters as learned, image by image."""
    rows: list[dict[str, Any]] = []
    for o in surgery.operated:
        learned = surgery.find(o.perturbation, None, None, None)
        if o.kind is None:
            continue
        behind: dict[str, tuple[str, ...]] = {"top1_percent": (o.record,)}
        row: dict[str, Any] = {
            RECORDS: behind,
            "perturbation": o.perturbation,
            "operation": surgery_figures.operation_title(o.kind, o.cutoff),
            "layer": o.layer,
            **o.percent,
        }
        if learned is not None and learned.ids_sha256 == o.ids_sha256 is not None:
            d = metrics.compare(o.right, learned.right)
            low, high = (100 * end for end in d.interval)
            differs = {"difference_points": 100 * d.difference, "low_points": low, "high_points": high, "p": d.p}
            row |= differs
            behind |= dict.fromkeys(differs, (o.record, learned.record))
        rows.append(row)
    notes = [
        "Difference: to the filters as learned on the same images, with its 95 % interval; McNemar mid-p test. Layer: "
        "which alone was operated on; in CSV and JSON empty for all of them.",
        *correct(rows),
    ]
    title = f"Filter surgery, {surgery.label}, against the filters as learned"
    return Table(f"filters_surgery_{surgery.name}_paired", title, _PAIRED, rows, notes)


# Heat maps


_ERRORS = {f"{name}_error_percent": name for name in ("clean", "low_band", "middle_band", "high_band", "worst")}
_MAPPED = ("vertical_frequencies", "horizontal_frequencies")


def _errors(m: HeatMap) -> dict[str, float]:
    """What the table says of a map."""
    values = (m.clean_error, *m.bands, float(m.error.max()))
    return {key: 100 * float(error) for key, error in zip(_ERRORS, values, strict=True)}


def heat_map_tables(maps: Sequence[HeatMap]) -> list[Table]:
    """A row for each heat map; no table where there is none."""
    rows = [
        {
            RECORDS: dict.fromkeys(_ERRORS, m.records),
            "model": m.label,
            "dataset": m.dataset,
            "norm": m.norm,
            "images": m.images,
            **dict(zip(_MAPPED, m.error.shape, strict=True)),
            **_errors(m),
        }
        for m in maps
    ]
    columns = [
        Column("model", "Model"),
        Column("dataset", "Images"),
        Column("norm", "Norm", align="right"),
        Column("images", "n", align="right"),
        Column("frequencies", "Frequencies", show=lambda r: " x ".join(str(r[key]) for key in _MAPPED), fields=_MAPPED),
        *(Column(key, name.removesuffix("_band").capitalize(), align="right") for key, name in _ERRORS.items()),
    ]
    notes = [
        "Error with noise of one Fourier frequency added, of this L2 norm in each channel, its sign random for each "
        "image and channel (Yin et al. 2019); low, middle and high: means over a third of the mapped radius each."
    ]
    return [Table("filters_heatmap", "Fourier heat maps, top-1 error, %", columns, rows, notes)] if rows else []


# For programs

_LONG = data_columns((
    "measure", "model", "row", "layer", *_MEASURES, "perturbation", "kind", "cutoff_cycles_per_token",
    "cutoff_end_cycles_per_token", "top1_percent", "top1_percent_low", "top1_percent_high", "norm", *_ERRORS,
    *MEASURED, "images",
))  # fmt: skip


def long_table(found: Found) -> Table:
    """A row per layer of filters, accuracy, heat map and perturbation; surgery without a layer is on all of them."""
    rows: list[Row] = []
    for network in found.networks:
        about = {"measure": "spectra", "model": network.model, "row": network.label}
        rows += [{**about, "layer": i, **measures(layer)} for i, layer in enumerate(network.layers)]
    for surgery in found.surgeries:
        about = {"measure": "surgery", "model": surgery.model, "row": surgery.label}
        for o in surgery.operated:
            what = {"layer": o.layer, "perturbation": o.perturbation, "kind": o.kind or "as learned"}
            rows.append({**about, **what, **o.ends, **o.percent})
    for m in found.heatmaps:
        about = {"measure": "heatmap", "model": m.model, "row": m.label, "perturbation": "fourier"}
        rows.append({**about, "norm": m.norm, **_errors(m), "images": m.images})
    for p in found.perturbed:
        about = {"measure": "perturbation", "model": p.model, "row": p.label, "perturbation": p.attack}
        rows.append({**about, **measured(p), "images": p.images})
    return Table("filters_long", "Filters: a row per layer, accuracy, heat map and perturbation", _LONG, rows)
