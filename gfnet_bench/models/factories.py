"""Networks that code of one's own builds: the code is run, its factory called, and what goes wrong is its line."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from gfnet_bench.errors import GfnetBenchError, UsageError, out_of_memory
from gfnet_bench.interrupts import never_swallowed
from gfnet_bench.sourcecode import Factory, importable

_neighbours: dict[str, Path] = {}
"""Modules that a file brought from its folder, and that folder: the `utils` of another file is another one."""


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
    with _code_of(factory):
        found: Any = _module(factory, file)
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


@contextlib.contextmanager
def _code_of(factory: Factory) -> Iterator[None]:
    """A block that runs it: its folder is importable, its prints go to stderr, its exceptions become a sentence."""
    root = factory.root.resolve() if factory.is_file else Path.cwd()
    for name, folder in list(_neighbours.items()):
        if factory.is_file and folder != root:
            sys.modules.pop(name, None)
            del _neighbours[name]
    before = set(sys.modules)
    try:
        with importable(root), never_swallowed(), contextlib.redirect_stdout(sys.stderr):
            yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # anybody's code may raise anything, and may call sys.exit
        if out_of_memory(error):
            raise GfnetBenchError(f"{factory}: memory ran out while it was built; free some.") from error
        _blame(factory, error)
    finally:
        for name in set(sys.modules) - before if factory.is_file else ():
            place = getattr(sys.modules[name], "__file__", None)
            if place and root in Path(place).resolve().parents:
                _neighbours[name] = root


def _module(factory: Factory, file: Path) -> ModuleType:
    if not factory.is_file:
        return importlib.import_module(factory.place)
    # Under a name that is no other's: a file called numpy.py takes no place.
    name = f"gfnet_bench_own_{hashlib.sha256(f'{file.resolve()} {factory.sha256()}'.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look classes up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _blame(factory: Factory, error: BaseException) -> NoReturn:
    """Say what code of one's own raised, and where: the last line of it that was being run."""
    code = {file.resolve() for file in factory.sources()}
    frames = traceback.extract_tb(error.__traceback__)
    own = [(f.filename, f.lineno) for f in frames if Path(f.filename).resolve() in code]
    if isinstance(error, SyntaxError) and error.filename:
        own.append((error.filename, error.lineno))
    file, line = own[-1] if own else (str(factory.file), None)
    where = f"{Path(file).name}, line {line}" if line else Path(file).name
    reason = " ".join(str(error).split())[:300]
    raise UsageError(f"{factory}: raised {type(error).__name__}{f': {reason}' if reason else ''} ({where})") from error
