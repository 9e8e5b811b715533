"""Arrays in a file, NumPy's `.npz`: packed the same way every time, and unpacked without believing what it says."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gfnet_bench.files import open_regular
from gfnet_bench.schemas.kinds import Array, Unfit, check_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_BYTES = 2**30
"""No record has more beside it; a small file may claim to unpack to any number."""

# What zipfile and NumPy raise for bytes they cannot make sense of; a RuntimeError also for unknown methods.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    EOFError,
    KeyError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The same bytes for the same arrays: members in order of name, and NumPy dates every member 1980-01-01."""
    import numpy as np

    buffer = io.BytesIO()
    members: dict[str, Any] = {name: arrays[name] for name in sorted(arrays)}
    np.savez_compressed(buffer, **members)
    return buffer.getvalue()


def unpack(
    path: Path, expected: Mapping[str, Array] | None, opened: Callable[[Path], IO[bytes]] = open_regular
) -> dict[str, NDArray[Any]]:
    """The arrays in a file.

    Args:
        path: the file.
        expected: what they have to be, by name; None takes any numbers.
        opened: opens the file.

    Raises:
        Unfit: if they are not that, or the file is none that `pack` writes.
        OSError: if it cannot be read.
    """
    try:
        with opened(path) as handle, zipfile.ZipFile(handle) as file:
            return _members(file, expected)
    except Unfit:
        raise
    except _UNREADABLE as error:
        raise Unfit(f"expected arrays, found a damaged file ({type(error).__name__}: {error})") from error


def _members(file: zipfile.ZipFile, expected: Mapping[str, Array] | None) -> dict[str, NDArray[Any]]:
    entries = {entry.filename.removesuffix(".npy"): entry for entry in file.infolist()}
    if expected is not None and (len(file.infolist()) != len(entries) or entries.keys() != expected.keys()):
        raise Unfit(f"expected the arrays {', '.join(expected)}, found {', '.join(entries)}")
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries.values()):
        raise Unfit("expected arrays packed by zlib, found another method")
    if sum(entry.file_size for entry in entries.values()) > MOST_BYTES:
        raise Unfit(f"expected arrays of at most {MOST_BYTES} bytes, found more")
    sizes: dict[str, int] = {}
    arrays = {}
    for name, entry in entries.items():
        with file.open(entry) as member:
            arrays[name] = _array(name, member, entry.file_size, None if expected is None else expected[name], sizes)
    return arrays


def _array(name: str, member: IO[bytes], size: int, kind: Array | None, sizes: dict[str, int]) -> NDArray[Any]:
    """One array; `sizes` is what the letters in shapes stand for."""
    import numpy as np

    shape, in_columns, dtype = _header(member)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - member.tell():
        raise Unfit(f"{name} is said to be {dtype} of shape {shape}, which its {size} bytes are not")
    if kind is not None:
        _check_form(name, shape, dtype, kind, sizes)
    flat = np.frombuffer(member.read(), dtype).astype(dtype.newbyteorder("="))
    array = flat.reshape(shape[::-1]).T if in_columns else flat.reshape(shape)
    if kind is not None:
        check_range(name, array, kind)
    return array


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come before rows, and type, as the head of a `.npy` file says."""
    from numpy.lib import format

    read = {(1, 0): format.read_array_header_1_0, (2, 0): format.read_array_header_2_0}
    return read[format.read_magic(member)](member)


def _check_form(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], kind: Array, sizes: dict[str, int]) -> None:
    wanted = tuple(kind.shape)
    if len(wanted) == len(shape):
        wanted = tuple(sizes.setdefault(k, n) if isinstance(k, str) else k for k, n in zip(wanted, shape, strict=True))
    if dtype.str[1:] != kind.dtype or shape != wanted:
        raise Unfit(f"{name} is {dtype.str[1:]} of shape {shape}, expected {kind.dtype} of shape {wanted}")
