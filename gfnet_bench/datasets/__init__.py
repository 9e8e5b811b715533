"""Data sets: one file per set; importing the folder registers them all, without NumPy or torch."""

from __future__ import annotations

import importlib
import pkgutil

from gfnet_bench.datasets.base import (
    DATASETS,
    DatasetSpec,
    chosen_files,
    files_of,
    generated_of,
    load_images,
    suite_of,
)
from gfnet_bench.datasets.images import Images

__all__ = ["DATASETS", "DatasetSpec", "Images", "chosen_files", "files_of", "generated_of", "load_images", "suite_of"]

_TOOLS = (
    "contents",
    "decode",
    "decoding",
    "doctor",
    "packed",
    "pixel_file",
    "prepared",
    "sources",
    "storage",
)  # no data sets in these; they import NumPy or tqdm

for _module in pkgutil.iter_modules(__path__):
    if _module.name not in _TOOLS:
        importlib.import_module(f"{__name__}.{_module.name}")
