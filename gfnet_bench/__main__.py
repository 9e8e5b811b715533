"""`python -m gfnet_bench` is `gfnet-bench`."""

import sys

from gfnet_bench.cli import main

sys.exit(main())
