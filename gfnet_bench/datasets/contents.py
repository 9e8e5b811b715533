"""What image files hold, as hashes that outlive the process: a file is read again once its size or a time changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfnet_bench.bars import tqdm
from gfnet_bench.datasets.image_files import BadFile, file_status, read_file
from gfnet_bench.downloads import fetching
from gfnet_bench.downloads.checksum import TICK
from gfnet_bench.files import write_atomic

if TYPE_CHECKING:
    from gfnet_bench.datasets.base import Items

_NOTE = struct.Struct("<16s16sI")
"""A file as it was found, what it held then, and a checksum of both."""

_KEPT = 4
"""Notes are thrown away when there are so many times more of them than files."""


def data_sha256(
    items: Items,
    contents: Mapping[Path, str],
    classes: Sequence[int] | None,
    answers: Callable[[str], tuple[int, ...]] | None,
) -> str:
    """sha256 of everything that decides the right answers to a set of images.

    Args:
        items: the files, with labels and ids.
        contents: what each of the files holds, from `hashes`.
        classes: the class indices that count; None if all do.
        answers: the right answers of an image, where it may have several.
    """
    digest = hashlib.sha256(f"{classes}\n".encode())
    for image, label, path in zip(items.ids, items.labels.tolist(), items.paths, strict=True):
        right = answers(image) if answers else ""
        digest.update(f"{image}\t{label}\t{contents[path]}\t{right}\n".encode())
    return digest.hexdigest()


def statuses(paths: Sequence[Path]) -> dict[Path, os.stat_result | None]:
    """Size and times of each file, None where there is no file; nothing is read."""
    return {path: _status(path) for path in dict.fromkeys(paths)}


def _status(path: Path) -> os.stat_result | None:
    try:
        return file_status(path)
    except BadFile:
        return None


def hashes(
    name: str, files: Mapping[Path, os.stat_result | None], *, most_bytes: int | None = None, progress: bool = False
) -> dict[Path, str] | None:
    """A hash of the contents of each file; what cannot be read is a dash.

    Args:
        name: what the files are called together, `imagenet`; names the file of notes.
        files: as `statuses` found them.
        most_bytes: do not read more than this.
        progress: show a bar on stderr where it takes long.

    Returns:
        None if more would have to be read than may be.
    """
    notes = _Notes(fetching.cache_dir() / "contents" / f"{name}.notes")
    keys = {path: _key(path, status) for path, status in files.items() if status}
    unknown = {path: status for path, status in files.items() if status and keys[path] not in notes.known}
    if most_bytes is not None and sum(status.st_size for status in unknown.values()) > most_bytes:
        return None
    fresh: dict[bytes, bytes] = {}
    for path in tqdm(unknown, f"hashing {name}", unit="img", delay=2, leave=False, disable=not progress):
        with contextlib.suppress(BadFile):
            fresh[keys[path]] = hashlib.sha256(read_file(path)).digest()[:16]
    settled = (keys[path] for path, status in unknown.items() if time.time_ns() - max(_times(status)) > TICK)
    known = notes.known | fresh
    notes.add({key: fresh[key] for key in settled if key in fresh})
    return {path: known[keys[path]].hex() if keys.get(path) in known else "-" for path in files}


def _key(path: Path, status: os.stat_result) -> bytes:
    """A file as it is found: it is believed unchanged as long as nothing of this changes."""
    folder = "" if path.is_absolute() else f"{Path.cwd()}/"
    text = f"{folder}{path}\t{status.st_size}\t{_times(status)}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:16]


def _times(status: os.stat_result) -> tuple[int, int]:
    """Of the last change of contents and of inode; that of the inode cannot be set back."""
    return status.st_mtime_ns, status.st_ctime_ns


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
