"""Decoded pixels on disk: the first pass over a set of files decodes them, every later one maps them into memory.

A folder holds one set of files under one recipe (transform and library versions): `pixels.npy`, and `index.json` with
each image's id, size and time of change. A larger set serves a smaller one. While it is made the folder is called
`*.partial` and has a mark per image in `done.npy`, so that a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import download
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.decode import BadImage, resize_and_crop
from gfnet_bench.datasets.decoding import decode_all
from gfnet_bench.datasets.images import Rows
from gfnet_bench.errors import GfnetBenchError

FORMAT = 1  # raise it when decoding or the files in a folder change
PARTIAL = ".partial"

_WHAT = "decoded images (GFNET_BENCH_CACHE)"

Stamp = tuple[int, int]  # size in bytes, time of change in nanoseconds


class Read(NamedTuple):
    """What was read of a list of files.

    Attributes:
        pixels: (len(kept), h, w, 3) uint8.
        kept: positions in the list of the images there are pixels of.
        sizes: bytes of each file of the list.
        reasons: position in the list -> why there are none.
    """

    pixels: Rows
    kept: NDArray[np.int64]
    sizes: NDArray[np.int64]
    reasons: dict[int, str]


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
        paths: the files.
        transform: resize and crop.
        cache_dir: where pixels are kept; None is the usual place.
        workers: processes that decode; 0 decodes in this one.
        keep: False gives the room back as soon as the pixels are no longer used.
        progress: show a bar on stderr.

    Raises:
        GfnetBenchError: if a file cannot be read for a reason that is not the image's, if there is no room, or if no
            image is whole.
    """
    stamps = [_stamp(path) for path in paths]
    home = (cache_dir or download.cache_dir()) / "images" / files / recipe(transform)
    download.make_room(home, 0, f"{files}: {_WHAT}")
    final = home / f"{len(ids)}-{_digest(ids, stamps)}"
    found = _covering(final, ids, stamps)
    if found is None:
        with download.alone(final):
            found = _covering(final, ids, stamps)  # another process may have made it while this one waited
            if found is None:
                found = _make(final, ids, paths, stamps, transform, workers, keep, progress)
    pixels, rows, reasons = found
    kept = np.array([row for row in range(len(ids)) if row not in reasons], dtype=np.int64)
    _report(files, ids, reasons)
    return Read(
        Rows(np.asarray(pixels), rows[kept]), kept, np.array([size for size, _ in stamps], dtype=np.int64), reasons
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


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise GfnetBenchError(
            f"cannot read {path} ({error.strerror}); is the disk mounted, is the link whole?"
        ) from None
    return status.st_size, status.st_mtime_ns


def _digest(ids: Sequence[str], stamps: Sequence[Stamp]) -> str:
    digest = hashlib.sha256()
    for image, (size, changed) in zip(ids, stamps, strict=True):
        digest.update(f"{image}\t{size}\t{changed}\n".encode())
    return digest.hexdigest()[:12]


_Decoded = tuple[NDArray[np.uint8], NDArray[np.int64], dict[int, str]]


def _covering(final: Path, ids: Sequence[str], stamps: Sequence[Stamp]) -> _Decoded | None:
    """The pixels of a finished set that has all these files unchanged, the row of each, and what was unreadable."""
    others = sorted(final.parent.glob("*/index.json"), key=lambda path: path.parent != final)
    for file in (path for path in others if path.parent.suffix != PARTIAL):
        index: dict[str, Any] = json.loads(file.read_text())
        rows = {image: row for row, image in enumerate(index["images"])}
        if all(index["images"].get(image) == [*stamp] for image, stamp in zip(ids, stamps, strict=True)):
            pixels = np.load(file.with_name("pixels.npy"), mmap_mode="r")
            unreadable = index["unreadable"]
            reasons = {n: unreadable[image] for n, image in enumerate(ids) if image in unreadable}
            return pixels, np.array([rows[image] for image in ids], dtype=np.int64), reasons
    return None


def _make(
    final: Path,
    ids: Sequence[str],
    paths: Sequence[Path],
    stamps: Sequence[Stamp],
    transform: Transform,
    workers: int,
    keep: bool,
    progress: bool,
) -> _Decoded:
    folder = final.with_name(final.name + PARTIAL)
    label = final.parent.parent.name
    _lay_out(folder, label, (len(ids), transform.height, transform.width, 3))
    reasons = decode_all(folder, paths, transform, workers, label if progress else None)
    if len(reasons) == len(ids):
        shutil.rmtree(folder)
        raise GfnetBenchError(f"{label}: none of {len(ids)} images can be read; the first, {paths[0]}: {reasons[0]}")
    rows = np.arange(len(ids), dtype=np.int64)
    if not keep:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        # What is mapped stays readable, and its room is free once nobody uses it, however this process ends.
        shutil.rmtree(folder)
        return pixels, rows, reasons
    index = {
        "transform": transform.to_json(),
        "versions": versions(),
        "images": dict(zip(ids, stamps, strict=True)),
        "unreadable": {ids[row]: reason for row, reason in reasons.items()},
    }
    with (folder / "index.json").open("w") as file:
        json.dump(index, file)
        file.flush()
        os.fsync(file.fileno())
    folder.rename(final)
    (final / "done.npy").unlink()
    return np.load(final / "pixels.npy", mmap_mode="r"), rows, reasons


def _lay_out(folder: Path, label: str, shape: tuple[int, int, int, int]) -> None:
    """Make the files of a set, all zeros; or leave those of a run that was killed."""
    if (folder / "done.npy").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    download.make_room(folder.parent, int(np.prod(shape)), f"{label}: {_WHAT}")
    folder.mkdir()
    np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape).flush()
    np.save(folder / "laid_out.npy", np.zeros(shape[0], dtype=bool))
    (folder / "laid_out.npy").rename(folder / "done.npy")


def _report(files: str, ids: Sequence[str], reasons: dict[int, str]) -> None:
    if reasons:
        named = "; ".join(f"{ids[row]} ({reason})" for row, reason in list(reasons.items())[:5])
        more = f" and {len(reasons) - 5} more, all in the record" if len(reasons) > 5 else ""
        print(f"{files}: {len(reasons)} of {len(ids)} images left out as unreadable: {named}{more}", file=sys.stderr)
