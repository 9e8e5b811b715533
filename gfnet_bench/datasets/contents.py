"""What image files hold, as hashes that outlive the process: a file is read again once its size or a time changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from gfnet_bench import download
from gfnet_bench.checksum import TICK
from gfnet_bench.datasets.image_files import BadFile, file_status, read_file
from gfnet_bench.files import write_atomic

if TYPE_CHECKING:
    from gfnet_bench.datasets.base import Items

_NOTE = struct.Struct("<16s16sI")
"""A file as it was found, what it held then, and a checksum of both."""

_KEPT = 4
"""Notes are thrown away when there are so many times more of them than files."""


def data_sha256(
    items: Items,
    contents: Sequence[str],
    classes: Sequence[int] | None,
    answers: Callable[[str], tuple[int, ...]] | None,
) -> str:
    """sha256 of everything that decides the right answers to a set of images.

    Args:
        items: the files, with labels and ids.
        contents: what each holds, from `hashes`.
        classes: the class indices that count; None if all do.
        answers: the right answers of an image, where it may have several.
    """
    digest = hashlib.sha256(f"{classes}\n".encode())
    for image, label, content in zip(items.ids, items.labels.tolist(), contents, strict=True):
        digest.update(f"{image}\t{label}\t{content}\t{answers(image) if answers else ''}\n".encode())
    return digest.hexdigest()


def hashes(name: str, paths: Sequence[Path], *, most_bytes: int | None = None, progress: bool = False) -> list[str]:
    """A hash of the contents of each file; what cannot be read is a dash.

    Args:
        name: what the files are called together, `imagenet`; names the file of notes.
        paths: the files.
        most_bytes: do not read more than this.
        progress: show a bar on stderr where it takes long.

    Returns:
        One a file; nothing if more would have to be read than may be.
    """
    notes = _Notes(download.cache_dir() / "contents" / f"{name}.notes")
    stamps = {path: _stamp(path) for path in dict.fromkeys(paths)}
    unknown = {path: stamp for path, stamp in stamps.items() if stamp and stamp.key not in notes.known}
    if most_bytes is not None and sum(stamp.size for stamp in unknown.values()) > most_bytes:
        return []
    fresh: dict[bytes, bytes] = {}
    for path, stamp in tqdm(unknown.items(), f"hashing {name}", unit="img", delay=2, leave=False, disable=not progress):
        with contextlib.suppress(BadFile):
            fresh[stamp.key] = hashlib.sha256(read_file(path)).digest()[:16]
    notes.add({stamp.key: fresh[stamp.key] for stamp in unknown.values() if stamp.settled and stamp.key in fresh})
    known = notes.known | fresh
    found = {path: known[stamp.key].hex() if stamp and stamp.key in known else "-" for path, stamp in stamps.items()}
    return [found[path] for path in paths]


class _Stamp:
    """A file as it is found: it is believed unchanged as long as nothing of this changes."""

    def __init__(self, path: Path, status: os.stat_result) -> None:
        self.size = status.st_size
        # The time of the last change of the inode cannot be set back, as that of the contents can.
        times = status.st_mtime_ns, status.st_ctime_ns
        self.settled = time.time_ns() - max(times) > TICK
        self.key = hashlib.sha256(f"{path.absolute()}\t{self.size}\t{times}".encode(errors="surrogateescape")).digest()[
            :16
        ]


def _stamp(path: Path) -> _Stamp | None:
    try:
        return _Stamp(path, file_status(path))
    except BadFile:
        return None


class _Notes:
    """Hashes of files by stamp, kept on disk where that is possible; a note that is damaged is none."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.known: dict[bytes, bytes] = {}
        with contextlib.suppress(BadFile):
            content = read_file(file)
            whole = len(content) - len(content) % _NOTE.size
            self.known = {
                key: value
                for key, value, check in _NOTE.iter_unpack(content[:whole])
                if zlib.crc32(key + value) == check
            }

    def add(self, fresh: dict[bytes, bytes]) -> None:
        """Note these too."""
        if not fresh:
            return
        kept = self.known if len(self.known) < _KEPT * (len(fresh) + 10_000) else {}
        self.known = kept | fresh
        content = b"".join(_NOTE.pack(k, v, zlib.crc32(k + v)) for k, v in self.known.items())
        with contextlib.suppress(OSError):  # a cache shared read-only takes no notes
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._file, content)
