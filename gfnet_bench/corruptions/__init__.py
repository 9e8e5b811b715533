"""Corruptions: perturbations that use the image alone. A new file in this folder is found by being here."""

import importlib
import pkgutil

from gfnet_bench.catalog import CORRUPTIONS, MCE_NAMES, SEVERITIES
from gfnet_bench.corruptions.base import RECIPES, made_by
from gfnet_bench.corruptions.batch import corrupt

__all__ = ["CORRUPTIONS", "MCE_NAMES", "RECIPES", "SEVERITIES", "corrupt", "made_by"]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
