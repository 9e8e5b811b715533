"""Files as people's disks have them: what is no file is never opened, and every name can be printed and encoded."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from pathlib import Path

from gfnet_bench.errors import acquit

MOST = 1 << 30  # bytes; an image of `decode.PIXELS`, two bytes a channel, needs no more

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class BadFile(Exception):
    """A file cannot be used, and nothing but this file is to blame; the text says why."""


def file_status(path: Path) -> os.stat_result:
    """Size and times of a file, of which nothing is read.

    Raises:
        BadFile: if there is none, something else has its name, or its name is none that records can hold.
    """
    if not is_plain(path.name):
        raise BadFile("expected a name in UTF-8 without control characters")
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            os.scandir(path).close()  # one that cannot be listed says why
    except OSError as error:
        acquit(error)
        if error.errno == errno.ENOENT and path.is_symlink():
            raise BadFile("a link to nothing") from None
        raise BadFile(reason(error)) from None
    _check(found)
    return found


def read_file(path: Path) -> bytes:
    """The bytes of a file; of what could keep us waiting for ever, a FIFO say, nothing is read.

    Raises:
        BadFile: if it cannot be read, or is larger than any image.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:  # Path.open takes no opener
            _check(os.fstat(file.fileno()))
            data = file.read(MOST + 1) or b""  # of what would keep us waiting there is nothing
    except OSError as error:
        acquit(error)
        raise BadFile(reason(error)) from None
    if len(data) > MOST:
        raise BadFile("a file without an end, expected an image")
    return data


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadFile(f"{_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}, expected a file")
    if found.st_size > MOST:
        raise BadFile(f"{found.st_size / 1e9:.1f} GB, expected an image")


def reason(error: OSError) -> str:
    """What the system says, without the name."""
    return error.strerror or str(error) or type(error).__name__


def is_plain(name: str) -> bool:
    """Whether a name is text without control characters; Python stands surrogates for bytes that are no UTF-8."""
    return name.isprintable() or not any(unicodedata.category(c) in ("Cc", "Cs") for c in name)


def printable(name: object) -> str:
    r"""A name that does no harm to a terminal or a record: `a\xff\x1b.jpg` for what is not plain."""
    text = str(name)
    return text if is_plain(text) else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if is_plain(character):
        return character
    code = ord(character)
    byte = 0xDC80 <= code <= 0xDCFF  # how Python spells a byte that is no UTF-8
    return f"\\x{code - 0xDC00:02x}" if byte else character.encode("unicode_escape").decode()
