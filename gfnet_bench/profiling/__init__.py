"""What a network costs: multiply-adds counted and derived (`flops`, `formulas`), and the blocks that are compared."""

from gfnet_bench.profiling.flops import CONVENTIONS, Convention, Count, count
from gfnet_bench.profiling.mixers import MIXERS, block

__all__ = ["CONVENTIONS", "MIXERS", "Convention", "Count", "block", "count"]
