"""The corruptions of ImageNet-C: their names, groups and severities, in the order mCE lists them."""

from __future__ import annotations

from dataclasses import dataclass

from gfnet_bench.errors import UsageError
from gfnet_bench.registry import Registry

SEVERITIES = (1, 2, 3, 4, 5)

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    Attributes:
        name: as in the folder names of ImageNet-C.
        group: the archive it is published in: noise, blur, weather, digital or extra.
    """

    name: str
    group: str

    @property
    def in_mce(self) -> bool:
        """Whether mCE averages over it; the four extra ones were made for validation."""
        return self.group != "extra"


CORRUPTIONS: Registry[Corruption] = Registry("corruption")
for _group, _names in GROUPS.items():
    for _name in _names:
        CORRUPTIONS.add(_name, Corruption(_name, _group))

MCE_NAMES = tuple(name for name in CORRUPTIONS if CORRUPTIONS[name].in_mce)


def check_severity(severity: int) -> None:
    """Refuse a severity there is not.

    Raises:
        UsageError: if it is not 1, 2, 3, 4 or 5.
    """
    if severity not in SEVERITIES:
        raise UsageError(f"severity: expected 1, 2, 3, 4 or 5, found {severity}")
