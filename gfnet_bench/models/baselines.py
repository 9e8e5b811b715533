"""Weights of the networks that timm knows: from the caches this machine has, else from where timm says they are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from timm.models import PretrainedCfg

from gfnet_bench.downloads.fetching import fetch
from gfnet_bench.downloads.remote import answers
from gfnet_bench.errors import MissingError, acquit

_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT_S = 5.0


def hosted_weights(name: str, cfg: PretrainedCfg) -> Path:
    """The weight file of a timm configuration, fetched at first use.

    Looked for in the caches of huggingface_hub (HF_HOME) and of torch.hub (TORCH_HOME), then on the hub, and where the
    hub does not answer at the address of the original file.

    Args:
        name: the model's name, for the error.
        cfg: timm's configuration of the tagged weights.

    Raises:
        MissingError: if it is in neither cache and cannot be fetched; found out within seconds.
    """
    if not cfg.hf_hub_id and not cfg.url:
        raise MissingError(f"{name}: timm has no weights for it; pass your own with --checkpoint PATH.")
    return cached_weights(cfg) or _download(name, cfg)


def folder_weights(name: str, folder: Path) -> Path:
    """The weight file of a model folder.

    Raises:
        MissingError: if there is none.
    """
    for file in _FILES:
        if (folder / file).is_file():
            return folder / file
    raise MissingError(f"{name}: expected {' or '.join(_FILES)} in {folder}, found neither.")


def cached_weights(cfg: PretrainedCfg) -> Path | None:
    """The weight file of a timm configuration in one of the caches, if it is there."""
    if cfg.hf_hub_id:
        repo, revision = _repo(cfg.hf_hub_id)
        for file in _files(cfg):
            found = try_to_load_from_cache(repo, file, revision=revision)
            if isinstance(found, str):
                return Path(found)
    path = _torch_hub_path(cfg)
    return path if path and path.is_file() else None


def _repo(hub_id: str) -> tuple[str, str | None]:
    repo, _, revision = hub_id.partition("@")
    return repo, revision or None


def _files(cfg: PretrainedCfg) -> tuple[str, ...]:
    return (cfg.hf_hub_filename,) if cfg.hf_hub_filename else _FILES


def _torch_hub_path(cfg: PretrainedCfg) -> Path | None:
    if not isinstance(cfg.url, str) or not cfg.url or cfg.custom_load:  # custom: NumPy archives of other frameworks
        return None
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(cfg.url).path).name)


def _download(name: str, cfg: PretrainedCfg) -> Path:
    torch_hub = _torch_hub_path(cfg)
    if constants.HF_HUB_OFFLINE:
        reason = "HF_HUB_OFFLINE is set"
    elif cfg.hf_hub_id and _answers(constants.ENDPOINT):
        repo, revision = _repo(cfg.hf_hub_id)
        for file in _files(cfg):
            try:
                return Path(hf_hub_download(repo, file, revision=revision, library_name="gfnet-bench"))
            except OSError as error:
                acquit(error)
                reason = str(error).splitlines()[0]
    elif torch_hub:
        return fetch([str(cfg.url)], torch_hub, label=name)
    else:
        reason = f"{constants.ENDPOINT} does not answer"
    if torch_hub:
        advice = f"put {cfg.url} at {torch_hub}"
    else:
        advice = f"fill the cache at {constants.HF_HUB_CACHE} from {constants.ENDPOINT}/{cfg.hf_hub_id}"
    raise MissingError(
        f"{name}: its weights are not on this machine and {reason}; {advice}, or pass a file with --checkpoint PATH."
    )


def _answers(address: str) -> bool:
    # huggingface_hub tries again for most of a minute when there is no network at all.
    return answers(address, _TIMEOUT_S)
