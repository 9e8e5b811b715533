"""Token mixers, those of Table 1 among them: one file each; importing the folder registers them all, without torch."""

from __future__ import annotations

import importlib
import pkgutil

from gfnet_bench.mixers.base import MIXERS, Formula, Mixer

__all__ = ["MIXERS", "Formula", "Mixer"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
