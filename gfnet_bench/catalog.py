"""Which models and corruptions there are, as plain data: names, titles, where weights come from, how images are cut.

Nothing here imports torch or timm at the top, so `gfnet-bench list` and `--help` answer at once.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gfnet_bench.errors import UsageError
from gfnet_bench.registry import Registry
from gfnet_bench.sourcecode import Factory, factory_of
from gfnet_bench.suites import DEFAULT


@dataclass(frozen=True)
class Transform:
    """How a photograph becomes the pixels a model is shown: resize, then centre crop.

    Attributes:
        name: `paper` (the GFNet paper's, the same for every model) or `model` (the one its weights came with).
        height: rows of the crop.
        width: columns of the crop.
        resize: the shorter side before the crop, in pixels; or a (height, width) that `mode` fits the image to; None
            leaves the size alone.
        interpolation: the resampling filter, `bicubic` or `bilinear`, always antialiased.
        mode: how an image meets a (height, width), in timm's words: `center` covers it, `border` fits inside it,
            `squash` takes its very shape.
        fill: red, green and blue of what a crop shows beyond the image; None where a crop must lie inside.
    """

    name: str
    height: int
    width: int
    resize: int | tuple[int, int] | None
    interpolation: str
    mode: str = "center"
    fill: tuple[int, int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields as a record stores them."""
        return dataclasses.asdict(self)


def paper_transform(height: int, width: int) -> Transform:
    """The paper's transform: bicubic to 256, crop to 224; other sizes in that ratio (the longer crop side decides)."""
    return Transform("paper", height, width, int(256 / 224 * max(height, width)), "bicubic")


def model_transform(
    height: int,
    width: int,
    crop_pct: float,
    interpolation: str,
    mode: str = "center",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
) -> Transform:
    """The transform of a timm configuration, by timm's rule that the crop is `crop_pct` of the resized side.

    Args:
        height: rows of the crop.
        width: columns of the crop.
        crop_pct: the share of the resized image that the crop keeps, of each side.
        interpolation: the resampling filter.
        mode: see `Transform`; timm takes a word it does not know for `center`.
        mean: the model's mean pixel, from 0 to 1, which timm pads with in `border` mode.
    """
    sides = math.floor(height / crop_pct), math.floor(width / crop_pct)
    if mode not in ("squash", "border"):
        return Transform("model", height, width, sides[0] if height == width else sides, interpolation)
    red, green, blue = (round(255 * value) for value in mean)
    return Transform(
        "model", height, width, sides, interpolation, mode, (red, green, blue) if mode == "border" else None
    )


@dataclass(frozen=True)
class Weights:
    """One checkpoint.

    Attributes:
        file: its file name in the cache.
        urls: where to fetch it, in order of preference; empty for a file that ships with the package.
        sha256: its hash where one is known beforehand; otherwise the first download is recorded.
        source: who published it, for people.
        top1: published ImageNet top-1 accuracy, a fraction.
    """

    file: str
    urls: tuple[str, ...]
    sha256: str | None
    source: str
    top1: float | None


class Held(Protocol):
    """A network that this process holds, in the place of code that builds it; see `models.in_hand`."""

    def sha256(self) -> str:
        """The hash of what it is beside its weights."""
        ...

    def network(self) -> Any:
        """A `models.own.Network`."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """One model that has a short name here.

    Attributes:
        name: the short name, `gfnet_s`.
        title: as the paper prints it, `GFNet-S`.
        timm_name: what `timm.create_model` builds it from, with the tag of the weights where timm hosts them.
        family: models of one design, for colours and legends.
        suite: the name of the suite whose classes its weights are for; None for any whose classes it tells apart.
        weights: the checkpoint; None where timm fetches it.
        cites: where it comes from, as `Family.cites`; empty where that is its family's.
        factory: code of one's own that builds it, or the network in hand; None where timm builds it.
    """

    name: str
    title: str
    timm_name: str
    family: str
    suite: str | None
    weights: Weights | None
    cites: tuple[str, ...] = ()
    factory: Factory | Held | None = None


MODELS: Registry[ModelSpec] = Registry("model", "models")

Made = TypeVar("Made", bound=Callable[..., Any])


def model(
    name: str,
    *,
    title: str | None = None,
    family: str = "own",
    suite: str | None = DEFAULT,
    cites: tuple[str, ...] = (),
) -> Callable[[Made], Made]:
    """Make a callable that gives a network, an nn.Module with its weights, the model `name`; see `ModelSpec`.

    What the network wants to be shown is read off it, and its code and weights are hashed into its cells, as of a
    network that is named by its file.
    """

    def add(made: Made) -> Made:
        spec = ModelSpec(name, title or name, name, family, suite, None, cites, Factory.of(made))
        MODELS.add(name, spec)
        return made

    return add


def _add(
    name: str,
    title: str,
    family: str,
    timm_name: str | None = None,
    weights: Weights | None = None,
    suite: str = DEFAULT,
    cites: tuple[str, ...] = (),
) -> None:
    MODELS.add(name, ModelSpec(name, title, timm_name or name, family, suite, weights, cites=cites))


def _gfnet(size: str, top1: float, tsinghua: str, google: str) -> None:
    file = f"gfnet-{size.lower()}.pth"
    google_url = f"https://drive.google.com/file/d/{google}/view?usp=sharing"
    urls = (f"https://cloud.tsinghua.edu.cn/f/{tsinghua}/?dl=1", google_url)
    weights = Weights(file, urls, None, "raoyongming/GFNet, official release", top1)
    _add(f"gfnet_{size.lower().replace('-', '_')}", f"GFNet-{size}", "GFNet", weights=weights)


def _pvt(size: str, title: str, top1: float) -> None:
    file = f"pvt_{size}.pth"
    url = f"https://github.com/whai362/PVT/releases/download/v2/{file}"
    weights = Weights(file, (url,), None, "whai362/PVT, official release", top1)
    _add(f"pvt_{size}", title, "PVT", weights=weights)


def _mini(name: str, title: str, family: str, *cites: str) -> None:
    weights = Weights(f"{name}.safetensors", (), None, "trained for gfnet-bench on Fashion-MNIST", None)
    _add(name, title, family, weights=weights, suite="mini", cites=cites)


_gfnet("Ti", 0.746, "3d0c1579aa524a0a99dd", "1_xrfC7c_ccZnVicYDnrViOA_T1N-xoHI")
_gfnet("XS", 0.786, "e0ab5b1583954a1fa9b2", "1paf9gQWdsLXrG58R77yJ3U0FiNINg9xN")
_gfnet("S", 0.800, "e5561fa070c44d9399bf", "18aRey_1abWNMmSL7TZQ4WxpplLRCDGEl")
_gfnet("B", 0.807, "2fbf264597af4d72afb3", "1OncnXYAXpdjZBq4JK5Y3xacIHOIMePQo")
_gfnet("H-Ti", 0.801, "b22dd45eccbe462cbbfb", "1Nrq5sfHD9RklCMl6WkcVrAWI5vSVzwSm")
_gfnet("H-S", 0.815, "5229cb4d1daf48e69675", "1w4d7o1LTBjmSkb5NKzgXBBiwdBOlwiie")
_gfnet("H-B", 0.829, "954c5af21e824ba6b40c", "1F900_-yPH7GFYfTt60xn4tu5a926DYL0")

_add("resnet18", "ResNet-18", "ResNet", "resnet18.tv_in1k")
_add("resnet50", "ResNet-50", "ResNet", "resnet50.tv_in1k")
_add("resnet101", "ResNet-101", "ResNet", "resnet101.tv_in1k")
# The paper's 79.8 % row is timm's retrained ResNeXt-50; torchvision's original (77.6 %) is kept beside it.
_add("resnext50", "ResNeXt-50", "ResNeXt", "resnext50_32x4d.ra_in1k")
_add("resnext50_tv", "ResNeXt-50 (torchvision)", "ResNeXt", "resnext50_32x4d.tv_in1k")
_add("regnety_016", "RegNetY-1.6GF", "RegNetY", "regnety_016.pycls_in1k")
_add("regnety_040", "RegNetY-4.0GF", "RegNetY", "regnety_040.pycls_in1k")
_add("regnety_080", "RegNetY-8.0GF", "RegNetY", "regnety_080.pycls_in1k")

_add("deit_tiny", "DeiT-Ti", "DeiT", "deit_tiny_patch16_224.fb_in1k")
_add("deit_small", "DeiT-S", "DeiT", "deit_small_patch16_224.fb_in1k")
_add("deit_base", "DeiT-B", "DeiT", "deit_base_patch16_224.fb_in1k")
_add("swin_tiny", "Swin-Ti", "Swin", "swin_tiny_patch4_window7_224.ms_in1k")
_add("swin_small", "Swin-S", "Swin", "swin_small_patch4_window7_224.ms_in1k")
_pvt("tiny", "PVT-Ti", 0.751)
_pvt("small", "PVT-S", 0.798)
_pvt("medium", "PVT-M", 0.812)
_pvt("large", "PVT-L", 0.817)
_add("pvt_v2_b1", "PVTv2-B1", "PVTv2", "pvt_v2_b1.in1k")
_add("pvt_v2_b2", "PVTv2-B2", "PVTv2", "pvt_v2_b2.in1k")

_add("resmlp_12", "ResMLP-12", "ResMLP", "resmlp_12_224.fb_in1k")
_add("resmlp_24", "ResMLP-24", "ResMLP", "resmlp_24_224.fb_in1k")
_add("resmlp_36", "ResMLP-36", "ResMLP", "resmlp_36_224.fb_in1k")
_add("gmlp_s", "gMLP-S", "gMLP", "gmlp_s16_224.ra3_in1k")
_add("mixer_b16", "Mixer-B/16", "Mixer", "mixer_b16_224.goog_in21k_ft_in1k")

_mini("gfnet_mini", "GFNet-mini", "GFNet")
_mini("vit_mini", "ViT-mini", "DeiT", "dosovitskiy2021image")
_mini("resmlp_mini", "ResMLP-mini", "ResMLP")
_mini("resnet_mini", "ResNet-mini", "ResNet")
_mini("gfnet_mini_at", "GFNet-mini (adversarially trained)", "GFNet", "madry2018towards")
_mini("resnet_mini_at", "ResNet-mini (adversarially trained)", "ResNet", "he2016deep", "madry2018towards")


def find_spec(name: str) -> ModelSpec:
    """The model called `name`: a short name, any name timm knows, or code of one's own.

    Args:
        name: `resnet50` with or without the tag of its weights, the same as the hub spells it (`timm/NAME`,
            `hf-hub:timm/NAME`), any other model of timm on the hub (`hf-hub:OWNER/NAME`) or in a folder
            (`local-dir:FOLDER`), an image classifier of transformers (`hf:OWNER/NAME`, `hf:FOLDER`), or a callable
            that gives a network (`FILE.py:FACTORY`, `PACKAGE.MODULE:FACTORY`).

    Raises:
        UsageError: if there is none; the text names near short names.
    """
    source, place = source_of(name)
    factory = None if source is not None else factory_of(name)
    if factory is not None:
        own = str(factory) if factory.file else name
        return ModelSpec(own, own, own, "own", None, None, factory=factory)
    if source == "hf":
        full = f"hf:{place}"
        return ModelSpec(full, full, full, "transformers", None, None)
    known = place.removeprefix("timm/") if source != "local-dir" else name
    if known not in MODELS and _in_timm(known):
        return ModelSpec(known, known, known, "timm", DEFAULT, None)
    if source is not None and name not in MODELS:
        full = f"{source}:{place}"
        return ModelSpec(full, full, full, "timm", DEFAULT, None)
    return MODELS[name]


def source_of(name: str) -> tuple[str | None, str]:
    """A model's name as timm reads it: `hf-hub`, `local-dir`, or `hf` of transformers, and what follows; or None."""
    source, _, place = name.partition(":")
    source = source.lower().replace("_", "-")
    return (source, place) if source in ("hf-hub", "local-dir", "hf") and place else (None, name)


def is_pattern(word: str) -> bool:
    """Whether a word of a command line stands for all names of its shape; the name of a folder or file never does."""
    is_name = source_of(word)[0] is not None or factory_of(word) is not None
    return not is_name and any(mark in word for mark in "*?[")


def suites_of(pattern: str) -> set[str]:
    """The suites in which a pattern fits short names."""
    return {suite for name in MODELS.match(pattern) if (suite := MODELS[name].suite)}


def expand(patterns: Sequence[str], suite: str | None = None) -> list[str]:
    """The model names that the words of a command line stand for, each once, in order.

    Args:
        patterns: names as `find_spec` takes them, or shell patterns; a pattern that fits short names stands for
            those alone, any other for the models with weights in timm.
        suite: patterns stand for models of this suite alone; None for all.

    Raises:
        UsageError: if a word stands for nothing.
    """
    names: dict[str, None] = {}
    for pattern in patterns:
        if is_pattern(pattern):
            found = [name for name in MODELS.match(pattern) if suite in (None, MODELS[name].suite)]
            found = found or (_match_timm(pattern) if suite in (None, DEFAULT) else [])
            if not found:
                where = f" of the suite {suite}" if suite else ""
                raise UsageError(
                    f"no model{where} is called like {pattern!r}; `gfnet-bench list models` shows the short names."
                )
            names.update(dict.fromkeys(found))
        else:
            names[find_spec(pattern).name] = None
    return list(names)


def _match_timm(pattern: str) -> list[str]:
    import timm

    return timm.list_models(pattern, pretrained=True)


def _in_timm(name: str) -> bool:
    import timm

    architecture, dot, tag = name.partition(".")
    return timm.is_model(architecture) and (not dot or (bool(tag) and timm.is_model_pretrained(name)))


IMAGENET_C = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""The corruptions of ImageNet-C by the archives it is published in; the four extra ones were made for validation."""


@dataclass(frozen=True)
class CorruptionName:
    """What a corruption is called.

    Attributes:
        name: as in the folder names of ImageNet-C.
        group: noise, blur, weather, digital or extra, or a word of its own.
    """

    name: str
    group: str


CORRUPTIONS: Registry[CorruptionName] = Registry("corruption", "corruptions")
for _group, _names in IMAGENET_C.items():
    for _name in _names:
        CORRUPTIONS.add(_name, CorruptionName(_name, _group))


def declared(folder: Path) -> list[CorruptionName]:
    """The corruptions that the files of a folder declare with a group, read as text: importing them needs torch."""
    texts = (file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py")))
    return [CorruptionName(*words) for text in texts for words in _DECLARATION.findall(text)]


_DECLARATION = re.compile(r'^@corruption\(\s*"(\w+)",\s*group="(\w+)"', re.MULTILINE)
for _known in declared(Path(__file__).with_name("corruptions")):
    CORRUPTIONS.add(_known.name, _known)

MCE_NAMES = tuple(name for group, names in IMAGENET_C.items() if group != "extra" for name in names)
SEVERITIES = (1, 2, 3, 4, 5)
