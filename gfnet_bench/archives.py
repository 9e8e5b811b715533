"""Unpacking an archive that somebody else made: nothing lands outside, and nothing half-done under a final name."""

from __future__ import annotations

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from tqdm import tqdm

from gfnet_bench.download import alone, make_room, readable
from gfnet_bench.errors import GfnetBenchError

# Photographs hardly compress: an archive that grows beyond this is not one of photographs.
GROWTH = 10
SMALL = 64 << 20  # bytes that any archive may hold


def unpack(archive: Path, folder: Path, *, progress: bool = True) -> tuple[Path, ...]:
    """Unpack a tar, tar.gz or zip file (told apart by content) into `folder`.

    All of it is unpacked into a working folder first; then each top-level entry moves into `folder` in one step, so
    what is found there is whole. An entry of that name that is there already stays as it is.

    Args:
        archive: the file; regular files and folders are all it may hold, since links could lead elsewhere.
        folder: made if need be.
        progress: show a bar on stderr.

    Returns:
        The top-level entries, in `folder`, sorted.

    Raises:
        GfnetBenchError: the archive is damaged, holds what it should not, or does not fit on the disk.
    """
    work = folder / f".{archive.name}.unpacking"
    make_room(folder, 0, archive.name)
    try:
        with alone(work):
            shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
            try:
                work.mkdir()
                _extract(archive, work, progress)
                return tuple(_move(entry, folder / entry.name) for entry in sorted(work.iterdir()))
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError) as error:
        raise GfnetBenchError(
            f"{archive.name}: the archive cannot be read ({error}); delete it to fetch it again ({archive})."
        ) from error
    except OSError as error:
        raise GfnetBenchError(
            f"{archive.name}: cannot unpack into {folder} ({error.strerror or error}); "
            "free some space or choose another folder."
        ) from error


class _Member(NamedTuple):
    name: str
    size: int
    kind: str  # "file", "folder", or what it is instead
    content: IO[bytes] | None


def _extract(archive: Path, work: Path, progress: bool) -> None:
    size = archive.stat().st_size
    written = 0
    with (
        archive.open("rb") as file,
        tqdm(
            desc=f"unpacking {archive.name}",
            total=size,
            unit="B",
            unit_scale=True,
            mininterval=1.0,
            disable=not progress,
        ) as bar,
    ):
        make_room(work, size, archive.name)
        for member in _members(file):
            parts = _checked_parts(member, archive)
            written += member.size
            if written > SMALL + GROWTH * size:
                raise GfnetBenchError(
                    f"{archive.name}: {readable(size)} unpack to more than {readable(written)}, "
                    f"expected at most {GROWTH} times the size; this is no archive of photographs."
                )
            make_room(work, member.size, archive.name)
            _write(member, work.joinpath(*parts))
            bar.update(file.tell() - bar.n)


def _members(file: IO[bytes]) -> Iterator[_Member]:
    is_zip = file.read(2) == b"PK"
    file.seek(0)
    if is_zip:
        with zipfile.ZipFile(file) as zipped:
            for info in zipped.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    yield _Member(info.filename, 0, "a link", None)
                elif info.is_dir():
                    yield _Member(info.filename, 0, "folder", None)
                else:
                    with zipped.open(info) as content:
                        yield _Member(info.filename, info.file_size, "file", content)
        return
    with tarfile.open(fileobj=file, mode="r:*") as tar:
        for entry in tar:
            if entry.isreg():
                yield _Member(entry.name, entry.size, "file", tar.extractfile(entry))
            elif entry.isdir():
                yield _Member(entry.name, 0, "folder", None)
            else:
                yield _Member(entry.name, 0, "a link" if entry.issym() or entry.islnk() else "a special file", None)
            tar.members = []  # type: ignore[attr-defined]  # it would remember all 750,000, which takes a gigabyte


def _checked_parts(member: _Member, archive: Path) -> tuple[str, ...]:
    """Where a member goes, below the working folder.

    Raises:
        GfnetBenchError: if that would be elsewhere, on any operating system, or if it is no plain file or folder.
    """
    windows, posix = PureWindowsPath(member.name), PurePosixPath(member.name)
    if windows.anchor or posix.anchor or ".." in windows.parts:
        raise GfnetBenchError(
            f"{archive.name}: the member {member.name!r} would land outside the folder; do not use this archive."
        )
    if member.kind not in ("file", "folder"):
        raise GfnetBenchError(
            f"{archive.name}: the member {member.name!r} is {member.kind}, expected files and folders only; "
            "do not use this archive."
        )
    return posix.parts


def _write(member: _Member, path: Path) -> None:
    if member.content is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(member.content, file, 1 << 20)


def _move(entry: Path, final: Path) -> Path:
    if not final.exists():
        entry.rename(final)
    return final
