"""Files that are whole or absent, however many processes write to the same folder and whenever one of them dies."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, where two processes must not write the same files at once
    fcntl = None  # type: ignore[assignment]

STALE = 24 * 3600.0
"""Seconds after which a file that never got its name is nobody's any more: no write takes so long."""

_PROBE = os.urandom(1 << 20)  # about what a record of 50,000 images takes


def resolved(path: Path | str) -> Path:
    """The absolute path without links; of links that go in a circle the path itself, and opening it says what is wrong.

    `Path.resolve` raises RuntimeError for these, up to Python 3.12.
    """
    return Path(os.path.realpath(path))


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, also after a power cut."""
    write_together({path: content})


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that is whole or absent and larger than memory; the old one stays as long as pieces are made."""
    waiting = _temporary(path.parent)
    try:
        with waiting.open("xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)


def write_together(contents: Mapping[Path, bytes | None]) -> None:
    """Put files of one folder in place, in this order, no other process's of the same names in between.

    What a killed run left half-written keeps a hidden name ending in `.tmp`, which nothing reads; a write to the same
    folder removes it a day later. Until then it may belong to a process that is at work.

    Args:
        contents: by path; None removes the file.

    Raises:
        OSError: if the folder cannot be written to; the old files are still there. So it is where a device or a pipe
            has the name: it would be replaced by a file, /dev/null for the whole machine.
    """
    new = {path: content for path, content in contents.items() if content is not None}
    for path in new:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "a folder, a device or a pipe is there, expected a file or nothing", str(path))
    folder = next(iter(contents)).parent
    waiting = {path: _temporary(folder) for path in new}
    try:
        for path, content in new.items():
            try:
                _write(waiting[path], content)
            except OSError as error:  # people know the file they asked for, not what it is called meanwhile
                raise OSError(error.errno, error.strerror, str(path)) from error
        # By the clock of the file system: that of another machine may be a day ahead.
        now = max((temporary.stat().st_mtime for temporary in waiting.values()), default=0.0)
        with alone_in(folder):
            for path in contents:
                if path in waiting:
                    waiting[path].replace(path)
                else:
                    path.unlink(missing_ok=True)
        _sweep(folder, now)
    finally:
        for temporary in waiting.values():
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep all others who ask for the same out of a folder; where its file system has no locks, go on without."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing alone would leave it to children forked meanwhile
        os.close(handle)


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read. A folder, a pipe or a device in its place is an OSError too, and no endless wait."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file but a folder, a pipe or a device")
    return os.fdopen(handle, "rb")


def shown(path: Path | str) -> str:
    """A path for a message; what a terminal or UTF-8 cannot take is escaped."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def check_writable(folder: Path) -> None:
    """Make `folder` if need be and write a megabyte to it, which is removed again.

    Raises:
        OSError: if that does not work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = _temporary(folder)
    try:
        _write(probe, _PROBE)
    finally:
        probe.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _temporary(folder: Path) -> Path:
    """A hidden name that no other process has."""
    return folder / f".{os.getpid()}-{secrets.token_hex(8)}.tmp"


def _sweep(folder: Path, now: float) -> None:
    """Remove what is stale."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # others sweep too
            if now - leftover.stat().st_mtime > STALE:
                leftover.unlink()
