"""Whether a file is the right one: its published checksum, or where there is none, that of the first download."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import time
from pathlib import Path
from typing import NamedTuple

from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.files import resolved

TICK = 2 * 10**9  # nanoseconds that file systems may lump together: a file this young can change and look unchanged


class Checksum(NamedTuple):
    """What a file should hash to; `note` names the file this was written down in, if nobody published it."""

    algorithm: str
    value: str
    note: Path | None = None

    def difference(self, path: Path) -> str | None:
        """How the file differs, for a message ("sha256 9f2c..., expected 41ab..."), or None if it does not."""
        found = digest_of(path, self.algorithm)
        if found == self.value.lower():
            return None
        return f"{self.algorithm} {found[:12]}..., expected {self.value[:12]}..."


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    return digest_of(path, "sha256")


def digest_of(path: Path, algorithm: str) -> str:
    """A file's hash in hex; an unchanged file (size and time of change) is read once per process."""
    status = path.stat()
    if time.time_ns() - status.st_mtime_ns < TICK:
        return _read(path, algorithm)
    return _remembered(resolved(path), algorithm, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _remembered(path: Path, algorithm: str, size: int, changed: int) -> str:
    return _read(path, algorithm)


def _read(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def pin_path(path: Path) -> Path:
    """The note beside a file that holds its sha256, in the format of `sha256sum -c`."""
    return path.with_name(path.name + ".sha256")


def pinned(path: Path) -> Checksum | None:
    """The checksum noted when `path` was first seen, or None if it never was.

    Raises:
        GfnetBenchError: if the note is damaged.
    """
    note = pin_path(path)
    if not note.is_file():
        return None
    found = re.match(rb"[0-9a-fA-F]{64}\b", note.read_bytes())
    if found is None:
        raise GfnetBenchError(f"{note}: expected the sha256 of {path.name}, found none; delete it to note it again.")
    return Checksum("sha256", found[0].decode(), note)


def pin(path: Path) -> None:
    """Note the sha256 of a file that nobody published one for, so that it cannot change unseen from here on."""
    # A cache shared read-only cannot take the note; records carry the hash all the same.
    with contextlib.suppress(OSError):
        pin_path(path).write_text(f"{sha256_of(path)}  {path.name}\n")
