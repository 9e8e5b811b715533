"""Reading checkpoint files: tensors only, never code, and one sentence where a file is not what was expected."""

from __future__ import annotations

import argparse
import contextlib
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gfnet_bench.errors import GfnetBenchError, MissingError
from gfnet_bench.webpage import looks_like_page

# What the readers of torch and safetensors raise for files they cannot make sense of.
UNREADABLE = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Args:
        path: what `torch.save` or safetensors wrote (told apart by content): the tensors by name, or a dictionary
            that holds them under `model` or `state_dict`. A leading `module.` of every name is dropped.

    Raises:
        MissingError: if there is no such file.
        GfnetBenchError: if it holds something else; a file with code in it is not run.
    """
    if not path.is_file():
        raise MissingError(f"expected a checkpoint at {path}, found no file there; check the path.")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise GfnetBenchError(f"{path}: expected a checkpoint, found an empty file; delete it and fetch it again.")
    if looks_like_page(head):
        raise GfnetBenchError(
            f"{path}: expected a checkpoint, found a web page (file shares send one when they refuse a download); "
            "delete it and fetch the file with a browser."
        )
    try:
        # A safetensors file starts with eight bytes of length and a JSON object.
        content = load_file(path) if head[8:9] == b"{" else _torch_load(path)
    except pickle.UnpicklingError as error:
        raise GfnetBenchError(
            f"{path}: expected a file of tensors, found Python objects that would have to run code to be read, so it "
            "was not opened; save its state dict alone with torch.save or safetensors."
        ) from error
    except UNREADABLE as error:
        raise GfnetBenchError(
            f"{path}: expected a .pth or .safetensors checkpoint, found a file that neither reads "
            f"({type(error).__name__}); it may be cut short: delete it and fetch it again."
        ) from error
    return _tensors(content, path)


def _torch_load(path: Path) -> object:
    # Training scripts like to keep their parsed arguments beside the weights; a Namespace runs no code.
    # An open file rather than a path: by path, torch goes by the suffix, which users change.
    with torch.serialization.safe_globals([argparse.Namespace]), path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    entries = content if isinstance(content, dict) else {}
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        found = f"the keys {_few([str(key) for key in entries])}" if entries else f"a {type(content).__name__}"
        raise GfnetBenchError(
            f"{path}: expected tensors by name, directly or under 'model' or 'state_dict', found {found}."
        )
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def load_weights(net: nn.Module, path: Path, name: str) -> None:
    """Read a checkpoint into a network, all of it or not at all.

    Names and sizes are first adapted by the `checkpoint_filter_fn` of the module that builds the network, timm's
    convention (it resamples position embeddings, for one).

    Args:
        net: the network.
        path: the checkpoint.
        name: the model's name, for the error.

    Raises:
        MissingError: as `read_checkpoint`.
        GfnetBenchError: as `read_checkpoint`, or if the tensors are not those of the network.
    """
    tensors = read_checkpoint(path)
    adapt = getattr(sys.modules[_module(net)], "checkpoint_filter_fn", None)
    if adapt is not None:
        # The tensors of another architecture can upset it in any way; the comparison below names them better.
        with contextlib.suppress(Exception):
            tensors = adapt(tensors, net)
    problem = _mismatch(net, tensors)
    if problem:
        raise GfnetBenchError(f"{name}: the checkpoint {path} does not fit: {problem}.")
    net.load_state_dict(tensors)


def _module(net: nn.Module) -> str:
    """The module whose function timm built a network with; of any other network the one that defines it."""
    architecture = getattr(net, "pretrained_cfg", {}).get("architecture", "")
    built = timm.is_model(architecture)
    return timm.model_entrypoint(architecture).__module__ if built else type(net).__module__


def _mismatch(net: nn.Module, tensors: dict[str, Tensor]) -> str:
    own = net.state_dict()
    missing = [key for key in own if key not in tensors]
    unexpected = [key for key in tensors if key not in own]
    misshaped = [key for key in own if key in tensors and own[key].shape != tensors[key].shape]
    head = [f"{part}.{kind}" for part in _classifiers(net) for kind in ("weight", "bias")]
    if misshaped and not missing and not unexpected and set(misshaped) <= set(head):
        key = misshaped[0]
        return f"it was trained for {len(tensors[key])} classes, expected {len(own[key])}"
    shapes = [f"{key}: expected {_shape(own[key])}, found {_shape(tensors[key])}" for key in misshaped]
    parts = [
        f"{len(keys)} {word} ({_few(keys)})"
        for word, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    return f"of {len(own)} tensors, " + "; ".join(parts) if parts else ""


def _classifiers(net: nn.Module) -> Sequence[str]:
    names = getattr(net, "pretrained_cfg", {}).get("classifier") or ()
    return (names,) if isinstance(names, str) else names


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(side) for side in tensor.shape) or "a scalar"


def _few(names: Sequence[str], count: int = 3) -> str:
    return ", ".join([*names[:count], "..."] if len(names) > count else names)
