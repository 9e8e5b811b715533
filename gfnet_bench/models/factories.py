"""Networks that code of one's own builds: it is run, and its factory called."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from gfnet_bench.errors import UsageError
from gfnet_bench.owncode import module_of, running
from gfnet_bench.sourcecode import Factory


def build(factory: Factory, img_size: tuple[int, int] | None = None, num_classes: int | None = None) -> nn.Module:
    """The network that a factory gives, on the CPU.

    Random weights are drawn from torch's generator at seed 0, so that they are the same each time.

    Args:
        factory: which.
        img_size: (height, width) passed on to a factory that has a parameter `img_size`.
        num_classes: passed on in the same way.

    Raises:
        UsageError: if there is no such factory, or it raises, or gives no nn.Module; the text names its line.
        GfnetBenchError: if memory runs out.
    """
    file = factory.file
    with running(factory):
        found: Any = module_of(factory)
        for part in factory.attribute.split("."):
            if not hasattr(found, part):
                here = getattr(found, "__name__", None)
                near = sorted(name for name, thing in vars(found).items() if getattr(thing, "__module__", None) == here)
                told = ", ".join(near[:8]) or "nothing that can be called"
                raise UsageError(f"{factory}: expected {part} in {file}, found {told}")
            found = getattr(found, part)
        if isinstance(found, type) or not isinstance(found, nn.Module):
            if not callable(found):
                raise UsageError(f"{factory}: expected a callable that gives an nn.Module, found {_kind(found)}")
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                torch.manual_seed(0)
                found = found(**_arguments(found, {"img_size": img_size, "num_classes": num_classes}))
    if not isinstance(found, nn.Module):
        raise UsageError(f"{factory}: expected it to give an nn.Module, found {_kind(found)}; return the network")
    return found


def sha256_of_state(net: nn.Module) -> str:
    """The hash of everything a network holds: names, kinds, shapes and values of its tensors."""
    digest = hashlib.sha256()
    tensors = {**dict(net.named_buffers()), **net.state_dict()}
    for name in sorted(tensors):
        value = tensors[name]
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            plain = value.detach().cpu()
            plain = plain.dequantize() if plain.is_quantized else plain.to_dense() if plain.is_sparse else plain
            digest.update(plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(f"{name} {value!r}\n".encode())
    return digest.hexdigest()


def _kind(found: Any) -> str:
    return "None" if found is None else f"a {type(found).__name__}"


def _arguments(factory: Any, offered: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a factory has a parameter for."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # of compiled code
        return {}
    return {name: value for name, value in offered.items() if value is not None and name in parameters}
