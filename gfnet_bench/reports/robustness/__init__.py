"""The robustness report: Table 3 of the paper and what lies behind it."""

from gfnet_bench.reports.robustness.report import robustness

__all__ = ["robustness"]
