"""Cells and records: what was asked, what came out, and where it lies on disk. Standard library only.

One JSON file per record under `<results>/records/<study>/<model>/`, arrays in an `.npz` of the same name beside it.
A file appears whole or not at all, so a run may be killed at any moment and started again. Every record is read in one
place, which believes nothing: what is not where its cell belongs, or not what its study writes, is named and counts as
not measured, so that the same command measures it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench.errors import GfnetBenchError, MissingError, acquit
from gfnet_bench.files import alone_in, check_writable, shown, write_together
from gfnet_bench.schemas import SCHEMA, Unfit, check_record, pack, read_beside, read_json

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

PROTOCOLS = {"robustness": 3, "complexity": 1, "filters": 1, "attack_check": 1, "segmentation": 1}
"""Raise a study's number when a change alters its results: older records then drop out of reports by themselves."""

_NAMING = ("dataset", "perturbation", "measure", "tokens", "scenes", "corruption")
"""The settings a file is named after, as far as a cell has them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Cell:
    """Everything that decides one number; equal cells are the same measurement.

    Attributes:
        study: `robustness`, `complexity`, `filters`, `attack_check` or `segmentation`.
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
            parts += [] if value is None else [_slug(str(value), 56)]
        name = ".".join([*parts, self.sha256[:6]])
        return Path("records", _slug(self.study), _slug(self.model), f"{name}.json")

    def __str__(self) -> str:
        return f"{self.model} {self.path.stem}"

    def __repr__(self) -> str:
        return f"Cell {self}"

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

    def __repr__(self) -> str:
        numbers = {name: value for name, value in self.values.items() if isinstance(value, (int, float))}
        few = ", ".join(f"{name} {value:.4g}" for name, value in list(numbers.items())[:3])
        return f"Record {self.cell}: {few or shown(self.error or 'no numbers')}"

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
    def from_json(cls, content: Any) -> Record:
        """The inverse of `to_json`.

        Raises:
            Unfit: if the content is no record.
        """
        check_record(content)
        cell = content["cell"]
        return cls(
            Cell(cell["study"], cell["protocol"], cell["model"], cell["settings"]),
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
        self._read_before: dict[Path, tuple[Any, Record | str]] = {}

    def find(self, cell: Cell) -> Record | None:
        """The record of `cell`; None where there is none or its files are not whole, so that it is measured again."""
        path = self.folder / cell.path
        if not os.path.lexists(path):
            return None
        record = self._read(path)
        return record if isinstance(record, Record) and record.cell == cell else None

    def prepare(self, cells: Iterable[Cell], drawn: Sequence[str] = ()) -> None:
        """Make the folders that are going to be written to, and try them, before anything is measured.

        Args:
            cells: whose records.
            drawn: folders of what is drawn from them, `tables` and `figures`.

        Raises:
            GfnetBenchError: if one cannot be written to.
        """
        places = [(self.folder / cell.path).parent for cell in cells] + [self.folder / name for name in drawn]
        for folder in dict.fromkeys(places):
            try:
                check_writable(folder)
            except OSError as error:
                raise GfnetBenchError(
                    f"expected a folder {shown(folder)} that takes results, found that it does not "
                    f"({error.strerror}); nothing was measured: make room or name another with --output-dir"
                ) from error

    def save(self, record: Record, arrays: Mapping[str, NDArray] | None = None) -> Record:
        """Write the record, its arrays first: a record on disk always has them.

        Returns:
            The record as saved, artifacts named.
        """
        path = self.folder / record.cell.path
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".npz")
        record = Record(record.cell, record.values, record.error, (beside.name,) if arrays else (), record.provenance)
        text = _text(record)
        for place in (path, beside):
            _set_aside(place)
        if arrays:
            write_together({beside: pack(arrays), path: text})
        else:
            write_together({path: text, beside: None})
        return record

    def relabel(self, record: Record, label: str) -> Record:
        """Note what tables are to call the model of a record that is there; no number changes, nor its arrays."""
        record = replace(record, provenance={**record.provenance, "label": label})
        write_together({self.folder / record.cell.path: _text(record)})
        return record

    def arrays(self, record: Record) -> dict[str, NDArray]:
        """The arrays saved with `record`.

        Raises:
            MissingError: if it was saved without, or their file is gone or damaged.
        """
        path = self.folder / record.cell.path
        beside = shown(path.with_suffix(".npz"))
        if not record.artifacts:
            raise MissingError(f"{beside}: expected the arrays of a record, found that it was saved without any.")
        try:
            return read_beside(path, record.to_json())
        except (OSError, Unfit) as error:
            acquit(error)
            raise MissingError(f"{beside}: expected the arrays of a record, {_reason(error)}; run it again.") from error

    def load(self, *, arrays: bool = True) -> Loaded:
        """Read every record.

        Args:
            arrays: also look at those beside it; without, a record counts whose arrays are damaged.
        """
        records: list[Record] = []
        problems: list[str] = []
        old: dict[str, int] = {}
        for path in _record_files(self.folder / "records", problems):
            record = self._read(path, arrays)
            if isinstance(record, str):
                problems.append(record)
            elif _is_current(record.cell):
                records.append(record)
            else:
                old[record.cell.study] = old.get(record.cell.study, 0) + 1
        for study, count in sorted(old.items()):
            current = PROTOCOLS[study]
            problems.append(f"{count} {study} records of another protocol than {current} are left out; measure again.")
        return Loaded(records, problems)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.load().records)

    def to_pandas(self) -> pd.DataFrame:
        """Every record as rows of a frame, one a value; see `frames.tidy`. Arrays are not read."""
        from gfnet_bench.frames import tidy

        return tidy(self.load(arrays=False).records)

    def __repr__(self) -> str:
        return f"Store {self.folder}"

    def _read(self, path: Path, arrays: bool = True) -> Record | str:
        """The record in a file, or a sentence that says why there is none; unchanged files are read once."""
        stamp = [_stamp(path), _stamp(path.with_suffix(".npz"))]
        before = self._read_before.get(path)
        if before is not None and before[0] == stamp:
            return before[1]
        found: Record | str
        try:
            found = _read(self.folder, path, arrays)
        except (OSError, Unfit) as error:
            acquit(error)
            found = f"{shown(path)}: expected a record, {_reason(error)}; it counts as not measured."
            _log.warning("%s", found)
        if arrays:
            self._read_before[path] = stamp, found
        return found


def _text(record: Record) -> bytes:
    return (json.dumps(record.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def canonical_json(content: Any) -> str:
    """The one spelling of `content` that is hashed: sorted keys, no spaces, finite numbers."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _read(folder: Path, path: Path, arrays: bool) -> Record:
    """The record in a file; looked at twice before it is given up, since another process may be replacing it."""
    try:
        return _whole_record(folder, path, arrays)
    except (OSError, Unfit):
        with alone_in(path.parent):
            return _whole_record(folder, path, arrays)


def _whole_record(folder: Path, path: Path, arrays: bool) -> Record:
    record = Record.from_json(read_json(path))
    if folder / record.cell.path != path:
        raise Unfit(f"found a copy of the one that belongs at {shown(record.cell.path)}")
    if arrays and _is_current(record.cell):
        read_beside(path, record.to_json())
    return record


def _is_current(cell: Cell) -> bool:
    return cell.protocol == PROTOCOLS.get(cell.study, cell.protocol)


def _reason(error: OSError | Unfit) -> str:
    """The end of a sentence that began with what was expected."""
    text = str(error) if isinstance(error, Unfit) else error.strerror or str(error)
    return text if text.startswith("found") else f"found that {text}"


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Differs once a file has been written to, or replaced."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _record_files(folder: Path, problems: list[str]) -> Iterator[Path]:
    """The files that should hold records, by path; a folder that cannot be listed becomes a problem."""

    def listed(folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            acquit(error)
            problems.append(f"{shown(folder)}: expected a folder of records, {_reason(error)}; they are left out.")
            return []

    for study in listed(folder):
        for model in listed(study):
            yield from (path for path in listed(model) if path.suffix == ".json")


def _set_aside(path: Path) -> None:
    """Rename what stands in a file's place and is none: a folder, a pipe."""
    if path.exists() and not path.is_file():
        path.rename(path.with_name(f"{path.name}.aside-{secrets.token_hex(4)}"))


def _slug(text: str, longest: int = 200) -> str:
    """A file name or a part of one: a timm name may hold `/` and `:`, and no file system takes more than 255 bytes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".-")[:longest] or "-"
