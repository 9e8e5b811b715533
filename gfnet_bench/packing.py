"""Loose records into one packed file, and out of it again. Standard library only."""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from gfnet_bench.errors import GfnetBenchError, acquit
from gfnet_bench.files import alone_in, shown, write_pieces, write_together
from gfnet_bench.leases import Leases
from gfnet_bench.packed_records import FILE, Packed, PackedRecords, lines, order
from gfnet_bench.schemas import Unfit
from gfnet_bench.store import Store, arrays_of, read_record, reason, record_files, rename_aside, stamps, text_of


class Moved(NamedTuple):
    """How many records were packed or unpacked, and a sentence about whatever stayed as it was."""

    records: int
    problems: list[str]


def pack(store: Store) -> Moved:
    """Put every whole record into one file; those of the folder are removed once that is on disk.

    What is no whole record stays where it is, as do empty folders, to which another command may be about to write.

    Raises:
        GfnetBenchError: if another packs or unpacks, or the packed file that is there is not whole.
        OSError: if the folder cannot be read or written to.
    """
    folder, problems = store.folder, list[str]()
    with _alone(folder), contextlib.ExitStack() as stack:
        before = store.open_packed(problems)
        if before is not None:
            stack.enter_context(before)
        loose = {path.relative_to(folder): path for path in record_files(folder / "records", problems)}
        if problems:
            raise GfnetBenchError(f"{problems[0]} Nothing was packed.")
        taken: list[tuple[Path, Any]] = []
        if loose:
            write_pieces(folder / FILE, lines(_to_pack(folder, before, loose, taken, problems)))
        for path, stamp in taken:
            with contextlib.suppress(FileNotFoundError), alone_in(path.parent):
                if stamps(path) == stamp:  # else it was measured again meanwhile, and counts
                    path.unlink()
                    path.with_suffix(".npz").unlink(missing_ok=True)
    return Moved(len(taken), problems)


def unpack(store: Store) -> Moved:
    """Make files of packed records that have none; the packed file is removed, set aside if not all of it is whole.

    Raises:
        GfnetBenchError: if another packs or unpacks, or there is no packed file that can be read.
        OSError: if the folder cannot be written to.
    """
    number, problems = 0, list[str]()
    with _alone(store.folder):
        file = store.open_packed(problems)
        if file is None:
            found = problems or [f"{shown(store.folder / FILE)}: expected packed records, found no file."]
            raise GfnetBenchError(f"{found[0]} Nothing was unpacked.")
        with file:
            for one in file.read(problems):
                record = store.checked_packed(one, arrays=False)
                if isinstance(record, str):
                    problems.append(record)
                    continue
                path = store.folder / record.cell.path
                if not os.path.lexists(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_together({**arrays_of(path, one), path: text_of(record)})
                    number += 1
        if problems:
            rename_aside(file.path)
        else:
            file.path.unlink()
    return Moved(number, problems)


def _to_pack(
    folder: Path,
    before: PackedRecords | None,
    loose: Mapping[Path, Path],
    taken: list[tuple[Path, Any]],
    problems: list[str],
) -> Iterator[Packed]:
    """What the packed file is going to hold; `taken` are the files in it that were loose."""
    damage: list[str] = []
    old = iter(()) if before is None else before.read(damage)
    kept: Packed | None = None
    for path, one in heapq.merge(
        ((path, None) for path in loose),
        ((Path(one.path), one) for one in old),
        key=lambda entry: (order(entry[0]), entry[1] is None),  # the packed one first, which the loose replaces
    ):
        if kept is not None and order(kept.path) != order(path):
            yield kept
            kept = None
        kept = one or _packable(folder, loose[path], taken, problems) or kept
    if kept is not None:
        yield kept
    if damage:
        raise GfnetBenchError(
            f"{damage[0]} Nothing was packed: `gfnet-bench pack --unpack {shown(folder)}` takes out what is whole."
        )


def _packable(folder: Path, path: Path, taken: list[tuple[Path, Any]], problems: list[str]) -> Packed | None:
    """A loose record as a line; None where it is not whole, or written to at this moment."""
    stamp, beside = stamps(path), path.with_suffix(".npz")
    try:
        record = read_record(folder, path, True)
        if record.artifacts not in ((), (beside.name,)):
            raise Unfit(f"found files of other names beside it: {', '.join(record.artifacts)}")
        arrays = beside.read_bytes() if record.artifacts else None
    except (OSError, Unfit) as error:
        acquit(error)
        problems.append(f"{shown(path)}: expected a record, {reason(error)}; it stays as it is.")
        return None
    if stamps(path) != stamp:
        return None
    taken.append((path, stamp))
    return Packed(PurePosixPath(record.cell.path), record.to_json(), arrays)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from packing and unpacking: of two files the second would lack what only the first holds."""
    if not folder.is_dir():
        raise GfnetBenchError(f"expected a folder of results, found none at {shown(folder)}")
    with Leases(folder) as leases:
        if not leases.take("pack", "packing records"):
            raise GfnetBenchError(
                f"{shown(folder)}: expected to be alone, found another command that packs or unpacks; "
                "run the same command again once it has ended"
            )
        yield
