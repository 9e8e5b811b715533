"""PGD whose perturbation keeps to low or to high frequencies: to which does a model of frequencies give way?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gfnet_bench.attacks.base import ATTACKS
from gfnet_bench.attacks.pgd import PGD
from gfnet_bench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

BANDS = ("low", "high")
ROUNDS = 3
"""Of cutting to the L-infinity ball and to the band in turn, before what still sticks out is scaled down."""


@ATTACKS.register("band_pgd")
@dataclass(frozen=True)
class BandPGD(PGD):
    """PGD in a band of frequencies (low ones: Guo et al. 2019); see `PGD` for what is not said here.

    The perturbation is in its band and in the ball; then the box [0, 1] cuts off what goes beyond black and white, and
    what it cuts off is outside of the band.

    Attributes:
        band: `low`, frequencies up to the radius, or `high`, those beyond it.
        radius: in cycles an image (along its shorter side), whatever its number of pixels.
    """

    name: ClassVar[str] = "band_pgd"
    title: ClassVar[str] = "Band PGD"
    cites: ClassVar[tuple[str, ...]] = ("madry2018towards", "guo2019low")

    band: str = "low"
    radius: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.band not in BANDS:
            raise UsageError(f"{self.name}: expected band to be low or high, found {self.band!r}")
        if not 0 <= self.radius < math.inf:
            raise UsageError(f"{self.name}: expected radius from 0 up, in cycles an image, found {self.radius:g}")

    def _start(self, offset: Tensor, images: Tensor) -> Tensor:
        return self._project(images + offset, images)

    def _allowed(self, gradient: Tensor) -> Tensor:
        return self._filtered(gradient)

    def _project(self, moved: Tensor, images: Tensor) -> Tensor:
        from gfnet_bench.ball import TINY, length

        moved = self._filtered(moved - images)
        if self.norm == "linf":
            for _ in range(ROUNDS):
                moved = self._filtered(moved.clamp(-self.epsilon, self.epsilon))
        size = moved.abs().amax((1, 2, 3), keepdim=True) if self.norm == "linf" else length(moved)
        return (images + moved * (self.epsilon / size.clamp_min(TINY)).clamp(max=1)).clamp(0, 1)

    def _filtered(self, x: Tensor) -> Tensor:
        """(b, 3, h, w), what of it is in the band."""
        import torch

        height, width = x.shape[2:]
        rows = torch.fft.fftfreq(height, 1 / min(height, width), device=x.device)
        columns = torch.fft.rfftfreq(width, 1 / min(height, width), device=x.device)
        low = torch.hypot(rows[:, None], columns) <= self.radius
        return torch.fft.irfft2(torch.fft.rfft2(x) * (low if self.band == "low" else ~low), s=(height, width))
