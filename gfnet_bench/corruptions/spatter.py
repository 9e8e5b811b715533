"""Spatter: drops of water or splashes of mud.

The scripts make drops from OpenCV's Canny edges, distance transform, histogram equalisation and small filters. All of
these count in whole numbers, which float32 holds exactly, or can be made to, so they come out the same here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, divided, on_device
from gfnet_bench.corruptions.gaussian_blur import gaussian
from gfnet_bench.corruptions.kernels import kernel

WATER = (175 / 255, 238 / 255, 238 / 255)  # pale turquoise, RGB
MUD = (63 / 255, 42 / 255, 20 / 255)  # brown
WEAK, STRONG = 50, 150  # Canny's thresholds
TAN_22 = 13573  # the tangent of 22.5 degrees in units of 2**-15
PIXEL = 10_000  # what distances are counted in, 1 / 10000 of a pixel: then OpenCV's three lengths are whole numbers
FAR = 20  # pixels; distances from an edge end here
# The steps (down, right) of OpenCV's 5 x 5 distance, their lengths, and how many to take at a time so that every number
# of them that is shorter than FAR is among the sums.
STEPS = (
    *(((y, x), 10_000, (1, 2, 4, 8, 5)) for y, x in ((0, 1), (1, 0))),
    *(((y, x), 14_000, (1, 2, 4, 7)) for y, x in ((1, 1), (1, -1))),
    *(((y, x), 21_969, (1, 2, 3, 3)) for y, x in ((1, 2), (2, 1), (1, -2), (2, -1))),
)
FILTER = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))

Constant = tuple[float, float, float, float, float, int]

_LARGE = (
    (0.65, 0.3, 4, 0.69, 0.6, 0),
    (0.65, 0.3, 3, 0.68, 0.6, 0),
    (0.65, 0.3, 2, 0.68, 0.5, 0),
    (0.65, 0.3, 1, 0.65, 1.5, 1),
    (0.67, 0.4, 1, 0.65, 1.5, 1),
)
_CIFAR = (
    (0.62, 0.1, 0.7, 0.7, 0.5, 0),
    (0.65, 0.1, 0.8, 0.7, 0.5, 0),
    (0.65, 0.3, 1, 0.69, 0.5, 0),
    (0.65, 0.1, 0.7, 0.69, 0.6, 1),
    (0.65, 0.1, 0.5, 0.68, 0.6, 1),
)
_TINY = (
    (0.62, 0.1, 0.7, 0.7, 0.6, 0),
    (0.65, 0.1, 0.8, 0.7, 0.6, 0),
    (0.65, 0.3, 1, 0.69, 0.6, 0),
    (0.65, 0.1, 0.7, 0.68, 0.6, 1),
    (0.65, 0.1, 0.5, 0.67, 0.6, 1),
)


@corruption("spatter", imagenet_c=_LARGE, cifar_c=_CIFAR, tiny_imagenet_c=_TINY)
def spatter(images: Tensor, constant: Constant, draws: Draws) -> Tensor:
    """Water (last of the constant 0) or mud (1) where a random landscape is high.

    The constant is mean, standard deviation and blur in pixels of the landscape, what of it is liquid, the opacity of
    the water or the blur of the mud, and which of the two.
    """
    return _spatter(images, constant, draws, torch.float32)


@corruption("spatter", imagecorruptions=_LARGE)
def double_spatter(images: Tensor, constant: Constant, draws: Draws) -> Tensor:
    """`spatter` as imagecorruptions makes it, with the mud in double precision."""
    return _spatter(images, constant, draws, torch.float64)


def _spatter(images: Tensor, constant: Constant, draws: Draws, mud: torch.dtype) -> Tensor:
    mean, deviation, blur, least, opacity, muddy = constant
    liquid = draws.normal(images.shape[2:]).to(torch.float64).mul_(deviation).add_(mean)
    liquid = gaussian(liquid[:, None], blur)[:, 0]
    levels = divided(images.contiguous().to(torch.float32), 255)
    if muddy:
        # scipy filters a float32 one axis at a time, and what is 0.8 hangs on the last bit of either.
        splashes = (liquid > least).to(torch.float32)[:, None]
        for sigma in ((opacity, 0), (0, opacity)):
            splashes = gaussian(splashes, sigma).to(torch.float32)
        splashes.masked_fill_(splashes < 0.8, 0)
        colour = on_device(MUD, mud, images.device)[:, None, None] * splashes
        return (levels.mul_(1 - splashes) + colour).clamp_(max=1).mul_(255).to(torch.uint8)
    drops = _drops(liquid.masked_fill_(liquid < least, 0).mul_(255).to(torch.int32).bitwise_and_(255).to(torch.float32))
    largest = drops.amax((1, 2), keepdim=True)
    drops = drops.div_(largest).mul_(opacity)[:, None]
    wet = levels.add_(drops * on_device(WATER, torch.float32, images.device)[:, None, None])
    wet = wet.clamp_(0, 1).mul_(255).to(torch.uint8)
    # A small image may get no drop at all, which would be 0 / 0.
    return torch.where(largest[:, None] > 0, wet, images)


def _drops(liquid: Tensor) -> Tensor:
    """How strongly each pixel is covered, on no scale: (b, h, w) bytes as float32 in and out, >= 0."""
    distance = _distance(_edges(liquid))
    distance = _box(distance).to(torch.int32).div_(9 * PIXEL, rounding_mode="floor").to(torch.float32)
    relief = torch.zeros_like(distance)
    for row, weights in zip(_neighbours(_equalised(distance)), FILTER, strict=True):
        for pixels, weight in zip(row, weights, strict=True):
            relief.add_(pixels, alpha=weight)
    return _box(relief.clamp_(0, 255)).div_(9).round_().mul_(liquid)


def _edges(planes: Tensor) -> Tensor:
    """Canny's edges with 3 x 3 Sobel gradients: (b, h, w) bytes as float32 to bool."""
    (a, b, c), (d, _, f), (g, h, i) = _neighbours(planes, "replicate")
    across = ((c - a) + (f - d).mul_(2) + (i - g)).to(torch.int32)
    down = ((g - a) + (h - b).mul_(2) + (i - c)).to(torch.int32)
    width, height = across.abs(), down.abs()
    strength = (width + height).to(torch.float32)
    (a, b, c), (d, e, f), (g, h, i) = _neighbours(strength, "constant")
    height, slope = height << 15, width * TAN_22
    flat, steep = height < slope, height > slope + (width << 16)
    falls = (across ^ down) < 0
    thin = flat & (e > d) & (e >= f)
    thin |= steep & (e > b) & (e >= h)
    thin |= ~(flat | steep) & ((falls & (e > c) & (e > g)) | (~falls & (e > a) & (e > i)))
    thin &= strength > WEAK
    edges = thin & (strength > STRONG)
    made = kernel("grow", edges.device)
    return (made.grow if made else grown)(edges, thin)


def grown(edges: Tensor, thin: Tensor) -> Tensor:
    """Edges and all of `thin` that leads to one, by steps to any of eight neighbours: (b, h, w) bool."""
    while True:
        rows = edges.clone()
        rows[:, 1:] |= edges[:, :-1]
        rows[:, :-1] |= edges[:, 1:]
        wider = rows.clone()
        wider[:, :, 1:] |= rows[:, :, :-1]
        wider[:, :, :-1] |= rows[:, :, 1:]
        wider &= thin
        if torch.equal(wider, edges):
            return edges
        edges = wider


def _distance(edges: Tensor) -> Tensor:
    """How far the nearest edge is, in 1 / PIXEL up to FAR: (b, h, w) bool to float32."""
    distance = torch.full(edges.shape, float(FAR * PIXEL), device=edges.device).masked_fill_(edges, 0)
    for (down, right), length, counts in STEPS:
        for count in counts:
            there = distance + count * length
            for sign in (1, -1):
                (to_y, from_y), (to_x, from_x) = _slices(sign * count * down), _slices(sign * count * right)
                nearer = distance[:, to_y, to_x]
                torch.minimum(nearer, there[:, from_y, from_x], out=nearer)
    return distance


def _slices(step: int) -> tuple[slice, slice]:
    """Where things come to, and where from, when they move by `step` along an axis."""
    ahead, behind = slice(max(step, 0), min(step, 0) or None), slice(max(-step, 0), min(-step, 0) or None)
    return ahead, behind


def _equalised(planes: Tensor) -> Tensor:
    """OpenCV's histogram equalisation of whole numbers from 0 to FAR: (b, h, w) float32 to bytes as float32."""
    bins = int(FAR) + 1
    places = planes.flatten(1).to(torch.int64)
    counts = places.new_zeros((len(places), bins)).scatter_add_(1, places, torch.ones_like(places))
    sums = counts.cumsum(1)
    first = torch.where(sums > 0, sums, places.shape[1]).amin(1, keepdim=True)  # pixels of the lowest level there is
    rest = places.shape[1] - first
    scale = torch.full_like(first, 255, dtype=torch.float32).div_(rest)
    table = (sums - first).clamp_(min=0).to(torch.float32).mul_(scale).round_()
    return torch.where((rest > 0)[:, :, None], table.gather(1, places).view_as(planes), planes)


def _box(planes: Tensor) -> Tensor:
    """The sum of the 3 x 3 pixels about each, the image mirrored at its border pixels: (b, h, w)."""
    return sum(pixels for row in _neighbours(planes) for pixels in row)  # type: ignore[return-value]


def _neighbours(planes: Tensor, mode: str = "reflect") -> list[list[Tensor]]:
    """The 3 x 3 pixels about each, as nine planes (b, h, w)."""
    height, width = planes.shape[1:]
    padded = F.pad(planes[:, None], (1, 1, 1, 1), mode)[:, 0]
    return [[padded[:, y : y + height, x : x + width] for x in range(3)] for y in range(3)]
