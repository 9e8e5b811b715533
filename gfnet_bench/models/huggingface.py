"""Image classifiers of the library transformers, from the hub or a folder, with what their image processor says."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from torch import nn

from gfnet_bench.downloads.checksum import sha256_of
from gfnet_bench.downloads.remote import answers
from gfnet_bench.errors import GfnetBenchError, MissingError, acquit
from gfnet_bench.weightfile import sha256_of_weights

_CONFIGS = ("config.json", "preprocessor_config.json")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_RESAMPLING = {2: "bilinear", 3: "bicubic"}
_TIMEOUT_S = 5.0


def check_installed(name: str) -> None:
    """Raise MissingError without transformers."""
    if importlib.util.find_spec("transformers") is None:
        raise MissingError(f"{name}: expected the package transformers, found none; pip install transformers")


def is_folder(place: str) -> bool:
    """Whether a model lies in a folder here rather than on the hub."""
    return place.startswith((".", "/", "~")) or Path(place).is_dir()


def found_here(place: str) -> Path | None:
    """The folder with the configuration and weights of a model, if they are here; nothing is fetched."""
    if is_folder(place):
        config: Any = Path(place).expanduser() / "config.json"
    else:
        config = try_to_load_from_cache(place, "config.json")
    if not isinstance(config, (str, Path)) or not Path(config).is_file():
        return None
    folder = Path(config).parent
    return folder if _weights_in(folder) else None


def sha256_in(folder: Path) -> str:
    """The hash of all that decides what a model answers: configuration, processor, weights."""
    weights = _weights_in(folder)
    assert weights is not None
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in _CONFIGS if (folder / name).is_file()]
    return hashlib.sha256("".join([*lines, f"{sha256_of_weights(weights)}  {weights.name}\n"]).encode()).hexdigest()


def fetched(name: str, place: str) -> Path:
    """The folder of a model, fetched at first use.

    Raises:
        MissingError: if it is neither here nor within reach.
    """
    found = found_here(place)
    if found is not None:
        return found
    if is_folder(place):
        raise MissingError(f"{name}: expected config.json and {_WEIGHTS[0]} in {place}, found not both; check the path")
    if constants.HF_HUB_OFFLINE or not answers(constants.ENDPOINT, _TIMEOUT_S):
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} does not answer"
        raise MissingError(f"{name}: is not on this machine and {why}; name a folder with a copy, hf:FOLDER")
    reason = ""
    for file in (*_CONFIGS, *_WEIGHTS):
        try:
            hf_hub_download(place, file, library_name="gfnet-bench")
        except (OSError, ValueError) as error:  # ValueError: no name that a repository can have
            acquit(error)
            reason = str(error).splitlines()[0]
        found = found_here(place)
        if found is not None:
            for shard in set(json.loads(_index(found)).values()):
                hf_hub_download(place, shard, library_name="gfnet-bench")
            return found
    raise MissingError(f"{name}: expected a model of transformers on the hub, found none: {reason}")


def build(name: str, folder: Path) -> nn.Module:
    """The classifier in a folder; its `pretrained_cfg` notes, as timm would, what its image processor does.

    Raises:
        GfnetBenchError: if it is no image classifier whose weights are all there.
    """
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with torch.device("cpu"):
            net, about = transformers.AutoModelForImageClassification.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True).to_dict()
    except Exception as error:  # another library's reading of files that may hold anything
        acquit(error)
        reason = " ".join(str(error).split())[:300]
        raise GfnetBenchError(f"{name}: transformers cannot read it as an image classifier: {reason}") from error
    if about["missing_keys"]:
        some = ", ".join(sorted(about["missing_keys"])[:3])
        raise GfnetBenchError(f"{name}: expected the weights of a classifier, found none for {some}")
    net = net.float()
    net.pretrained_cfg = {"told_by": "its image processor", **_as_timm(name, processor)}
    return net


def _as_timm(name: str, processor: dict[str, Any]) -> dict[str, Any]:
    """What a processor does to an image, in timm's words."""
    size, crop = processor.get("size") or {}, processor.get("crop_size") or {}
    short = int(size.get("shortest_edge") or 0)
    height, width = int(size.get("height", short)), int(size.get("width", short))
    mode, share = "center", 1.0
    if "crop_pct" in processor and short:  # ConvNeXt's rule, which leaves out the crop of large images
        share, mode = (processor["crop_pct"], "center") if short < 384 else (1.0, "squash")
    elif processor.get("do_center_crop") and crop:
        resized = min(height, width)
        if processor.get("image_processor_type", "").startswith("LevitImageProcessor"):
            resized = int(256 / 224 * resized)
        height, width = crop["height"], crop["width"]
        share = min(height, width) / resized * (1 - 1e-12)  # so that the quotient comes out whole again
    elif "height" in size:
        mode = "squash"
    if not height or not width or not processor.get("do_resize", True):
        raise GfnetBenchError(f"{name}: expected an image processor of a fixed size, found {size}; wrap it yourself")
    resample = _RESAMPLING.get(int(processor.get("resample") or 0))
    if resample is None:
        raise GfnetBenchError(
            f"{name}: expected a bilinear or bicubic image processor, found another; wrap it yourself"
        )
    factor = 255 * processor["rescale_factor"] if processor.get("do_rescale", True) else 255.0
    shift = 1.0 if processor.get("rescale_offset") else 0.0
    does = processor.get("do_normalize", True)
    mean, std = (processor["image_mean"], processor["image_std"]) if does else ((0.0,), (1.0,))
    return {
        "mean": tuple((value + shift) / factor for value in mean),
        "std": tuple(value / factor for value in std),
        "input_size": (3, height, width),
        "crop_pct": share,
        "crop_mode": mode,
        "interpolation": resample,
    }


def _weights_in(folder: Path) -> Path | None:
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)


def _index(folder: Path) -> str:
    """The map of shards of a folder, as JSON; an empty one of a model in one file."""
    weights = _weights_in(folder)
    whole = weights is None or weights.suffix != ".json"
    return "{}" if whole or weights is None else json.dumps(json.loads(weights.read_bytes())["weight_map"])
