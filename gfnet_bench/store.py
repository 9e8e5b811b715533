"""Where records lie on disk. Standard library only.

One JSON file per record under `<results>/records/<study>/<model>/`, arrays in an `.npz` of the same name beside it: the
form in which measuring writes. `packing` puts them into one file, `<results>/records.jsonl`; where a record lies in
both forms, the loose one counts. A file appears whole or not at all, so a run may be killed at any moment and started
again. Every record is read in one place, which believes nothing: what is not where its cell belongs, or not what its
study writes, is named and counts as not measured, so that the same command measures it again.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gfnet_bench.errors import GfnetBenchError, MissingError, acquit
from gfnet_bench.files import alone_in, check_writable, open_regular, shown, write_together
from gfnet_bench.packed_records import FILE, Packed, PackedRecords, order
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.schemas import Unfit, pack, read_beside, read_json

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)


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
        record = self._read(path) if os.path.lexists(path) else self._read_packed(cell.path)
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
        text = text_of(record)
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
        path = self.folder / record.cell.path
        packed = None if os.path.lexists(path) else self._find_packed(record.cell.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_together({**arrays_of(path, packed), path: text_of(record)})
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
            packed = None if os.path.lexists(path) else self._find_packed(record.cell.path)
            return read_beside(path, record.to_json(), _opener(packed) if packed else open_regular)
        except (OSError, Unfit) as error:
            acquit(error)
            raise MissingError(f"{beside}: expected the arrays of a record, {reason(error)}; run it again.") from error

    def load(self, *, arrays: bool = True) -> Loaded:
        """Read every record.

        Args:
            arrays: also look at those beside it; without, a record counts whose arrays are damaged.
        """
        records: list[Record] = []
        problems: list[str] = []
        old: dict[str, int] = {}
        for record in self._each(problems, arrays):
            if isinstance(record, str):
                problems.append(record)
            elif record.cell.is_current:
                records.append(record)
            else:
                old[record.cell.study] = old.get(record.cell.study, 0) + 1
        for study, count in sorted(old.items()):
            current = PROTOCOLS[study]
            problems.append(f"{count} {study} records of another protocol than {current} are left out; measure again.")
        return Loaded(records, problems)

    def stream(self) -> Iterator[Record]:
        """The records of the current protocols, ordered by path, none of which is kept: for more than memory holds.

        Arrays are not read, and what is no record is told in the log.
        """
        problems: list[str] = []
        for record in self._each(problems, arrays=False):
            if isinstance(record, Record) and record.cell.is_current:
                yield record
        for problem in problems:
            _log.warning("%s", problem)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.load().records)

    def to_pandas(self) -> pd.DataFrame:
        """Every record as rows of a frame, one a value; see `frames.tidy`. Arrays are not read."""
        from gfnet_bench.frames import tidy

        return tidy(self.load(arrays=False).records)

    def __repr__(self) -> str:
        return f"Store {self.folder}"

    def _each(self, problems: list[str], arrays: bool) -> Iterator[Record | str]:
        """What lies in the place of every record, loose or packed, by path, and sentences about the packed file."""
        while True:  # another process may pack while the folder is listed
            told: list[str] = []
            stamp = _stamp(self.folder / FILE)
            file = self.open_packed(told)
            loose = list(record_files(self.folder / "records", told))
            if _stamp(self.folder / FILE) == stamp:
                break
            if file:
                file.close()
        problems += told
        with file or contextlib.nullcontext():
            for path, one in _merged(self.folder, file, loose, problems):
                found = self._read(self.folder / path, arrays) if one is None else self.checked_packed(one, arrays)
                if one is None and isinstance(found, str) and not os.path.lexists(self.folder / path):  # packed by now
                    found = self._read_packed(path) or found
                yield found

    def open_packed(self, problems: list[str]) -> PackedRecords | None:
        """The packed file; None where there is none, or it is no such file, which becomes a problem."""
        try:
            return PackedRecords(self.folder / FILE)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, Unfit) as error:
            acquit(error)
            problems.append(
                f"{shown(self.folder / FILE)}: expected packed records, {reason(error)}; they are left out."
            )
            return None

    def _find_packed(self, path: Path) -> Packed | None:
        """The packed record of a path; None where there is none that can be read."""
        told: list[str] = []
        file = self.open_packed(told)
        try:
            with file or contextlib.nullcontext():
                found = file.find(PurePosixPath(path)) if file else None
        except (OSError, Unfit) as error:
            acquit(error)
            found = None
            told.append(f"{shown(self.folder / FILE)}: expected the record {path}, {reason(error)}")
        for problem in told:
            _log.warning("%s", problem)
        return found

    def _read_packed(self, path: Path) -> Record | str | None:
        """The packed record of a path, or a sentence that says what is wrong with it; None where there is none."""
        stamp = [_stamp(self.folder / FILE)]
        before = self._read_before.get(self.folder / path)
        if before is not None and before[0] == stamp:
            return before[1]
        one = self._find_packed(path)
        if one is None:
            return None
        found = self.checked_packed(one, arrays=True)
        self._read_before[self.folder / path] = stamp, found
        return found

    def checked_packed(self, one: Packed, arrays: bool) -> Record | str:
        """The record in a line, held against its cell and its study as a loose one is."""
        try:
            return _checked(Path(one.path), one.content, arrays, _opener(one))
        except (OSError, Unfit) as error:
            acquit(error)
            where = f"{shown(self.folder / FILE)}, {shown(one.path.as_posix())}"
            return f"{where}: expected a record, {reason(error)}; it counts as not measured."

    def _read(self, path: Path, arrays: bool = True) -> Record | str:
        """The record in a file, or a sentence that says why there is none; unchanged files are read once."""
        stamp = stamps(path)
        before = self._read_before.get(path)
        if before is not None and before[0] == stamp:
            return before[1]
        found: Record | str
        try:
            found = read_record(self.folder, path, arrays)
        except (OSError, Unfit) as error:
            acquit(error)
            found = f"{shown(path)}: expected a record, {reason(error)}; it counts as not measured."
            _log.warning("%s", found)
        if arrays:
            self._read_before[path] = stamp, found
        return found


def text_of(record: Record) -> bytes:
    """What the file of a record says."""
    return (json.dumps(record.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_record(folder: Path, path: Path, arrays: bool) -> Record:
    """The record in a file; looked at twice before it is given up, since another process may be replacing it."""
    try:
        return _whole_record(folder, path, arrays)
    except (OSError, Unfit):
        with alone_in(path.parent):
            return _whole_record(folder, path, arrays)


def _whole_record(folder: Path, path: Path, arrays: bool) -> Record:
    return _checked(path.relative_to(folder), read_json(path), arrays, lambda beside: open_regular(folder / beside))


def _checked(path: Path, content: Any, arrays: bool, opened: Callable[[Path], IO[bytes]]) -> Record:
    """The record that a file or a line says, once it has been held against its place and its arrays."""
    record = Record.from_json(content)
    if record.cell.path != path:
        raise Unfit(f"found a copy of the one that belongs at {shown(record.cell.path)}")
    if arrays and record.cell.is_current:
        read_beside(path, record.to_json(), opened)
    return record


def _opener(one: Packed) -> Callable[[Path], IO[bytes]]:
    """Opens the arrays of a packed record."""

    def opened(path: Path) -> IO[bytes]:
        if one.arrays is None:
            raise Unfit("found none in its line")
        return io.BytesIO(one.arrays)

    return opened


def arrays_of(path: Path, packed: Packed | None) -> dict[Path, bytes | None]:
    """The file of arrays that a packed record needs once it is loose."""
    return {path.with_suffix(".npz"): packed.arrays} if packed and packed.arrays is not None else {}


def _merged(
    folder: Path, file: PackedRecords | None, loose: list[Path], problems: list[str]
) -> Iterator[tuple[Path, Packed | None]]:
    """Loose and packed records by path; where there are both, the loose one."""
    paths = [path.relative_to(folder) for path in loose]
    hidden = set(paths)
    packed = ((Path(one.path), one) for one in (file.read(problems) if file else ()))
    rest = ((path, one) for path, one in packed if path not in hidden)
    return heapq.merge(((path, None) for path in paths), rest, key=lambda entry: order(entry[0]))


def reason(error: OSError | Unfit) -> str:
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


def stamps(path: Path) -> list[Any]:
    """Of a record and its arrays."""
    return [_stamp(path), _stamp(path.with_suffix(".npz"))]


def record_files(folder: Path, problems: list[str]) -> Iterator[Path]:
    """The files that should hold records, by path; a folder that cannot be listed becomes a problem."""

    def listed(folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            acquit(error)
            problems.append(f"{shown(folder)}: expected a folder of records, {reason(error)}; they are left out.")
            return []

    for study in listed(folder):
        for model in listed(study):
            yield from (path for path in listed(model) if path.suffix == ".json")


def _set_aside(path: Path) -> None:
    """Rename what stands in a file's place and is none: a folder, a pipe."""
    if path.exists() and not path.is_file():
        rename_aside(path)


def rename_aside(path: Path) -> None:
    """Keep what cannot be used, under another name."""
    path.rename(path.with_name(f"{path.name}.aside-{secrets.token_hex(4)}"))
