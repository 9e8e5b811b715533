"""What a network costs: multiply-adds counted and derived (`flops`, `formulas`), and the blocks that are compared."""

from gfnet_bench.profiling.blocks import block
from gfnet_bench.profiling.flops import Count, count, rule

__all__ = ["Count", "block", "count", "rule"]
