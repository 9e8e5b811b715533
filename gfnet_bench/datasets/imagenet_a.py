"""ImageNet-A, photographs that a ResNet-50 gets wrong, and its control: those 200 classes of the validation set."""

from __future__ import annotations

from functools import partial

from gfnet_bench.datasets.base import DATASETS, DatasetSpec
from gfnet_bench.datasets.classes import subset
from gfnet_bench.datasets.layouts import read_class_folders, wnid_label
from gfnet_bench.downloads.download import Download

CLASSES = partial(subset, "imagenet_a")

DATASETS.add(
    "imagenet_a",
    DatasetSpec(
        name="imagenet_a",
        title="ImageNet-A",
        images=7500,
        short="IN-A",
        place=2,
        cites=("hendrycks2021natural", "russakovsky2015imagenet"),
        # Size and sha256: the checksum tables of TensorFlow Datasets.
        downloads=(
            Download(
                ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",),
                gives=("imagenet-a",),
                size=687552512,
                sha256="3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e",
            ),
        ),
        folders=("imagenet-a",),
        read=read_class_folders(wnid_label, CLASSES),
        classes=CLASSES,
        control="imagenet_a_control",
        help="`gfnet-bench data get imagenet_a` fetches it.",
    ),
)
DATASETS.add(
    "imagenet_a_control",
    DatasetSpec(
        name="imagenet_a_control",
        title="ImageNet, the classes of ImageNet-A",
        images=10000,
        short="IN-A control",
        place=2,
        cites=("hendrycks2021natural", "russakovsky2015imagenet"),
        images_of="imagenet",
        classes=CLASSES,
        help="The images are those of imagenet.",
    ),
)
