"""The filters report: Figure 5 of the paper, filter surgery and Fourier heat maps."""

from gfnet_bench.reports.filters.report import CHANNELS, filters

__all__ = ["CHANNELS", "filters"]
