"""The pixels of images in a file, a row for each, with a checksum of each row.

The file is read and written, never mapped: under a map, a disk that fills up or fails ends the process without a word.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref
import zlib
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.datasets.image_files import reason
from gfnet_bench.errors import GfnetBenchError, acquit

BLOCK = 64  # rows that are checked at a time

Shape = tuple[int, int, int, int]  # images, height, width, channels


class DamagedError(Exception):
    """A file is not what was written there; the text says what is wrong with it."""


class PixelFile:
    """Rows of pixels in `pixels.npy`; indexing by rows gives a fresh array.

    `done.npy` holds a checksum for each row that has its pixels, and 0 for the others. It is taken over the pixels and
    `origin`, a number that tells which image they are of: pixels of another image are damage too.

    Attributes:
        shape: (n, height, width, 3).
        dtype: uint8.
        done: (n,) uint32, the checksums.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, folder: Path, shape: Shape) -> None:
        """Open what `create` has made.

        Raises:
            DamagedError: if the files are not those of `shape`.
        """
        self.folder, self.shape = folder, shape
        self._start = len(_header("|u1", shape))
        with _opened(folder / "done.npy", "<u4", shape[:1]) as file:
            self.done = np.frombuffer(file.read(), dtype="<u4").copy()
        self._file = self._keep(_opened(folder / "pixels.npy", "|u1", shape))
        self._writable: FileIO | None = None

    @classmethod
    def create(cls, folder: Path, shape: Shape) -> PixelFile:
        """Make the files in an empty folder, with all the room they need.

        Raises:
            OSError: if there is no such room.
        """
        for name, kind, size in (("pixels.npy", "|u1", shape), ("done.npy", "<u4", shape[:1])):
            with (folder / name).open("wb", buffering=0) as file:
                file.write(_header(kind, size))
                file.truncate(_bytes(kind, size))
                _allocate(file, _bytes(kind, size))
        return cls(folder, shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | np.integer | NDArray[np.int64]) -> NDArray[np.uint8]:
        try:
            wanted = np.atleast_1d(rows)
            found = self._read(wanted, np.empty((len(wanted), *self.shape[1:]), dtype=np.uint8))
        except OSError as error:
            raise GfnetBenchError(
                f"cannot read decoded images in {self.folder} ({reason(error)}); run again, they are checked then"
            ) from None
        return found[0] if np.ndim(rows) == 0 else found

    def write(self, row: int, pixels: NDArray[np.uint8], origin: int) -> int:
        """Put the pixels of an image, (height, width, 3), into its row and return their checksum, for `mark`."""
        if self._writable is None:
            self._writable = self._keep((self.folder / "pixels.npy").open("r+b", buffering=0))
        self._writable.seek(self._offset(row))
        rest = np.ascontiguousarray(pixels).data.cast("B")
        while rest:
            rest = rest[self._writable.write(rest) :]
        return _checksum(pixels, origin)

    def mark(self, checksums: dict[int, int]) -> None:
        """Note that these rows have their pixels: row -> checksum."""
        if not checksums:
            return
        rows = sorted(checksums)
        self.done[rows] = [checksums[row] for row in rows]
        with (self.folder / "done.npy").open("r+b") as file:
            file.seek(len(_header("<u4", self.shape[:1])) + 4 * rows[0])
            file.write(self.done[rows[0] : rows[-1] + 1].tobytes())

    def unsound(self, rows: Sequence[int], origins: Sequence[int]) -> Iterator[list[int]]:
        """Those of some rows whose pixels are not there or not what they were: a list for each `BLOCK` of rows.

        Args:
            rows: which.
            origins: what `write` was told of each.

        Raises:
            DamagedError: if the file cannot be read.
        """
        room = np.empty((BLOCK, *self.shape[1:]), dtype=np.uint8)
        for start in range(0, len(rows), BLOCK):
            block = np.array(rows[start : start + BLOCK])
            marked = block[self.done[block] != 0]
            try:
                images = dict(zip(marked.tolist(), self._read(marked, room[: len(marked)]), strict=True))
            except OSError as error:
                acquit(error)
                raise DamagedError(f"pixels.npy cannot be read ({reason(error)})") from None
            origin_of = dict(zip(block.tolist(), origins[start : start + BLOCK], strict=True))
            sound = {row for row, image in images.items() if self.done[row] == _checksum(image, origin_of[row])}
            yield [row for row in origin_of if row not in sound]

    def _read(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fill `out`, (n, height, width, 3), with these rows."""
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist()  # of runs of rows that lie side by side
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=False):
            self._file.seek(self._offset(int(rows[start])))
            _fill(self._file, out[start:end])
        return out

    def _keep(self, file: FileIO) -> FileIO:
        """Leave a file open as long as this object lives: one that is removed meanwhile stays readable."""
        weakref.finalize(self, file.close)
        return file

    def _offset(self, row: int) -> int:
        return self._start + row * self.shape[1] * self.shape[2] * self.shape[3]


def _checksum(pixels: NDArray[np.uint8], origin: int) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data.cast("B"), origin) or 1  # 0 says: no pixels


def _header(kind: str, shape: tuple[int, ...]) -> bytes:
    """What a .npy file of this type and shape begins with, always the same, so that it can be compared."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00\x76\x00" + text.encode().ljust(117) + b"\n"


def _bytes(kind: str, shape: tuple[int, ...]) -> int:
    return len(_header(kind, shape)) + int(np.prod(shape, dtype=np.int64)) * int(kind[2:])


def _allocate(file: FileIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            # Some file systems cannot; on those a disk that is full is noticed when it is.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def _opened(path: Path, kind: str, shape: tuple[int, ...]) -> FileIO:
    """A file behind its header."""
    header = _header(kind, shape)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != _bytes(kind, shape):
            raise DamagedError(f"{path.name} has another size or kind than was written")
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("rb", buffering=0))
            if file.read(len(header)) != header:
                raise DamagedError(f"{path.name} does not begin as it was written")
            stack.pop_all()
            return file
    except OSError as error:
        acquit(error)
        raise DamagedError(f"{path.name} cannot be read ({reason(error)})") from None


def _fill(file: FileIO, rows: NDArray[np.uint8]) -> None:
    rest = rows.data.cast("B")
    while rest:
        count = file.readinto(rest)
        if not count:
            raise OSError(f"{file.name!r} ends early")
        rest = rest[count:]
