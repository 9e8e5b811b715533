"""What a model tells apart, known before it is loaded: how many classes, what it calls them, and at which size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from gfnet_bench.catalog import find_spec, source_of
from gfnet_bench.models.asked import NOTHING, Asked
from gfnet_bench.models.checkpoints import ends_of
from gfnet_bench.models.facts import notes_of
from gfnet_bench.models.origins import origin_of
from gfnet_bench.models.own import own_network
from gfnet_bench.models.tensorfiles import read_tensors

_LISTS = ("class_names", "classes", "label_names", "labels", "names", "id2label", "idx_to_class")
_INDICES = ("class_to_idx", "label2id")
_WITHIN = ("meta", "args", "config", "hyper_parameters", "hparams")
"""How training scripts call the names of classes in a checkpoint or on a network, by index or with their indices, and
the dictionaries that they may lie in."""


class Head(NamedTuple):
    """The end of a model.

    Attributes:
        size: (height, width) of its images.
        classes: how many logits it has.
        names: what it calls them, in order; None if nothing says so.
        source: where the names stand, for people.
    """

    size: tuple[int, int]
    classes: int
    names: tuple[str, ...] | None
    source: str


def head_of(name: str, asked: Asked = NOTHING) -> Head:
    """The head of a model by name; no weights are fetched for it.

    Args:
        name: see `find_spec`.
        asked: what else is asked of it.

    Raises:
        UsageError, MissingError, GfnetBenchError: as `load_model`.
    """
    spec = find_spec(name)
    checkpoint = asked.checkpoint
    stored = (None, "") if checkpoint is None else names_in(read_tensors(checkpoint), "its checkpoint's")
    if spec.factory is not None or source_of(spec.timm_name)[0] == "hf":
        own = own_network(spec, asked)
        names, source = stored if stored[0] else names_of(own.net)
        return Head(own.facts.size, own.facts.classes, names, source)
    cfg = origin_of(spec).cfg
    size = asked.size or (cfg.input_size[1], cfg.input_size[2])
    if checkpoint is not None:
        return Head(size, ends_of(checkpoint, cfg, asked.weights_key).classes or cfg.num_classes, *stored)
    return Head(size, cfg.num_classes, *names_in({"label_names": cfg.label_names}, "its"))


def names_of(net: nn.Module) -> tuple[tuple[str, ...] | None, str]:
    """What a network calls its classes, on itself, in its `config` or in its `pretrained_cfg`; and where."""
    places = (vars(net), vars(getattr(net, "config", net)), notes_of(net))
    found = (names_in(place, "its") for place in places)
    return next(((names, source) for names, source in found if names), (None, ""))


def names_in(content: Any, whose: str) -> tuple[tuple[str, ...] | None, str]:
    """The names of classes in a dictionary or in those usual within it, in the order of their indices; and where."""
    for place, key, value in _entries(content):
        if key in _INDICES and isinstance(value, Mapping):
            value = {index: name for name, index in value.items()}
        names = _listed(value)
        if names:
            return names, f"{whose} {place}{key}"
    return None, ""


def _entries(content: Any) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(content, Mapping):
        return
    known = {str(key).lower(): (key, value) for key, value in content.items()}
    yield from (("", str(known[key][0]), known[key][1]) for key in (*_LISTS, *_INDICES) if key in known)
    for key in _WITHIN:
        inner = content.get(key)
        yield from ((f"{key}.{place}", name, value) for place, name, value in _entries(inner))


def _listed(value: Any) -> tuple[str, ...] | None:
    """Names in order, of a list or of a dictionary with the indices from 0 up; None if it is neither."""
    if isinstance(value, Mapping):
        by_index = {int(key): name for key, name in value.items() if str(key).isdecimal()}
        if not value or sorted(by_index) != list(range(len(value))):
            return None
        value = [by_index[index] for index in range(len(value))]
    is_names = isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(n, str) for n in value)
    return tuple(value) if is_names and len(value) else None
