"""CIFAR-10 and its corruptions, for networks of one's own."""

from __future__ import annotations

from gfnet_bench.suites.base import SUITES, Filters, Suite

SUITES.add(
    "cifar10",
    Suite(
        name="cifar10",
        title="CIFAR-10",
        main="cifar10",
        others=("cifar10_c",),
        classes=10,
        side=32,
        whole=True,
        epsilon=8 / 255,  # Madry et al. 2018, and RobustBench
        filters=Filters(norm=4.0, frequencies=None, parts=1),
    ),
)
