"""A folder of images written again, corrupted: `DST/<corruption>/<severity>/<the source's own subfolders>/<name>`.

A file appears under its name once it is whole, and its pixels depend on the settings and its own path alone: what a
run that was stopped has left is right, and the next run makes the rest.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gfnet_bench import __version__
from gfnet_bench.catalog import CORRUPTIONS, MCE_NAMES, SEVERITIES
from gfnet_bench.corruptions.base import RECIPES, SMALLEST, check_severity, uncoded
from gfnet_bench.datasets.decode import BadImage, decode
from gfnet_bench.datasets.image_files import BadFile, read_file
from gfnet_bench.datasets.layouts import IMAGE_SUFFIXES, class_folders, image_names
from gfnet_bench.datasets.prepared import versions
from gfnet_bench.download import alone
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.processes import pool
from gfnet_bench.randomness import image_seeds

MANIFEST = "corrupt.json"
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


Todo = dict[str, list[Cell]]  # image, as its path in the source -> the cells it is missing from
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

    def name(self, image: str) -> str:
        """The path of a corrupted image in its cell: JPEG where the recipe ends in one, else PNG, which loses nothing.

        A name that fits is kept.
        """
        suffixes = (".jpeg", ".jpg") if RECIPES[self.recipe].jpeg_quality else (".png",)
        path = PurePosixPath(image)
        return str(path if path.suffix.lower() in suffixes else path.with_suffix(suffixes[0].replace("jpeg", "JPEG")))

    def todo(self, corruptions: Sequence[str] = MCE_NAMES, severities: Sequence[int] = SEVERITIES) -> Todo:
        """All images, each with the cells it is missing from.

        Raises:
            UsageError: if a name or severity is unknown, or the target lies in the source.
            MissingError: if the source has no images.
            GfnetBenchError: if two images would get one name, or the target holds something else.
        """
        cells = [Cell(CORRUPTIONS[name].name, severity) for name in corruptions for severity in severities]
        for severity in severities:
            check_severity(severity)
        if self.target.resolve().is_relative_to(self.source.resolve()):
            raise UsageError(f"expected DST outside of SRC, found {self.target} in {self.source}; choose another")
        images = _images(self.source)
        names = {image: self.name(image) for image in images}
        twice = [name for name, count in Counter(names.values()).items() if count > 1]
        if twice:
            both = " and ".join(image for image in images if names[image] == twice[0])
            raise GfnetBenchError(f"{self.source}: {both} would both be written as {twice[0]}; rename one")
        self._check_manifest()
        todo: Todo = {image: [] for image in images}
        for cell in dict.fromkeys(cells):
            there = set(_walk(self.target / cell.folder))
            for image, missing in todo.items():
                if names[image] not in there:
                    missing.append(cell)
        return todo

    @property
    def _settings(self) -> dict[str, Any]:
        settings = {**asdict(self), "source": str(self.source.resolve()), "transform": self.transform}
        return {key: settings[key] for key in ("source", "recipe", "seed", "transform")}

    def _check_manifest(self) -> dict[str, Any]:
        """What the manifest says, or would say of a new folder.

        Raises:
            GfnetBenchError: if the target was made with other settings, or not by us.
        """
        file = self.target / MANIFEST
        try:
            found: dict[str, Any] = json.loads(file.read_text())
            other = {key: found[key] for key, value in self._settings.items() if found[key] != value}
        except (FileNotFoundError, NotADirectoryError):
            if self.target.exists() and not (self.target.is_dir() and _is_empty(self.target)):
                raise GfnetBenchError(
                    f"{self.target}: expected an empty folder, or one that `gfnet-bench corrupt` has made, found "
                    "another one; choose another DST"
                ) from None
            return {**self._settings, "made_with": []}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GfnetBenchError(f"{file}: expected the settings of a corrupted folder, found {error!r}") from None
        if other:
            was, now = (", ".join(f"{key} {settings[key]}" for key in other) for settings in (found, self._settings))
            raise GfnetBenchError(f"{self.target}: made with {was}, but now it is {now}; choose another DST")
        return found

    def _write_manifest(self, device: str) -> None:
        """Note the settings, and what the files are made with: pixels may differ by a level between devices."""
        manifest = self._check_manifest()
        made_with = {"device": device.partition(":")[0], "gfnet_bench": __version__, **versions()}
        if made_with not in manifest["made_with"]:
            manifest["made_with"].append(made_with)
            part = self.target / f".{MANIFEST}.partial"
            part.write_text(json.dumps(manifest, indent=1) + "\n")
            part.replace(self.target / MANIFEST)


def corrupt_folder(
    folder: Folder,
    corruptions: Sequence[str] = MCE_NAMES,
    severities: Sequence[int] = SEVERITIES,
    *,
    device: str = "cpu",
    batch_size: int = 8,
    workers: int = 0,
    progress: bool = True,
) -> Outcome:
    """Write what is missing of a corrupted folder. Bad images are named on stderr and left out.

    Args:
        folder: from where to where, and how.
        corruptions: names of `catalog.CORRUPTIONS`.
        severities: 1 to 5.
        device: where to corrupt. On a CPU each worker does it, on another device one at a time.
        batch_size: images a worker takes at a time; it changes no pixel.
        workers: decode, corrupt and write side by side; 0 does all of it here.
        progress: show a bar on stderr.

    Raises:
        GfnetBenchError: as `Folder.todo` does, or if files cannot be written. What has been written is kept.
        MissingError: if a texture of `frost` cannot be had.
    """
    folder.todo(corruptions, severities)  # what cannot be done at all leaves nothing behind
    try:
        folder.target.mkdir(parents=True, exist_ok=True)
        with alone(folder.target / f".{MANIFEST}"):
            todo = {image: cells for image, cells in folder.todo(corruptions, severities).items() if cells}
            folder._write_manifest(device)
            return _write_all(folder, todo, device, batch_size, workers, progress)
    except OSError as error:
        raise GfnetBenchError(f"cannot write to {folder.target} ({error.strerror}); choose another DST") from None
    except BrokenProcessPool:
        raise GfnetBenchError(
            "a process that corrupts images died, which memory that runs out may cause; run again with fewer "
            "--workers, what has been written is kept"
        ) from None


def _write_all(folder: Folder, todo: Todo, device: str, batch_size: int, workers: int, progress: bool) -> Outcome:
    share = -(-len(todo) // max(workers, 1))  # so that a small folder keeps every worker busy
    batches = _batches(todo, max(1, min(batch_size, share)))
    total, written, bad = sum(map(len, todo.values())), 0, Reasons()
    bar = tqdm(total=total, desc=folder.target.name, unit="file", disable=not progress)
    with bar, _executor(device, workers if total >= WORTH_PROCESSES else 0) as executor:
        results: Iterator[tuple[int, Reasons]]
        if executor is None:
            results = (_write_batch(folder, batch, device) for batch in batches)
        else:
            jobs: list[Future[tuple[int, Reasons]]]
            jobs = [executor.submit(_write_batch, folder, batch, device) for batch in batches]
            results = (job.result() for job in as_completed(jobs))
        for count, reasons in results:
            for image, reason in reasons.items():
                tqdm.write(f"skipped {folder.source / image}: {reason}", file=sys.stderr)
                bar.total -= len(todo[image])
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
    finally:
        threads.shutdown(cancel_futures=True)


_device_in_use = threading.Lock()  # the memory of one batch is enough


def _write_batch(folder: Folder, todo: Todo, device: str) -> tuple[int, Reasons]:
    """Decode some images once, and write what is missing of them: how many files, and which images are bad."""
    images, bad = _read(folder, todo)
    for size in {image.shape for image in images.values()}:
        names = [name for name, image in images.items() if image.shape == size]
        pixels = torch.from_numpy(np.stack([images[name] for name in names])).permute(0, 3, 1, 2).to(device)
        seeds = image_seeds(names, folder.seed)
        for cell in dict.fromkeys(cell for name in names for cell in todo[name]):
            rows = [row for row, name in enumerate(names) if cell in todo[name]]
            with _device_in_use:
                corrupted = uncoded(pixels[rows], *cell, recipe=folder.recipe, seeds=seeds[rows]).cpu()
            for row, image in zip(rows, corrupted, strict=True):
                file = folder.target / cell.folder / folder.name(names[row])
                _save(image, file, RECIPES[folder.recipe].jpeg_quality)
    return sum(len(todo[image]) for image in images), bad


def _read(folder: Folder, names: Mapping[str, object]) -> tuple[dict[str, NDArray[np.uint8]], Reasons]:
    """The images of these names as they are to be corrupted, (h, w, 3) each, and why some cannot be."""
    images, bad = {}, Reasons()
    for name in names:
        try:
            image = transformed(decode(read_file(folder.source / name)), folder.transform)
            if min(image.shape[:2]) < SMALLEST:
                height, width = image.shape[:2]
                raise BadImage(f"{width} x {height} pixels, expected at least {SMALLEST} x {SMALLEST}")
            images[name] = image
        except BadFile as error:
            bad[name] = str(error)
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
    left, top = (round((side - 224) / 2) for side in size)
    resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    return np.array(resized.crop((left, top, left + 224, top + 224)))


def _save(image: Tensor, file: Path, quality: int | None) -> None:
    """Write (3, h, w) uint8 so that the file is whole or not there."""
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    part = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if quality is None:
            picture.save(part, "PNG")
        else:
            picture.save(part, "JPEG", quality=quality, optimize=True)
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise GfnetBenchError(
            f"cannot write {file} ({error.strerror or error}); what is written is kept, the same command continues"
        ) from None


def _images(source: Path) -> list[str]:
    if not source.is_dir():
        raise MissingError(f"expected a folder of images, found {'a file' if source.exists() else 'nothing'}: {source}")
    images = sorted(_walk(source))
    if not images:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise MissingError(f"expected images ({suffixes}) in {source} or its subfolders, found none")
    return images


def _walk(folder: Path, inside: str = "") -> Iterator[str]:
    """The images in a folder and its subfolders, as paths in it with forward slashes; none if it does not exist."""
    try:
        yield from (inside + name for name in image_names(folder))
        for name, subfolder in class_folders(folder).items():
            yield from _walk(subfolder, f"{inside}{name}/")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise GfnetBenchError(f"cannot read {folder} ({error.strerror})") from None


def _is_empty(folder: Path) -> bool:
    """Whether it has nothing but hidden files, such as a lock."""
    return all(file.name.startswith(".") for file in folder.iterdir())


def _batches(todo: Todo, size: int) -> list[Todo]:
    names = list(todo)
    return [{name: todo[name] for name in names[i : i + size]} for i in range(0, len(names), size)]
