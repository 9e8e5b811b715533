"""The claims report: what a paper says that can be measured, and what the records say about it.

A paper's claims are one file here, `PAPERS.add(name, Paper(...))`; it is found by being in this folder.
"""

import pkgutil
from importlib import import_module

from gfnet_bench.reports.claims.base import PAPERS, Claim, Evidence, Finding, Paper
from gfnet_bench.reports.claims.report import claims

__all__ = ["PAPERS", "Claim", "Evidence", "Finding", "Paper", "claims"]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
