"""Elastic transform: a smooth random displacement of every pixel, in the published sets after a random affine map."""

from __future__ import annotations

import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, on_device
from gfnet_bench.corruptions.gaussian_blur import gaussian


def _scaled(side: int, *constants: tuple[float, float, float]) -> tuple[tuple[float, ...], ...]:
    """Constants that are given as shares of a side, in pixels."""
    return tuple(tuple(side * share for share in shares) for shares in constants)


@corruption(
    "elastic_transform",
    # 244, though the images have 224 pixels: so it stands in the published script.
    imagenet_c=_scaled(244, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
    cifar_c=_scaled(32, (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    tiny_imagenet_c=_scaled(
        64, (0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)
    ),
)
def elastic_transform(images: Tensor, constants: tuple[float, float, float], draws: Draws) -> Tensor:
    """Three points moved by up to `affine` pixels, the image with them; then every pixel by `alpha` times smooth noise.

    The noise is uniform in [-1, 1), blurred by `sigma` pixels.
    """
    alpha, sigma, affine = constants
    h, w = images.shape[2:]
    rows, columns = _affine_places(h, w, draws.uniform(-affine, affine, (3, 2)))
    warped = _sample(_planes(images), rows, columns, edge_twice=False)
    noise = draws.uniform(-1, 1, (2, h, w))
    return _displace(warped, gaussian(noise, sigma, "reflect", 3).mul_(alpha))


@corruption("elastic_transform", imagecorruptions=(12.5, 16.25, 21.25, 25, 30))
def elastic_displacement(images: Tensor, alpha: float, draws: Draws) -> Tensor:
    """Every pixel moved by `alpha` times smooth noise, without the affine map.

    The noise is uniform in plus or minus 0.5 % of the image's height, blurred by 1 % of its sides.
    """
    h, w = images.shape[2:]
    noise = draws.uniform(-0.005 * h, 0.005 * h, (2, h, w))
    return _displace(_planes(images), gaussian(noise, (0.01 * h, 0.01 * w), "reflect", 3).mul_(alpha))


def _planes(images: Tensor) -> Tensor:
    """(3, b, h, w) float32, channels first so that one index serves the three of them."""
    return images.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)


def _displace(planes: Tensor, shifts: Tensor) -> Tensor:
    """Planes (3, b, h, w) read at each pixel's place plus its shift (b, 2, h, w), along w and along h: images uint8."""
    _, _, h, w = planes.shape
    across, down = shifts.to(torch.float32).to(torch.float64).unbind(1)  # the precision of the reference's shifts
    rows = down + torch.arange(h, device=planes.device)[:, None]
    columns = across + torch.arange(w, device=planes.device)
    displaced = _sample(planes, rows, columns, edge_twice=True)
    return displaced.to(torch.int16).to(torch.uint8).transpose(0, 1)


def _affine_places(h: int, w: int, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel of the mapped image comes from: rows and columns, (b, h, w) float64.

    Args:
        h: rows of the image.
        w: columns of the image.
        moves: (b, 3, 2), by how much (x, y) three corners of a square about the middle move: its lower right, upper
            right and upper left one.
    """
    third = min(h, w) // 3
    device = moves.device
    middle = on_device((w // 2, h // 2), torch.float32, device)
    corners = middle + third * on_device(((1, 1), (1, -1), (-1, -1)), torch.float32, device)
    moved = (corners + moves.to(torch.float32)).to(torch.float64)
    # The sides of the square show where the axes go.
    xx, yx = ((moved[:, 1] - moved[:, 2]) / (2 * third)).unbind(1)
    xy, yy = ((moved[:, 0] - moved[:, 1]) / (2 * third)).unbind(1)
    determinant = xx * yy - xy * yx
    x0, y0 = moved[:, 0].unbind(1)
    places = []
    for along_x, along_y, corner in ((-yx, xx, middle[1] + third), (yy, -xy, middle[0] + third)):
        per_x, per_y = along_x / determinant, along_y / determinant
        start = corner - per_x * x0 - per_y * y0
        x = torch.arange(w, device=device) * per_x[:, None, None]
        y = torch.arange(h, device=device)[:, None] * per_y[:, None, None] + start[:, None, None]
        # OpenCV's fixed point: both parts in 1024ths of a pixel, their sum in 32nds.
        fixed = (x * 1024).round_() + (y * 1024).round_() + 16
        places.append(fixed.div_(32).floor_().div_(32))
    return places[0], places[1]


def _sample(planes: Tensor, rows: Tensor, columns: Tensor, *, edge_twice: bool) -> Tensor:
    """Planes (3, b, h, w) read between their pixels, linearly: (3, b, h, w) float32.

    Args:
        planes: float32.
        rows: (b, h, w) float64.
        columns: (b, h, w) float64.
        edge_twice: whether the mirror image beyond the border begins with the border pixel or the one next to it.
    """
    c, b, h, w = planes.shape
    top, left = rows.floor(), columns.floor()
    down, across = (rows - top).to(torch.float32), (columns - left).to(torch.float32)
    image = torch.arange(0, b * h * w, h * w, dtype=torch.int32, device=planes.device).view(b, 1, 1)
    lefts, rights = (_mirrored(left.to(torch.int32) + i, w, edge_twice) for i in (0, 1))
    lines = []
    for i in (0, 1):
        line = _mirrored(top.to(torch.int32) + i, h, edge_twice).mul_(w).add_(image)
        start, end = (planes.view(c, -1).index_select(1, (line + x).flatten()).view_as(planes) for x in (lefts, rights))
        lines.append(start.lerp_(end, across))
    return lines[0].lerp_(lines[1], down)


def _mirrored(places: Tensor, size: int, edge_twice: bool) -> Tensor:
    """The pixels that stand for those beyond the border, as often mirrored as need be."""
    period = 2 * (size - 1 + edge_twice)
    places = places.remainder_(period)
    return torch.minimum(places, period - edge_twice - places)
