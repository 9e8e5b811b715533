"""What has to be known of a network beside its weights: normalisation, image size, channels, classes."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import PretrainedCfg
from torch import Tensor, nn

from gfnet_bench.errors import GfnetBenchError, UsageError, out_of_memory
from gfnet_bench.models.asked import NOTHING, Asked
from gfnet_bench.models.outputs import logits_of
from gfnet_bench.watch import are_probabilities, check_logits, no_logits

LUMA = (0.299, 0.587, 0.114)
"""Grey of red, green and blue, as in ITU-R 601, Pillow and torchvision's `Grayscale`; they sum to 1, so that no image
leaves [0, 1], and what changes each channel by at most epsilon changes the grey by at most epsilon."""

SIDE = 224

_SIZES = ("img_size", "image_size", "input_size")
_CLASSES = ("num_classes", "num_labels", "n_classes")


class Facts(NamedTuple):
    """What a network wants to be shown.

    Attributes:
        mean: of each channel, or one for all.
        std: the same.
        size: (height, width) in pixels.
        channels: 3, or 1 for a network that takes grey images.
        classes: k of its logits.
        sources: what of this was found where, for people: `mean` -> `--mean`.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    channels: int
    classes: int
    sources: Mapping[str, str]

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        of = self.sources
        return (
            f"images of {self.size[0]} x {self.size[1]} ({of['size']}), {'grey' if self.channels == 1 else 'RGB'}, "
            f"mean {mean} ({of['mean']}), std {std} ({of['std']}), {self.classes} classes"
        )


def facts_of(net: nn.Module, name: str, asked: Asked = NOTHING) -> Facts:
    """What is given, else what the network says in attributes or in its `pretrained_cfg`, else ImageNet's usual values.

    The network is put into eval mode and shown two images, which tells its channels and its classes.

    Args:
        net: the network.
        name: what errors call it.
        asked: normalisation, size and classes, where they are given.

    Raises:
        UsageError: if it cannot take such images, or returns what are no logits, or not of so many classes.
    """
    given = {"mean": asked.mean, "std": asked.std, "size": asked.size, "classes": asked.num_classes}
    told: dict[str, Any] = {key: (value, "as given") for key, value in given.items() if value is not None}
    for key, found in (*_attributes(net), *_noted(net)):
        told.setdefault(key, found)
    size, size_source = told.get("size", (SIDE, "nothing says so; the usual one"))
    height, width = _pair(size, name)
    channels, classes = _shown(net, name, (height, width))
    expected, classes_source = told.get("classes", (classes, ""))
    if expected != classes and classes_source == "as given":
        raise UsageError(f"{name}: expected logits of {expected} classes (--num-classes), found {classes}")
    values = {
        key: told.get(key, (usual, "nothing says so; ImageNet's"))
        for key, usual in (("mean", IMAGENET_DEFAULT_MEAN), ("std", IMAGENET_DEFAULT_STD))
    }
    sources = {key: source for key, (_, source) in values.items()} | {"size": size_source}
    numbers = {key: _per_channel(value, key, name, channels) for key, (value, _) in values.items()}
    return Facts(numbers["mean"], numbers["std"], (height, width), channels, classes, sources)


def configured(
    name: str,
    cfg: PretrainedCfg,
    size: tuple[int, int],
    channels: int,
    classes: int,
    *,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
) -> Facts:
    """What timm's configuration says of a network that is still to be built.

    Raises:
        UsageError: if a mean or std is given that is none, or if there is no way from an image to its channels.
    """
    if channels not in (1, 3):
        raise UsageError(_odd_channels(name, channels))
    given = {"mean": cfg.mean if mean is None else mean, "std": cfg.std if std is None else std}
    numbers = {key: _per_channel(value, key, name, channels) for key, value in given.items()}
    return Facts(numbers["mean"], numbers["std"], size, channels, classes, {})


def _odd_channels(name: str, channels: int) -> str:
    return (
        f"{name}: expected a network that takes 3 channels (red, green, blue) or 1 (grey), found one that takes "
        f"{channels}; wrap it in a module that makes those of the three"
    )


def _attributes(net: nn.Module) -> list[tuple[str, tuple[Any, str]]]:
    """What stands on the network itself, or on its first layer of patches, which knows the size it was built for."""
    names = {"mean": ("mean",), "std": ("std",), "size": _SIZES, "classes": _CLASSES}
    found = []
    for where, thing in (("", net), ("patch_embed.", getattr(net, "patch_embed", None))):
        for key, spelled in names.items():
            for attribute in spelled if where == "" or key == "size" else ():
                value = getattr(thing, attribute, None)
                value = value.flatten().tolist() if isinstance(value, Tensor) else value
                if _is_plain(value):
                    found.append((key, (value, f"its {where}{attribute}")))
    return found


def notes_of(net: nn.Module) -> Mapping[str, Any]:
    """What timm noted on a network that it built; nothing on any other."""
    cfg = getattr(net, "pretrained_cfg", None)
    if dataclasses.is_dataclass(cfg) and not isinstance(cfg, type):
        return dataclasses.asdict(cfg)
    return cfg if isinstance(cfg, Mapping) else {}


def _noted(net: nn.Module) -> list[tuple[str, tuple[Any, str]]]:
    cfg = notes_of(net)
    keys = {"mean": "mean", "std": "std", "size": "input_size"}
    return [
        (key, (cfg[k], cfg.get("told_by", "its pretrained_cfg"))) for key, k in keys.items() if _is_plain(cfg.get(k))
    ]


def _is_plain(value: Any) -> bool:
    """Whether it is a number or several."""
    return isinstance(value, Real) or (
        isinstance(value, Sequence) and len(value) > 0 and all(isinstance(v, Real) for v in value)
    )


def _pair(size: Any, name: str) -> tuple[int, int]:
    """(height, width) of a side, a pair, or timm's (channels, height, width)."""
    sides = list(size)[-2:] if isinstance(size, Sequence) else [size]
    if not sides or not all(isinstance(side, Integral) and int(side) > 0 for side in sides):
        raise UsageError(f"{name}: expected an image size in pixels, found {size!r}; say --img-size")
    return int(sides[0]), int(sides[-1])


def _per_channel(value: Any, key: str, name: str, channels: int) -> tuple[float, ...]:
    """One number a channel, of one for all, or for a grey network the luma of three."""
    numbers = [float(v) for v in (value if isinstance(value, Sequence) else [value])]
    if len(numbers) == 3 and channels == 1:
        numbers = [sum(part * weight for part, weight in zip(numbers, LUMA, strict=True))]
    if len(numbers) not in (1, channels) or (key == "std" and min(numbers) <= 0):
        wanted = "one number" if channels == 1 else "one number or three"
        raise UsageError(f"{name}: expected {wanted} as {key}, {'above 0, ' if key == 'std' else ''}found {value}")
    return tuple(numbers * (channels if len(numbers) == 1 else 1))


def _shown(net: nn.Module, name: str, size: tuple[int, int]) -> tuple[int, int]:
    """Channels and classes of a network, seen from what it does with two images: one black, one of noise."""
    net.eval()
    tensor = next(iter([*net.parameters(), *net.buffers()]), torch.empty(0, device="cpu"))
    noise = torch.rand(3, *size, generator=torch.Generator().manual_seed(0), device="cpu")
    images = torch.stack([torch.zeros_like(noise), noise]).to(tensor.device)
    failures: dict[int, Exception] = {}
    for channels in (3, 1):
        try:
            with torch.no_grad(), torch.device(images.device):
                logits = logits_of(net(images[:, :channels]))
        except Exception as error:  # anybody's code may raise anything
            if out_of_memory(error):
                raise GfnetBenchError(f"{name}: memory ran out over two images; free some.") from error
            failures[channels] = error
            continue
        return channels, _classes(logits, images, name)
    wanted = next((m.in_channels for m in net.modules() if isinstance(m, nn.modules.conv._ConvNd)), 3)
    if wanted not in failures:
        raise UsageError(_odd_channels(name, wanted))
    failure = failures[wanted]
    reason = textwrap.shorten(str(failure) or type(failure).__name__, 200)
    raise UsageError(
        f"{name}: shown two images of {size[0]} x {size[1]}, it says {reason!r}; mend it, or say the size (--img-size)"
    ) from failure


def _classes(logits: Any, images: Tensor, name: str) -> int:
    try:
        found = check_logits(logits, images)
        if bool(are_probabilities(found).all()):
            raise no_logits()
    except GfnetBenchError as error:
        raise UsageError(f"{name}: {error}") from error
    return found.shape[1]
