"""What a file is, told by its first bytes whatever it is called, for messages about one that was not wanted."""

from __future__ import annotations

import re
from typing import NamedTuple

from gfnet_bench.downloads.webpage import looks_like_page

HEAD = 1 << 12
"""So many bytes are enough to tell."""

_SPACE = b"\xef\xbb\xbf\t\r\n "  # a byte order mark is white space here
_AGAIN = "delete it and fetch it again"
_UNPACK = "unpack it and pass the file inside"
_CONVERT = "convert it to .safetensors, or to what torch.save writes, with the framework it comes from"


class FileType(NamedTuple):
    """A name with its article, and what somebody can do who wanted something else."""

    name: str
    advice: str = _AGAIN

    @property
    def packed(self) -> bool:
        """Whether there are files in it that can be unpacked."""
        return self.advice == _UNPACK


_BEGINNINGS = (
    (0, b"version https://git-lfs.github.com/spec/", FileType("a Git-LFS pointer", "`git lfs pull` fetches the file")),
    (0, b"/annex/objects/", FileType("a git-annex pointer", "`git annex get` fetches the file")),
    (0, b"\x1f\x8b", FileType("a gzip file", _UNPACK)),
    (0, b"BZh", FileType("a bzip2 file", _UNPACK)),
    (0, b"\xfd7zXZ\x00", FileType("an xz file", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", FileType("a Zstandard file", _UNPACK)),
    (0, b"\x04\x22\x4d\x18", FileType("an LZ4 file", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", FileType("a 7-Zip archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", FileType("a RAR archive", _UNPACK)),
    (257, b"ustar", FileType("a tar archive", _UNPACK)),
    (0, b"PK\x05\x06", FileType("an empty zip archive")),
    (0, b"PK\x03\x04", FileType("a zip archive", _UNPACK)),
    (0, b"\x89HDF\r\n\x1a\n", FileType("an HDF5 file, as Keras writes weights", _CONVERT)),
    (0, b"\x93NUMPY", FileType("a NumPy array", _CONVERT)),
    (0, b"GGUF", FileType("a GGUF file", _CONVERT)),
    (4, b"TFL3", FileType("a TensorFlow Lite model", _CONVERT)),
    (0, b"\x89PNG\r\n\x1a\n", FileType("a PNG image")),
    (0, b"\xff\xd8\xff", FileType("a JPEG image")),
    (0, b"GIF8", FileType("a GIF image")),
    (0, b"%PDF-", FileType("a PDF document")),
    (0, b"\x7fELF", FileType("a program")),
    (0, b"MZ", FileType("a Windows program")),
)

# The protocol buffers of ONNX begin with the version of the format, 3 to some dozen, and then the producer or graph;
# those of a TensorFlow SavedModel with version 1. Flax writes a msgpack map, whose first key is a string.
_PATTERNS = (
    (rb"\x08[\x03-\x1f][\x12\x1a\x3a\x42]", FileType("an ONNX model", _CONVERT)),
    (rb"\x08\x01\x12", FileType("a TensorFlow SavedModel", _CONVERT)),
    (rb"([\x81-\x8f]|\xde..|\xdf....)([\xa1-\xbf][\w ./-]|\xd9.[\w ./-])", FileType("a Flax msgpack file", _CONVERT)),
)


def file_type(head: bytes) -> FileType | None:
    """What begins like this, or None if nothing known does.

    Args:
        head: the first `HEAD` bytes of the file, or all of a smaller one.
    """
    if not head:
        return FileType("an empty file")
    if not head.strip(b"\0"):
        return FileType("nothing but zeros, as a download leaves that was never finished")
    if looks_like_page(head):
        return FileType(
            "a web page (file shares send one when they refuse a download)",
            "delete it and fetch the file with a browser",
        )
    for offset, magic, kind in _BEGINNINGS:
        if head.startswith(magic, offset):
            return kind
    for pattern, kind in _PATTERNS:
        if re.match(pattern, head, re.DOTALL):
            return kind
    return _text(head)


def _text(head: bytes) -> FileType | None:
    """JSON, XML or other text: mostly a server's explanation of why it does not send the file, so it is quoted."""
    try:
        text = head.lstrip(_SPACE).decode("utf-8", errors="strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character.isspace() for character in text):
        return None
    kind = "XML" if re.match(r"<[?!A-Za-z]", text) else "JSON" if re.match(r'[{\[]\s*["{\[\]}\d]', text) else "text"
    words = " ".join(text.split())
    return FileType(f"{kind} that begins {words[:80]!r}" if words else "nothing but white space")
