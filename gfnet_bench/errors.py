"""The errors a user can act on: one sentence that says what was expected, what was found and what to do next."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path


class GfnetBenchError(Exception):
    """A cell cannot be measured: its text is kept in the record, and the run goes on with the next cell."""


class UsageError(GfnetBenchError):
    """The command cannot be understood: printed as one line, exit status 2."""


class MissingError(GfnetBenchError):
    """Data or weights are not on this machine; the text says where they were looked for and how to get them."""


@contextlib.contextmanager
def about(file: Path | str) -> Iterator[None]:
    """An `OSError` of this block is about `file` where the system names none, as in reading and writing."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(file)
        raise


def sentence(error: OSError) -> str:
    """What the system refused, of which file, and what to do: `OSError` for people."""
    files = dict.fromkeys(str(name) for name in (error.filename, error.filename2) if name is not None)
    about = f"cannot use {' and '.join(files)}" if files else "the system refuses to go on"
    return f"{about} ({error.strerror or error or type(error).__name__}); {remedy(error)}"


def remedy(error: OSError) -> str:
    """What to do about it: room helps against a full disk alone."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "allow it, or name another place, and run the same command again"
    return "mend that, or name another place, and run the same command again"


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what led to it, says that memory ran out, on whichever device and in whichever library.

    What such an exception interrupted was not at fault: no file is bad because of it.
    """
    if error is None:
        return False
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # torch.OutOfMemoryError says so in words, as do cuBLAS, cuFFT, cuDNN, Pillow and the allocators.
    signs = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc", "_ALLOC_FAILED")
    quotes = isinstance(error, GfnetBenchError) or (isinstance(error, OSError) and error.errno is not None)
    in_words = not quotes and any(sign in str(error) for sign in signs)
    return in_words or out_of_memory(error.__cause__ or error.__context__)


def acquit(error: Exception) -> None:
    """Clear whatever was being read of an error that is the machine's: memory or open files ran out.

    To be called first where an error would mean that a file, an image or a network is bad.

    Raises:
        MemoryError, OSError: in that case.
    """
    if out_of_memory(error):
        raise MemoryError(str(error)) from error
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise error
