"""Networks of one's own: what a factory builds, and any nn.Module in hand, as a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from timm.models import PretrainedCfg
from torch import nn

from gfnet_bench.bars import tqdm
from gfnet_bench.catalog import ModelSpec, find_spec, paper_transform, source_of
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.models import huggingface
from gfnet_bench.models.asked import NOTHING, Asked
from gfnet_bench.models.checkpoints import load_weights
from gfnet_bench.models.factories import build, sha256_of_state
from gfnet_bench.models.facts import Facts, facts_of, notes_of
from gfnet_bench.models.model import Model
from gfnet_bench.sourcecode import Factory
from gfnet_bench.weightfile import sha256_of_weights


class Network(NamedTuple):
    """A network that code of one's own built.

    Attributes:
        net: with its weights.
        facts: what it wants to be shown.
        cfg: how its images are cut, as timm would note it.
        weights_sha256: of its tensors, or of the checkpoint they were read from.
        source: where they came from, for people.
        key: where in the checkpoint they were.
    """

    net: nn.Module
    facts: Facts
    cfg: PretrainedCfg
    weights_sha256: str
    source: str
    key: str | None


def own_network(spec: ModelSpec, asked: Asked = NOTHING) -> Network:
    """The network of a spec that has a factory, or is of transformers; what is known of it, and whence, is said.

    Raises:
        UsageError, GfnetBenchError: as `build`, `load_weights` and `facts_of`.
    """
    if spec.factory is not None and not isinstance(spec.factory, Factory):
        return spec.factory.network()
    if spec.factory is not None:
        net, source = build(spec.factory, asked.size, asked.num_classes), "its own code"
    else:
        huggingface.check_installed(spec.name)
        folder = huggingface.fetched(spec.name, source_of(spec.timm_name)[1])
        net, source = huggingface.build(spec.name, folder), f"transformers {spec.name}"
    checkpoint = asked.checkpoint
    key = None if checkpoint is None else load_weights(net, checkpoint, spec.name, asked.weights_key)
    facts = facts_of(net, spec.name, asked)
    _say(spec.name, facts)
    if checkpoint is not None:
        sha256, source = sha256_of_weights(checkpoint), checkpoint.name
    else:
        sha256 = sha256_of_state(net) if spec.factory is not None else huggingface.sha256_in(folder)
    return Network(net, facts, cutting(net), sha256, source, key)


def own_settings(name: str, asked: Asked = NOTHING) -> dict[str, Any]:
    """What the cells of one model say beside what all cells say: what decides its numbers and is not its name.

    Args:
        name: see `find_spec`.
        asked: what is asked of it; the hash of a checkpoint is a setting of all cells.

    Returns:
        `mean` and `std` where they are given; of code of one's own both in any case, and the hashes `code` and
        `weights` (this one only if the code gave them).

    Raises:
        UsageError, GfnetBenchError: as `own_network`.
    """
    spec = find_spec(name)
    if spec.factory is None:
        return {key: list(value) for key in ("mean", "std") if (value := getattr(asked, key)) is not None}
    network = own_network(spec, asked)
    found = {"code": spec.factory.sha256(), "mean": list(network.facts.mean), "std": list(network.facts.std)}
    return found if asked.checkpoint is not None else {**found, "weights": network.weights_sha256}


def check_unchanged(model: Model, settings: Mapping[str, Any]) -> None:
    """Raise GfnetBenchError unless a model is that of a cell: its code may be edited while a run is going on."""
    factory = find_spec(model.name).factory if "code" in settings else None
    if factory is None:
        return
    if factory.sha256() != settings["code"]:
        raise GfnetBenchError(f"{model.name}: its code was changed while the command ran; run the command again")
    if settings.get("weights", model.weights_sha256) != model.weights_sha256:
        raise GfnetBenchError(
            f"{model.name}: gave other weights than before in the same run; read them from a file, or seed its draws"
        )


def wrap(
    net: nn.Module,
    *,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    name: str | None = None,
    img_size: tuple[int, int] | int | None = None,
    num_classes: int | None = None,
) -> Model:
    """Any network as a model: it normalises inside, takes pixels in [0, 1], and returns logits.

    Args:
        net: takes (b, 3, h, w), or (b, 1, h, w) for grey images; it is put into eval mode, and its parameters frozen.
        mean: what to subtract of each channel, or of all; else what the network says, else ImageNet's.
        std: what to divide by then.
        name: what tables call it; else its class.
        img_size: side in pixels or (height, width); else what the network says, else 224.
        num_classes: what the logits must be of.

    Raises:
        UsageError: if it cannot take such images, or what it returns are no logits of so many classes.
    """
    called = name or type(net).__name__
    facts = facts_of(net, called, Asked(img_size, None, None, mean, std, num_classes))
    spec = ModelSpec(called, called, called, "own", None, None)
    cut, sha256 = paper_transform(*facts.size), sha256_of_state(net)
    return Model(spec, net, cut, sha256, "in memory", facts=facts, cfg=cutting(net))


def cutting(net: nn.Module) -> PretrainedCfg:
    """How a network's images are cut, by what timm noted on it."""
    known: dict[str, Any] = {field.name: None for field in fields(PretrainedCfg)}
    return PretrainedCfg(**{key: value for key, value in notes_of(net).items() if key in known})


_said: set[str] = set()


def _say(name: str, facts: Facts) -> None:
    """Tell people what was taken for granted, once: a run builds a network again and again."""
    if name not in _said:
        _said.add(name)
        tqdm.write(f"{name}: {facts}", file=sys.stderr)
