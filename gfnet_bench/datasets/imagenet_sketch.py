"""ImageNet-Sketch: black and white drawings of all 1000 classes."""

from __future__ import annotations

from gfnet_bench.datasets.base import DATASETS, DatasetSpec
from gfnet_bench.datasets.layouts import read_class_folders, wnid_label
from gfnet_bench.downloads.download import Download

DATASETS.add(
    "imagenet_sketch",
    DatasetSpec(
        name="imagenet_sketch",
        title="ImageNet-Sketch",
        # Its README says 50,000; the archive has 51 drawings of most classes (HaohanWang/ImageNet-Sketch#1).
        images=50889,
        short="IN-Sketch",
        place=6,
        cites=("wang2019sketch", "russakovsky2015imagenet"),
        # The checksum was published for the authors' file on Google Drive. That the hub has the same file, under this
        # path, is what public set-up scripts assume, and could not be tried: Drive would then be asked.
        downloads=(
            Download(
                (
                    "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip",
                    "https://drive.google.com/file/d/1Mj0i5HBthqH1p_yeXzsg22gZduvgoNeA/view",
                ),
                gives=("sketch",),
                size=7593573012,
                sha256="4d3ce6b82a7c48aabf14aeac105eb533e75707f152cc858f55bfc022031a72ed",
            ),
        ),
        folders=("sketch", "imagenet-sketch", "imagenet-sketch/images"),
        read=read_class_folders(wnid_label, lambda: range(1000)),
        control="imagenet",
        help="`gfnet-bench data get imagenet_sketch` fetches it.",
    ),
)
