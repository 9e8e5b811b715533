"""ImageNet and the sets made to its classes: the GFNet paper's Table 3."""

from __future__ import annotations

from gfnet_bench.suites.base import ALEXNET, SUITES, Filters, Suite

SUITES.add(
    "imagenet",
    Suite(
        name="imagenet",
        title="ImageNet",
        main="imagenet",
        others=("imagenet_real", "imagenet_v2", "imagenet_a", "imagenet_a_control", "imagenet_c"),
        models=("gfnet_s",),
        classes=1000,
        reference=ALEXNET,
        columns=(
            ("imagenet_c", "mce"),
            ("imagenet_a", "top1"),
            ("imagenet_v2", "top1"),
            ("imagenet_real", "real"),
        ),
        filters=Filters(models=("gfnet_xs",)),  # the paper's Figure 5
    ),
)
