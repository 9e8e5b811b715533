"""Which of a model's logits stands for which class of anyone's images: by names where it has any, else by order."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gfnet_bench.datasets.classes import AGREES, timm_info, wnids
from gfnet_bench.errors import UsageError

_NO_NAME = re.compile(r"(label|class|logit)?[ _-]*\d+", re.IGNORECASE)
"""How frameworks fill a list of names that nobody gave: `LABEL_0`."""


class Matched(NamedTuple):
    """The classes of images among a model's logits.

    Attributes:
        logits: the index of the logit of each class that counts, by its name; those of the images come first.
        how: in words, for people.
    """

    logits: Mapping[str, int]
    how: str


def match(
    model: str, classes: Sequence[str], count: int, names: Sequence[str] | None = None, source: str = ""
) -> Matched:
    """Find the classes of images among those of a model; it may have more of them, which are then left out.

    Args:
        model: what errors call it.
        classes: names, sorted.
        count: how many logits it has.
        names: what the model calls them; None if it does not say. A model of 1000 classes that says nothing has those
            of ImageNet if some of the images' classes are called like these, by WordNet id, name or number.
        source: where the names stand.

    Raises:
        UsageError: if a class is none of the model's, or nothing tells which; the text has both lists, shortened.
    """
    if names is not None and not all(map(_NO_NAME.fullmatch, names)):
        if len(names) != count:
            raise UsageError(
                f"{model}: expected a name for each of its {count} logits, found {len(names)} ({source}: "
                f"{_few(names)}); name them in order with --class-names"
            )
        return _by_name(model, classes, _synonyms(names), source)
    of_imagenet = imagenet_names()
    if count == len(of_imagenet):
        known = {_folded(name) for of in of_imagenet for name in of}
        if any(_folded(name) in known for name in classes):
            return _by_name(model, classes, of_imagenet, "ImageNet's")
    if count != len(classes):
        raise UsageError(
            f"{model}: expected images of its {count} classes, found {len(classes)} ({_few(classes)}), and no names of "
            "its own to find them by; name its classes in the order of its logits with --class-names"
        )
    if all(name.isdecimal() for name in classes) and list(classes) != sorted(classes, key=int):
        raise UsageError(
            f"{model}: expected names that tell an order, found numbers ({_few(classes)}), which folders sort as text "
            "and lists as numbers; name its classes in the order of its logits with --class-names"
        )
    return Matched({name: index for index, name in enumerate(classes)}, "by sorted order")


def _by_name(model: str, classes: Sequence[str], names: Sequence[Sequence[str]], source: str) -> Matched:
    exact = _index(names, str)
    folded = _index(names, _folded)
    found = {name: exact.get(name) or folded.get(_folded(name)) or [] for name in classes}
    first = [of[0] for of in names]
    if unknown := [name for name, at in found.items() if not at]:
        raise UsageError(
            f"{model}: expected classes that it knows ({source}: {_few(first)}), found {len(unknown)} of "
            f"{len(classes)} that it does not ({_few(unknown)}); rename them, or name its classes in the order of its "
            "logits with --class-names"
        )
    if double := [name for name, at in found.items() if len(at) > 1]:
        raise UsageError(
            f"{model}: expected names of one class each, found {_few(double)}, of which there are several ({source}); "
            "use WordNet ids, or name its classes in the order of its logits with --class-names"
        )
    logits = {name: at[0] for name, at in found.items()}
    if len(set(logits.values())) < len(logits):
        twice = [name for name, at in logits.items() if list(logits.values()).count(at) > 1]
        raise UsageError(f"{model}: expected a class once, found {_few(twice)} for one of its classes ({source})")
    if len(logits) == 1 < len(names):  # over which alone every answer would be right
        logits |= {name: at for at, name in enumerate(first) if at not in logits.values()}
        return Matched(logits, f"by name ({source}), over all its {len(names)} classes, since the images are of one")
    part = "" if len(logits) == len(names) else f", over these {len(logits)} of its {len(names)} classes"
    return Matched(logits, f"by name ({source}){part}")


def _synonyms(names: Sequence[str]) -> list[Sequence[str]]:
    """What a model's classes may be called: by each word of `tench, Tinca tinca`, ImageNet's by any of its."""
    each = [dict.fromkeys((name, *(word.strip() for word in name.split(",")))) for name in names]
    known = imagenet_names()
    alike = [{*map(_folded, of)} & {*map(_folded, also)} for of, also in zip(each, known, strict=False)]
    is_imagenet = len(each) == len(known) and sum(map(bool, alike)) >= AGREES * len(known)
    return [tuple(dict.fromkeys((*of, *known[i]))) if is_imagenet else tuple(of) for i, of in enumerate(each)]


def _index(names: Sequence[Sequence[str]], spelt: Callable[[str], str]) -> dict[str, list[int]]:
    """The logits that are called so, by name."""
    found: dict[str, list[int]] = {}
    for index, of in enumerate(names):
        for name in {spelt(name) for name in of}:
            found.setdefault(name, []).append(index)
    return found


@functools.cache
def imagenet_names() -> tuple[tuple[str, ...], ...]:
    """What each of ImageNet's classes is called: its WordNet id, the words of its synset, and its number."""
    lines = timm_info("imagenet_synset_to_lemma.txt").splitlines()
    words = {line[:9]: [word.strip() for word in line[10:].split(",")] for line in lines}
    return tuple((wnid, *words.get(wnid, ()), str(index)) for index, wnid in enumerate(wnids()))


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
