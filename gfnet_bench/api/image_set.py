"""Images for those who work in Python: by name, in a folder or in arrays, decoded as each model wants them."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.api.given import kind, whole
from gfnet_bench.commands import options
from gfnet_bench.datasets import DATASETS, DatasetSpec, chosen_files
from gfnet_bench.datasets.base import Chosen
from gfnet_bench.errors import UsageError


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images with labels, classes and right answers. What a model is shown is decoded when it is, in the size it wants.

    Attributes:
        dataset: the name of the data set.
        data_dirs: folders to look for it in.
        limit: so many images, drawn with the seed and stratified by class; None for all.
        seed: decides the sample, and every random draw of what is done to the images.
        workers: processes that decode; 0 for this one.
    """

    dataset: str
    data_dirs: tuple[Path, ...] = ()
    limit: int | None = None
    seed: int = 0
    workers: int = 0
    decoded: dict[Any, Any] = field(default_factory=dict)

    @property
    def spec(self) -> DatasetSpec:
        """What the data set is."""
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
        return f"ImageSet {self.dataset}: {len(self)} images, {self.spec.title}"


def load_images(
    source: Path | str,
    data_dir: Path | str | Sequence[Path | str] | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> ImageSet:
    """The images of a data set, found now, and decoded when a model is shown them.

    Args:
        source: what `gfnet-bench list datasets` shows.
        data_dir: folders to look in; None for $GFNET_BENCH_DATA, else ./data.
        limit: take so many images, a sample stratified by class; None takes all.
        seed: decides the sample, and every random draw of what is done to the images.
        workers: processes that decode; None for one a core in a notebook, none in a script, which each would run again.

    Raises:
        UsageError: if there is no such data set.
        MissingError: if its files are not there; the text says how to get them.
        GfnetBenchError: if what is there is incomplete or in another class order.
    """
    if not isinstance(source, (str, os.PathLike)):
        hint = "images_of_arrays(pixels, labels) takes arrays" if hasattr(source, "shape") else "write imagenet_a"
        raise UsageError(f"load_images: expected the name of a data set, found {kind(source)}; {hint}")
    if limit is not None:
        limit = whole("limit", limit, 1)
    dirs = [data_dir] if isinstance(data_dir, (str, os.PathLike)) else data_dir
    data_dirs = options.data_dirs(Namespace(data_dir=[Path(part) for part in dirs or ()]))
    if workers is None:
        in_script = hasattr(sys.modules["__main__"], "__file__")
        workers = 0 if in_script else options.workers(Namespace(workers=None))
    whole("workers", workers, 0)
    images = ImageSet(DATASETS[str(source)].name, data_dirs, limit, whole("seed", seed, -(1 << 63)), workers)
    if images.spec.cells is None:
        assert images.chosen
    else:
        images.spec.locate(data_dirs)
    return images
