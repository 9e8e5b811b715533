"""One file of somebody else's, as data: where it is, what is in it, and how to tell that it arrived whole."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Download:
    """One file to download.

    Attributes:
        urls: addresses of the same file, tried in turn.
        gives: what is in the data folder once it is unpacked; the file itself if it is no archive.
        size: in bytes, rounded where only a rounded number is published.
        sha256: published checksum.
        md5: published checksum, where there is no sha256.
        group: of a set that comes as several archives of corruptions, what this one is called: `noise`.
        on_request: whether it is left out unless its group, or something in it, is asked for.
        shipped: the same file in a package that may be installed: `timm/data/_info/imagenet_real_labels.json`.
    """

    urls: tuple[str, ...]
    gives: tuple[str, ...]
    size: int
    sha256: str | None = None
    md5: str | None = None
    group: str | None = None
    on_request: bool = False
    shipped: str | None = None

    @property
    def file(self) -> str:
        """Its name in the data folder, where it may also be put by hand."""
        return self.urls[0].rpartition("/")[2]

    @property
    def is_archive(self) -> bool:
        """Whether it has to be unpacked."""
        return self.gives != (self.file,)

    @property
    def shipped_by(self) -> str | None:
        """The installed package that has it; looked up without importing that."""
        package, _, path = (self.shipped or "").partition("/")
        found = importlib.util.find_spec(package) if package else None
        folders = (found and found.submodule_search_locations) or []
        return package if any(Path(folder, path).is_file() for folder in folders) else None
