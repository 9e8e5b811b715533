"""What the records of each study hold: types, ranges, and the arrays beside them. A file that differs is not one.

NumPy is imported where arrays are read and not before, so that reading results needs little.
"""

from __future__ import annotations

from gfnet_bench.schemas.arrays import pack
from gfnet_bench.schemas.kinds import Unfit
from gfnet_bench.schemas.record import SCHEMA, check_record, parse_json, read_beside, read_json

__all__ = ["SCHEMA", "Unfit", "check_record", "pack", "parse_json", "read_beside", "read_json"]
