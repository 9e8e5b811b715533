"""What timm knows of a model before it is built: its architecture, its configuration, and how it was built before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import timm
from timm.models import PretrainedCfg, resolve_pretrained_cfg
from timm.models import _hub as hub

from gfnet_bench.catalog import ModelSpec, source_of
from gfnet_bench.errors import GfnetBenchError, MissingError, acquit


class Origin(NamedTuple):
    """Where a network comes from.

    Attributes:
        architecture: what `timm.create_model` builds, with the tag of its weights where timm's registry has them.
        cfg: timm's configuration of the weights: image size, classes, normalisation, address.
        options: what a model folder says that the network was built with.
        folder: where the weights of `local-dir:FOLDER` are.
    """

    architecture: str
    cfg: PretrainedCfg
    options: Mapping[str, Any] = {}
    folder: Path | None = None


def origin_of(spec: ModelSpec) -> Origin:
    """Where the network of a name comes from; nothing but a small configuration is ever fetched for it.

    Raises:
        MissingError: if that configuration is neither here nor within reach.
        GfnetBenchError: if it is none.
    """
    source, place = source_of(spec.timm_name)
    if source is None:
        return Origin(spec.timm_name, resolve_pretrained_cfg(spec.timm_name))
    read = hub.load_model_config_from_path if source == "local-dir" else hub.load_model_config_from_hf
    try:
        cfg, architecture, options = read(place)
    except OSError as error:  # the hub's own errors are of this kind too
        acquit(error)
        reason = str(error).splitlines()[0]
        raise MissingError(f"{spec.name}: expected a config.json of timm, found none: {reason}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise GfnetBenchError(f"{spec.name}: its config.json is not one that timm writes ({reason})") from error
    if not timm.is_model(architecture):
        raise GfnetBenchError(f"{spec.name}: its config.json names {architecture!r}, an architecture timm lacks")
    try:
        # Its weights are looked for by us, so timm must not go by where the configuration came from.
        known = resolve_pretrained_cfg(architecture, pretrained_cfg={**cfg, "source": None, "file": None})
    except TypeError as error:
        raise GfnetBenchError(f"{spec.name}: its config.json is not one that timm writes ({error})") from error
    return Origin(architecture, known, options, Path(place) if source == "local-dir" else None)
