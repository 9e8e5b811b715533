"""What a corrupted folder says of itself: how its files were made, so that no others are ever put among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gfnet_bench.datasets.image_files import BadFile, read_file
from gfnet_bench.datasets.imagenet_c import MANIFEST
from gfnet_bench.errors import GfnetBenchError

AS_IN_SOURCE = "as in SRC"  # where files are, in folders that were made before there was another way

Settings = dict[str, Any]


def check(folder: Path, settings: Settings) -> Settings:
    """What the manifest of a folder says, or would say of a new one.

    Args:
        folder: there or not.
        settings: what decides the pixels of its files and where they are.

    Raises:
        GfnetBenchError: if the folder was made with other settings, or not by us.
    """
    file = folder / MANIFEST
    if not file.is_symlink() and not file.exists():
        if folder.exists() and not (folder.is_dir() and _is_empty(folder)):
            raise GfnetBenchError(
                f"{folder}: expected an empty folder, or one that `gfnet-bench corrupt` has made, found another one; "
                "choose another DST"
            )
        return {**settings, "made_with": []}
    found = _read(file, settings)
    other = [key for key, value in settings.items() if found[key] != value]
    if other:
        was, now = (", ".join(f"{key} {made[key]}" for key in other) for made in (found, settings))
        raise GfnetBenchError(f"{folder}: made with {was}, but now it is {now}; choose another DST")
    return found


def note(folder: Path, settings: Settings, made_with: dict[str, str]) -> None:
    """Write down the settings, and what the files are made with: pixels may differ by a level between devices.

    Raises:
        GfnetBenchError: as `check`.
        OSError: if it cannot be written.
    """
    manifest = check(folder, settings)
    if made_with not in manifest["made_with"]:
        manifest["made_with"].append(made_with)
        part = folder / f".{MANIFEST}.partial"
        part.write_text(json.dumps(manifest, indent=1) + "\n")
        part.replace(folder / MANIFEST)


def _read(file: Path, settings: Settings) -> Settings:
    try:
        found = json.loads(read_file(file))
    except (BadFile, ValueError, RecursionError) as error:
        raise _unlike(file, str(error)) from None
    if isinstance(found, dict) and isinstance(found.get("made_with"), list):
        found.setdefault("layout", AS_IN_SOURCE)
        if found.keys() >= settings.keys():
            return found
    raise _unlike(file, str(found)[:80])


def _unlike(file: Path, found: str) -> GfnetBenchError:
    return GfnetBenchError(f"{file}: expected the settings of a corrupted folder, found {found}; choose another DST")


def _is_empty(folder: Path) -> bool:
    """Whether it has nothing but hidden files, such as a lock."""
    return all(file.name.startswith(".") for file in folder.iterdir())
