"""What decoded pixels take on disk, and giving back what is of no more use."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from gfnet_bench import download
from gfnet_bench.datasets.prepared import PARTIAL, libraries

IDLE_S = 3600.0  # an unfinished set that nobody has written to for so long is nobody's


class Stored(NamedTuple):
    """One set of decoded pixels.

    Attributes:
        folder: where it is.
        files: what is in it, `imagenet`.
        images: how many.
        bytes: on disk.
        state: `ready`; `covered` by a larger set; `outdated`, made by other library versions; `unfinished`.
    """

    folder: Path
    files: str
    images: int
    bytes: int
    state: str


def stored(cache_dir: Path | None = None) -> list[Stored]:
    """All sets of decoded pixels, by name, the larger ones first."""
    home = (cache_dir or download.cache_dir()) / "images"
    sets = [_describe(pixels.parent) for pixels in sorted(home.glob("*/*/*/pixels.npy"))]
    sets.sort(key=lambda one: (one.files, -one.images))
    kept: dict[Path, list[dict[str, object]]] = {}
    for position, one in enumerate(sets):
        if one.state != "ready":
            continue
        images = json.loads((one.folder / "index.json").read_text())["images"]
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
    on_disk = sum(file.stat().st_blocks * 512 for file in folder.iterdir())
    return Stored(folder, folder.parent.parent.name, images, on_disk, state)


def prune(cache_dir: Path | None = None) -> list[Stored]:
    """Remove the sets that no run will read again, and say which they were."""
    useless = [
        one
        for one in stored(cache_dir)
        if one.state in ("covered", "outdated")
        or (one.state == "unfinished" and time.time() - _last_change(one.folder) > IDLE_S)
    ]
    for one in useless:
        shutil.rmtree(one.folder)
    return useless


def _last_change(folder: Path) -> float:
    return max(file.stat().st_mtime for file in folder.iterdir())
