"""Corruptions: perturbations that use the image alone. A new file in this folder is found by being here."""

import importlib
import pkgutil

from gfnet_bench.corruptions.base import CORRUPTIONS, MCE_NAMES, SEVERITIES

__all__ = ["CORRUPTIONS", "MCE_NAMES", "SEVERITIES"]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
