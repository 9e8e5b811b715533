"""A checkpoint on disk: one file, or an index that names the shards beside it."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from gfnet_bench.downloads.checksum import sha256_of
from gfnet_bench.errors import GfnetBenchError, MissingError, acquit

_LARGEST_INDEX = 64 << 20  # bytes; the names of a million tensors


def check_file(path: Path) -> None:
    """Make sure that `path` is a file which can be read.

    Raises:
        MissingError: if there is nothing of that name.
        GfnetBenchError: if it is something else than a file, or may not be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return
        inside = sorted(entry.name for entry in path.iterdir()) if stat.S_ISDIR(mode) else []
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(f"expected a checkpoint at {path}, found no such file; check the path.") from error
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        acquit(error)
        reason = error.strerror if isinstance(error, OSError) else error
        raise GfnetBenchError(f"{path}: expected a checkpoint, found what cannot be read ({reason}).") from error
    if stat.S_ISDIR(mode):
        likely = [name for name in inside if name.endswith((".index.json", ".safetensors", ".pth", ".pt", ".bin"))]
        advice = f"pass the file in it, such as {path / likely[0]}" if likely else "pass the file itself"
        raise GfnetBenchError(f"{path}: expected a checkpoint, found a folder; {advice}.")
    raise GfnetBenchError(f"{path}: expected a checkpoint, found a pipe, a socket or a device; pass a regular file.")


def shards_of(path: Path) -> dict[str, Path]:
    """Where each tensor of a sharded checkpoint lies, by name; empty if `path` is no index of shards.

    Raises:
        MissingError: if a shard is missing.
        GfnetBenchError: as `check_file`, or if a shard would lie elsewhere than beside its index.
    """
    check_file(path)
    with path.open("rb") as file:
        if not file.read(64).lstrip().startswith(b"{") or path.stat().st_size > _LARGEST_INDEX:
            return {}
    try:
        content = json.loads(path.read_bytes())
        files: dict[str, str] = dict(content["weight_map"])
    except (ValueError, TypeError, KeyError, RecursionError):  # not JSON, or of something else
        return {}
    odd = [name for name in files.values() if not isinstance(name, str) or not _is_plain(name)]
    if odd:
        raise GfnetBenchError(f"{path}: expected the names of shards beside this index, found {odd[0]!r}.")
    missing = sorted({name for name in files.values() if not (path.parent / name).is_file()})
    if missing:
        raise MissingError(
            f"{path}: expected its {len(set(files.values()))} shards beside it, found no {missing[0]}"
            f"{f' and {len(missing) - 1} others' if missing[1:] else ''}; fetch them into the same folder."
        )
    return {name: path.parent / file for name, file in files.items()}


def _is_plain(name: str) -> bool:
    """Whether a name stays in its folder, on any operating system."""
    return name not in ("", "..") and PurePosixPath(name).name == PureWindowsPath(name).name == name


def sha256_of_weights(path: Path) -> str:
    """What tells a checkpoint from any other: the sha256 of its file; of an index and its shards, that of theirs.

    Raises:
        MissingError, GfnetBenchError: as `shards_of`.
    """
    shards = sorted(set(shards_of(path).values()))
    if not shards:
        return sha256_of(path)
    lines = [f"{sha256_of(file)}  {file.name}\n" for file in (path, *shards)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
