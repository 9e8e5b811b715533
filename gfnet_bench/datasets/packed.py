"""Data sets that lie there packed: in tar or zip files, the shards of webdataset, or the parquet files of the hub."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gfnet_bench.bars import tqdm
from gfnet_bench.datasets.classes import AGREES, agreement, file_number, wnids
from gfnet_bench.datasets.image_files import BadFile, printable, read_file, reason
from gfnet_bench.datasets.layouts import IMAGE_SUFFIXES
from gfnet_bench.downloads.archives import unpack
from gfnet_bench.downloads.fetching import alone, make_room
from gfnet_bench.errors import GfnetBenchError, MissingError

SORTED = "val"  # the folder that shards and tables are sorted into, beside them

_SHARD = re.compile(r"[-_.]\d\d+\.tar$")  # imagenet1k-validation-63.tar


class _Sample(NamedTuple):
    """An image that has its class index beside it."""

    name: str
    label: int
    content: bytes


def unpack_beside(archives: Mapping[Path, str], *, progress: bool = True) -> list[Path]:
    """Unpack archives, each into a folder beside it; one whose folder is there already is passed over.

    Shards and parquet files have a class index beside each image; they become class folders in `val`.

    Args:
        archives: of one data set, and the name of the folder of each.
        progress: show bars on stderr.

    Returns:
        The folders that were made.

    Raises:
        MissingError: if a library is needed that is not installed.
        GfnetBenchError: if an archive is damaged, holds what it should not, or does not fit on the disk.
    """
    made = []
    for place in dict.fromkeys(archive.parent for archive in archives):
        here = [archive for archive in archives if archive.parent == place]
        tables = [file for file in here if file.suffix.lower() == ".parquet"]
        shards = [file for file in here if _SHARD.search(file.name)]
        if (tables or shards) and not (place / SORTED).exists():
            samples = itertools.chain(_of_tables(tables), *(_of_shard(shard, progress) for shard in shards))
            made.append(_sorted_by_class(samples, place / SORTED, progress))
        for archive in here:
            folder = place / archives[archive]
            if archive not in (*tables, *shards) and not folder.exists():
                made.append(_whole(archive, folder, progress))
    return made


def _whole(archive: Path, folder: Path, progress: bool) -> Path:
    """Unpack into a folder that has its name once all is in it."""
    work = folder.with_name(f".{folder.name}.unpacked")
    with alone(folder):
        try:
            if not folder.exists():  # another process may have made it meanwhile
                unpack(archive, work, progress=progress)
                work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def _of_shard(shard: Path, progress: bool) -> Iterator[_Sample]:
    """The pairs in a shard: X.jpg and X.cls, which holds a number."""
    work = shard.with_name(f".{shard.name}.samples")
    try:
        unpack(shard, work, progress=progress)
        for file in sorted(file for file in work.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES):
            try:
                yield _Sample(file.name, int(read_file(file.with_suffix(".cls"))[:9]), read_file(file))
            except (BadFile, ValueError) as error:
                raise GfnetBenchError(
                    f"{printable(shard)}: expected a class index in a .cls beside {printable(file.name)} ({error})"
                ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _of_tables(files: Sequence[Path]) -> Iterator[_Sample]:
    """The rows of the hub's parquet files: the bytes and path of an image, and its label."""
    if not files:
        return
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingError(
            f"{printable(files[0])} is read through pyarrow, which is not installed: `pip install pyarrow`, then run "
            "the same command again"
        ) from None
    for file in files:
        try:
            for batch in ParquetFile(file).iter_batches(64, columns=["image", "label"]):
                for row in batch.to_pylist():
                    name = PurePosixPath(row["image"]["path"]).name
                    yield _Sample(name, int(row["label"]), bytes(row["image"]["bytes"]))
        except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise GfnetBenchError(
                f"{printable(file)}: expected columns image and label as the hub has them, found another or a damaged "
                f"file ({type(error).__name__})"
            ) from None


def _sorted_by_class(samples: Iterable[_Sample], folder: Path, progress: bool) -> Path:
    """Write images into class folders, once their names have proven in which order the class indices are."""
    work = folder.with_name(f".{folder.name}.unpacked")
    make_room(folder.parent, 0, folder.name)
    labels: dict[int, int] = {}
    try:
        with alone(folder):
            shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
            for name, label, content in tqdm(samples, f"sorting into {folder.name}", unit="img", disable=not progress):
                number = file_number(name)
                if number is None or not 0 <= label < 1000:
                    raise GfnetBenchError(
                        f"{folder}: expected official names (ILSVRC2012_val_00000293.JPEG) and labels from 0 to 999, "
                        f"found {printable(name)} with label {label}"
                    )
                labels[number] = label
                place = work / wnids()[label]
                place.mkdir(parents=True, exist_ok=True)
                (place / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(content)
            share, known = agreement(list(labels), labels.values())
            if share < AGREES:
                raise GfnetBenchError(
                    f"{folder}: expected labels in the order of the sorted WordNet ids, found that {share:.0%} of "
                    f"{known} agree with the ReaL labels (right ones: 90%)"
                )
            work.rename(folder)
    except OSError as error:
        raise GfnetBenchError(f"cannot unpack into {folder} ({reason(error)}); free some space") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder
