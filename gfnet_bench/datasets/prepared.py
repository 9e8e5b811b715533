"""Decoded pixels on disk: the first pass over a set of files decodes them, every later one reads them.

A folder holds one set of files under one recipe (transform and library versions): a `PixelFile`, and `index.json` with
each image's id, size and times of change. A larger set serves a smaller one. While it is made the folder is called
`*.partial`, so that a run that was killed goes on where it stopped. Nothing in there is taken on trust: a row counts if
its checksum is right for the file it should be of, and any other row is decoded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.bars import tqdm
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.decode import BadImage, resize_and_crop
from gfnet_bench.datasets.decoding import Job, Reasons, decode_all
from gfnet_bench.datasets.image_files import BadFile, file_status, printable, read_file, reason
from gfnet_bench.datasets.images import Rows
from gfnet_bench.datasets.pixel_file import BLOCK, DamagedError, PixelFile, Shape
from gfnet_bench.downloads import fetching
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.files import write_atomic
from gfnet_bench.interrupts import doing

FORMAT = 3  # raise it when decoding or the files in a folder change
PARTIAL = ".partial"
INDEX = "index.json"

_WHAT = "decoded images (GFNET_BENCH_CACHE)"

Stamp = tuple[int, int, int]  # size in bytes, times of change of contents and of the inode in nanoseconds


class Read(NamedTuple):
    """What was read of a list of files.

    Attributes:
        pixels: (len(kept), h, w, 3) uint8.
        kept: positions in the list of the images there are pixels of.
        sizes: bytes of each file of the list, 0 where there is no file.
        reasons: position in the list -> why there are no pixels.
    """

    pixels: Rows
    kept: NDArray[np.int64]
    sizes: NDArray[np.int64]
    reasons: dict[int, str]


class _Files(NamedTuple):
    """Files that are there: what they are called together, and the id, path and stamp of each."""

    name: str
    ids: Sequence[str]
    paths: Sequence[Path]
    stamps: Sequence[Stamp]

    def lines(self) -> list[bytes]:
        """What tells each file, unchanged, from any other."""
        return [f"{image}\t{a}\t{b}\t{c}\n".encode() for image, (a, b, c) in zip(self.ids, self.stamps, strict=True)]

    def jobs(self, rows: Iterable[int]) -> list[Job]:
        """What fills these rows with the pixels of the files."""
        return [Job(*job) for job in zip(rows, self.paths, map(zlib.crc32, self.lines()), strict=True)]

    def folder(self, home: Path) -> Path:
        """Where the pixels of just these files belong."""
        return home / f"{len(self.ids)}-{hashlib.sha256(b''.join(self.lines())).hexdigest()[:12]}"


class _Found(NamedTuple):
    """A finished set that has all the files: the row of each, and what fills those rows that are not sound."""

    file: PixelFile
    rows: NDArray[np.int64]
    todo: list[Job]


class _How(NamedTuple):
    """How files become pixels."""

    transform: Transform
    workers: int
    keep: bool
    title: str | None


def load(
    files: str,
    ids: Sequence[str],
    paths: Sequence[Path],
    transform: Transform,
    *,
    cache_dir: Path | None = None,
    workers: int = 0,
    keep: bool = True,
    progress: bool = True,
) -> Read:
    """The pixels of these files, from disk where they have been decoded before.

    Args:
        files: what the files are called together, `imagenet`; names the folder.
        ids: one per file.
        paths: the files; one that cannot be read is named on stderr and left out.
        transform: resize and crop.
        cache_dir: where pixels are kept; None is the usual place.
        workers: processes that decode; 0 decodes in this one.
        keep: False gives the room back as soon as the pixels are no longer used.
        progress: show bars on stderr.

    Raises:
        GfnetBenchError: if no image can be read, the disk they are on went away, or the pixels cannot be kept.
    """
    stamps, reasons = _stamps(paths)
    there = list(stamps)
    known = _Files(files, [ids[n] for n in there], [paths[n] for n in there], list(stamps.values()))
    home = (cache_dir or fetching.cache_dir()) / "images" / files / recipe(transform)
    fetching.make_room(home, 0, f"{files}: {_WHAT}")
    try:
        file, rows, unreadable = _prepared(known, home, _How(transform, workers, keep, files if progress else None))
    except (OSError, DamagedError) as error:
        text = reason(error) if isinstance(error, OSError) else str(error)
        text += f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        raise GfnetBenchError(
            f"{files}: cannot keep {_WHAT} in {home} ({text}); free some space or choose another folder, then run "
            "again: what has been decoded is kept"
        ) from error
    reasons = dict(sorted((reasons | {there[n]: why for n, why in unreadable.items()}).items()))
    kept = np.array([n for n in range(len(ids)) if n not in reasons], dtype=np.int64)
    _check(files, paths, kept, reasons)
    _report(files, ids, reasons)
    row_of = dict(zip(there, rows.tolist(), strict=True))
    rows = np.array([row_of[n] for n in kept.tolist()], dtype=np.int64)
    sizes = np.array([stamps[n][0] if n in stamps else 0 for n in range(len(ids))], dtype=np.int64)
    return Read(Rows(file, rows), kept, sizes, reasons)


def _stamps(paths: Sequence[Path]) -> tuple[dict[int, Stamp], Reasons]:
    """The stamp of each file, by its position; and why there is none."""
    stamps: dict[int, Stamp] = {}
    reasons: Reasons = {}
    for n, path in enumerate(paths):
        try:
            found = file_status(path)
            stamps[n] = found.st_size, found.st_mtime_ns, found.st_ctime_ns
        except BadFile as error:
            reasons[n] = str(error)
    return stamps, reasons


def _check(files: str, paths: Sequence[Path], kept: NDArray[np.int64], reasons: Reasons) -> None:
    """Tell files that are bad from a disk that is gone.

    Raises:
        GfnetBenchError: if no file can be read, or none of those that could be is there any more.
    """
    if not len(kept):
        first = next(iter(reasons))
        raise GfnetBenchError(
            f"{files}: none of {len(paths)} images can be read; the first, {printable(paths[first])}: {reasons[first]}"
        )
    if reasons and not any(os.path.exists(paths[n]) for n in (kept[0], kept[len(kept) // 2], kept[-1])):  # noqa: PTH110
        raise GfnetBenchError(
            f"{files}: {printable(paths[kept[0]])} could be read and is gone, with others; is the disk still mounted? "
            "Run again once it is: what has been decoded is kept"
        )


def transformed(images: NDArray[np.uint8], transform: Transform) -> Read:
    """Images that are in memory already: (n, h, w, 3), none of them damaged."""
    try:
        pixels = np.stack([resize_and_crop(image, transform) for image in images])
    except BadImage as error:
        raise GfnetBenchError(f"these images do not suit the model: {error}") from None
    rows = np.arange(len(images), dtype=np.int64)
    return Read(Rows(pixels, rows), rows, np.full(len(images), images[0].nbytes, dtype=np.int64), {})


@cache
def versions() -> dict[str, str]:
    """The libraries that decide the pixels."""
    return {name: version(name) for name in ("simplejpeg", "pillow", "torch")}


def recipe(transform: Transform) -> str:
    """What decides the pixels of a file, as a folder name; how the transform is called does not."""
    t = transform
    resize = "x".join(map(str, t.resize)) if isinstance(t.resize, tuple) else t.resize or "asis"
    mode = "" if t.mode == "center" else "-".join((t.mode, *map(str, t.fill or ()), ""))
    return f"{t.interpolation}-{resize}-{t.height}x{t.width}-{mode}{libraries()}"


def libraries() -> str:
    """The versions of the libraries that decode, as a few characters."""
    return hashlib.sha256(json.dumps([FORMAT, versions()]).encode()).hexdigest()[:8]


def _prepared(known: _Files, home: Path, how: _How) -> tuple[PixelFile, NDArray[np.int64], Reasons]:
    """The pixels of files: where they are, the row of each, and why some have none."""
    final = known.folder(home)
    found = _finished(known, final, how, quiet=True)
    if found is None:
        with fetching.alone(final):
            found = _finished(known, final, how)  # another process may have made it while this one waited
            if found is None:
                return _make(known, final, how)
    file, rows, todo = found
    listed = file.folder != final or _index_is(known, final)
    if not todo and listed:
        return file, rows, {}
    with _alone(file.folder):
        file = PixelFile(file.folder, file.shape)
        todo = _unsound(file, todo, how)  # another process may have mended it while this one waited
        reasons = _decode(known, file, todo, how)
        if not listed and not _index_is(known, final):
            _tell(known, f"{final / INDEX} was damaged and is written again")
            remove(final / INDEX)
            _write_index(known, final, how)
    if len(todo) > len(reasons):
        _tell(known, f"{len(todo) - len(reasons)} decoded images in {file.folder} were not whole: decoded again")
    return file, rows, reasons


def _finished(known: _Files, final: Path, how: _How, quiet: bool = False) -> _Found | None:
    """A finished set that has all these files unchanged; sets that are damaged are named and passed over."""
    others = [folder for folder in sorted(final.parent.glob("*-*")) if folder.suffix not in (PARTIAL, ".lock")]
    for folder in dict.fromkeys([final, *others] if final.exists() else others):
        try:
            images = dict(zip(known.ids, known.stamps, strict=True)) if folder == final else read_index(folder)
            if any(images.get(image) != stamp for image, stamp in zip(known.ids, known.stamps, strict=True)):
                continue
            file = PixelFile(folder, _shape(len(images), how.transform))
            row_of = {image: row for row, image in enumerate(images)}
            rows = [row_of[image] for image in known.ids]
            return _Found(file, np.array(rows, dtype=np.int64), _unsound(file, known.jobs(rows), how))
        except DamagedError as error:
            if not quiet:
                _tell(known, f"decoded images in {folder} are damaged ({error}) and not used")
    return None


def _make(known: _Files, final: Path, how: _How) -> tuple[PixelFile, NDArray[np.int64], Reasons]:
    """Decode files that have no finished set, from where an earlier run was stopped."""
    folder = final.with_name(final.name + PARTIAL)
    file = _laid_out(known, folder, _shape(len(known.ids), how.transform))
    rows = np.arange(len(known.ids), dtype=np.int64)
    todo = _unsound(file, known.jobs(rows.tolist()), how)
    if damaged := sum(file.done[job.row] != 0 for job in todo):
        _tell(known, f"{damaged} images that an earlier run decoded in {folder} are not whole: decoded again")
    reasons = _decode(known, file, todo, how)
    if len(reasons) == len(known.ids) or not how.keep:
        # The file is open and stays readable; its room is free once nobody uses it, however this process ends.
        shutil.rmtree(folder)
        return file, rows, reasons
    _write_index(known, folder, how)
    remove(final)
    folder.rename(final)
    return PixelFile(final, file.shape), rows, reasons


def _laid_out(known: _Files, folder: Path, shape: Shape) -> PixelFile:
    """The file of pixels of an earlier run that was stopped, or a new one."""
    if os.path.lexists(folder):
        try:
            return PixelFile(folder, shape)
        except DamagedError as error:
            _tell(known, f"what an earlier run left in {folder} is damaged ({error}): decoded again")
            remove(folder)
    fetching.make_room(folder.parent, int(np.prod(shape)), f"{known.name}: {_WHAT}")
    folder.mkdir()
    try:
        return PixelFile.create(folder, shape)
    except OSError:
        shutil.rmtree(folder)
        raise


def _decode(known: _Files, file: PixelFile, todo: Sequence[Job], how: _How) -> Reasons:
    with doing(f"decoding {known.name}"):
        return decode_all(file, todo, how.transform, how.workers, how.title)


def _shape(count: int, transform: Transform) -> Shape:
    return count, transform.height, transform.width, 3


def _unsound(file: PixelFile, jobs: Sequence[Job], how: _How) -> list[Job]:
    """The jobs whose rows do not have the pixels they should have."""
    blocks = file.unsound([job.row for job in jobs], [job.origin for job in jobs])
    total, title = -(-len(jobs) // BLOCK), how.title and f"checking {how.title}"
    bar = tqdm(blocks, title, total, unit=f" x {BLOCK} img", delay=2, leave=False, disable=title is None)
    bad = set(chain.from_iterable(bar))
    return [job for job in jobs if job.row in bad]


def read_index(folder: Path) -> dict[str, Stamp]:
    """The images of a finished set in the order of their rows, with their stamps.

    Raises:
        DamagedError: if there is no list that can be read.
    """
    try:
        images = json.loads(read_file(folder / INDEX))["images"]
        return {image: (size, changed, touched) for image, (size, changed, touched) in images.items()}
    except (BadFile, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{INDEX}: {type(error).__name__}: {error}") from None


def _index_is(known: _Files, folder: Path) -> bool:
    try:
        return list(read_index(folder).items()) == list(zip(known.ids, known.stamps, strict=True))
    except DamagedError:
        return False


def _write_index(known: _Files, folder: Path, how: _How) -> None:
    images = dict(zip(known.ids, known.stamps, strict=True))
    index = {"transform": how.transform.to_json(), "versions": versions(), "images": images}
    write_atomic(folder / INDEX, json.dumps(index).encode())


def _alone(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Let no other process mend a set meanwhile; where nothing can be written, nothing needs to be kept out."""
    return fetching.alone(folder) if os.access(folder.parent, os.W_OK) else contextlib.nullcontext()


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tell(known: _Files, text: str) -> None:
    tqdm.write(f"{known.name}: {text}", file=sys.stderr)


def _report(files: str, ids: Sequence[str], reasons: dict[int, str]) -> None:
    if reasons:
        named = "; ".join(f"{ids[row]} ({reason})" for row, reason in list(reasons.items())[:5])
        more = f" and {len(reasons) - 5} more, all in the record" if len(reasons) > 5 else ""
        print(f"{files}: {len(reasons)} of {len(ids)} images left out as unreadable: {named}{more}", file=sys.stderr)
