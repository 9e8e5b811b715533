"""Records of the filters study to what its tables and figures show: networks, surgeries, heat maps, and the gaps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import metrics, spectra
from gfnet_bench.clustering import Clusters, cluster
from gfnet_bench.errors import MissingError
from gfnet_bench.perturbations import CLEAN, Corrupted, FourierNoise, Perturbation, of_cell
from gfnet_bench.records import Record, canonical_json
from gfnet_bench.reports.drawing.tables import names_of
from gfnet_bench.reports.filters.perturbed import Perturbed
from gfnet_bench.reports.reading.labels import labelled
from gfnet_bench.reports.reading.scores import OF_THE_NETWORK, Score, Setup
from gfnet_bench.store import Store

Cutoff = float | tuple[float, float] | None

NO_STRUCTURE = 0.25
"""A silhouette up to here shows no substantial structure, whatever is best (Kaufman and Rousseeuw 1990, Finding Groups
in Data, chapter 2, table 4)."""

_NOT_OF_A_ROW = ("measure", "dataset", "perturbation", "kind", "cutoff", "layer", "part")


@dataclass(frozen=True, eq=False)
class Layer:
    """The filters of one layer.

    Attributes:
        weight: (h, w // 2 + 1, d, 2).
        grid: (h, w).
    """

    weight: NDArray[np.floating[Any]]
    grid: tuple[int, int]

    @cached_property
    def magnitudes(self) -> NDArray[np.floating[Any]]:
        """(d, h, w), zero frequency in the middle."""
        return spectra.spectra(self.weight, self.grid[1])

    @cached_property
    def kernels(self) -> NDArray[np.floating[Any]]:
        """(d, h, w), zero displacement in the middle."""
        return spectra.spatial_kernels(self.weight, self.grid[1])

    @cached_property
    def energy(self) -> NDArray[np.floating[Any]]:
        """(h, w), the mean over the channels."""
        return (self.magnitudes**2).mean(0)

    @cached_property
    def clusters(self) -> Clusters:
        """Channels with similar spectra, those of low frequencies first; one group where there is no structure."""
        profiles = spectra.log_profiles(self.magnitudes)
        found = cluster(profiles)
        if found.silhouette <= NO_STRUCTURE:
            return Clusters(np.zeros_like(found.labels), profiles.mean(0, keepdims=True), found.silhouette)
        energies = [(self.magnitudes[found.labels == k] ** 2).mean(0) for k in range(len(found.centres))]
        order = np.argsort([float(spectra.centre_of_mass(energy)) for energy in energies])
        return Clusters(np.argsort(order)[found.labels], found.centres[order], found.silhouette)

    @property
    def groups(self) -> int:
        """How many clusters were found; 0 where there is no structure."""
        return len(self.clusters.centres) if self.clusters.silhouette > NO_STRUCTURE else 0


@dataclass(frozen=True, eq=False)
class Network:
    """A network's filters, the first layer at the input.

    Attributes:
        model: its name.
        label: with what is not as usual.
        layers: of one or more token grids.
        image: (height, width) in pixels.
        record: identity of the record they come from.
    """

    model: str
    label: str
    layers: Sequence[Layer]
    image: tuple[int, int]
    record: str

    @property
    def name(self) -> str:
        """Part of file names."""
        return _slug(self.label)


@dataclass(frozen=True, eq=False)
class Operated:
    """One accuracy.

    Attributes:
        perturbation: what was done to the images, for people.
        kind: of surgery; None for the filters as learned.
        cutoff: radius in cycles per token, or two.
        layer: which was operated on; None for all.
        right: (n,) whether each image is.
        ids_sha256: which images; None where that was not noted.
        record: identity of the record it comes from.
        order: the place of the perturbation among others.
    """

    perturbation: str
    kind: str | None
    cutoff: Cutoff
    layer: int | None
    right: NDArray[np.bool_]
    ids_sha256: str | None
    record: str
    order: tuple[Any, ...]

    @property
    def middle(self) -> float:
        """The cutoff, or the middle between two; 0 for the filters as learned."""
        return 0.0 if self.cutoff is None else float(np.mean(np.atleast_1d(np.array(self.cutoff))))

    @property
    def ends(self) -> dict[str, float | None]:
        """The cutoff, or the first and the last of a band, in cycles per token, for programs."""
        ends = [None, None] if self.cutoff is None else [*np.atleast_1d(np.array(self.cutoff)).tolist(), None]
        return {"cutoff_cycles_per_token": ends[0], "cutoff_end_cycles_per_token": ends[1]}

    @property
    def top1(self) -> float:
        """A fraction."""
        return float(self.right.mean())

    @property
    def interval(self) -> metrics.Interval:
        """95 %, fractions."""
        return metrics.wilson_interval(int(self.right.sum()), self.images)

    @property
    def percent(self) -> dict[str, float | int]:
        """The accuracy for programs."""
        low, high = self.interval
        share = {"top1_percent": self.top1, "top1_percent_low": low, "top1_percent_high": high}
        return {**{key: 100 * value for key, value in share.items()}, "images": self.images}

    @property
    def images(self) -> int:
        """How many."""
        return len(self.right)


@dataclass(frozen=True, eq=False)
class Surgery:
    """All accuracies of one network under equal settings."""

    model: str
    label: str
    operated: Sequence[Operated]

    @property
    def name(self) -> str:
        """Part of file names."""
        return _slug(self.label)

    @property
    def perturbations(self) -> list[str]:
        """In order of measuring."""
        return list(dict.fromkeys(o.perturbation for o in self.operated))

    def kinds(self, *, alone: bool) -> list[str]:
        """Of surgery on all layers, or on layers alone."""
        return list(dict.fromkeys(o.kind for o in self.operated if o.kind and (o.layer is not None) == alone))

    def find(self, perturbation: str, kind: str | None, cutoff: Cutoff, layer: int | None) -> Operated | None:
        """One accuracy, if it was measured."""
        wanted = perturbation, kind, cutoff, layer
        return next((o for o in self.operated if (o.perturbation, o.kind, o.cutoff, o.layer) == wanted), None)


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Errors under Fourier noise.

    Attributes:
        model: the network.
        label: with what is not as usual.
        dataset: whose images.
        norm: of the noise in each channel.
        same: equal for maps that may be compared.
        error: (h', w') fractions, zero frequency in the middle, one cycle per image a step.
        clean_error: without noise.
        images: how many.
        records: identities of the records it comes from, one for each part.
    """

    model: str
    label: str
    dataset: str
    norm: float
    same: str
    error: NDArray[np.floating[Any]]
    clean_error: float
    images: int
    records: tuple[str, ...]

    @property
    def bands(self) -> list[float]:
        """Mean errors over low, middle and high frequencies: a third of the mapped radius each."""
        shares, everywhere = spectra.band_shares(self.error), spectra.band_shares(np.ones_like(self.error))
        return list(np.nan_to_num(shares) * self.error.mean() / everywhere)


class Found(NamedTuple):
    """What the records hold, and a sentence for whatever they lack."""

    networks: list[Network]
    surgeries: list[Surgery]
    heatmaps: list[HeatMap]
    perturbed: list[Perturbed]
    gaps: list[str]


def read(records: Sequence[Record], store: Store | None) -> Found:
    """Sort records by measure and read their arrays."""
    found = Found([], [], [], [], [])
    surgeries: dict[Setup, list[Operated]] = {}
    maps: dict[str, list[tuple[Record, dict[str, NDArray[Any]]]]] = {}
    failed: dict[str, list[str]] = {}
    rows = labelled(records, _setup)
    for record in records:
        cell, setup = record.cell, rows[_setup(record)]
        measure = cell.settings["measure"]
        try:
            if record.error is not None:
                name, _, text = record.error.partition(": ")
                raise MissingError(text if name in ("MissingError", "GfnetBenchError") else record.error)
            if store is None:
                raise MissingError("expected the folder its arrays are in, found records alone")
            arrays = store.arrays(record)
        except MissingError as error:
            failed.setdefault(str(error).splitlines()[0], []).append(f"{measure} of {cell.model}")
            continue
        if measure == "spectra":
            found.networks.append(_network(record, arrays, setup.label))
        elif measure == "surgery":
            surgeries.setdefault(setup, []).append(_operated(record, arrays))
        elif measure == "perturbation":
            found.perturbed.append(_perturbed(record, arrays, setup.label))
        else:
            whole = {key: value for key, value in cell.settings.items() if key != "part"}
            maps.setdefault(canonical_json([cell.model, whole]), []).append((record, arrays))
    for setup, operated in surgeries.items():
        found.surgeries.append(Surgery(setup.model, setup.label, sorted(operated, key=_order)))
    for parts in maps.values():
        cell = parts[0][0].cell
        wanted = cell.settings["part"][1]
        if len(parts) == wanted:
            found.heatmaps.append(
                _heat_map([r for r, _ in parts], [a for _, a in parts], rows[_setup(parts[0][0])].label)
            )
        else:
            found.gaps.append(f"heatmap of {cell.model}: {len(parts)} of {wanted} parts measured")
    found.gaps.extend(f"{', '.join(dict.fromkeys(those))}: {reason}" for reason, those in failed.items())
    return found


def _order(o: Operated) -> tuple[Any, ...]:
    """Clean images, attacks, corruptions; as learned, all layers, one after the other; low cutoffs before high ones."""
    kinds = (None, "low_pass", "high_pass", "band_stop")
    layer = -1 if o.layer is None else o.layer
    return o.order, o.perturbation, o.kind is not None, layer, kinds.index(o.kind), o.middle


def _setup(record: Record) -> Setup:
    settings = {key: value for key, value in record.cell.settings.items() if key not in _NOT_OF_A_ROW}
    return Setup(record.cell.model, canonical_json(settings))


def _network(record: Record, arrays: dict[str, NDArray[Any]], label: str) -> Network:
    grids = [(int(h), int(w)) for h, w in record.values["grids"]]
    layers = [Layer(arrays[f"layer_{i:02d}"], grid) for i, grid in enumerate(grids)]
    height, width = record.values["image"]
    return Network(record.cell.model, label, layers, (height, width), record.cell.sha256)


def _operated(record: Record, arrays: dict[str, NDArray[Any]]) -> Operated:
    s = record.cell.settings
    right = metrics.headline(arrays)
    cutoff = tuple(s["cutoff"]) if isinstance(s["cutoff"], list) else s["cutoff"]
    done = of_cell(record.cell)
    title = perturbation_title(s["dataset"], done)
    ids = record.provenance.get("ids_sha256")
    return Operated(title, s["kind"], cutoff, s["layer"], right, ids, record.cell.sha256, done.order)


def _perturbed(record: Record, arrays: dict[str, NDArray[Any]], label: str) -> Perturbed:
    s, attack = record.cell.settings, of_cell(record.cell)
    height, width = record.values["image"]
    return Perturbed(
        record.cell.model,
        label,
        perturbation_title(s["dataset"], attack),
        (_slug(label), names_of([attack.title])[attack.title]),
        _comparable(s),
        s["dataset"],
        (height, width),
        arrays,
        {index: name for name, index in s.get("classes", {}).items()},
        record.cell.sha256,
    )


def _comparable(settings: Mapping[str, Any]) -> str:
    """What cells have in common that may be compared whatever their networks."""
    differing = ("part", "img_size", *OF_THE_NETWORK)
    return canonical_json({key: value for key, value in settings.items() if key not in differing})


def _heat_map(records: Sequence[Record], parts: Sequence[dict[str, NDArray[Any]]], label: str) -> HeatMap:
    record = records[0]
    s, noise, images = record.cell.settings, of_cell(record.cell), int(record.values["images"])
    assert isinstance(noise, FourierNoise)
    frequencies = np.concatenate([part["frequencies"] for part in parts]).astype(np.int64)
    wrong = np.concatenate([part["wrong"] for part in parts])
    error = spectra.noise_map(wrong / images, frequencies, *record.values["image"])
    return HeatMap(
        record.cell.model,
        label,
        s["dataset"],
        noise.norm,
        _comparable(s),
        error,
        record.values["clean_error"],
        images,
        tuple(r.cell.sha256 for r in records),
    )


def perturbation_title(dataset: str, perturbation: Perturbation) -> str:
    """What was done to the images, for people: `clean`, `PGD 4/255 x5`, `fog 3`."""
    if isinstance(perturbation, Corrupted):
        return perturbation.title.replace("_", " ")
    return Score(dataset, perturbation, "top1").title.replace("Top-1", CLEAN.title)


def _slug(label: str) -> str:
    """A file name; one that had to leave something out has a hash of the label, since others may leave out the same."""
    plain = re.sub(r"[, ]+", "_", label)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).strip("_.-")
    if name == plain and len(name) <= 100:
        return name
    return f"{name[:80]}_{hashlib.sha256(label.encode()).hexdigest()[:6]}"
