"""Unpacking an archive that somebody else made: nothing lands outside, and nothing half-done under a final name."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple, TypeVar

from gfnet_bench.bars import tqdm
from gfnet_bench.downloads.fetching import alone, make_room, readable
from gfnet_bench.errors import GfnetBenchError, out_of_memory, remedy, sentence
from gfnet_bench.files import open_regular
from gfnet_bench.filetypes import HEAD, file_type

# Photographs hardly compress: an archive that grows beyond this is not one of photographs.
GROWTH = 10
SMALL = 64 << 20  # bytes that any archive may hold

T = TypeVar("T")

EXTENDED = 1 << 14  # bytes of a tar header that goes beyond the usual 512; a name takes a few hundred
LONGEST_NAME = 255  # bytes of a file's or folder's name on all usual file systems
LONGEST_PATH = 1024

_EXTENDED_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


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
    except OSError as error:
        raise GfnetBenchError(
            f"{archive.name}: cannot unpack into {folder} ({error.strerror or error}); {remedy(error)}."
        ) from error


class _Member(NamedTuple):
    name: str
    size: int
    kind: str  # "file", "folder", or what it is instead
    content: IO[bytes] | None


def _extract(archive: Path, work: Path, progress: bool) -> None:
    try:
        file = open_regular(archive)
    except OSError as error:
        error.filename = str(archive)
        raise GfnetBenchError(f"{archive.name}: {sentence(error)}.") from error
    size = archive.stat().st_size
    written = 0
    with (
        file,
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
        for member in _readable(_members(file), archive):
            parts = _checked_parts(member, archive)
            written += max(member.size, tarfile.BLOCKSIZE)  # an empty file takes its place too
            if written > SMALL + GROWTH * size:
                raise GfnetBenchError(
                    f"{archive.name}: {readable(size)} unpack to more than {readable(written)}, "
                    f"expected at most {GROWTH} times the size; this is no archive of photographs."
                )
            make_room(work, member.size, archive.name)
            _write(member, work.joinpath(*parts), archive)
            bar.update(file.tell() - bar.n)
    if not written:
        raise GfnetBenchError(
            f"{archive.name}: expected files, found an archive of nothing; delete it to fetch it again."
        )


def _readable(parts: Iterator[T], archive: Path) -> Iterator[T]:
    """The parts of an archive, or a sentence about one that is damaged, or none at all."""
    try:
        yield from parts
    except GfnetBenchError:
        raise
    except Exception as error:  # on damaged files the readers raise whatever they happen to meet
        if out_of_memory(error):
            raise GfnetBenchError(f"{archive.name}: memory ran out while it was read; free some memory.") from error
        with archive.open("rb") as file:
            kind = file_type(file.read(HEAD))
        if kind is not None and not kind.packed:
            raise GfnetBenchError(
                f"{archive.name}: expected a tar, tar.gz or zip file, found {kind.name}; {kind.advice} ({archive})."
            ) from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise GfnetBenchError(
            f"{archive.name}: the archive cannot be read ({reason}); delete it to fetch it again ({archive})."
        ) from error


def _members(file: IO[bytes]) -> Iterator[_Member]:
    is_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    file.seek(0)
    yield from _members_of_zip(file) if is_zip else _members_of_tar(file)


def _members_of_zip(file: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as zipped:
        if (len(zipped.infolist()) - (said := _entries_of_zip(file))) % 0x10000 and said != 0xFFFF:
            raise zipfile.BadZipFile(f"expected {said} members, found {len(zipped.infolist())}")
        for info in zipped.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            name = info.orig_filename  # zipfile cuts names at a NUL
            if mode == stat.S_IFLNK:
                yield _Member(name, 0, "a link", None)
            elif mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                yield _Member(name, 0, "a special file", None)
            elif name.endswith("/"):
                yield _Member(name, 0, "folder", None)
            else:
                with zipped.open(info) as content:
                    yield _Member(name, info.file_size, "file", content)


def _entries_of_zip(file: IO[bytes]) -> int:
    """How many members a zip file says it has, modulo 2 ** 16; zipfile does not compare. 65,535 stand for more."""
    end = b"PK\x05\x06"
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 0x10000 - 22))  # it ends with a comment of at most 64 kB
    _, _, said = file.read().rpartition(end)
    return int.from_bytes(said[6:8], "little")


def _members_of_tar(file: IO[bytes]) -> Iterator[_Member]:
    with tarfile.open(fileobj=file, mode="r:*", tarinfo=_Header) as tar:
        for entry in tar:
            if entry.isreg():
                yield _Member(entry.name, entry.size, "file", tar.extractfile(entry))
            elif entry.isdir():
                yield _Member(entry.name, 0, "folder", None)
            else:
                yield _Member(entry.name, 0, "a link" if entry.issym() or entry.islnk() else "a special file", None)
            tar.members = []  # type: ignore[attr-defined]  # it would remember all 750,000, which takes a gigabyte
        assert tar.fileobj is not None
        while block := tar.fileobj.read(1 << 20):  # a compressed file has its checksum at its end
            if block.strip(b"\0"):
                raise tarfile.ReadError("there is more behind the mark of its end")


class _Header(tarfile.TarInfo):
    """A tar header that is whole or an error: tarfile takes a damaged one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        found = super().frombuf(buf, encoding, errors)
        extended = found.type in _EXTENDED_TYPES and found.size > EXTENDED
        if extended or found.size < 0 or found.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("it has a header of no archive of photographs")
        return found

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Header:
        try:
            found = super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark of the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, expected a header or the mark of the end") from error
        if found.size < 0:
            raise tarfile.ReadError("a member is of negative size")
        return found

    def _proc_gnusparse_10(self, *arguments: object) -> None:
        raise tarfile.ReadError("a member is sparse, as no photograph is")


def _checked_parts(member: _Member, archive: Path) -> tuple[str, ...]:
    """Where a member goes, below the working folder.

    Raises:
        GfnetBenchError: if that would be elsewhere, on any operating system, or if it is no plain file or folder.
    """
    windows, posix = PureWindowsPath(member.name), PurePosixPath(member.name)
    shown = repr(member.name if len(member.name) < 200 else f"{member.name[:80]}...{member.name[-80:]}")
    if windows.anchor or posix.anchor or ".." in windows.parts:
        raise GfnetBenchError(
            f"{archive.name}: the member {shown} would land outside the folder; do not use this archive."
        )
    if member.kind not in ("file", "folder"):
        raise GfnetBenchError(
            f"{archive.name}: the member {shown} is {member.kind}, expected files and folders only; "
            "do not use this archive."
        )
    if (
        not (posix.parts or member.kind == "folder")
        or "\0" in member.name
        or len(os.fsencode(member.name)) > LONGEST_PATH
        or any(len(os.fsencode(part)) > LONGEST_NAME for part in posix.parts)
    ):
        raise GfnetBenchError(
            f"{archive.name}: a {member.kind} is called {shown}, which no file can be; do not use this archive."
        )
    return posix.parts


def _write(member: _Member, path: Path, archive: Path) -> None:
    try:
        if member.content is None:
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise GfnetBenchError(
            f"{archive.name}: two members are called {member.name!r}, or one stands in the other's way; "
            "do not use this archive."
        ) from error
    with file:
        for block in _readable(iter(partial(member.content.read, 1 << 20), b""), archive):
            file.write(block)


def _move(entry: Path, final: Path) -> Path:
    if not final.exists():
        entry.rename(final)
    return final
