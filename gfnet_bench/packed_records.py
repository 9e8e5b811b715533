"""Many records in one file of text: a line a record, in order of their paths, arrays included. Standard library only.

JSON Lines, so that `git diff`, `grep` and any language read it. A first line says what it is, a last one how many lines
lie between: a file cut short is known. A damaged line costs the record in it and no other. Equal records are equal
bytes. A record is found by halving the file, so that neither memory nor time grow with what is beside it, and nothing
but reading is asked of the place, which may be a read-only medium or a network file system. Every part is believed no
more than a loose file is: `store.Store` holds it against its cell and its study.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from gfnet_bench.files import open_regular, shown
from gfnet_bench.schemas import Unfit, parse_json

FILE = "records.jsonl"
"""Beside the folder `records` of loose ones."""

LAYOUT = 1
"""Of the file; raised when a reader of today could not make sense of it."""

MOST_BYTES = 2**31
"""Of a line: the arrays of a record take 2^30 bytes at most, which base64 makes a third longer."""

_FIRST = "gfnet_bench_records"
_START = b'{"path":"'
_LONGEST_PATH = 4096


class Packed(NamedTuple):
    """A record in a line.

    Attributes:
        path: where it would lie as a file of its own, relative to the results folder.
        content: what that file would say.
        arrays: the file beside it, `.npz`; None where there is none.
    """

    path: PurePosixPath
    content: Any
    arrays: bytes | None


def order(path: PurePosixPath | Path) -> tuple[str, ...]:
    """What records are sorted by: folder by folder, as they are listed."""
    return path.parts


def lines(packed: Iterable[Packed]) -> Iterator[bytes]:
    """The lines of a file that holds these, which come in `order`."""
    yield _line({_FIRST: LAYOUT})
    number = 0
    for number, one in enumerate(packed, 1):  # noqa: B007 - how many there were
        arrays = {} if one.arrays is None else {"arrays": base64.b64encode(one.arrays).decode("ascii")}
        yield _line({"path": one.path.as_posix(), "record": one.content, **arrays})
    yield _line({"records": number})


class PackedRecords:
    """A file of records, open; a block, or `close` it. It stays readable when another takes its name.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if it cannot be read.
        Unfit: if it is no such file, or a newer one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] = open_regular(path)
        try:
            first = self._file.readline(_LONGEST_PATH)
            self._begin, self._end = len(first), os.fstat(self._file.fileno()).st_size
            _check_first(first)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> PackedRecords:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def find(self, path: PurePosixPath) -> Packed | None:
        """The record of a path, found by halving; None where there is none.

        Raises:
            Unfit: if its line is damaged.
        """
        wanted, low, high = order(path), self._begin, self._end
        while low < high:  # the line sought starts at `low` or later, and before `high`
            middle = (low + high) // 2
            start = self._line_from(middle, low)
            name = None
            while start < high and (name := self._name_at(start)) is None:  # damaged, or the last: look at the next
                start = self._line_from(start + 1, start)
            if name is None or start >= high or order(name) > wanted:
                high = middle
            elif order(name) == wanted:
                self._file.seek(start)
                return unpacked(self._file.readline(MOST_BYTES))
            else:
                low = self._line_from(start + 1, start)
        return None

    def read(self, problems: list[str]) -> Iterator[Packed]:
        """Every record, one after another; what is wrong with the file or with a line becomes a problem."""
        self._file.seek(self._begin)
        last: tuple[str, ...] = ()
        number, ended, where = 0, False, shown(self.path)
        while line := self._file.readline(MOST_BYTES):
            number += 1
            if line.startswith(b'{"records":') and not self._file.read(1):
                ended = _is_last(line, number - 1)
                break
            try:
                one = unpacked(line)
                if order(one.path) <= last:
                    raise Unfit("found it out of order, or twice")
            except Unfit as error:
                problems.append(f"{where}, line {number + 1}: expected a record, {error}; it counts as not measured.")
                continue
            last = order(one.path)
            yield one
        if not ended:
            problems.append(
                f"{where}: expected a last line that counts the others, found none that agrees: it was cut short or "
                "changed; fetch it again, or measure what is missing."
            )

    def _line_from(self, position: int, low: int) -> int:
        """Where the first line starts that starts at `position` or later; `low` is where one starts."""
        if position <= low:
            return low
        self._file.seek(position - 1)
        while piece := self._file.readline(2**20):
            if piece.endswith(b"\n"):
                return self._file.tell()
        return self._end

    def _name_at(self, start: int) -> PurePosixPath | None:
        """The path that a line starts with."""
        self._file.seek(start)
        head = self._file.read(_LONGEST_PATH)
        if not head.startswith(_START):
            return None
        name, quote, _ = head[len(_START) :].partition(b'"')
        try:
            return PurePosixPath(name.decode("ascii")) if quote else None
        except UnicodeDecodeError:
            return None


def unpacked(line: bytes) -> Packed:
    """The record in a line.

    Raises:
        Unfit: if there is none.
    """
    if not line.endswith(b"\n"):
        raise Unfit("found the line cut short")
    content = parse_json(line)
    if not isinstance(content, dict) or not {"path", "record"} <= content.keys() <= {"path", "record", "arrays"}:
        raise Unfit("found another line")
    path, arrays = content["path"], content.get("arrays")
    if not isinstance(path, str) or not isinstance(arrays, str | None):
        raise Unfit("found no text in place of its path or its arrays")
    try:
        decoded = None if arrays is None else base64.b64decode(arrays, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unfit(f"found damaged arrays ({error})") from error
    return Packed(PurePosixPath(path), content["record"], decoded)


def _check_first(line: bytes) -> None:
    content = parse_json(line)
    layout = content.get(_FIRST) if isinstance(content, dict) else None
    if type(layout) is not int:
        raise Unfit("found another file")
    if layout != LAYOUT:
        raise Unfit(f"found layout {layout}, which another version of gfnet-bench writes (this one writes {LAYOUT})")


def _is_last(line: bytes, number: int) -> bool:
    try:
        return bool(parse_json(line) == {"records": number})
    except Unfit:
        return False


def _line(content: Any) -> bytes:
    # ASCII, so that no program between this one and the reader can change a byte of a name.
    return (json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n").encode("ascii")
