"""What a number rests on beside its cell: images with their labels, and weights. Whether two numbers rest on the same.

A record's provenance notes them as hashes, under the names in `NOTED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Noted = Mapping[str, Any]

NOTED = {
    "images": ("data_fingerprint", "ids_sha256"),
    "contents of images": ("data_sha256",),
    "weights": ("weights_sha256",),
}
"""Kinds of input and the hashes that tell them.

`data_fingerprint` is of names, labels and sizes of the files that could be read, `ids_sha256` of their names alone.
`data_sha256` is of everything that decides the right answers: of all files the names, labels and contents, the classes
that count, the answers of images that have several.
"""

WEIGHTS = ("weights",)
IMAGES = tuple(kind for kind in NOTED if kind not in WEIGHTS)


class Inputs(NamedTuple):
    """What a cell would be measured on now.

    Attributes:
        noted: hashes, as a record would note them.
        unknown: why some cannot be told, by kind.
    """

    noted: Noted
    unknown: Mapping[str, str]


def same(kind: str, a: Noted, b: Noted) -> bool | None:
    """Whether two measurements had the same input by every hash both noted; None where there is none."""
    agreed = [a[name] == b[name] for name in NOTED[kind] if a.get(name) is not None and b.get(name) is not None]
    return all(agreed) if agreed else None


def differing(a: Noted, b: Noted, kinds: Iterable[str] = tuple(NOTED)) -> list[str]:
    """The kinds of input, among these, that are known to differ."""
    return [kind for kind in kinds if same(kind, a, b) is False]
