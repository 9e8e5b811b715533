"""How a cost grows with the number of tokens, and what it would be where it could not be measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

LEAST = 3
"""Points that a fit needs."""


class Growth(NamedTuple):
    """`cost = factor * tokens ** exponent`.

    Attributes:
        factor: in the unit of the cost.
        exponent: 1 for a cost in proportion to the tokens, 2 for one to their square.
        r2: share of the variance of log(cost) that the fit explains.
        tokens: those of the points it rests on.
    """

    factor: float
    exponent: float
    r2: float
    tokens: tuple[int, ...]

    def at(self, tokens: Any) -> Any:
        """The fitted cost of a number of tokens, or of an array of them."""
        return self.factor * tokens**self.exponent

    @property
    def text(self) -> str:
        """`N^1.94, R² 0.9998`."""
        return f"N^{self.exponent:.2f}, R² {self.r2:.4f}"


def growth(tokens: Sequence[int], costs: Sequence[float]) -> Growth | None:
    """Least squares in log-log over the larger half of the sizes, at least three; None if there are fewer.

    The smaller half would pull the exponent down: there a cost is that of starting up.
    """
    pairs = sorted(zip(tokens, costs, strict=True))
    pairs = pairs[-max(LEAST, -(-len(pairs) // 2)) :]
    if len(pairs) < LEAST or any(cost <= 0 for _, cost in pairs):
        return None
    x, y = np.log(np.array(pairs, dtype=float)).T
    exponent, offset = np.polyfit(x, y, 1)
    residual, total = np.sum((y - offset - exponent * x) ** 2), np.sum((y - y.mean()) ** 2)
    r2 = 1.0 if total == 0 else 1 - residual / total
    return Growth(float(np.exp(offset)), float(exponent), float(r2), tuple(n for n, _ in pairs))
