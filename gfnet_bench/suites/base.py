"""What a suite is: data sets of one label space, and what is measured on them when a command is not told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gfnet_bench.registry import Registry

DEFAULT = "imagenet"
"""The suite of whatever names none; the weights that timm hosts are for its classes."""

ALEXNET = "AlexNet"
"""As a suite's reference: the published errors of AlexNet on ImageNet-C."""


@dataclass(frozen=True)
class Filters:
    """What a suite's filters, surgery and heat maps are made of when a command does not say otherwise.

    Attributes:
        surgery_limit: images of a surgery cell.
        heatmap_limit: images of a heat map.
        norm: L2 norm of the noise in each channel, pixels in [0, 1]. Source: Yin et al. 2019, for 32 and 224 pixels.
        frequencies: the lowest of so many a side; None for all. Source: the same.
        parts: cells that a heat map is split into.
        models: whose filters are drawn; none for the suite's.
        whole: whether all three are measured where none is named, which takes minutes on small images.
    """

    surgery_limit: int = 1000
    heatmap_limit: int = 256
    norm: float = 15.7
    frequencies: int | None = 63
    parts: int = 8
    models: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Suite:
    """Data sets of one label space. Tables never mix suites.

    Attributes:
        name: the short name, `mini`.
        title: in the titles of tables.
        main: the data set that is attacked, and that the others are compared with.
        others: measured as well where no data set is named.
        models: measured where none is named; without any, one has to be.
        classes: how many there are; None where nobody knows.
        side: pixels per side of the images its models are trained on.
        whole: whether images are shown whole, at the model's size, instead of resized and cropped by the paper's rule.
        epsilon: L-infinity radius of attacks, in pixel units.
        attacks: those whose column stands in its table also where nothing is measured.
        reference: whose errors corruption errors are relative to, `ALEXNET` or a model that is measured; None where
            there is no such network, and so no mCE.
        columns: beside the accuracies on the main set, the columns that its table always has: data set and metric.
        lacks: of these, data sets that cannot be, each with the reason.
        filters: what the filters study uses.
    """

    name: str
    title: str
    main: str
    others: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    classes: int | None = None
    side: int = 224
    whole: bool = False
    epsilon: float = 1 / 255
    attacks: tuple[str, ...] = ("fgsm", "pgd")
    reference: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict, hash=False)
    filters: Filters = Filters()


SUITES: Registry[Suite] = Registry("suite", "suites")
