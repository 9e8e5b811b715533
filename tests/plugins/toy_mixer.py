"""A token mixer: every token's features are averaged with those of the one before it."""

from gfnet_bench.families import PURPLE, Look
from gfnet_bench.mixers import MIXERS, Formula, Mixer


def build(side, width):
    """(b, n, d) to (b, n, d)."""
    from torch import nn

    class Neighbour(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(width, width, bias=False)

        def forward(self, x):
            return self.linear((x + x.roll(1, 1)) / 2)

    return Neighbour()


MIXERS.add(
    "neighbour",
    Mixer(
        title="neighbour",
        place=9,
        build=build,
        operators=lambda side, width, rule: {"linear": rule.per_mac * side**2 * width**2},
        look=Look(PURPLE, "*"),
        cites=("@misc{toy_neighbour,\n  title = {Neighbours}\n}",),
        formula=Formula("HWD^2", "D^2", lambda side, width: width**2),
    ),
)
