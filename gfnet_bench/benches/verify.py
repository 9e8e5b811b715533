"""A record measured again on some of its images, which are a sample of it that is spread over the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import metrics
from gfnet_bench.benches.robustness import Bench
from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.base import chosen_files
from gfnet_bench.errors import MissingError
from gfnet_bench.metrics.agreement import Agreement, agreement
from gfnet_bench.perturbations import published_files
from gfnet_bench.records import Cell, Record


def verify(bench: Bench, record: Record, arrays: Mapping[str, NDArray[Any]], sample: int) -> Agreement:
    """Measure so many of a record's images again and compare image by image.

    Args:
        bench: where to compute; it has the weights that the record was measured with.
        record: of the study `robustness`, measured.
        arrays: those beside it.
        sample: how many images, at most.

    Raises:
        MissingError: if the images or the weights here are not those of the record.
        GfnetBenchError: if it cannot be measured.
    """
    rows = positions(record, bench.data_dirs, sample)
    (found,) = bench.measure([sampled(record, sample)])
    if isinstance(found, Exception):
        raise found
    weights = record.provenance.get("weights_sha256"), found.provenance.get("weights_sha256")
    if None not in weights and weights[0] != weights[1]:
        raise MissingError(f"{record.cell}: expected the weights {weights[0]}, found {weights[1]}")
    return agreement(arrays, found.arrays, rows)


def sampled(record: Record, sample: int) -> Cell:
    """The cell of some of the images: of a larger sample the same ones are drawn first."""
    cell = record.cell
    if int(record.values["images"]) <= sample:
        return cell
    return Cell(cell.study, cell.protocol, cell.model, {**cell.settings, "limit": sample})


def positions(record: Record, data_dirs: Sequence[Path], sample: int) -> NDArray[np.int64]:
    """Where the images of the sample stand among those of the record.

    Raises:
        MissingError: if the images here are others than those of the record.
    """
    excluded = {entry[0] for entry in record.provenance.get("excluded") or ()}
    ids, some = (_ids(cell, data_dirs, excluded) for cell in (record.cell, sampled(record, sample)))
    seen = record.provenance.get("ids_sha256")
    if seen is not None and metrics.ids_sha256(ids) != seen:
        raise MissingError(f"{record.cell}: expected the images of the record, found others in the folders here")
    place = {image: i for i, image in enumerate(ids)}
    return np.array([place[image] for image in some], dtype=np.int64)


def _ids(cell: Cell, data_dirs: Sequence[Path], excluded: set[str]) -> list[str]:
    s = cell.settings
    files = chosen_files(
        DATASETS[s["dataset"]], data_dirs, limit=s["limit"], seed=s["seed"], corruption=published_files(cell)
    )
    return [image for image in files.items.ids if image not in excluded]
