"""A folder of images written again, corrupted: `DST/<corruption>/<severity>/<the source's own subfolders>/<name>`.

Validation images of ImageNet go to class folders named by WordNet id instead, as ImageNet-C has them, however they lie
in the source. A file appears under its name once it is whole, and its pixels depend on the settings, its image and the
path of that alone: what a run that was stopped has left is right, and the next run makes the rest. The random numbers
are others than those of `imagenet_c_generated` at the same seed, which go by the ids of images; both are of one law.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gfnet_bench import __version__
from gfnet_bench.bars import tqdm
from gfnet_bench.catalog import MCE_NAMES
from gfnet_bench.corrupted_folder import manifest
from gfnet_bench.corruptions.base import RECIPES, picture
from gfnet_bench.corruptions.batch import SMALLEST, check_severity, uncoded
from gfnet_bench.corruptions.textures import FILES, texture_file
from gfnet_bench.datasets.decode import BadImage, check_size, decode
from gfnet_bench.datasets.image_files import BadFile, printable, read_file
from gfnet_bench.datasets.image_tree import class_folders_of_imagenet, images_below
from gfnet_bench.datasets.imagenet import BY_WNID
from gfnet_bench.datasets.imagenet_c import MANIFEST
from gfnet_bench.datasets.layouts import IMAGE_SUFFIXES
from gfnet_bench.datasets.prepared import versions
from gfnet_bench.downloads.fetching import alone
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError, out_of_memory
from gfnet_bench.perturbations import corrupted
from gfnet_bench.processes import pool
from gfnet_bench.randomness import image_seeds

LONGEST_NAME = 255  # bytes, of a file
LARGEST = 65_500  # pixels a side, of a JPEG file as libjpeg writes it
WORTH_PROCESSES = 1000  # files; fewer are written before processes have started

# What the script of each published set does to an image before it corrupts it; `imagecorruptions` does nothing.
TRANSFORMS = {
    "imagenet_c": "shorter side to 256, bilinear, then the centre of 224 x 224",
    "cifar_c": "to 32 x 32, bilinear",
    "tiny_imagenet_c": "to 64 x 64, bilinear",
}
UNCHANGED = "as it is"


class Cell(NamedTuple):
    """One corruption at one severity, which is one folder."""

    corruption: str
    severity: int

    @property
    def folder(self) -> Path:
        """Where its files are, in the target."""
        return Path(self.corruption, str(self.severity))


def cells_of(corruptions: Sequence[str], severities: Sequence[int] | None = None) -> list[Cell]:
    """All of these corruptions at all of these severities, as `perturbations.corrupted` reads them.

    Raises:
        UsageError: if a name or severity is unknown, or a corruption has a recipe of its own.
    """
    for severity in severities or ():
        check_severity(severity)
    found = [p for text in corruptions for p in corrupted(text, severities)]
    if odd := next((p for p in found if p.recipe), None):
        raise UsageError(f"{odd.spelling}: expected one recipe for the whole folder, which --recipe states")
    return list(dict.fromkeys(Cell(p.name, p.severity) for p in found))


class Job(NamedTuple):
    """What there is to do of one image.

    Attributes:
        image: its path in the source.
        name: the path of what is made of it, in every cell.
        cells: those it is missing from.
    """

    image: str
    name: str
    cells: list[Cell]


class Classes(NamedTuple):
    """The class folders that images of ImageNet go to.

    Attributes:
        of: image -> WordNet id; empty where images keep the folders they are in.
        unknown: why validation images of ImageNet have to keep them, so that --dataset imagenet_c will not read them.
    """

    of: Mapping[str, str]
    unknown: str | None = None


Reasons = dict[str, str]  # image -> why it could not be corrupted


class Outcome(NamedTuple):
    """What a run did: the number of files it wrote, and the images it left out, each with the reason."""

    written: int
    bad: Reasons


@dataclass(frozen=True)
class Folder:
    """A corrupted folder, there or yet to be made.

    Attributes:
        source: the images.
        target: where the corrupted ones go.
        recipe: one of `corruptions.RECIPES`.
        seed: changes every random number.
        resize: whether images are first brought to the size of the set that the recipe makes.
    """

    source: Path
    target: Path
    recipe: str = "imagenet_c"
    seed: int = 0
    resize: bool = True

    @property
    def transform(self) -> str:
        """What happens to an image before it is corrupted, in words."""
        return TRANSFORMS.get(self.recipe, UNCHANGED) if self.resize else UNCHANGED

    @cached_property
    def classes(self) -> Classes:
        """See `Classes`."""
        try:
            return Classes(class_folders_of_imagenet(self.source))
        except GfnetBenchError as error:
            return Classes({}, str(error))

    @property
    def settings(self) -> manifest.Settings:
        """What decides the files and where they are."""
        return {
            "source": os.path.realpath(self.source),
            "recipe": self.recipe,
            "seed": self.seed,
            "transform": self.transform,
            "layout": BY_WNID if self.classes.of else manifest.AS_IN_SOURCE,
        }

    def name(self, image: str) -> str:
        """The path of a corrupted image in its cell: JPEG where the recipe ends in one, else PNG, which loses nothing.

        A file name that fits is kept.
        """
        path = PurePosixPath(image)
        if image in self.classes.of:
            path = PurePosixPath(self.classes.of[image], path.name)
        suffixes = (".jpeg", ".jpg") if RECIPES[self.recipe].jpeg_quality else (".png",)
        return str(path if path.suffix.lower() in suffixes else path.with_suffix(suffixes[0].replace("jpeg", "JPEG")))

    def todo(self, cells: Sequence[Cell]) -> list[Job]:
        """All images, each with those of the cells that it is missing from, or in which it is older than the image.

        Raises:
            UsageError: if the target lies in the source.
            MissingError: if the source has no images.
            GfnetBenchError: if two images would get one name, or the target holds something else.
        """
        if Path(os.path.realpath(self.target)).is_relative_to(os.path.realpath(self.source)):
            raise UsageError(f"expected DST outside of SRC, found {self.target} in {self.source}; choose another")
        changed = _images(self.source)
        jobs = [Job(image, self.name(image), []) for image in changed]
        _check_names(self.source, jobs)
        manifest.check(self.target, self.settings)
        for cell in cells:
            written = _whole_files(self.target / cell.folder)
            for job in jobs:
                if written.get(job.name, -1) < changed[job.image]:
                    job.cells.append(cell)
        return jobs


def corrupt_folder(
    folder: Folder,
    corruptions: Sequence[str] = MCE_NAMES,
    severities: Sequence[int] | None = None,
    *,
    device: str = "cpu",
    batch_size: int = 8,
    workers: int = 0,
    progress: bool = True,
) -> Outcome:
    """Write what is missing of a corrupted folder. Bad images are named on stderr and left out.

    Args:
        folder: from where to where, and how.
        corruptions: see `cells_of`.
        severities: 1 to 5; None for all, or what the corruptions state.
        device: where to corrupt. On a CPU each worker does it, on another device one at a time.
        batch_size: images a worker takes at a time; it changes no pixel.
        workers: decode, corrupt and write side by side; 0 does all of it here.
        progress: show a bar on stderr.

    Raises:
        GfnetBenchError: as `cells_of` and `Folder.todo` do, or if files cannot be written, or memory runs out. What
            has been written is kept.
        MissingError: if a texture of `frost` cannot be had.
    """
    cells = cells_of(corruptions, severities)
    folder.todo([])  # what cannot be done at all leaves nothing behind
    if "frost" in {cell.corruption for cell in cells}:
        for texture in FILES:
            texture_file(texture)
    try:
        folder.target.mkdir(parents=True, exist_ok=True)
        with alone(folder.target / f".{MANIFEST}"):
            jobs = [job for job in folder.todo(cells) if job.cells]
            made_with = {"device": device.partition(":")[0], "gfnet_bench": __version__, **versions()}
            manifest.note(folder.target, folder.settings, made_with)
            # A copy without the classes, which would go to a worker with every batch.
            return _write_all(replace(folder), jobs, device, batch_size, workers, progress)
    except OSError as error:
        raise GfnetBenchError(f"cannot write to {folder.target} ({error.strerror}); choose another DST") from None
    except BrokenProcessPool:
        raise GfnetBenchError(
            "a process that corrupts images died, which memory that runs out may cause; run again with fewer "
            "--workers, what has been written is kept"
        ) from None


def _write_all(
    folder: Folder, jobs: Sequence[Job], device: str, batch_size: int, workers: int, progress: bool
) -> Outcome:
    share = -(-len(jobs) // max(workers, 1))  # so that a small folder keeps every worker busy
    size = max(1, min(batch_size, share))
    batches = [jobs[i : i + size] for i in range(0, len(jobs), size)]
    files = {job.image: len(job.cells) for job in jobs}
    total, written, bad = sum(files.values()), 0, Reasons()
    bar = tqdm(total=total, desc=folder.target.name, unit="file", disable=not progress)
    with bar, _executor(device, workers if total >= WORTH_PROCESSES else 0) as executor:
        results: Iterator[tuple[int, Reasons]]
        if executor is None:
            results = (_write_batch(folder, batch, device) for batch in batches)
        else:
            futures = [executor.submit(_write_batch, folder, batch, device) for batch in batches]
            results = (future.result() for future in as_completed(futures))
        for count, reasons in results:
            for image, reason in reasons.items():
                tqdm.write(f"skipped {printable(folder.source / image)}: {reason}", file=sys.stderr)
                bar.total -= files[image]
            bar.update(count)
            written, bad = written + count, {**bad, **reasons}
    return Outcome(written, dict(sorted(bad.items())))


@contextlib.contextmanager
def _executor(device: str, workers: int) -> Iterator[Executor | None]:
    """Processes where the processor does the work, threads where another device does: it need be set up only once."""
    if not workers:
        yield None
        return
    if torch.device(device).type == "cpu":
        with pool(workers, torch.set_num_threads, 1) as processes:
            yield processes
        return
    threads = ThreadPoolExecutor(workers)
    try:
        yield threads
    except BaseException:
        _stopping.set()
        raise
    finally:
        threads.shutdown(cancel_futures=True)
        _stopping.clear()  # there is nobody left to be stopped


_device_in_use = threading.Lock()  # the memory of one batch is enough
_stopping = threading.Event()  # set when nobody waits for the rest of a batch any more


def _write_batch(folder: Folder, jobs: Sequence[Job], device: str) -> tuple[int, Reasons]:
    """Decode some images once, and write what is missing of them: how many files, and which images are bad.

    Raises:
        GfnetBenchError: if a file cannot be written, or there is too little memory for these images.
    """
    images, bad = _read(folder, jobs)
    try:
        for shape in {image.shape for image in images.values()}:
            alike = [job for job in jobs if job.image in images and images[job.image].shape == shape]
            _write_alike(folder, alike, np.stack([images[job.image] for job in alike]), device)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        height, width = max((image.shape[:2] for image in images.values()), key=math.prod)
        raise GfnetBenchError(
            f"memory ran out at {len(images)} images of up to {width} x {height} pixels; run again with a smaller "
            "--batch-size, fewer --workers, or without --no-resize, what has been written is kept"
        ) from None
    return sum(len(job.cells) for job in jobs if job.image in images), bad


def _write_alike(folder: Folder, jobs: Sequence[Job], images: NDArray[np.uint8], device: str) -> None:
    """Write what is missing of images of one size: (n, h, w, 3)."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
    seeds = image_seeds([printable(job.image) for job in jobs], folder.seed)
    for cell in dict.fromkeys(cell for job in jobs for cell in job.cells):
        if _stopping.is_set():
            raise CancelledError
        rows = [row for row, job in enumerate(jobs) if cell in job.cells]
        with _device_in_use:
            corrupted = uncoded(pixels[rows], *cell, recipe=folder.recipe, seeds=seeds[rows]).cpu()
        for row, image in zip(rows, corrupted, strict=True):
            _save(image, folder.target / cell.folder / jobs[row].name, RECIPES[folder.recipe].jpeg_quality)


def _read(folder: Folder, jobs: Sequence[Job]) -> tuple[dict[str, NDArray[np.uint8]], Reasons]:
    """The images of these jobs as they are to be corrupted, (h, w, 3) each, and why some cannot be."""
    images, bad = {}, Reasons()
    for job in jobs:
        try:
            size = len(os.fsencode(PurePosixPath(job.name).name))
            if size > LONGEST_NAME:
                raise BadFile(f"its name would have {size} bytes, and {LONGEST_NAME} are the most")
            image = transformed(decode(read_file(folder.source / job.image)), folder.transform)
            height, width = image.shape[:2]
            if min(height, width) < SMALLEST or max(height, width) > LARGEST:
                raise BadImage(
                    f"{width} x {height} pixels, expected at least {SMALLEST} x {SMALLEST}, at most {LARGEST:,} a side"
                )
            images[job.image] = image
        except BadFile as error:
            bad[job.image] = str(error)
    return images, bad


def transformed(image: NDArray[np.uint8], transform: str) -> NDArray[np.uint8]:
    """An image as a recipe wants it, by Pillow, as the published sets were made: (h, w, 3) in and out."""
    if transform == UNCHANGED:
        return image
    if transform != TRANSFORMS["imagenet_c"]:
        side = int(transform.split()[1])
        return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    height, width = image.shape[:2]
    shorter = min(height, width)
    size = int(256 * width / shorter), int(256 * height / shorter)  # torchvision's rounding
    check_size(*size, " after resizing")
    left, top = (round((side - 224) / 2) for side in size)
    resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    return np.array(resized.crop((left, top, left + 224, top + 224)))


def _save(image: Tensor, file: Path, quality: int | None) -> None:
    """Write (3, h, w) uint8 so that the file is whole or not there."""
    code = hashlib.blake2b(
        os.fsencode(file.name), digest_size=8
    ).hexdigest()  # with the name itself it could be too long
    part = file.with_name(f".{code}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if quality is None:
            picture(image).save(part, "PNG")
        else:
            picture(image).save(part, "JPEG", quality=quality, optimize=True)
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise GfnetBenchError(
            f"cannot write {file} ({error.strerror or error}); what is written is kept, the same command continues"
        ) from None


def _images(source: Path) -> dict[str, int]:
    """Each image, and when it was last changed, in nanoseconds; 0 where its name leads to nothing."""
    if not source.is_dir():
        raise MissingError(f"expected a folder of images, found {'a file' if source.exists() else 'nothing'}: {source}")
    images = {image: _changed(entry) for image, entry in images_below(source)}
    if not images:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise MissingError(f"expected images ({suffixes}) in {source} or its subfolders, found none")
    return dict(sorted(images.items()))


def _changed(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mtime_ns
    except OSError:
        return 0


def _check_names(source: Path, jobs: Sequence[Job]) -> None:
    """Refuse two images that would get one name."""
    names = Counter(job.name for job in jobs)
    if twice := [job for job in jobs if names[job.name] > 1]:
        name = twice[0].name
        both = " and ".join(job.image for job in twice if job.name == name)
        raise GfnetBenchError(f"{source}: {both} would both be written as {name}; rename one")


def _whole_files(folder: Path) -> dict[str, int]:
    """What has been written in a cell, and when, in nanoseconds; a machine that lost power leaves files of no bytes."""
    statuses = ((name, entry.stat()) for name, entry in images_below(folder) if entry.is_file())
    return {name: status.st_mtime_ns for name, status in statuses if status.st_size}
