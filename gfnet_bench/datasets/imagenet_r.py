"""ImageNet-R, renditions of 200 classes, and its control: the same classes of the validation set."""

from __future__ import annotations

from functools import partial

from gfnet_bench.datasets.base import DATASETS, DatasetSpec
from gfnet_bench.datasets.classes import subset
from gfnet_bench.datasets.layouts import read_class_folders, wnid_label
from gfnet_bench.downloads.download import Download

CLASSES = partial(subset, "imagenet_r")

DATASETS.add(
    "imagenet_r",
    DatasetSpec(
        name="imagenet_r",
        title="ImageNet-R",
        images=30000,
        short="IN-R",
        place=5,
        cites=("hendrycks2021many", "russakovsky2015imagenet"),
        # Size and sha256: the checksum tables of TensorFlow Datasets.
        downloads=(
            Download(
                ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",),
                gives=("imagenet-r",),
                size=2191079936,
                sha256="18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52",
            ),
        ),
        folders=("imagenet-r",),
        read=read_class_folders(wnid_label, CLASSES),
        classes=CLASSES,
        control="imagenet_r_control",
        help="`gfnet-bench data get imagenet_r` fetches it.",
    ),
)
DATASETS.add(
    "imagenet_r_control",
    DatasetSpec(
        name="imagenet_r_control",
        title="ImageNet, the classes of ImageNet-R",
        images=10000,
        short="IN-R control",
        place=5,
        cites=("hendrycks2021many", "russakovsky2015imagenet"),
        images_of="imagenet",
        classes=CLASSES,
        help="The images are those of imagenet.",
    ),
)
