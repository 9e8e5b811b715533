"""Many files to pixels: processes write straight into the file of pixels, and a row that is whole is marked."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gfnet_bench.bars import tqdm
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.decode import check, decode, read_image
from gfnet_bench.datasets.image_files import BadFile, read_file
from gfnet_bench.datasets.pixel_file import PixelFile, Shape
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.processes import pool

CHUNK = 32  # images a process is handed at a time
WORTH_A_PROCESS = 256  # a process needs about as long to start as it takes to decode so many images

Reasons = dict[int, str]  # row -> why it has no pixels


class Job(NamedTuple):
    """A row to be filled: with the pixels of which file, and what `PixelFile.write` is told of it."""

    row: int
    path: Path
    origin: int


class _Done(NamedTuple):
    """What became of a chunk of jobs: the checksums of the rows that were filled, and why others were not."""

    checksums: dict[int, int]
    reasons: Reasons


def decode_all(file: PixelFile, jobs: Sequence[Job], transform: Transform, workers: int, title: str | None) -> Reasons:
    """Fill rows of a file of pixels, and mark those that have been filled.

    Args:
        file: where the pixels go.
        jobs: from where.
        transform: resize and crop.
        workers: processes; 0 decodes in this one.
        title: of the bar on stderr; None for no bar.

    Returns:
        Why some rows have no pixels; these are not marked, so the next run tries them again.

    Raises:
        OSError: if the pixels cannot be written.
        GfnetBenchError: if memory runs out, or a process dies. What has been decoded is kept.
    """
    chunks = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    workers = min(workers, len(jobs) // WORTH_A_PROCESS)
    results: Generator[_Done, None, None] = (
        _in_processes(file, chunks, transform, workers)
        if workers
        else (_decode_rows(file, chunk, transform) for chunk in chunks)
    )
    reasons: Reasons = {}
    bar = tqdm(total=len(file), initial=len(file) - len(jobs), desc=title, unit="img", disable=title is None)
    try:
        with bar, contextlib.closing(results):
            for done in results:
                file.mark(done.checksums)
                reasons.update(done.reasons)
                bar.update(len(done.checksums) + len(done.reasons))
    except (MemoryError, BrokenProcessPool):
        raise GfnetBenchError(
            "memory ran out, or a process died, while images were decoded; run again with fewer --workers, what has "
            "been decoded is kept"
        ) from None
    return dict(sorted(reasons.items()))


def _decode_rows(file: PixelFile, jobs: Sequence[Job], transform: Transform) -> _Done:
    done = _Done({}, {})
    for row, path, origin in jobs:
        try:
            pixels = read_image(path, transform)
        except BadFile as error:
            done.reasons[row] = str(error)
        else:
            done.checksums[row] = file.write(row, pixels, origin)
    return done


def _in_processes(
    file: PixelFile, chunks: Sequence[Sequence[Job]], transform: Transform, workers: int
) -> Generator[_Done, None, None]:
    with pool(workers, _start_worker, file.folder, file.shape, transform) as executor:
        for job in as_completed([executor.submit(_decode_in_worker, chunk) for chunk in chunks]):
            yield job.result()


_open: tuple[PixelFile, Transform]


def _start_worker(folder: Path, shape: Shape, transform: Transform) -> None:
    global _open
    if transform.resize is not None:
        import torch

        torch.set_num_threads(1)
    _open = PixelFile(folder, shape), transform


def _decode_in_worker(jobs: Sequence[Job]) -> _Done:
    file, transform = _open
    return _decode_rows(file, jobs, transform)


def defects(paths: Sequence[Path], transform: Transform, workers: int) -> Iterator[tuple[Path, str]]:
    """The images that cannot be read, each with the reason; a bar on stderr counts all of them."""
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    workers = min(workers, len(paths) // WORTH_A_PROCESS)
    with pool(workers) if workers else contextlib.nullcontext() as executor:
        run = executor.map if executor else map
        results = run(partial(_defects, transform), chunks)
        for found in tqdm(results, total=len(chunks), desc="decoding", unit=f" x {CHUNK} img"):
            yield from found


def _defects(transform: Transform, paths: Sequence[Path]) -> list[tuple[Path, str]]:
    found = []
    for path in paths:
        try:
            data = read_file(path)
            check(data, transform)
            decode(data)
        except BadFile as error:
            found.append((path, str(error)))
    return found
