"""A model's checkpoint file, fetched when it is first needed."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub.constants import ENDPOINT
from timm.models import PretrainedCfg, resolve_pretrained_cfg

from gfnet_bench.catalog import Weights, find_spec, source_of
from gfnet_bench.checksum import sha256_of
from gfnet_bench.download import cache_dir, fetch
from gfnet_bench.models.baselines import cached_weights

__all__ = ["fetch_weights", "sha256_of"]


def absent_weights(name: str) -> str | None:
    """The sentence that a model's weights are not on this machine yet, or None where they are; without a network."""
    spec = find_spec(name)
    source, place = source_of(spec.timm_name)
    where: object
    if spec.weights is not None:
        where = spec.weights.urls[0] if spec.weights.urls else None
        there = where is None or kept_at(spec.weights).is_file()
    elif source == "local-dir":
        there, where = True, None  # loading it tells what the folder lacks
    else:
        cfg = resolve_pretrained_cfg(spec.timm_name) if source is None else PretrainedCfg(hf_hub_id=place)
        where = (cfg.hf_hub_id and f"{ENDPOINT}/{cfg.hf_hub_id}") or cfg.url
        there = cached_weights(cfg) is not None
        if not where:
            return f"{name}: timm has no weights for it; pass your own with --checkpoint PATH."
    return None if there else f"{name}: its weights are not on this machine; a run fetches them from {where}"


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
