"""A model's checkpoint file, fetched when it is first needed."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub.constants import ENDPOINT
from timm.models import PretrainedCfg, resolve_pretrained_cfg

from gfnet_bench.catalog import Weights, find_spec, source_of
from gfnet_bench.downloads.checksum import sha256_of
from gfnet_bench.downloads.fetching import cache_dir, fetch
from gfnet_bench.errors import MissingError
from gfnet_bench.models.baselines import cached_weights
from gfnet_bench.models.huggingface import check_installed, found_here, is_folder

__all__ = ["fetch_weights", "sha256_of"]


def to_fetch(name: str) -> str | None:
    """Where the weights of a model would be fetched from; None where they are on this machine. Needs no network.

    Raises:
        MissingError: if they are not, and are nowhere.
    """
    spec = find_spec(name)
    source, place = source_of(spec.timm_name)
    if source == "hf":
        check_installed(name)
        return None if is_folder(place) or found_here(place) else f"{ENDPOINT}/{place}"
    if spec.weights is not None:
        return None if not spec.weights.urls or kept_at(spec.weights).is_file() else spec.weights.urls[0]
    if source == "local-dir" or spec.factory is not None:  # loading it tells what it lacks
        return None
    cfg = PretrainedCfg(hf_hub_id=place) if source else resolve_pretrained_cfg(spec.timm_name)
    if cached_weights(cfg) is not None:
        return None
    if not cfg.hf_hub_id and not cfg.url:
        raise MissingError(f"{name}: timm has no weights for it; pass your own with --checkpoint PATH.")
    return f"{ENDPOINT}/{cfg.hf_hub_id}" if cfg.hf_hub_id else str(cfg.url)


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
    return fetch(weights.urls, kept_at(weights), label=name, sha256=weights.sha256, progress=progress)


def kept_at(weights: Weights) -> Path:
    """Where the checkpoint lies once it is fetched."""
    return cache_dir() / "checkpoints" / weights.file
