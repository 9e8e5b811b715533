"""Tiny ImageNet, 200 classes at 64 pixels, and its corruptions, for networks of one's own."""

from __future__ import annotations

from gfnet_bench.suites.base import SUITES, Filters, Suite

SUITES.add(
    "tiny_imagenet",
    Suite(
        name="tiny_imagenet",
        title="Tiny ImageNet",
        main="tiny_imagenet",
        others=("tiny_imagenet_c",),
        classes=200,
        side=64,
        whole=True,
        epsilon=8 / 255,  # Rice et al. 2020
        filters=Filters(norm=8.0, frequencies=31, parts=2),  # as strong in each pixel as 4.0 at 32 pixels
    ),
)
