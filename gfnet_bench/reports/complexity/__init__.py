"""The complexity report: Table 1 and Figure 2 of the paper, what a token costs."""

from gfnet_bench.reports.complexity.report import complexity

__all__ = ["complexity"]
