"""Cells and records: what was asked, what came out, and where it lies on disk. Standard library only.

One JSON file per record under `<results>/records/<study>/<model>/`, arrays in an `.npz` of the same name beside it.
A file appears whole or not at all, so a run may be killed at any moment and started again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench.errors import GfnetBenchError, MissingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = 1
"""The layout of a record file."""

PROTOCOLS = {"robustness": 2, "complexity": 1, "filters": 1}
"""Raise a study's number when a change alters its results: older records then drop out of reports by themselves."""

_NAMING = ("dataset", "perturbation", "measure", "tokens")
"""The settings a file is named after, as far as a cell has them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Cell:
    """Everything that decides one number; equal cells are the same measurement.

    Attributes:
        study: `robustness`, `complexity` or `filters`.
        protocol: version of the way the study measures.
        model: the model's name.
        settings: anything JSON can hold, finite.
    """

    study: str
    protocol: int
    model: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        # A round trip makes tuples lists, as they will be when read back, and detaches the cell from the caller's dict.
        object.__setattr__(self, "settings", json.loads(canonical_json(self.settings)))

    def to_json(self) -> dict[str, Any]:
        """The four fields."""
        return {"study": self.study, "protocol": self.protocol, "model": self.model, "settings": self.settings}

    @property
    def sha256(self) -> str:
        """The cell's identity."""
        return hashlib.sha256(canonical_json(self.to_json()).encode()).hexdigest()

    @property
    def path(self) -> Path:
        """Where its record lies, relative to the results folder."""
        parts = []
        for key in _NAMING:
            value = self.settings.get(key)
            value = value.get("name") if isinstance(value, dict) else value
            parts += [] if value is None else [_slug(str(value))]
        return Path("records", _slug(self.study), _slug(self.model), ".".join([*parts, self.sha256[:6]]) + ".json")

    def __str__(self) -> str:
        return f"{self.model} {self.path.stem}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


@dataclass(frozen=True)
class Record:
    """A cell, its values or its error, and where they came from.

    Attributes:
        cell: what was measured.
        values: results by name; fractions and SI units, finite.
        error: `<class of the error>: <its text>`, or None where the cell was measured.
        artifacts: files beside the record, filled in by `Store.save`.
        provenance: what does not decide the number: versions, device, times, hashes.

    Raises:
        GfnetBenchError: if a value is not finite.
    """

    cell: Cell
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    artifacts: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise GfnetBenchError(f"{self.cell.model}: {name} is {value}, expected a finite number.")

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "schema": SCHEMA,
            "cell": self.cell.to_json(),
            "values": dict(self.values),
            "error": self.error,
            "artifacts": list(self.artifacts),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """The inverse of `to_json`.

        Raises:
            ValueError: if the schema is another one.
            KeyError, TypeError: if the content is no record.
        """
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema is {content['schema']}, this version reads {SCHEMA}")
        return cls(
            Cell(**content["cell"]),
            content["values"],
            content["error"],
            tuple(content["artifacts"]),
            content["provenance"],
        )


class Loaded(NamedTuple):
    """The readable records of the current protocols, ordered by path, and a sentence about every other file."""

    records: list[Record]
    problems: list[str]


class Store:
    """The records in a results folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def find(self, cell: Cell) -> Record | None:
        """The record of `cell`; None where there is none or its file cannot be read, so that it is measured again."""
        path = self.folder / cell.path
        if not path.exists():
            return None
        try:
            record = _read(path)
        except GfnetBenchError as error:
            _log.warning("%s", error)
            return None
        return record if record.cell == cell else None

    def save(self, record: Record, arrays: Mapping[str, NDArray] | None = None) -> Record:
        """Write the record, its arrays first: a record on disk always has them.

        Returns:
            The record as saved, artifacts named.
        """
        path = self.folder / record.cell.path
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".npz")
        record = Record(record.cell, record.values, record.error, (beside.name,) if arrays else (), record.provenance)
        if arrays:
            write_atomic(beside, _npz(arrays))
        text = json.dumps(record.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(path, (text + "\n").encode())
        if not arrays:
            beside.unlink(missing_ok=True)
        return record

    def arrays(self, record: Record) -> dict[str, NDArray]:
        """The arrays saved with `record`.

        Raises:
            MissingError: if it was saved without, or the file is gone.
        """
        import numpy as np

        path = (self.folder / record.cell.path).with_suffix(".npz")
        if path.name not in record.artifacts or not path.exists():
            raise MissingError(f"{path}: expected the arrays of a record, found no file; measure it with --overwrite.")
        with np.load(path, allow_pickle=False) as file:
            return dict(file)

    def load(self) -> Loaded:
        """Read every record."""
        records: list[Record] = []
        problems: list[str] = []
        old: dict[str, int] = {}
        for path in sorted((self.folder / "records").glob("*/*/[!.]*.json")):
            try:
                record = _read(path)
            except GfnetBenchError as error:
                problems.append(str(error))
                continue
            cell = record.cell
            if cell.protocol == PROTOCOLS.get(cell.study, cell.protocol):
                records.append(record)
            else:
                old[cell.study] = old.get(cell.study, 0) + 1
        for study, count in sorted(old.items()):
            current = PROTOCOLS[study]
            problems.append(f"{count} {study} records of another protocol than {current} are left out; measure again.")
        return Loaded(records, problems)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.load().records)


def canonical_json(content: Any) -> str:
    """The one spelling of `content` that is hashed: sorted keys, no spaces, finite numbers."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, also after a power cut.

    What a killed run left half-written keeps a hidden name ending in `.tmp`, which nothing reads and the next write
    of the same file removes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _read(path: Path) -> Record:
    try:
        return Record.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, GfnetBenchError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise GfnetBenchError(f"{path}: expected a record, found {reason}; it counts as not measured.") from error


def _npz(arrays: Mapping[str, NDArray]) -> bytes:
    """The same bytes for the same arrays: members in order of name, and NumPy dates every member 1980-01-01."""
    import io

    import numpy as np

    buffer = io.BytesIO()
    members: dict[str, Any] = {name: arrays[name] for name in sorted(arrays)}
    np.savez_compressed(buffer, **members)
    return buffer.getvalue()


def _slug(text: str) -> str:
    """A file name: a timm name may hold `/` and `:`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".-") or "-"
