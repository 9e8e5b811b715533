"""A model's checkpoint file, fetched when it is first needed."""

from __future__ import annotations

from pathlib import Path

from gfnet_bench.catalog import Weights
from gfnet_bench.checksum import sha256_of
from gfnet_bench.download import cache_dir, fetch

__all__ = ["fetch_weights", "sha256_of"]


def fetch_weights(weights: Weights, name: str, *, progress: bool = True) -> Path:
    """The checkpoint in the cache, downloaded if it is not there yet.

    GFNet's authors published no checksums, so the first download is remembered by its sha256 and any later change of
    the file is an error.

    Args:
        weights: what to fetch and from where.
        name: the model's name, for messages.
        progress: show a bar on stderr.

    Raises:
        MissingError: no address gave the file; the text names them and where to put a copy fetched by hand.
        GfnetBenchError: the file is not the one expected, or the disk cannot take it.
    """
    target = cache_dir() / "checkpoints" / weights.file
    return fetch(weights.urls, target, label=name, sha256=weights.sha256, progress=progress)
