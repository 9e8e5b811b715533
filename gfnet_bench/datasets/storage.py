"""What decoded pixels take on disk, and giving back what is of no more use."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gfnet_bench.datasets.image_files import reason
from gfnet_bench.datasets.pixel_file import DamagedError
from gfnet_bench.datasets.prepared import PARTIAL, Stamp, libraries, read_index, remove
from gfnet_bench.downloads import fetching
from gfnet_bench.errors import GfnetBenchError

NAME = re.compile(r"\d+-[0-9a-z]+(\.partial)?")
IDLE_S = 3600.0  # an unfinished set that nobody has written to for so long is nobody's


class Stored(NamedTuple):
    """One set of decoded pixels.

    Attributes:
        folder: where it is.
        files: what is in it, `imagenet`.
        images: how many.
        bytes: on disk.
        state: `ready`; `covered` by a larger set; `outdated`, made by other library versions; `unfinished`; `damaged`.
    """

    folder: Path
    files: str
    images: int
    bytes: int
    state: str


def stored(cache_dir: Path | None = None) -> list[Stored]:
    """All sets of decoded pixels, by name, the larger ones first."""
    home = (cache_dir or fetching.cache_dir()) / "images"
    sets = [_describe(folder) for folder in sorted(home.glob("*/*/*-*")) if NAME.fullmatch(folder.name)]
    sets.sort(key=lambda one: (one.files, -one.images))
    kept: dict[Path, list[dict[str, Stamp]]] = {}
    for position, one in enumerate(sets):
        if one.state != "ready":
            continue
        try:
            images = read_index(one.folder)
        except DamagedError:
            sets[position] = one._replace(state="damaged")
            continue
        larger = kept.setdefault(one.folder.parent, [])
        if any(images.items() <= others.items() for others in larger):
            sets[position] = one._replace(state="covered")
        larger.append(images)
    return sets


def _describe(folder: Path) -> Stored:
    state = "ready"
    if folder.name.endswith(PARTIAL):
        state = "unfinished"
    elif not folder.parent.name.endswith(libraries()):
        state = "outdated"
    images = int(folder.name.partition("-")[0])
    on_disk = sum(status.st_blocks * 512 for status in _statuses(folder))
    return Stored(folder, folder.parent.parent.name, images, on_disk, state)


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    """Of the files in a folder that is perhaps none, and that another process may remove meanwhile."""
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                yield file.lstat()


def prune(cache_dir: Path | None = None) -> list[Stored]:
    """Remove the sets that no run will read again, and say which they were."""
    useless = [
        one
        for one in stored(cache_dir)
        if one.state in ("covered", "outdated", "damaged")
        or (one.state == "unfinished" and time.time() - _last_change(one.folder) > IDLE_S)
    ]
    for one in useless:
        try:
            remove(one.folder)
        except OSError as error:
            raise GfnetBenchError(f"cannot remove {one.folder} ({reason(error)}); remove it by hand") from None
    return useless


def _last_change(folder: Path) -> float:
    return max([status.st_mtime for status in _statuses(folder)] or [folder.lstat().st_mtime])
