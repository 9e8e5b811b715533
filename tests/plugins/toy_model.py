"""Two networks with their weights: they tell red, green, blue and grey images apart."""

import torch
from torch import nn

from gfnet_bench.catalog import model

CITES = """@misc{toy_models,
  title = {Networks for Toys}
}"""


class Colours(nn.Module):
    """(b, 3, 32, 32) to (b, 4), by mean colours, on a corner of the image or on all of it."""

    mean, std, img_size, num_classes = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 32, 4

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.head = nn.Linear(3, 4)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([2 * torch.eye(3) - 1, torch.zeros(1, 3)]))
            self.head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.2]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4 * self.head(x[..., : self.side, : self.side].mean((2, 3)))


@model("toy_net", title="ToyNet", suite="toy", cites=(CITES,))
def toy_net() -> nn.Module:
    return Colours(32)


@model("toy_corner", title="ToyNet-corner", suite="toy", cites=(CITES,))
def toy_corner() -> nn.Module:
    return Colours(4)
