"""What a number rests on beside its cell: images, labels, weights, code of plug-ins. Whether two rest on the same.

A record's provenance notes them as hashes, under the names in `NOTED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gfnet_bench import plugins

if TYPE_CHECKING:
    from gfnet_bench.records import Cell

Noted = Mapping[str, Any]

NOTED = {
    "images": ("data_fingerprint", "ids_sha256"),
    "contents of images": ("data_sha256",),
    "weights": ("weights_sha256",),
    "code of plug-ins": ("plugins",),
}
"""Kinds of input and the hashes that tell them.

`data_fingerprint` is of names, labels and sizes of the files that could be read, `ids_sha256` of their names alone.
`data_sha256` is of everything that decides the right answers: of all files the names, labels and contents, the classes
that count, the answers of images that have several. `plugins` is a hash or version for each.
"""

WEIGHTS = ("weights",)
PLUGINS = ("code of plug-ins",)
IMAGES = tuple(kind for kind in NOTED if kind not in WEIGHTS + PLUGINS)


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
    both = [(a[name], b[name]) for name in NOTED[kind] if a.get(name) is not None and b.get(name) is not None]
    agreed = [x == y for pair in both for x, y in _in_common(*pair)]
    return all(agreed) if agreed else None


def _in_common(x: Any, y: Any) -> list[tuple[Any, Any]]:
    """Two hashes, or those of each plug-in that both had."""
    return [(x[name], y[name]) for name in x if name in y] if isinstance(x, Mapping) else [(x, y)]


def differing(a: Noted, b: Noted, kinds: Iterable[str] = tuple(NOTED)) -> list[str]:
    """The kinds of input, among these, that are known to differ."""
    return [kind for kind in kinds if same(kind, a, b) is False]


def plugins_of(cell: Cell) -> dict[str, dict[str, str]]:
    """What a record of a cell notes of the plug-ins that brought its subject, images or perturbation, if any did."""
    s = cell.settings
    done = s.get("perturbation")
    named = {
        **dict.fromkeys(("models", "mixers"), cell.model),
        "datasets": s.get("dataset"),
    }
    if isinstance(done, Mapping):
        named |= dict.fromkeys(("attacks", "corruptions"), done.get("name"))
        named["made"] = f"{done.get('name')} by {done.get('recipe')}"
    noted: dict[str, str] = {}
    for group, name in named.items():
        for plugin in plugins.behind(group, name) if isinstance(name, str) else ():
            noted |= plugin.noted
    return {"plugins": dict(sorted(noted.items()))} if noted else {}
