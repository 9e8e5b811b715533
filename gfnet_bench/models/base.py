"""A model by its name: the network is built, its weights are found and read."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors import SafetensorError
from timm.layers import PatchEmbed
from timm.models import PretrainedCfg
from torch import nn

from gfnet_bench.catalog import ModelSpec, Transform, find_spec, model_transform, paper_transform, source_of
from gfnet_bench.errors import GfnetBenchError, UsageError, out_of_memory
from gfnet_bench.interrupts import never_swallowed
from gfnet_bench.mini import weights_path
from gfnet_bench.models.asked import NOTHING, Asked
from gfnet_bench.models.baselines import cached_weights, folder_weights, hosted_weights
from gfnet_bench.models.checkpoints import ends_of, load_weights
from gfnet_bench.models.facts import Facts, configured
from gfnet_bench.models.huggingface import found_here, sha256_in
from gfnet_bench.models.model import Model
from gfnet_bench.models.origins import Origin, origin_of
from gfnet_bench.models.own import own_network
from gfnet_bench.models.tensorfiles import read_tensors
from gfnet_bench.models.weights import fetch_weights, kept_at
from gfnet_bench.suites import DEFAULT, SUITES
from gfnet_bench.weightfile import sha256_of_weights

# What networks raise that do not like a size, when they are built or when they are shown an image of it.
_UNBUILDABLE = (RuntimeError, ValueError, AssertionError, TypeError, LookupError, ZeroDivisionError)


def load_model(
    name: str,
    asked: Asked = NOTHING,
    *,
    transform: Literal["paper", "model"] = "paper",
    device: torch.device | str = "cpu",
    pretrained: bool = True,
    check: Callable[[int], None] | None = None,
    suite: str | None = None,
) -> Model:
    """A model by name, ready to be measured.

    Args:
        name: see `find_spec`.
        asked: what else is asked of it.
        transform: `paper` or `model`.
        device: where to put it.
        pretrained: False for fresh weights, of which cost does not depend.
        check: told the number of classes before any weights are fetched; what it raises ends the loading.
        suite: for which images; None for those of the model's suite.

    Raises:
        UsageError: if there is no such model, or it cannot take images of that size.
        MissingError: if the weights are neither here nor within reach.
        GfnetBenchError: if a weight file is not what it should be.
    """
    spec = find_spec(name)
    if spec.factory is not None or source_of(spec.timm_name)[0] == "hf":
        own = own_network(spec, asked)
        if check is not None:
            check(own.facts.classes)
        cut = own_transform(spec, own.cfg, own.facts.size, transform, suite)
        hashed = own.weights_sha256, own.source, own.key
        return Model(spec, own.net, cut, *hashed, facts=own.facts, cfg=own.cfg).to(device)
    origin = origin_of(spec)
    cfg = origin.cfg
    classes, channels = cfg.num_classes, cfg.input_size[0]
    if asked.checkpoint is not None:  # of a network that may have been fine-tuned for other classes and images
        ends = ends_of(asked.checkpoint, cfg, asked.weights_key)
        classes, channels = ends.classes or classes, ends.channels or channels
    if asked.num_classes not in (None, classes):
        raise UsageError(
            f"{spec.name}: expected logits of {asked.num_classes} classes (--num-classes), found {classes}"
        )
    if check is not None:
        check(classes)
    size = asked.size or cfg.input_size[1:]
    facts = configured(spec.name, cfg, size, channels, classes, mean=asked.mean, std=asked.std)
    file: Path | None = None
    source: str | None = None
    key: str | None = None
    if pretrained and asked.checkpoint is None and spec.weights is None:
        file = folder_weights(spec.name, origin.folder) if origin.folder else hosted_weights(spec.name, cfg)
        source = f"timm {spec.timm_name}"
        net = _build(spec, origin, facts, file)
    else:
        net = _build(spec, origin, facts)
        if asked.checkpoint is not None:
            file, source = asked.checkpoint, asked.checkpoint.name
        elif pretrained and spec.weights is not None:
            source = spec.weights.source
            file = fetch_weights(spec.weights, spec.name) if spec.weights.urls else weights_path(spec.name)
        if file is not None:
            key = load_weights(net, file, spec.name, asked.weights_key)
    sha256 = None if file is None else sha256_of_weights(file)
    cut = own_transform(spec, cfg, size, transform, suite)
    return Model(spec, net, cut, sha256, source, key, facts=facts, cfg=cfg).to(device)


def local_weights_sha256(name: str) -> str | None:
    """`Model.weights_sha256` of a model with its published weights, as they lie here now; nothing is fetched.

    Returns:
        None if they are not here.

    Raises:
        GfnetBenchError: as `load_model`.
    """
    spec = find_spec(name)
    source, place = source_of(spec.timm_name)
    if source == "hf":
        folder = found_here(place)
        return None if folder is None else sha256_in(folder)
    if spec.weights is not None:
        file: Path | None = kept_at(spec.weights) if spec.weights.urls else weights_path(spec.name)
    else:
        origin = origin_of(spec)
        file = folder_weights(spec.name, origin.folder) if origin.folder else cached_weights(origin.cfg)
    return sha256_of_weights(file) if file is not None and file.is_file() else None


def _build(spec: ModelSpec, origin: Origin, facts: Facts, hosted: Path | None = None) -> nn.Module:
    """The network; `hosted` weights are read by timm, which may have to convert them on the way."""
    size = facts.size
    wanted = f"{spec.name}: cannot be built for images of {size[0]} x {size[1]}"
    cfg = origin.cfg
    options: dict[str, Any] = {**origin.options, **({"img_size": size} if cfg.fixed_input_size else {})}
    if origin.options or ":" in spec.timm_name:  # not of timm's registry, which would know its configuration
        options["pretrained_cfg"] = cfg.to_dict()
    if facts.classes != cfg.num_classes:
        options["num_classes"] = facts.classes
    if facts.channels != cfg.input_size[0]:
        options["in_chans"] = facts.channels
    if hosted is not None:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(hosted), "custom_load": False}}
    try:
        with never_swallowed():
            net = timm.create_model(origin.architecture, **options)
    except (*_UNBUILDABLE, SafetensorError, EOFError, MemoryError) as error:
        if out_of_memory(error):
            raise GfnetBenchError(f"{spec.name}: memory ran out while it was built; free some.") from error
        reason = textwrap.shorten(str(error), 300)
        if hosted is None:
            raise UsageError(f"{wanted}: {reason}") from error
        read_tensors(hosted)  # which says it better, where the file is to blame
        raise GfnetBenchError(f"{wanted} with the weights in {hosted}: {reason}") from error
    for patch_embed in (module for module in net.modules() if isinstance(module, PatchEmbed)):
        rows, columns = patch_embed.patch_size
        if size[0] % rows or size[1] % columns:
            raise UsageError(f"{wanted}: expected multiples of its {rows} x {columns} patches.")
    if size != tuple(cfg.input_size[1:]):
        _try_size(net, facts, wanted)
    return net


def _try_size(net: nn.Module, facts: Facts, wanted: str) -> None:
    """Show the network one empty image: many find out only in `forward` that a size does not suit them."""
    device = next(net.parameters()).device
    training = net.training
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, facts.channels, *facts.size, device=device))
    except (*_UNBUILDABLE, MemoryError) as error:
        if out_of_memory(error):
            raise GfnetBenchError(f"{wanted}: memory ran out over a single one; free some.") from error
        reason = textwrap.shorten(str(error) or type(error).__name__, 200)
        raise UsageError(f"{wanted}: shown one, it says {reason!r}; try a multiple of 32, or its own size.") from error
    finally:
        net.train(training)


def own_transform(
    spec: ModelSpec, cfg: PretrainedCfg, size: tuple[int, int], name: str, suite: str | None = None
) -> Transform:
    """How images of (height, width) `size` are cut for a model, by the paper's rule or by its own."""
    height, width = size
    shown = SUITES[suite or spec.suite or DEFAULT]
    if shown.whole:
        return Transform(name, height, width, None if size == (shown.side, shown.side) else size, cfg.interpolation)
    if name == "paper":
        return paper_transform(height, width)
    return model_transform(height, width, cfg.crop_pct, cfg.interpolation, cfg.crop_mode, cfg.mean)
