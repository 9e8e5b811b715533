"""What a data set is: where it is looked for, which classes count, what it is compared with; and loading its images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gfnet_bench.catalog import Transform
from gfnet_bench.datasets.image_files import printable, reason
from gfnet_bench.datasets.images import Images, choose, fingerprint, taken
from gfnet_bench.downloads.download import Download
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.registry import Registry
from gfnet_bench.suites import DEFAULT, SUITES, Suite

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray


class Items(NamedTuple):
    """The files of a data set, in the order of their ids.

    Attributes:
        paths: one file per image.
        labels: (n,) int64, class index.
        ids: one name per image that is the same on every machine and in every layout.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]

    def select(self, rows: Sequence[int]) -> Items:
        """The items at these positions."""
        return Items(tuple(self.paths[r] for r in rows), self.labels[list(rows)], tuple(self.ids[r] for r in rows))


class Corruption(NamedTuple):
    """One cell of a published corrupted set: the name of a corruption and a severity from 1 to 5."""

    name: str
    severity: int


class Found(NamedTuple):
    """A data set on this machine.

    Attributes:
        folder: where it is.
        layout: how the files lie there, in words.
        items: the images.
        pixels: of images that lie in arrays: ids to (n, h, w, 3) uint8; None where each is a file.
    """

    folder: Path
    layout: str
    items: Items
    pixels: Pixels | None = None


Pixels: TypeAlias = "Callable[[Sequence[str]], NDArray[np.uint8]]"
Reader: TypeAlias = "Callable[[DatasetSpec, Sequence[Path], Corruption | None], Found]"


@dataclass(frozen=True)
class DatasetSpec:
    """One data set.

    Attributes:
        name: the short name, `imagenet_a`.
        title: as papers print it.
        short: at the head of its columns, `IN-A`; empty for the set of which columns say what was done to it; None
            for the name.
        place: of its columns in a table, the order of the paper's Table 3: the main set, then corrupted sets (1), those
            that were filtered by errors (2), second samples (3), other labels (4); by name within a place.
        cites: what it rests on: keys of `reports/references.bib`, or whole BibTeX entries.
        images: how many images the whole set has; for ImageNet-C, per corruption and severity.
        help: how to get it, the end of the message that it is missing.
        downloads: the files it can be fetched as; none for a set that cannot be.
        folders: names looked for in a data folder, in any spelling (see `layouts.places`); "." is that folder itself.
        archives: what archives of the set, or of what belongs to it, are called beside these names.
        read: finds and lists the files; None for a set that uses another one's.
        images_of: the data set whose files it uses, of which it keeps the images of its classes.
        classes: the class indices that count, of 1000; None if all do.
        answers: for sets with several right answers per image: the answers for an id; images without any are left out.
        control: the clean set its accuracy is compared with.
        cells: for a set with files per corruption and severity, which of them are in its folder.
        file_side: the pixels per side of those files.
        recipe: for a set that is corrupted in memory, how it is made unless another recipe is asked for.
        suite: the name of the suite it belongs to, whose label space it has.
        names: of its classes by label, for a set whose classes are its own.
        ships: whether its images are part of the package.
    """

    name: str
    title: str
    images: int
    help: str
    short: str | None = None
    place: int = 99
    cites: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    folders: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    read: Reader | None = None
    images_of: str | None = None
    classes: Callable[[], tuple[int, ...]] | None = None
    answers: Callable[[str], tuple[int, ...]] | None = None
    control: str | None = None
    cells: Callable[[Path], Collection[Corruption]] | None = None
    file_side: int | None = None
    recipe: str | None = None
    suite: str = DEFAULT
    names: tuple[str, ...] = ()
    ships: bool = False

    @property
    def is_corrupted(self) -> bool:
        """Whether it has cells of corruption and severity, from files or made in memory."""
        return self.recipe is not None or self.cells is not None

    @property
    def is_embedded(self) -> bool:
        """Whether its images are part of the package, so that there is nothing to look for."""
        return self.source.ships

    @property
    def heading(self) -> str:
        """At the head of its columns."""
        return self.name if self.short is None else self.short

    @property
    def source(self) -> DatasetSpec:
        """The data set whose files these are."""
        return DATASETS[self.images_of] if self.images_of else self

    def locate(self, data_dirs: Sequence[Path], corruption: Corruption | None = None) -> Found:
        """Where the set is and what is in it; of ImageNet-C without a corruption only where it is.

        Raises:
            MissingError: if it is in none of the data folders; the text says how to get it.
            GfnetBenchError: if what is there is incomplete, ambiguous or in another class order, or cannot be listed.
        """
        source = self.source
        assert source.read is not None
        try:
            return self.restrict(source.read(source, data_dirs, corruption))
        except OSError as error:
            raise GfnetBenchError(
                f"{self.name}: cannot read {printable(error.filename)} ({reason(error)}); is the disk mounted, may you "
                "read what is there?"
            ) from None

    def restrict(self, found: Found) -> Found:
        """What this set keeps of the files of its source: the classes that count, the images with answers.

        Raises:
            GfnetBenchError: if no image can have an answer.
        """
        if self.images_of is None:
            return found
        classes = set(self.classes()) if self.classes else None
        rows, nameless = [], None
        for row, (label, image) in enumerate(zip(found.items.labels.tolist(), found.items.ids, strict=True)):
            try:
                if (classes is None or label in classes) and (self.answers is None or self.answers(image)):
                    rows.append(row)
            except GfnetBenchError as error:  # of one image that does not belong there
                nameless = error
        if nameless is not None and not rows:
            raise nameless
        return found._replace(items=found.items.select(rows))

    def find(self, data_dirs: Sequence[Path], corruption: Corruption | None = None) -> Items:
        """The files alone; see `locate`."""
        return self.locate(data_dirs, corruption).items


DATASETS: Registry[DatasetSpec] = Registry("dataset", "datasets")


def suite_of(dataset: str) -> Suite:
    """The suite of a data set; one that is not known here, its plug-in missing, stands by itself."""
    if dataset in DATASETS:
        return SUITES[DATASETS[dataset].suite]
    lacking = (suite for suite in map(SUITES.__getitem__, SUITES) if dataset in suite.lacks)
    return next(lacking, Suite(dataset, dataset, dataset))


def files_of(dataset: str) -> str:
    """The data set whose files one that is corrupted in memory is made from; any other one itself."""
    spec = DATASETS[dataset] if dataset in DATASETS else None
    return spec.images_of if spec and spec.recipe and spec.images_of else dataset


def generated_of(dataset: str) -> str | None:
    """The set that is made in memory of a data set's images; None if there is none."""
    others = dict.fromkeys((*DATASETS, *suite_of(dataset).others))
    return next((name for name in others if name != dataset and files_of(name) == dataset), None)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The files that a run takes of a data set.

    Attributes:
        spec: the data set.
        name: what the files are called together, `imagenet_c_fog_3`.
        items: the files.
        pixels: see `Found`.
        available: where a limit drew from a set that is not whole, how many there were and how many it should have.
    """

    spec: DatasetSpec
    name: str
    items: Items
    pixels: Pixels | None = None
    available: tuple[int, int] | None = None

    @cached_property
    def statuses(self) -> dict[Path, os.stat_result | None]:
        """Size and times of the files."""
        from gfnet_bench.datasets.contents import statuses

        return statuses(self.items.paths)

    def data_sha256(self, most_bytes: int | None = None, progress: bool = False) -> str | None:
        """What decides the right answers, contents of the files included; None if too much would have to be read."""
        from gfnet_bench.datasets.contents import data_sha256, hashes

        contents = hashes(self.name, self.statuses, most_bytes=most_bytes, progress=progress)
        classes = self.spec.classes() if self.spec.classes else None
        return data_sha256(self.items, contents, classes, self.spec.answers) if contents else None

    def fingerprint(self, left_out: Collection[str]) -> str:
        """`Images.fingerprint` of these files, those left out that could not be read."""
        ids, labels = self.items.ids, self.items.labels.tolist()
        sizes = [status.st_size if (status := self.statuses[path]) else 0 for path in self.items.paths]
        if self.pixels is not None:
            sizes = [self.pixels(ids[:1]).nbytes] * len(ids)
        return fingerprint(row for row in zip(ids, labels, sizes, strict=True) if row[0] not in left_out)


def chosen_files(
    spec: DatasetSpec,
    data_dirs: Sequence[Path],
    *,
    limit: float | None = None,
    seed: int = 0,
    corruption: tuple[str, int] | None = None,
) -> Chosen:
    """The files that a run takes; see `load_images`."""
    if limit is not None and not (limit >= 1 if isinstance(limit, int) else 0 < limit < 1):
        raise UsageError(f"expected a limit of at least 1 image, or a share between 0 and 1, found {limit}")
    if (corruption is None) == (spec.cells is not None):
        needed = "needs a corruption and a severity" if corruption is None else "is not corrupted from files"
        those = " ".join(name for name in DATASETS if DATASETS[name].cells is not None)
        raise UsageError(f"{spec.name}: {needed}; sets that come as files per corruption: {those}")
    found = spec.locate(data_dirs, Corruption(*corruption) if corruption else None)
    items = found.items
    if not items.ids:
        raise GfnetBenchError(f"{spec.name}: expected {spec.images} images, found none in its folders")
    there = len(items.ids)
    if limit is not None:
        items = items.select(choose(items.ids, items.labels.tolist(), taken(limit, spec.images), seed))
    available = (there, spec.images) if limit is not None and there < spec.images else None
    return Chosen(spec, "_".join((spec.source.name, *map(str, corruption or ()))), items, found.pixels, available)


def load_images(
    name: str,
    data_dirs: Sequence[Path],
    transform: Transform,
    *,
    limit: float | None = None,
    seed: int = 0,
    corruption: tuple[str, int] | None = None,
    cache_dir: Path | None = None,
    workers: int = 0,
    progress: bool = True,
) -> Images:
    """The images of a data set as a model is to be shown them; decoded once, read ever after.

    Args:
        name: of a registered data set.
        data_dirs: folders to look in; the first that has the set is used.
        transform: resize and crop.
        limit: take so many images, or a share below 1 of the whole set, spread over the classes; None takes all.
        seed: decides which images a limit takes.
        corruption: name and severity; for published files of corrupted images only, whose pixels are not kept.
        cache_dir: where decoded pixels are kept, 7.5 GB for 50,000 images of 224 pixels; None is the usual place.
        workers: processes that decode; 0 decodes in this one.
        progress: show a bar on stderr.

    Raises:
        GfnetBenchError: as `DatasetSpec.locate`; or there is no room for the pixels, or no image can be read.
        UsageError: a corruption is needed, or makes no sense, or the limit takes nothing.
    """
    from gfnet_bench.datasets import prepared

    spec = DATASETS[name]
    chosen = chosen_files(spec, data_dirs, limit=limit, seed=seed, corruption=corruption)
    items, transform = chosen.items, _for_files(spec, transform)
    if chosen.pixels is not None:
        read = prepared.transformed(chosen.pixels(items.ids), transform)
    else:
        read = prepared.load(
            chosen.name,
            items.ids,
            items.paths,
            transform,
            cache_dir=cache_dir,
            workers=workers,
            keep=corruption is None,
            progress=progress,
        )
    labels, ids = items.labels[read.kept], tuple(items.ids[r] for r in read.kept)
    return Images(
        read.pixels,
        labels,
        ids,
        read.sizes[read.kept],
        tuple((items.ids[r], reason) for r, reason in read.reasons.items()),
        spec.classes() if spec.classes else None,
        tuple(spec.answers(image) for image in ids) if spec.answers else None,
        taken(limit, spec.images),
        chosen.data_sha256(progress=progress),
        chosen.available,
        spec.names,
    )


def _for_files(spec: DatasetSpec, transform: Transform) -> Transform:
    """Files that are crops already must not be resized: doing so once changed the first two places of a leaderboard."""
    side = spec.file_side
    if side is None or suite_of(spec.name).whole:
        return transform
    if max(transform.height, transform.width) > side:
        raise GfnetBenchError(
            f"{spec.name}: its files are {side} x {side} pixels and are not resized, but the model takes "
            f"{transform.width} x {transform.height}; measure it with --img-size {side}"
        )
    return replace(transform, resize=None)
