"""Many files to pixels: processes write straight into a mapped file, and what is on disk is marked as done."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.decode import BadImage, decode, read_image
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.processes import pool

CHUNK = 32  # images a process is handed at a time
SYNC = 2048  # images after which pixels are forced to disk and marked
WORTH_A_PROCESS = 256  # a process needs about as long to start as it takes to decode so many images

Reasons = dict[int, str]  # row -> why it has no pixels
Results = Generator[tuple[list[int], Reasons], None, None]  # of one chunk after another, in any order


def decode_all(folder: Path, paths: Sequence[Path], transform: Transform, workers: int, title: str | None) -> Reasons:
    """Fill in `pixels.npy` in a folder, as far as `done.npy` does not say that it has been.

    Args:
        folder: holds both, with a row per file.
        paths: the files.
        transform: resize and crop.
        workers: processes; 0 decodes in this one.
        title: of the bar on stderr; None for no bar.

    Returns:
        Why some rows have no pixels; these are not marked, so the next run tries them again.

    Raises:
        GfnetBenchError: if a file cannot be read, or a process dies. What has been decoded is kept.
    """
    pixels = np.load(folder / "pixels.npy", mmap_mode="r+")
    done = np.load(folder / "done.npy", mmap_mode="r+")
    todo = np.flatnonzero(~done).tolist()
    chunks = [todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK)]
    reasons: Reasons = {}
    decoded: list[int] = []

    def mark() -> None:
        pixels.flush()  # first the pixels, then the mark: the machine may stop in between
        done[decoded] = True
        done.flush()
        decoded.clear()

    workers = min(workers, len(todo) // WORTH_A_PROCESS)
    results: Results = (
        _in_processes(folder / "pixels.npy", chunks, paths, transform, workers)
        if workers
        else ((chunk, _decode_rows(pixels, chunk, [paths[r] for r in chunk], transform)) for chunk in chunks)
    )
    bar = tqdm(total=len(paths), initial=len(paths) - len(todo), desc=title, unit="img", disable=title is None)
    with bar, contextlib.closing(results):
        try:
            for chunk, unreadable in results:
                reasons.update(unreadable)
                decoded += [row for row in chunk if row not in unreadable]
                bar.update(len(chunk))
                if len(decoded) >= SYNC:
                    mark()
        finally:
            mark()
    return dict(sorted(reasons.items()))


def _decode_rows(
    pixels: NDArray[np.uint8], rows: Sequence[int], paths: Sequence[Path], transform: Transform
) -> Reasons:
    reasons = {}
    for row, path in zip(rows, paths, strict=True):
        try:
            pixels[row] = read_image(path, transform)
        except BadImage as error:
            reasons[row] = str(error)
        except OSError as error:
            raise GfnetBenchError(f"cannot read {path} ({error.strerror or error}); run again once it can be") from None
    return reasons


def _in_processes(
    file: Path, chunks: Sequence[list[int]], paths: Sequence[Path], transform: Transform, workers: int
) -> Results:
    executor = pool(workers, _start_worker, file, transform)
    try:
        jobs = {executor.submit(_decode_in_worker, chunk, [paths[row] for row in chunk]): chunk for chunk in chunks}
        for job in as_completed(jobs):
            yield jobs[job], job.result()
    except BrokenProcessPool:
        raise GfnetBenchError(
            "a process that decodes images died, which memory that runs out may cause; run again with fewer --workers, "
            "what has been decoded is kept"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


_open: tuple[NDArray[np.uint8], Transform]


def _start_worker(file: Path, transform: Transform) -> None:
    global _open
    if transform.resize is not None:
        import torch

        torch.set_num_threads(1)
    _open = np.load(file, mmap_mode="r+"), transform


def _decode_in_worker(rows: Sequence[int], paths: Sequence[Path]) -> Reasons:
    pixels, transform = _open
    return _decode_rows(pixels, rows, paths, transform)


def defects(paths: Sequence[Path], workers: int) -> Iterator[tuple[Path, str]]:
    """The images that cannot be decoded, each with the reason; a bar on stderr counts all of them."""
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    workers = min(workers, len(paths) // WORTH_A_PROCESS)
    with contextlib.ExitStack() as stack:
        results: Iterator[list[tuple[Path, str]]] = map(_defects, chunks)
        if workers:
            results = stack.enter_context(pool(workers)).map(_defects, chunks)
        for found in tqdm(results, total=len(chunks), desc="decoding", unit=f" x {CHUNK} img"):
            yield from found


def _defects(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    found = []
    for path in paths:
        try:
            decode(path.read_bytes())
        except (BadImage, OSError) as error:
            found.append((path, str(error)))
    return found
