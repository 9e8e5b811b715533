"""Bars of progress: a terminal's on stderr, and in a notebook that can draw them the notebook's own."""

import importlib.util
import sys

if "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets"):
    from tqdm.auto import tqdm
else:  # which loads less, as the commands need
    from tqdm import tqdm

__all__ = ["tqdm"]
