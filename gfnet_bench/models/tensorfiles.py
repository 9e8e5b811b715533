"""Reading what torch.save and safetensors write: tensors and plain data, never code, and nothing that is damaged."""

from __future__ import annotations

import builtins
import io
import json
import math
import pickle
import pickletools
import re
import textwrap
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gfnet_bench.errors import GfnetBenchError, out_of_memory
from gfnet_bench.filetypes import HEAD, FileType, file_type
from gfnet_bench.interrupts import never_swallowed
from gfnet_bench.weightfile import check_file, shards_of

# Functions that a checkpoint has no use for. Nothing of a checkpoint is ever called, whether it stands here or not;
# but a file that asks for these was made to do harm, and its user should know.
_HARMFUL = {"ctypes", "importlib", "nt", "os", "pickle", "posix", "pty", "runpy", "shutil", "socket", "subprocess"}
_HARMFUL |= {"sys", "webbrowser"}

_GROWTH = 20
"""torch.save does not compress; what was compressed afterwards does not become smaller than this share."""

_PICKLE = b"\x80"
_LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
"""The magic number of torch.save before it wrote zip files, pickled, without the two bytes of the protocol."""

_OF_TORCH = re.compile(r"torch\.(_\w+\.|storage\.|\w+Storage|\w+Tensor|Size|device)|collections\.|_codecs\.|builtins\.")
"""What torch itself writes beside tensors and plain data."""


class StandIn:
    """Left in place of an object that is neither a tensor nor plain data: it remembers what of, and does nothing."""

    stands_for = ""

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_tensors(path: Path) -> Any:
    """What a file of tensors holds, on the CPU.

    The file is told by its content, whatever it is called. An index of shards is read with its shards. Objects of
    other kinds than tensors and plain data (a NumPy number, a date, a training script's settings) become `StandIn`s.

    Args:
        path: what torch.save or safetensors wrote, or the index of several such files beside it.

    Raises:
        MissingError: if there is no such file, or a shard is missing.
        GfnetBenchError: if the file is something else or damaged, wants to run code, or does not fit into memory.
    """
    shards = shards_of(path)
    if not shards:
        return _read(path)
    contents = {file: _read(file) for file in sorted(set(shards.values()))}
    for name, file in shards.items():
        if not isinstance(contents[file], dict) or not isinstance(contents[file].get(name), Tensor):
            raise GfnetBenchError(f"{path}: expected the tensor {name!r} in {file.name}, found it missing there.")
    return {name: contents[file][name] for name, file in shards.items()}


def _read(path: Path) -> Any:
    check_file(path)
    try:
        # In memory first: a library that reads a file through Python can take an interrupt for an error of the file.
        with never_swallowed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _parse(path.read_bytes(), path)
    except GfnetBenchError:
        raise
    except Exception as error:  # on damaged files the readers raise whatever they happen to meet
        if out_of_memory(error):
            raise GfnetBenchError(
                f"{path}: memory ran out while this checkpoint was read, which says nothing of the file; free some "
                "memory and run again."
            ) from error
        raise GfnetBenchError(
            f"{path}: expected a .pth or .safetensors checkpoint, found a file that neither reads "
            f"({few([f'{type(error).__name__}: {error}'])}); it may be cut short: delete it and fetch it again."
        ) from error


def _parse(content: bytes, path: Path) -> Any:
    # A safetensors file starts with eight bytes of length, far below 2 ** 40, and a JSON object.
    if content[5:9] == b"\0\0\0{":
        return _safetensors(content)
    kind = file_type(content[:HEAD])
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            kind = _zip_type(archive.namelist())
            if kind is None:
                _check_sums(archive)
                pickled = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                return _unpickle(content, archive.read(pickled), path)
    if kind is not None:
        raise GfnetBenchError(f"{path}: expected a checkpoint, found {kind.name}; {kind.advice}.")
    return _unpickle(content, content, path)


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def _safetensors(content: bytes) -> dict[str, Tensor]:
    """What safetensors wrote: eight bytes of length, a JSON object that says where each tensor lies, the numbers.

    Read here, because the library's own reader loses interrupts, and ends in a panic where memory runs out.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    data, end = bytearray(content[start:]), 0
    tensors = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (first, last) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        count = math.prod(shape)
        if first != end or last - first != count * dtype.itemsize or min(shape, default=0) < 0:
            raise ValueError(f"the bytes of {name} are not of its shape")
        flat = torch.frombuffer(data, dtype=dtype, count=count, offset=first) if count else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(shape)
        end = last
    if end != len(data):
        raise ValueError(f"expected {end} bytes of numbers, found {len(data)}")
    return tensors


def _zip_type(names: list[str]) -> FileType | None:
    """What a zip archive is, None for one that torch.save wrote."""
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends or any("/code/" in name for name in names):
        return FileType("a TorchScript program", "load it with torch.jit.load and save its state_dict() instead")
    if "data.pkl" in ends:
        return None
    if any("archive_format" in name for name in ends):
        return FileType("a program that torch.export saved", "save the state_dict() of the network instead")
    if names and all(name.endswith(".npy") for name in names):
        return FileType("a NumPy archive (.npz)", "save its arrays as tensors by name with safetensors")
    if "model.weights.h5" in ends:
        return FileType("a Keras model", "convert its weights to a state dict of torch")
    listed = ", ".join(repr(name[:60]) for name in names[:3])
    return FileType(f"a zip archive of {listed or 'nothing'}", "unpack it and pass the checkpoint inside")


def _check_sums(archive: zipfile.ZipFile) -> None:
    """Hold every member against its checksum, which torch does not."""
    members = archive.infolist()
    if sum(member.file_size for member in members) > _GROWTH * sum(member.compress_size for member in members):
        raise zipfile.BadZipFile("its members claim more bytes than it can hold")
    if not any(member.CRC for member in members):  # torch can be told to write none
        for member in members:
            member.CRC = None  # type: ignore[assignment]  # which zipfile takes for "do not check"
    elif (damaged := archive.testzip()) is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} differs")


def _unpickle(content: bytes, pickled: bytes, path: Path) -> Any:
    """What torch.save wrote; `pickled` is the pickle in it, alone or with what follows."""
    zipped = pickled is not content
    if not zipped and content[2:14] != _LEGACY:
        raise GfnetBenchError(
            f"{path}: expected a checkpoint, found {'a Python pickle' if content[:1] == _PICKLE else 'a file'} that "
            "neither torch.save nor safetensors wrote; save its arrays as tensors by name with one of them."
        )
    if pickled[1] > 3:
        raise GfnetBenchError(
            f"{path}: expected pickle protocol 2, found {pickled[1]}, which torch reads with code only; save it again "
            "with torch.save and its default protocol."
        )
    names = sorted(_globals(pickled, 1 if zipped else 4))
    if harmful := [name for name in names if _is_harmful(name)]:
        raise GfnetBenchError(
            f"{path}: expected a file of tensors, found Python objects that would have to run code to be read "
            f"({few(harmful)}), so it was not opened; do not use this file."
        )
    stand_ins: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (_defaultdict if name == "collections.defaultdict" else type("StandIn", (StandIn,), {"stands_for": name}), name)
        for name in names
    ]  # of which torch ignores those for what it reads itself
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        objects = [name for name in names if not _OF_TORCH.match(name)]
        if out_of_memory(error) or not objects:
            raise
        raise GfnetBenchError(
            f"{path}: expected a file of tensors, found one that cannot be read without running code (it holds "
            f"{few(objects)}), or that is damaged; save its state dict alone with torch.save or safetensors."
        ) from error


def _defaultdict(*arguments: object) -> OrderedDict[Any, Any]:
    return OrderedDict()


def _globals(pickled: bytes, count: int) -> set[str]:
    """The names of all functions and classes that the first `count` pickles refer to, in Python 3."""
    stream, names = io.BytesIO(pickled), set()
    for _ in range(count):
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
                names.add(f"{module}.{name}")
    return names


def _is_harmful(name: str) -> bool:
    root, _, rest = name.lstrip("_").partition(".")
    if root == "builtins":
        return rest != "getattr" and not isinstance(getattr(builtins, rest, object), type)  # how pickle finds methods
    return root in _HARMFUL or (root, rest) == ("io", "open")


def few(names: Sequence[str], count: int = 3) -> str:
    """The first of many names, none so long or odd that it would spoil a message."""
    shown = [textwrap.shorten(name if name.isprintable() else repr(name), 80) for name in names[:count]]
    return ", ".join([*shown, "..."] if len(names) > count else shown)
