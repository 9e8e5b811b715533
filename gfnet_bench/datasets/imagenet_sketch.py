"""ImageNet-Sketch: black and white drawings of all 1000 classes."""

from __future__ import annotations

from gfnet_bench.datasets.base import DATASETS, DatasetSpec
from gfnet_bench.datasets.layouts import read_class_folders, wnid_label

DATASETS.add(
    "imagenet_sketch",
    DatasetSpec(
        name="imagenet_sketch",
        title="ImageNet-Sketch",
        # Its README says 50,000; the archive has 51 drawings of most classes (HaohanWang/ImageNet-Sketch#1).
        images=50889,
        folders=("sketch", "imagenet-sketch", "imagenet-sketch/images"),
        read=read_class_folders(wnid_label, lambda: range(1000)),
        control="imagenet",
        help="`gfnet-bench data get imagenet_sketch` fetches it.",
    ),
)
