"""ImageNet-V2, three selections of new images; matched frequency is the common choice."""

from __future__ import annotations

from gfnet_bench.datasets.base import DATASETS, DatasetSpec
from gfnet_bench.datasets.layouts import read_class_folders, wnid_or_index_label
from gfnet_bench.downloads.download import Download


def _add(name: str, title: str, short: str, selection: str, file: str, size: int, sha256: str) -> None:
    """Size and sha256: the checksum tables of TensorFlow Datasets.

    The files are called .tar.gz whether they are compressed or not; unpacking goes by the content.
    """
    folder = f"imagenetv2-{selection}-format-val"
    url = f"https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/{file}.tar.gz"
    DATASETS.add(
        name,
        DatasetSpec(
            name=name,
            title=title,
            images=10000,
            short=short,
            place=3,
            cites=("recht2019imagenet", "russakovsky2015imagenet"),
            downloads=(Download((url,), gives=(folder,), size=size, sha256=sha256),),
            folders=(folder, f"imagenetv2-{selection}", name),
            read=read_class_folders(wnid_or_index_label, lambda: range(1000), class_name=str),
            control="imagenet",
            help=f"`gfnet-bench data get {name}` fetches it.",
        ),
    )


_add(
    "imagenet_v2",
    "ImageNet-V2",
    "IN-V2",
    "matched-frequency",
    "imagenetv2-matched-frequency",
    1264079360,
    "f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
)
_add(
    "imagenet_v2_threshold",
    "ImageNet-V2 (threshold 0.7)",
    "IN-V2 threshold",
    "threshold0.7",
    "imagenetv2-threshold0.7",
    1249906176,
    "32142bfe998f9cfa4141be691f6a80eeb1e27b24bd532a668eb08c26d98897a2",
)
_add(
    "imagenet_v2_top",
    "ImageNet-V2 (top images)",
    "IN-V2 top",
    "top-images",
    "imagenetv2-top-images",
    1245927936,
    "85e4ace30f3f0d660152062254b8759dda66267b27f7ec0fd8d5768f1073a04b",
)
