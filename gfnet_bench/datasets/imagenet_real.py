"""ImageNet-ReaL: the validation images with several right answers each; those without any are left out."""

from __future__ import annotations

from gfnet_bench.datasets.base import DATASETS, DatasetSpec
from gfnet_bench.datasets.classes import file_number, real_labels
from gfnet_bench.downloads.download import Download
from gfnet_bench.errors import GfnetBenchError


def answers(image: str) -> tuple[int, ...]:
    """The right answers for a validation image.

    Raises:
        GfnetBenchError: if its name does not say which one it is.
    """
    number = file_number(image)
    if number is None or not 0 < number <= len(real_labels()):
        raise GfnetBenchError(
            f"imagenet_real: expected files with their official names (ILSVRC2012_val_00000293.JPEG), found {image}; "
            "the labels go by that number"
        )
    return real_labels()[number - 1]


DATASETS.add(
    "imagenet_real",
    DatasetSpec(
        name="imagenet_real",
        title="ImageNet-ReaL",
        images=46837,
        short="ReaL",
        place=4,
        cites=("beyer2020imagenet", "russakovsky2015imagenet"),
        images_of="imagenet",
        downloads=(
            Download(
                ("https://raw.githubusercontent.com/google-research/reassessed-imagenet/master/real.json",),
                gives=("real.json",),
                size=388478,
                sha256="d83e9bff374c631aae8439eb064c7019acc56e1b3bc3f56b8380c2a710b0220b",
                shipped="timm/data/_info/imagenet_real_labels.json",
            ),
        ),
        answers=answers,
        control="imagenet",
        help="The labels come with timm; the images are those of imagenet.",
    ),
)
