"""ImageNet-V2, three selections of new images; matched frequency is the common choice."""

from __future__ import annotations

from gfnet_bench.datasets.base import DATASETS, DatasetSpec
from gfnet_bench.datasets.layouts import read_class_folders, wnid_or_index_label

for _name, _title, _selection in (
    ("imagenet_v2", "ImageNet-V2", "matched-frequency"),
    ("imagenet_v2_threshold", "ImageNet-V2 (threshold 0.7)", "threshold0.7"),
    ("imagenet_v2_top", "ImageNet-V2 (top images)", "top-images"),
):
    _folder = f"imagenetv2-{_selection}-format-val"
    DATASETS.add(
        _name,
        DatasetSpec(
            name=_name,
            title=_title,
            images=10000,
            folders=(_folder, f"imagenetv2-{_selection}", _name),
            read=read_class_folders(wnid_or_index_label, lambda: range(1000), class_name=str),
            control="imagenet",
            help=f"`gfnet-bench data get {_name}` fetches it.",
        ),
    )
