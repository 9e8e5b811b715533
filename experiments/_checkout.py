"""`import _checkout` before anything of `gfnet_bench`: the package of this checkout is taken, installed or not."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT))
# For programs that are started from here.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
