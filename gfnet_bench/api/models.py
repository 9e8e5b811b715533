"""Models for those who work in Python."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import nn

from gfnet_bench import models
from gfnet_bench.api.given import kind
from gfnet_bench.commands import options
from gfnet_bench.errors import UsageError
from gfnet_bench.models import Asked, Model
from gfnet_bench.models.factories import sha256_of_state


def wrap(
    net: nn.Module,
    *,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    name: str | None = None,
    img_size: tuple[int, int] | int | None = None,
    num_classes: int | None = None,
) -> Model:
    """Any network as a model: it takes pixels in [0, 1], normalises inside, and returns logits.

    Args:
        net: takes (b, 3, h, w), or (b, 1, h, w) for grey images, and returns (b, k) logits, perhaps in a tuple or a
            dictionary; it is put into eval mode where it is, and its parameters are frozen.
        mean: what to subtract of each channel, or of all, from pixels in [0, 1]; else what the network says, else
            ImageNet's.
        std: what to divide by then.
        name: what tables call it; else its class.
        img_size: side in pixels or (height, width); else what the network says, else 224.
        num_classes: what the logits must be of.

    Raises:
        UsageError: if it is no network, cannot take such images, or returns what are no logits of so many classes.
    """
    if isinstance(net, Model):
        raise UsageError(f"wrap: expected a network, found a model already, {net.name}; its network is .net")
    if not isinstance(net, nn.Module):
        raise UsageError(f"wrap: expected a torch.nn.Module, found {kind(net)}; a model by name: load_model(name)")
    return models.wrap(net, mean=mean, std=std, name=name, img_size=img_size, num_classes=num_classes)


def load_model(
    name: str,
    *,
    img_size: tuple[int, int] | int | None = None,
    transform: Literal["paper", "model"] = "paper",
    checkpoint: Path | str | None = None,
    weights_key: str | None = None,
    device: str | None = None,
) -> Model:
    """A model by name, with its published weights or those of a file.

    Args:
        name: what `gfnet-bench list models` shows, a name of timm, `FILE.py:FACTORY` or `PACKAGE.MODULE:FACTORY`.
        img_size: side in pixels or (height, width); None for the size its weights were trained at.
        transform: how images are cut: `paper`, the same for all, or the `model`'s own.
        checkpoint: a file to take the weights from instead of the published ones.
        weights_key: which weights of that file, where it holds several.
        device: where to put it, `cpu`, `cuda` ...; None for the fastest there is.

    Raises:
        UsageError: if there is no such model or device, or it cannot take images of that size.
        MissingError: if the weights are neither here nor within reach.
        GfnetBenchError: if a weight file is not what it should be.
    """
    if not isinstance(name, str):
        hint = "wrap(net) makes a model of a network" if isinstance(name, nn.Module) else "write gfnet_s"
        raise UsageError(f"load_model: expected the name of a model, found {kind(name)}; {hint}")
    if transform not in ("paper", "model"):
        raise UsageError(f"load_model: expected the transform paper or model, found {transform!r}")
    file = None if checkpoint is None else Path(checkpoint)
    options.checkpoint_sha256(Namespace(checkpoint=file, weights_key=weights_key))  # says what is wrong with it
    asked = Asked(img_size, file, weights_key)
    model = models.load_model(name, asked, transform=transform, device=options.device(Namespace(device=device)))
    if img_size is file is None and transform == "paper":
        model.as_named = sha256_of_state(model.net)
    return model
