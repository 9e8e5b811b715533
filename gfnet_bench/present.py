"""The images and weights that are on this machine now, as records note them: looked at, never decoded nor loaded."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gfnet_bench.datasets import DATASETS, chosen_files
from gfnet_bench.datasets.base import Chosen
from gfnet_bench.errors import GfnetBenchError, MissingError
from gfnet_bench.inputs import Inputs
from gfnet_bench.models import local_weights_sha256
from gfnet_bench.models.weights import to_fetch
from gfnet_bench.perturbations import published_files
from gfnet_bench.records import Cell, Record

T = TypeVar("T")

READ_TO_COMPARE = 2 * 10**9
"""Bytes of files that are read only to see whether they are as they were, where that is not known from before."""


class Present:
    """What is here, each thing looked at once.

    Args:
        data_dirs: folders to look for data sets in.
        progress: bars on stderr, where files have to be read.
    """

    def __init__(self, data_dirs: Sequence[Path], progress: bool) -> None:
        self._data_dirs, self._progress = data_dirs, progress
        self._seen: dict[Hashable, Any] = {}

    def inputs(self, record: Record) -> Inputs:
        """What a record's cell would be measured on now."""
        noted: dict[str, Any] = {}
        unknown: dict[str, str] = {}
        looks = {"images": self._images, "contents of images": self._contents, "weights": self._weights}
        for kind, look in looks.items():
            try:
                noted |= look(record)
            except GfnetBenchError as error:
                unknown[kind] = str(error).splitlines()[0]
        if "images" in unknown:
            unknown.pop("contents of images", None)  # for the same reason
        return Inputs(noted, unknown)

    def _images(self, record: Record) -> dict[str, str]:
        if "dataset" not in record.cell.settings:
            return {}
        files = self._files(record.cell)
        left_out = tuple(image for image, _ in record.provenance.get("excluded") or ())
        if record.values.get("excluded") and not left_out:
            raise MissingError("it was not noted which images were left out")
        return {"data_fingerprint": self._once((files, left_out), lambda: files.fingerprint(left_out))}

    def _contents(self, record: Record) -> dict[str, str]:
        if "dataset" not in record.cell.settings:
            return {}
        files = self._files(record.cell)
        found = self._once((files, "contents"), lambda: files.data_sha256(READ_TO_COMPARE, self._progress))
        if found is None:
            raise MissingError(f"more than {READ_TO_COMPARE / 1e9:g} GB would have to be read")
        return {"data_sha256": found}

    def _files(self, cell: Cell) -> Chosen:
        s, corruption = cell.settings, published_files(cell)
        how: dict[str, Any] = {"limit": s["limit"], "seed": s["seed"], "corruption": corruption}
        try:
            return self._once(
                (s["dataset"], *how.values()), lambda: chosen_files(DATASETS[s["dataset"]], self._data_dirs, **how)
            )
        except MissingError:
            raise MissingError(f"{s['dataset']} is not on this machine") from None

    def _weights(self, record: Record) -> dict[str, str]:
        name = record.cell.model
        if record.cell.settings.get("checkpoint", "") is not None or "weights" in record.cell.settings:
            return {}  # fresh ones, or such whose hash is a setting: other weights are another cell
        found = self._once(name, lambda: local_weights_sha256(name))
        if found is None:
            raise MissingError(f"the weights of {name} are not on this machine")
        return {"weights_sha256": found}

    def _once(self, key: Hashable, look: Callable[[], T]) -> T:
        """What was seen the first time, an error included."""
        if key not in self._seen:
            try:
                self._seen[key] = look()
            except GfnetBenchError as error:
                self._seen[key] = error
        if isinstance(self._seen[key], GfnetBenchError):
            raise self._seen[key]
        return self._seen[key]


def absent_sets(cells: Sequence[Cell], data_dirs: Sequence[Path]) -> dict[str, str]:
    """The data sets of these cells that are not on this machine, each with the sentence that says how to get it."""
    found = {}
    for name in dict.fromkeys(cell.settings["dataset"] for cell in cells if "dataset" in cell.settings):
        try:
            DATASETS[name].locate(data_dirs)
        except GfnetBenchError as error:
            found[name] = str(error)
    return found


def absent(cells: Sequence[Cell], data_dirs: Sequence[Path]) -> list[str]:
    """What of data and weights these cells lack here, a sentence each; nothing is loaded, and nothing is fetched."""
    sentences = list(absent_sets(cells, data_dirs).values())
    hosts: dict[str, list[str]] = {}
    for model in dict.fromkeys(cell.model for cell in cells if cell.settings.get("checkpoint", "") is None):
        try:
            if address := to_fetch(model):
                hosts.setdefault(urlsplit(address).netloc, []).append(model)
        except MissingError as error:
            sentences.append(str(error))
    sentences += [
        f"weights of {', '.join(models)}: not here yet; a run fetches them from {host}"
        for host, models in hosts.items()
    ]
    return list(dict.fromkeys(sentences))
