"""Records to tables and figures; nothing here imports torch. A report is found by being in this folder."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from gfnet_bench.reports.base import REPORTS, Report
from gfnet_bench.reports.drawing.tables import Column, Table

__all__ = ["REPORTS", "Column", "Report", "Table"]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
