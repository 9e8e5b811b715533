"""The images evaluation gets: pixels that are read when asked for, with labels, ids and what was left out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gfnet_bench.datasets.pixel_file import PixelFile


class Rows:
    """Some rows of a larger array, in a file as a rule; what is read is a fresh array that may be written to."""

    def __init__(self, array: NDArray[np.uint8] | PixelFile, rows: NDArray[np.int64]) -> None:
        self.array = array
        self.rows = rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, 3)."""
        return (len(self.rows), *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Always uint8."""
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        picked = self.array[self.rows[index]]
        return picked if picked.base is None else picked.copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        everything = self[:]
        return everything if dtype is None else everything.astype(dtype, copy=False)


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images as a model is to be shown them.

    Attributes:
        pixels: (n, h, w, 3) uint8, `Rows` of a file as a rule; indexing gives an array.
        labels: (n,) int64, class index (0 to 999, or 0 to 9 in the mini suite).
        ids: one per image, the same on every machine.
        sizes: (n,) int64, bytes of each image's file.
        excluded: the images that could not be read and are left out, as (id, reason).
        classes: the class indices that count; None if all do.
        answers: the right answers of each image where there may be several.
        expected: how many the whole set has, or the limit if that is fewer; None where nobody knows.
        data_sha256: of everything that decides the right answers, see `contents.data_sha256`.
        available: where a limit drew from a set that is not whole, how many there were and how many it should have.
        names: of the classes by label, where the images bring their own.
    """

    pixels: Any
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    sizes: NDArray[np.int64]
    excluded: tuple[tuple[str, str], ...] = ()
    classes: tuple[int, ...] | None = None
    answers: tuple[tuple[int, ...], ...] | None = None
    expected: int | None = None
    data_sha256: str | None = None
    available: tuple[int, int] | None = None
    names: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of ids, labels and file sizes: two runs with the same one saw the same images."""
        return fingerprint(zip(self.ids, self.labels.tolist(), self.sizes.tolist(), strict=True))

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Images:
        """The images at these positions, in this order; nothing is read."""
        import numpy as np

        rows = np.asarray(indices, dtype=np.int64)
        return Images(
            Rows(self.pixels.array, self.pixels.rows[rows]),
            self.labels[rows],
            tuple(self.ids[r] for r in rows),
            self.sizes[rows],
            self.excluded,
            self.classes,
            tuple(self.answers[r] for r in rows) if self.answers is not None else None,
            self.expected,
            available=self.available,
            names=self.names,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[1:3]
        return f"Images: {len(self)} of {height} x {width} pixels, {len(self.excluded)} left out"


def fingerprint(rows: Iterable[tuple[str, int, int]]) -> str:
    """sha256 of ids, labels and file sizes."""
    digest = hashlib.sha256()
    for image, label, size in rows:
        digest.update(f"{image}\t{label}\t{size}\n".encode())
    return digest.hexdigest()


def taken(limit: float | None, whole: int) -> int:
    """How many images of a set of `whole` a limit takes: so many, or the nearest number to a share of the whole set."""
    if limit is None:
        return whole
    return min(limit, whole) if isinstance(limit, int) else max(1, round(limit * whole))


def choose(ids: Sequence[str], labels: Sequence[int], limit: int, seed: int) -> list[int]:
    """Which images a limit takes: in turn one of each class, in an order that only seed, classes and ids decide.

    Args:
        ids: of all images, in any order.
        labels: the class of each.
        limit: how many to take; all if there are fewer.
        seed: another seed takes other images.

    Returns:
        Positions in `ids`, ascending. A larger limit takes the same images and more.
    """

    def draw(*key: object) -> bytes:
        return hashlib.blake2b("\x1f".join(map(str, (seed, *key))).encode(), digest_size=8).digest()

    by_class: dict[int, list[int]] = {}
    for row in sorted(range(len(ids)), key=lambda r: draw("image", ids[r])):
        by_class.setdefault(labels[row], []).append(row)
    turns = [(turn, draw("class", label), row) for label, rows in by_class.items() for turn, row in enumerate(rows)]
    return sorted(row for _, _, row in sorted(turns)[:limit])
