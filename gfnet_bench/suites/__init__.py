"""Suites: one file each; importing the folder registers them all, without NumPy or torch."""

from __future__ import annotations

import importlib
import pkgutil

from gfnet_bench.suites.base import ALEXNET, DEFAULT, SUITES, Filters, Suite

__all__ = ["ALEXNET", "DEFAULT", "SUITES", "Filters", "Suite"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
