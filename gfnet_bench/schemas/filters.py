"""Records of the filters study: learned filters, accuracies after surgery, errors under noise, spectra of attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfnet_bench.schemas import robustness
from gfnet_bench.schemas.kinds import (
    COUNT,
    SHARE,
    SIZE,
    TEXT,
    Array,
    Arrays,
    Beside,
    Fields,
    Unfit,
    check,
    either,
    having,
    list_of,
    maybe,
    none_or,
    number,
    whole,
    word,
)

_NOISE: Fields = {"name": word("fourier"), "norm": number(0), "frequencies": none_or(whole(1))}

SETTINGS: dict[str, Fields] = {
    "spectra": {**robustness.OWN, "img_size": none_or(SIZE), "checkpoint": none_or(TEXT)},
    "surgery": {
        **robustness.SETTINGS,
        "kind": none_or(word("low_pass", "high_pass", "band_stop")),
        "cutoff": none_or(either(number(), list_of(number(), 2))),
        "layer": none_or(COUNT),
    },
    "heatmap": {**robustness.SETTINGS, "perturbation": having(_NOISE), "part": list_of(COUNT, 2)},
    "perturbation": robustness.SETTINGS,
}
SPECTRA: Fields = {"layers": whole(1, 1000), "grids": list_of(list_of(whole(1, 4096), 2)), "image": SIZE}
HEATMAP: Fields = {
    "images": whole(1, robustness.MOST_IMAGES),
    "frequencies": whole(1),
    "image": SIZE,
    "clean_error": SHARE,
    "mean_error": SHARE,
    **maybe({"excluded": COUNT, "expected": none_or(COUNT)}),
}

PERTURBATION: Fields = {
    "images": whole(1, robustness.MOST_IMAGES),
    "image": SIZE,
    "shown": whole(1, 64),
    "mean_square": number(0, 1),
    **maybe({"excluded": COUNT, "expected": none_or(COUNT)}),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise Unfit for settings no cell of the study has."""
    check(settings, {"measure": word(*SETTINGS)})
    check(settings, SETTINGS[settings["measure"]])
    if (settings.get("kind") is None) != (settings.get("cutoff") is None):
        raise Unfit(f"kind is {settings['kind']} and cutoff {settings['cutoff']}, expected both or neither")
    part, parts = settings.get("part", (0, 1))
    if part >= parts:
        raise Unfit(f"part is {part} of {parts}, expected one of 0 to {parts - 1}")


def check_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Beside:
    """Raise Unfit for values that are not of such a cell; what lies beside them."""
    return _CHECKS[settings["measure"]](settings, values)


def _spectra(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Beside:
    check(values, SPECTRA)
    layers = {
        f"layer_{i:02d}": Array("f4", (h, w // 2 + 1, f"channels of layer {i}", 2))
        for i, (h, w) in enumerate(values["grids"])
    }
    return Beside(layers, lambda arrays: {"layers": len(arrays)})


def _heatmap(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Beside:
    check(values, HEATMAP)
    count, images = values["frequencies"], values["images"]
    expected = _share_of_frequencies(values["image"], settings["perturbation"]["frequencies"], *settings["part"])
    if count != expected:
        raise Unfit(f"frequencies is {count}, expected {expected} of its image and part")
    arrays = {"frequencies": Array("i2", (count, 2)), "wrong": Array("i4", (count,), 0, images)}

    def follows(arrays: Arrays) -> dict[str, Any]:
        import numpy as np

        from gfnet_bench.spectra import noise_frequencies

        height, width = values["image"]
        everything = noise_frequencies(height, width, settings["perturbation"]["frequencies"])
        part, parts = settings["part"]
        if not np.array_equal(arrays["frequencies"], np.array_split(everything, parts)[part]):
            raise Unfit("its frequencies are not those of its image and part")
        return {"mean_error": float(arrays["wrong"].mean() / images)}

    return Beside(arrays, follows)


def _perturbation(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Beside:
    check(values, PERTURBATION)
    n, k, (height, width) = values["images"], values["shown"], values["image"]
    classes = dict.fromkeys(("labels", "clean_answers", "answers"), Array("i2", (k,), 0))
    arrays = {
        "radial": Array("f4", (n, min(height, width) // 2 + 1), 0),
        "square": Array("f4", (n,), 0, 1),
        "random": Array("f4", (min(height, width) // 2 + 1,), 0),
        "clean": Array("u1", (k, height, width, 3)),
        "difference": Array("f4", (k, height, width, 3), -1, 1),
        **classes,
    }
    return Beside(arrays, lambda found: {"mean_square": float(found["square"].mean(dtype="f8"))})


def _share_of_frequencies(image: list[int], lowest: int | None, part: int, parts: int) -> int:
    """How many frequencies a part of a heat map has: of each k and -k one, shared out evenly, the first parts fuller.

    Worked out before the frequencies themselves are, which an image of absurd size would have too many of.
    """
    height, width = image if lowest is None else (lowest, lowest)
    own_mirrors = (2 - height % 2) * (2 - width % 2)
    everything = (height * width + own_mirrors) // 2
    return everything // parts + (part < everything % parts)


_CHECKS = {
    "spectra": _spectra,
    "surgery": robustness.check_values,
    "heatmap": _heatmap,
    "perturbation": _perturbation,
}
