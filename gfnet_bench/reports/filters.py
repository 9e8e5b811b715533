"""The filters report: learned filters by layer, what removing a part of them costs, and Fourier heat maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gfnet_bench import metrics, spectra
from gfnet_bench.errors import MissingError, UsageError
from gfnet_bench.records import Record, Store
from gfnet_bench.reports import filter_figures, surgery_figures
from gfnet_bench.reports.base import REPORTS, Figure, Report
from gfnet_bench.reports.filter_results import HeatMap, Layer, Network, Operated, Surgery, read
from gfnet_bench.reports.tables import RECORDS, Column, Row, Table

CHANNELS = tuple(range(24))
"""The columns of the paper's Figure 5."""


@REPORTS.register("filters")
def filters(
    records: Store | Iterable[Record],
    *,
    store: Store | None = None,
    suite: str | None = None,
    models: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    channels: Sequence[int] = CHANNELS,
) -> Report:
    """The paper's Figure 5 and beyond: filters in frequency and space, filter surgery, Fourier heat maps.

    Args:
        records: what to show; a store shows all it holds.
        store: where arrays lie; not needed beside a store.
        suite: `imagenet` or `mini` alone.
        models: these alone, in this order.
        layers: the rows of Figure 5, counted from 0 at the input; None for all.
        channels: its columns.

    Raises:
        MissingError: if nothing of the kind is measured.
        UsageError: if a network lacks one of the layers or channels.
    """
    if isinstance(records, Store):
        store = records
    problems = store.load().problems if store else []
    shown = [r for r in records if r.cell.study == "filters" and (models is None or r.cell.model in models)]
    if models:
        shown.sort(key=lambda r: models.index(r.cell.model))
    found = read(shown, store, suite)
    if store is None or not any((found.networks, found.surgeries, found.heatmaps, found.gaps)):
        where = f" in {store.folder}" if store else ""
        raise MissingError(
            f"filters: expected records{where}, found none; start with: gfnet-bench filters --model gfnet_mini"
        )
    notes = [*found.gaps, *problems]
    tables = [
        _layers(found.networks, notes if found.networks else []),
        *(_together(s) for s in found.surgeries),
        *_heatmaps(found.heatmaps),
    ]
    if not found.networks and notes:
        tables.append(Table("filters_gaps", "Filters: not measured", [Column("reason", "Reason")], [], notes))
    drawings: list[Figure] = []
    for network in found.networks:
        _check(network, layers, channels)
        drawings += [
            filter_figures.figure5(network, layers, channels),
            filter_figures.profiles(network),
            filter_figures.cluster_means(network),
        ]
    for surgery in found.surgeries:
        drawings += [surgery_figures.accuracy_by_cutoff(surgery)]
        drawings += [surgery_figures.accuracy_by_layer(surgery)] if surgery.by_layer else []
    drawings += [surgery_figures.heat_maps(maps, found.networks) for maps in _comparable(found.heatmaps)]
    details = [_paired(s) for s in found.surgeries]
    return Report(
        [t for t in tables if t.rows or t.notes],
        _long(found.networks, found.surgeries, found.heatmaps),
        drawings,
        details,
    )


def _check(network: Network, layers: Sequence[int] | None, channels: Sequence[int]) -> None:
    depth = len(network.layers)
    for layer in layers or ():
        if not 0 <= layer < depth:
            raise UsageError(f"{network.label}: expected layers from 0 to {depth - 1}, found {layer}")
    for channel in channels:
        least = min(len(layer.magnitudes) for layer in network.layers)
        if not 0 <= channel < least:
            raise UsageError(f"{network.label}: expected channels from 0 to {least - 1}, found {channel}")


# Filters

_MEASURES: dict[str, tuple[str, str, Callable[[Layer], float], int]] = {
    "centre": ("Centre", "cycles/token", lambda x: float(spectra.centre_of_mass(x.energy)), 3),
    "low": ("Low", "%", lambda x: 100 * float(spectra.band_shares(x.energy)[0]), 1),
    "middle": ("Middle", "%", lambda x: 100 * float(spectra.band_shares(x.energy)[1]), 1),
    "high": ("High", "%", lambda x: 100 * float(spectra.band_shares(x.energy)[2]), 1),
    "angle": ("Axis", "degrees", lambda x: float(spectra.orientation(x.energy).angle), 0),
    "coherence": ("Coherence", "", lambda x: float(spectra.orientation(x.energy).coherence), 2),
    "erf50": ("ERF 50 %", "tokens", lambda x: float(np.median(spectra.energy_radius(x.kernels, 0.5))), 1),
    "erf90": ("ERF 90 %", "tokens", lambda x: float(np.median(spectra.energy_radius(x.kernels, 0.9))), 1),
    "clusters": ("Clusters", "", lambda x: len(x.clusters.centres), 0),
    "silhouette": ("Silhouette", "", lambda x: x.clusters.silhouette, 2),
}

_LAYER_NOTES = (
    "Centre, low, middle and high: where the energy of all channels lies; a third of the Nyquist frequency each, "
    "low with zero frequency, high with the corners.",
    "Axis and coherence: direction of the frequencies (0 horizontal), and from 0 (none) to 1 (one line).",
    "ERF: radius of the disc that holds so much of a spatial kernel's energy, the median over channels.",
    "Clusters: k-means of log-magnitude spectra of the channels, their number by silhouette.",
)


def _layers(networks: Sequence[Network], notes: Sequence[str]) -> Table:
    rows = [
        {
            "model": network.label,
            "layer": i,
            "grid": f"{layer.grid[0]} x {layer.grid[1]}",
            "channels": len(layer.magnitudes),
            **{key: measure(layer) for key, (_, _, measure, _) in _MEASURES.items()},
            RECORDS: dict.fromkeys(_MEASURES, (network.record,)),
        }
        for network in networks
        for i, layer in enumerate(network.layers)
    ]
    columns = [
        Column("model", "Model"),
        Column("layer", "Layer", align="right"),
        Column("grid", "Tokens"),
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


def _accuracy(operated: Operated) -> str:
    low, high = metrics.wilson_interval(round(operated.top1 * operated.images), operated.images)
    return f"{100 * operated.top1:.1f} ±{50 * (high - low):.1f}"


def _together(surgery: Surgery) -> Table:
    """All layers operated on together: a row per cutoff, a column per perturbation."""
    perturbations = surgery.perturbations
    operations = dict.fromkeys((o.kind, o.cutoff) for o in surgery.operated if o.layer is None)
    rows: list[Row] = []
    for kind, cutoff in operations:
        found = {t: o for t in perturbations if (o := surgery.find(t, kind, cutoff, None)) is not None}
        accuracies = {title: _accuracy(o) for title, o in found.items()}
        behind = {title: (o.record,) for title, o in found.items()}
        rows.append({"operation": surgery_figures.operation_title(kind, cutoff), **accuracies, RECORDS: behind})
    columns = [Column("operation", "Filters"), *(Column(t, t, align="right") for t in perturbations)]
    notes = [
        "Cutoffs are radii in cycles per token: 0.5 is the Nyquist frequency, 0.71 its corners. All layers together; "
        "nothing is retrained, and attacks see the network as operated on.",
        "± is half of the 95 % interval over the images; differences to the filters as learned are in the details.",
    ]
    name = f"filters_surgery_{surgery.name}"
    return Table(name, f"Filter surgery, {surgery.label}, top-1, %", columns, rows, notes)


_PAIRED = [
    Column("perturbation", "Images"),
    Column("operation", "Filters"),
    Column("layer", "Layer"),
    Column("images", "n", align="right"),
    Column("top1", "Top-1", "%", align="right"),
    Column("difference", "Difference", "points", align="right"),
    Column("low", "Low", align="right"),
    Column("high", "High", align="right"),
    Column("p", "p", digits=4, align="right"),
]


def _paired(surgery: Surgery) -> Table:
    rows = []
    for o in surgery.operated:
        learned = surgery.find(o.perturbation, None, None, None)
        if o.kind is None:
            continue
        behind: dict[str, tuple[str, ...]] = {"top1": (o.record,)}
        row: dict[str, Any] = {
            RECORDS: behind,
            "perturbation": o.perturbation,
            "operation": surgery_figures.operation_title(o.kind, o.cutoff),
            "layer": "all" if o.layer is None else str(o.layer),
            "images": o.images,
            "top1": 100 * o.top1,
        }
        if learned is not None and learned.ids_sha256 == o.ids_sha256:
            d = metrics.compare(o.right, learned.right)
            low, high = (100 * end for end in d.interval)
            differs = {"difference": 100 * d.difference, "low": low, "high": high, "p": d.p}
            row |= differs
            behind |= dict.fromkeys(differs, (o.record, learned.record))
        rows.append(row)
    notes = ["Difference: to the filters as learned on the same images, with its 95 % interval; McNemar mid-p test."]
    title = f"Filter surgery, {surgery.label}, against the filters as learned"
    return Table(f"filters_surgery_{surgery.name}_paired", title, _PAIRED, rows, notes)


# Heat maps


def _comparable(maps: Sequence[HeatMap]) -> list[list[HeatMap]]:
    """Maps of the same images and noise stand in one figure."""
    groups: dict[str, list[HeatMap]] = {}
    for one in maps:
        groups.setdefault(one.same, []).append(one)
    return list(groups.values())


def _heatmaps(maps: Sequence[HeatMap]) -> list[Table]:
    rows = [
        {
            RECORDS: dict.fromkeys(("clean", "low", "middle", "high", "worst"), m.records),
            "model": m.label,
            "dataset": m.dataset,
            "norm": m.norm,
            "images": m.images,
            "frequencies": f"{m.error.shape[0]} x {m.error.shape[1]}",
            "clean": 100 * m.clean_error,
            **{band: 100 * error for band, error in zip(("low", "middle", "high"), m.bands, strict=True)},
            "worst": 100 * float(m.error.max()),
        }
        for m in maps
    ]
    columns = [
        Column("model", "Model"),
        Column("dataset", "Images"),
        Column("norm", "Norm", align="right"),
        Column("images", "n", align="right"),
        Column("frequencies", "Frequencies"),
        *(Column(k, k.capitalize(), align="right") for k in ("clean", "low", "middle", "high", "worst")),
    ]
    notes = [
        "Error with noise of one Fourier frequency added, of this L2 norm in each channel, its sign random for each "
        "image and channel (Yin et al. 2019); low, middle and high: means over a third of the mapped radius each."
    ]
    return [Table("filters_heatmap", "Fourier heat maps, top-1 error, %", columns, rows, notes)] if rows else []


# For programs

_LONG = [
    Column(key, key)
    for key in "measure model row layer perturbation kind cutoff quantity value low high images".split()
]


def _long(networks: Sequence[Network], surgeries: Sequence[Surgery], maps: Sequence[HeatMap]) -> Table:
    """One row per number: fractions, cycles per token, tokens and degrees."""
    rows: list[dict[str, Any]] = []
    for network in networks:
        for i, layer in enumerate(network.layers):
            for key, (_, unit, measure, _) in _MEASURES.items():
                value = measure(layer) / (100 if unit == "%" else 1)
                about = {"measure": "spectra", "model": network.model, "row": network.label, "layer": str(i)}
                rows.append({**about, "quantity": key, "value": float(value)})
    for surgery in surgeries:
        for o in surgery.operated:
            low, high = metrics.wilson_interval(round(o.top1 * o.images), o.images)
            rows.append(
                {
                    "measure": "surgery",
                    "model": surgery.model,
                    "row": surgery.label,
                    "layer": "all" if o.layer is None else str(o.layer),
                    "perturbation": o.perturbation,
                    "kind": o.kind or "as learned",
                    "cutoff": None if o.cutoff is None else "-".join(f"{c:g}" for c in np.atleast_1d(o.cutoff)),
                    "quantity": "top1",
                    "value": o.top1,
                    "low": low,
                    "high": high,
                    "images": o.images,
                }
            )
    for m in maps:
        about = {"measure": "heatmap", "model": m.model, "row": m.label, "perturbation": f"fourier norm={m.norm:g}"}
        errors = {"clean": m.clean_error, **dict(zip(("low", "middle", "high"), m.bands, strict=True))}
        rows += [{**about, "quantity": f"{k} error", "value": float(v), "images": m.images} for k, v in errors.items()]
    return Table("filters_long", "Filters, one row per number", _LONG, rows)
