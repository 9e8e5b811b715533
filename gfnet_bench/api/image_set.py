"""Images for those who work in Python: by name, in a folder or in arrays, decoded as each model wants them."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.api.given import kind, share_or_whole, whole
from gfnet_bench.commands import options
from gfnet_bench.datasets import DATASETS, DatasetSpec, chosen_files
from gfnet_bench.datasets.base import Chosen, Found, Items
from gfnet_bench.datasets.own_images import LONGEST, OwnImages, described, use
from gfnet_bench.errors import UsageError
from gfnet_bench.suites.own import PREFIX, settle
from gfnet_bench.terminal import shortened


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images with labels, classes and right answers. What a model is shown is decoded when it is, in the size it wants.

    Attributes:
        dataset: the name of the data set.
        data_dirs: folders to look for it in.
        limit: so many images, or a share of them, drawn with the seed and stratified by class; None for all.
        seed: decides the sample, and every random draw of what is done to the images.
        workers: processes that decode; 0 for this one.
        own: of anyone's images what was listed; None for a data set that has its name from the package.
        decoded: pixels that models were shown, kept for the next one.
    """

    dataset: str
    data_dirs: tuple[Path, ...] = ()
    limit: float | None = None
    seed: int = 0
    workers: int = 0
    own: OwnImages | None = None
    decoded: dict[Any, Any] = field(default_factory=dict)

    @property
    def spec(self) -> DatasetSpec:
        """What the data set is; another folder may have had its name in the meantime."""
        if self.own is not None:
            use(self.own)
        return DATASETS[self.dataset]

    @cached_property
    def chosen(self) -> Chosen:
        """The files; of a set that is published as files per corruption there are none before one is named."""
        return chosen_files(self.spec, self.data_dirs, limit=self.limit, seed=self.seed)

    @property
    def ids(self) -> tuple[str, ...]:
        """N names that are the same on every machine."""
        return self.chosen.items.ids

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) class indices."""
        return self.chosen.items.labels

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        if self.spec.cells is not None:
            return f"ImageSet {self.dataset}: {self.spec.title}, files per corruption"
        what = self.spec.title
        if self.own is not None:
            what = described(self.own.counts) if self.own.classes else "labels are indices of logits"
        return f"ImageSet {self.dataset}: {len(self)} images, {shortened(what, 100)}"


def load_images(
    source: Path | str,
    data_dir: Path | str | Sequence[Path | str] | None = None,
    *,
    limit: float | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> ImageSet:
    """The images of a data set, found now, and decoded when a model is shown them.

    Args:
        source: what `gfnet-bench list datasets` shows; or images of one's own, `./brains`: a folder with a folder for
            each class, or with a CSV of path and label, or that CSV.
        data_dir: folders to look in; None for $GFNET_BENCH_DATA, else ./data.
        limit: take so many images, or a share (0.1) of them, a sample stratified by class; None takes all.
        seed: decides the sample, and every random draw of what is done to the images.
        workers: processes that decode; None for one a core in a notebook, none in a script, which each would run again.

    Raises:
        UsageError: if there is no such data set or folder, or nothing in it tells the classes.
        MissingError: if its files are not there; the text says how to get them.
        GfnetBenchError: if what is there is incomplete or in another class order.
    """
    if not isinstance(source, (str, os.PathLike)):
        hint = "images_of_arrays(pixels, labels) takes arrays" if hasattr(source, "shape") else "write imagenet_a"
        raise UsageError(f"load_images: expected the name of a data set, found {kind(source)}; {hint}")
    if limit is not None:
        limit = share_or_whole("limit", limit)
    dirs = [data_dir] if isinstance(data_dir, (str, os.PathLike)) else data_dir
    data_dirs = options.data_dirs(Namespace(data_dir=[Path(part) for part in dirs or ()]))
    how = (data_dirs, limit, whole("seed", seed, -(1 << 63)), default_workers(workers))
    if isinstance(source, Path) or os.sep in source or (source not in DATASETS and Path(source).exists()):
        own = use(Path(source))
        return ImageSet(own.name, *how, own)
    images = ImageSet(DATASETS[str(source)].name, *how)
    if images.spec.cells is None:
        assert images.chosen
    else:
        images.spec.locate(data_dirs)
    return images


def default_workers(workers: int | None) -> int:
    """How many processes decode: see `load_images`."""
    if workers is not None:
        return whole("workers", workers, 0)
    in_script = hasattr(sys.modules["__main__"], "__file__")
    return 0 if in_script else options.workers(Namespace(workers=None))


def images_of_arrays(
    pixels: Any, labels: Any, *, classes: Sequence[str] | Sequence[int] | None = None, name: str = "arrays"
) -> ImageSet:
    """Images in memory. A model is shown them whole, resized where they are not of its size.

    Args:
        pixels: n images, uint8 or float in [0, 1], (n, h, w, 3) or (n, 3, h, w); grey ones (n, h, w), or with one
            channel. An array or a tensor.
        labels: (n,) integers from 0 up.
        classes: names of the classes by label, which are looked for among those of a model as those of folders are; or
            the indices of the logits that count, among which the labels are. None for labels that are indices of a
            model's logits, all of which count.
        name: what tables call the images.

    Raises:
        UsageError: if the arrays are something else, or a label is no class.
    """
    images, numbers = _pixels(pixels), _plain(labels)
    if numbers.shape != (len(images),) or numbers.dtype.kind not in "iu" or numbers.min(initial=0) < 0:
        found = f"{numbers.shape} {numbers.dtype}"
        raise UsageError(f"labels: expected ({len(images)},) integers from 0 up, as many as images, found {found}")
    if not len(images):
        raise UsageError("pixels: expected images, found none")
    names, logits, rows = _classes(classes, numbers.astype(np.int64))
    digest = hashlib.sha256(f"{images.shape} {names} {logits}".encode() + images.tobytes() + rows.tobytes())
    ids = tuple(f"{row:07d}" for row in range(len(images)))
    items = Items((Path("memory"),) * len(ids), rows, ids)

    def read(chosen: Sequence[str]) -> NDArray[np.uint8]:
        return images[[int(one) for one in chosen]]

    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "arrays"
    called = f"{PREFIX}{plain[:LONGEST]}-{digest.hexdigest()[:8]}"  # other pixels are other images
    own = OwnImages(called, Found(Path("memory"), "arrays", items, read), names, (), logits)
    settle(called, whole=True)
    use(own)
    return ImageSet(called, own=own)


def _plain(array: Any) -> NDArray[Any]:
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)


def _pixels(pixels: Any) -> NDArray[np.uint8]:
    """(n, h, w, 3) uint8, a copy."""
    array, wanted = _plain(pixels), "pixels: expected images (n, h, w, 3) uint8, or float in [0, 1]"
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        raise UsageError(f"{wanted}, found {kind(pixels)} of shape {tuple(np.shape(array))}; stack images of one size")
    if array.dtype.kind == "f":
        if array.size and not (array.min() >= 0 and array.max() <= 1):
            found = f"{array.min():.3g} to {array.max():.3g}"
            raise UsageError(f"{wanted}, found values from {found}; undo the normalisation, or divide 0..255 by 255")
        array = (array.astype(np.float32) * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise UsageError(f"{wanted}, found {array.dtype}; convert them: pixels.astype('uint8')")
    return np.repeat(array, 3, axis=3) if array.shape[3] == 1 else array.copy()


def _classes(
    classes: Sequence[str] | Sequence[int] | None, labels: NDArray[np.int64]
) -> tuple[tuple[str, ...], tuple[int, ...] | None, NDArray[np.int64]]:
    """Names of the classes, the logit of each where it is known, and the labels as positions among them."""
    if classes is None:
        return (), (), labels
    given: list[Any] = list(classes)
    if given and all(isinstance(one, str) for one in given) and len(set(given)) == len(given) > labels.max():
        return tuple(str(one) for one in given), None, labels
    if all(isinstance(one, Integral) and int(one) >= 0 for one in given) and set(labels.tolist()) <= set(given):
        logits = sorted({int(one) for one in given})
        return tuple(map(str, logits)), tuple(logits), np.searchsorted(logits, labels)
    found = f"{given[:5]} and labels from {labels.min()} to {labels.max()}"
    raise UsageError(f"classes: expected a name for each label, or indices among which all labels are, found {found}")
