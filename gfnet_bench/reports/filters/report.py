"""The filters report: which networks, surgeries and heat maps there are, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from gfnet_bench.errors import UsageError
from gfnet_bench.records import Record
from gfnet_bench.reports.base import REPORTS, Figure, Report
from gfnet_bench.reports.drawing.tables import Column, Table
from gfnet_bench.reports.filters import figures as filter_figures
from gfnet_bench.reports.filters import surgery_figures
from gfnet_bench.reports.filters.perturbed import Perturbed
from gfnet_bench.reports.filters.perturbed_figures import perturbation_table, sheet, spectra_of_perturbations
from gfnet_bench.reports.filters.results import HeatMap, Network, read
from gfnet_bench.reports.filters.tables import heat_map_tables, layer_table, long_table, paired_table, surgery_table
from gfnet_bench.reports.reading.consistent import consistent
from gfnet_bench.reports.reading.coverage import parts_of_sets
from gfnet_bench.reports.reading.scores import OF_THE_NETWORK
from gfnet_bench.reports.reading.selection import Selection

Measured = TypeVar("Measured", HeatMap, Perturbed)

CHANNELS = tuple(range(24))
"""The columns of the paper's Figure 5."""


@REPORTS.register("filters")
def filters(
    selection: Selection,
    *,
    layers: Sequence[int] | None = None,
    channels: Sequence[int] = CHANNELS,
) -> Report:
    """The paper's Figure 5 and beyond: filters in frequency and space, surgery, Fourier heat maps, spectra of attacks.

    Args:
        selection: what to show; without a store there are no arrays, and nothing to show.
        layers: the rows of Figure 5, counted from 0 at the input; None for all.
        channels: its columns.

    Raises:
        MissingError: if nothing of the kind is measured.
        UsageError: if a network lacks one of the layers or channels.
    """
    chosen = selection.of("filters")
    shown, doubts = consistent(chosen.shown, row=_weights_of)
    if models := chosen.models:
        shown.sort(key=lambda r: models.index(r.cell.model))
    found = read(shown, selection.store)
    if selection.store is None or not any(
        (found.networks, found.surgeries, found.heatmaps, found.perturbed, found.gaps)
    ):
        raise chosen.absent("filters", "gfnet-bench filters --model gfnet_mini")
    notes = [*found.gaps, *parts_of_sets(shown), *doubts, *chosen.problems]
    tables = [
        layer_table(found.networks, notes if found.networks else []),
        *(surgery_table(s) for s in found.surgeries),
        *heat_map_tables(found.heatmaps),
        perturbation_table(found.perturbed),
    ]
    if not found.networks and notes:
        tables.append(Table("filters_gaps", "Filters: what to know", [Column("reason", "Reason")], [], notes))
    drawings: list[Figure] = []
    for network in found.networks:
        _check(network, layers, channels)
        drawings += [
            filter_figures.figure5(network, layers, channels),
            filter_figures.profiles(network),
            filter_figures.cluster_means(network),
        ]
    for surgery in found.surgeries:
        found_of = (surgery_figures.accuracy_by_cutoff(surgery), surgery_figures.accuracy_by_layer(surgery))
        drawings += [drawing for drawing in found_of if drawing is not None]
    drawings += [surgery_figures.heat_maps(maps, found.networks) for maps in _comparable(found.heatmaps)]
    drawings += [spectra_of_perturbations(those, found.networks) for those in _comparable(found.perturbed)]
    drawings += [sheet(one) for one in found.perturbed]
    details = [paired_table(s) for s in found.surgeries]
    return Report(
        [t for t in tables if t.rows or t.notes],
        long_table(found),
        drawings,
        details,
    )


def _weights_of(record: Record) -> tuple[Any, ...]:
    """Filters, surgery and heat maps of equal ones stand beside each other."""
    return record.cell.model, *(str(record.cell.settings.get(key)) for key in OF_THE_NETWORK)


def _check(network: Network, layers: Sequence[int] | None, channels: Sequence[int]) -> None:
    depth = len(network.layers)
    for layer in layers or ():
        if not 0 <= layer < depth:
            raise UsageError(f"{network.label}: expected layers from 0 to {depth - 1}, found {layer}")
    for channel in channels:
        least = min(len(layer.magnitudes) for layer in network.layers)
        if not 0 <= channel < least:
            raise UsageError(f"{network.label}: expected channels from 0 to {least - 1}, found {channel}")


def _comparable(measured: Sequence[Measured]) -> list[list[Measured]]:
    """Heat maps, or perturbations, of the same images under the same noise or attack stand in one figure."""
    groups: dict[str, list[Measured]] = {}
    for one in measured:
        groups.setdefault(one.same, []).append(one)
    return list(groups.values())
