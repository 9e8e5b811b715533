"""The cost of whole models in closed form, from the constants of their papers alone, to hold against what is counted.

Nothing here builds a network: each function walks an architecture as its paper draws it. Sides are halved upwards, as
padded convolutions do, and rounded down where patches are cut without padding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from gfnet_bench.catalog import MODELS
from gfnet_bench.conventions import CONVENTIONS
from gfnet_bench.mixers.global_filter import filter_operators
from gfnet_bench.suites import DEFAULT, SUITES

Grid = tuple[int, int]


class _Cost:
    """The sum so far, by kind of operator, in the convention's unit."""

    def __init__(self, convention: str) -> None:
        self.rule = CONVENTIONS[convention]
        self.operators: Counter[str] = Counter()

    def linear(self, positions: int, wide_in: int, wide_out: int) -> None:
        """`positions` vectors from one width to another."""
        self.operators["linear"] += self.rule.per_mac * positions * wide_in * wide_out

    def mlp(self, positions: int, width: int, hidden: int) -> None:
        """There and back."""
        self.linear(positions, width, 2 * hidden)

    def attention(self, queries: int, keys: int, width: int) -> None:
        """Scores and their product with the values, all heads."""
        self.operators["attention"] += self.rule.per_mac * 2 * queries * keys * width

    def conv(
        self, positions: int, wide_in: int, wide_out: int, kernel: int, groups: int = 1, norm: bool = False
    ) -> None:
        """`positions` of the output; a batch norm follows if `norm`."""
        self.operators["convolution"] += self.rule.per_mac * positions * kernel**2 * wide_in * wide_out // groups
        self.operators["batch_norm"] += norm * self.rule.batch_norm * positions * wide_out

    def layer_norm(self, elements: int) -> None:
        """So many numbers normalised."""
        self.operators["layer_norm"] += self.rule.layer_norm * elements

    def global_filter(self, grid: Grid, width: int) -> None:
        """Transform, product and transform back."""
        self.operators.update(filter_operators(grid, width, self.rule))


def model_operators(
    name: str, img_size: int | Grid | None = None, convention: str = "authors"
) -> dict[str, int] | None:
    """The cost of a model of the catalogue on one image, by kind of operator, from its architecture alone.

    Args:
        name: a short name.
        img_size: side in pixels or (height, width), of a size the model can take; None for that of its weights.
        convention: a name in `CONVENTIONS`.

    Returns:
        As `Count.operators`, in the convention's unit; None if no closed form is written down for this model.

    Raises:
        UsageError: if there is no such convention.
    """
    canonical = MODELS.canonical(name)
    if canonical is None or canonical not in ARCHITECTURES:
        return None
    if img_size is None:
        img_size = SUITES[MODELS[name].suite or DEFAULT].side
    cost = _Cost(convention)
    ARCHITECTURES[canonical](cost, (img_size, img_size) if isinstance(img_size, int) else img_size)
    return dict(+cost.operators)


def _cut(size: Grid, side: int) -> Grid:
    return size[0] // side, size[1] // side


def _halve(grid: Grid, times: int = 1) -> Grid:
    rows, columns = (-(-side // 2**times) for side in grid)
    return rows, columns


def _area(grid: Grid) -> int:
    return grid[0] * grid[1]


def _gfnet(
    cost: _Cost, size: Grid, widths: Sequence[int], depths: Sequence[int], patch: int, classes: int = 1000
) -> None:
    grid, before = size, 3
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        cut = patch if stage == 0 else 2
        grid = _cut(grid, cut)
        n = _area(grid)
        cost.conv(n, before, width, cut)
        for _ in range(depth):
            cost.layer_norm(2 * n * width)
            cost.global_filter(grid, width)
            cost.mlp(n, width, 4 * width)
        before = width
    cost.layer_norm(_area(grid) * before)
    cost.linear(1, before, classes)


def _vit(
    cost: _Cost, size: Grid, width: int, depth: int, patch: int = 16, classes: int = 1000, class_token: bool = True
) -> None:
    n = _area(_cut(size, patch))
    cost.conv(n, 3, width, patch)
    n += class_token
    for _ in range(depth):
        cost.layer_norm(2 * n * width)
        cost.linear(n, width, 4 * width)
        cost.attention(n, n, width)
        cost.mlp(n, width, 4 * width)
    # Where tokens are averaged, the average is normed, not the tokens.
    cost.layer_norm((n if class_token else 1) * width)
    cost.linear(1, width, classes)


def _pvt(cost: _Cost, size: Grid, depths: Sequence[int]) -> None:
    grid, before = size, 3
    for stage, (width, depth) in enumerate(zip((64, 128, 320, 512), depths, strict=True)):
        patch, reduction = (4, 2, 2, 2)[stage], (8, 4, 2, 1)[stage]
        grid = _cut(grid, patch)
        n = _area(grid)
        cost.conv(n, before, width, patch)
        cost.layer_norm(n * width)
        n += stage == 3  # the class token
        for _ in range(depth):
            _reduced_attention(cost, n, grid, width, reduction)
            cost.layer_norm(n * width)
            cost.mlp(n, width, (8, 8, 4, 4)[stage] * width)
        before = width
    cost.layer_norm((_area(grid) + 1) * before)
    cost.linear(1, before, 1000)


def _pvt_v2(cost: _Cost, size: Grid, depths: Sequence[int]) -> None:
    grid, before = size, 3
    for stage, (width, depth) in enumerate(zip((64, 128, 320, 512), depths, strict=True)):
        hidden = (8, 8, 4, 4)[stage] * width
        grid = _halve(grid, 2 if stage == 0 else 1)
        n = _area(grid)
        cost.conv(n, before, width, 7 if stage == 0 else 3)
        cost.layer_norm(2 * n * width)
        for _ in range(depth):
            _reduced_attention(cost, n, grid, width, (8, 4, 2, 1)[stage])
            cost.layer_norm(n * width)
            cost.mlp(n, width, hidden)
            cost.conv(n, hidden, hidden, 3, groups=hidden)
        before = width
    cost.linear(1, before, 1000)


def _reduced_attention(cost: _Cost, n: int, grid: Grid, width: int, reduction: int) -> None:
    cost.layer_norm(n * width)
    keys = n
    if reduction > 1:
        keys = _area(_cut(grid, reduction))
        cost.conv(keys, width, width, reduction)
        cost.layer_norm(keys * width)
    cost.linear(n, width, 2 * width)
    cost.linear(keys, width, 2 * width)
    cost.attention(n, keys, width)


def _swin(cost: _Cost, size: Grid, depths: Sequence[int]) -> None:
    grid, width = _cut(size, 4), 96
    cost.conv(_area(grid), 3, width, 4)
    cost.layer_norm(_area(grid) * width)
    for stage, depth in enumerate(depths):
        if stage > 0:
            grid = _halve(grid)
            cost.layer_norm(_area(grid) * 4 * width)
            cost.linear(_area(grid), 4 * width, 2 * width)
            width *= 2
        window = min(7, grid[0]), min(7, grid[1])
        # The grid is padded to whole windows, and the padding is attended to.
        padded = _area(window) * -(-grid[0] // window[0]) * -(-grid[1] // window[1])
        for _ in range(depth):
            cost.layer_norm(2 * _area(grid) * width)
            cost.linear(padded, width, 4 * width)
            cost.attention(padded, _area(window), width)
            cost.mlp(_area(grid), width, 4 * width)
    cost.layer_norm(_area(grid) * width)
    cost.linear(1, width, 1000)


def _resmlp(cost: _Cost, size: Grid, depth: int, width: int = 384, patch: int = 16, classes: int = 1000) -> None:
    n = _area(_cut(size, patch))
    cost.conv(n, 3, width, patch)
    for _ in range(depth):
        cost.linear(width, n, n)
        cost.mlp(n, width, 4 * width)
    cost.linear(1, width, classes)


def _mixer(cost: _Cost, size: Grid, depth: int, width: int) -> None:
    n = _area(_cut(size, 16))
    cost.conv(n, 3, width, 16)
    for _ in range(depth):
        cost.layer_norm(2 * n * width)
        cost.mlp(width, n, width // 2)
        cost.mlp(n, width, 4 * width)
    cost.layer_norm(n * width)
    cost.linear(1, width, 1000)


def _gmlp(cost: _Cost, size: Grid, depth: int, width: int) -> None:
    n, hidden = _area(_cut(size, 16)), 6 * width
    cost.conv(n, 3, width, 16)
    for _ in range(depth):
        cost.layer_norm(n * width)
        cost.linear(n, width, hidden)
        cost.layer_norm(n * hidden // 2)
        cost.linear(hidden // 2, n, n)
        cost.linear(n, hidden // 2, width)
    cost.layer_norm(n * width)
    cost.linear(1, width, 1000)


def _resnet(
    cost: _Cost,
    size: Grid,
    depths: Sequence[int],
    bottleneck: bool = True,
    widths: Sequence[int] = (64, 128, 256, 512),
    groups: int = 1,
    group_width: int = 64,
    classes: int = 1000,
) -> None:
    grid, before = _halve(size), 64
    cost.conv(_area(grid), 3, before, 7, norm=True)
    grid = _halve(grid)
    for stage, (planes, depth) in enumerate(zip(widths, depths, strict=True)):
        width = planes * (4 if bottleneck else 1)
        for i in range(depth):
            halved = stage > 0 and i == 0
            finer, grid = _area(grid), _halve(grid) if halved else grid
            n = _area(grid)
            if bottleneck:
                inner = planes * group_width // 64 * groups
                cost.conv(finer, before, inner, 1, norm=True)
                cost.conv(n, inner, inner, 3, groups, norm=True)
                cost.conv(n, inner, width, 1, norm=True)
            else:
                cost.conv(n, before, width, 3, norm=True)
                cost.conv(n, width, width, 3, norm=True)
            if halved or before != width:
                cost.conv(n, before, width, 1, norm=True)
            before = width
    cost.linear(1, before, classes)


def _regnety(cost: _Cost, size: Grid, widths: Sequence[int], depths: Sequence[int], group_width: int) -> None:
    grid, before = _halve(size), 32
    cost.conv(_area(grid), 3, before, 3, norm=True)
    for width, depth in zip(widths, depths, strict=True):
        for i in range(depth):
            cost.conv(_area(grid), before, width, 1, norm=True)
            grid = _halve(grid) if i == 0 else grid
            n = _area(grid)
            cost.conv(n, width, width, 3, width // group_width, norm=True)
            cost.conv(1, width, 2 * round(before / 4), 1)  # squeeze and excitation
            cost.conv(n, width, width, 1, norm=True)
            if i == 0:
                cost.conv(n, before, width, 1, norm=True)
            before = width
    cost.linear(1, before, 1000)


_PYRAMID = (64, 128, 256, 512), (96, 192, 384, 768)

ARCHITECTURES: dict[str, Callable[[_Cost, Grid], None]] = {
    "gfnet_ti": partial(_gfnet, widths=[256], depths=[12], patch=16),
    "gfnet_xs": partial(_gfnet, widths=[384], depths=[12], patch=16),
    "gfnet_s": partial(_gfnet, widths=[384], depths=[19], patch=16),
    "gfnet_b": partial(_gfnet, widths=[512], depths=[19], patch=16),
    "gfnet_h_ti": partial(_gfnet, widths=_PYRAMID[0], depths=(3, 3, 10, 3), patch=4),
    "gfnet_h_s": partial(_gfnet, widths=_PYRAMID[1], depths=(3, 3, 10, 3), patch=4),
    "gfnet_h_b": partial(_gfnet, widths=_PYRAMID[1], depths=(3, 3, 27, 3), patch=4),
    "resnet18": partial(_resnet, depths=(2, 2, 2, 2), bottleneck=False),
    "resnet50": partial(_resnet, depths=(3, 4, 6, 3)),
    "resnet101": partial(_resnet, depths=(3, 4, 23, 3)),
    "resnext50": partial(_resnet, depths=(3, 4, 6, 3), groups=32, group_width=4),
    "resnext50_tv": partial(_resnet, depths=(3, 4, 6, 3), groups=32, group_width=4),
    "regnety_016": partial(_regnety, widths=(48, 120, 336, 888), depths=(2, 6, 17, 2), group_width=24),
    "regnety_040": partial(_regnety, widths=(128, 192, 512, 1088), depths=(2, 6, 12, 2), group_width=64),
    "regnety_080": partial(_regnety, widths=(168, 448, 896, 2016), depths=(2, 4, 10, 1), group_width=56),
    "deit_tiny": partial(_vit, width=192, depth=12),
    "deit_small": partial(_vit, width=384, depth=12),
    "deit_base": partial(_vit, width=768, depth=12),
    "swin_tiny": partial(_swin, depths=(2, 2, 6, 2)),
    "swin_small": partial(_swin, depths=(2, 2, 18, 2)),
    "pvt_tiny": partial(_pvt, depths=(2, 2, 2, 2)),
    "pvt_small": partial(_pvt, depths=(3, 4, 6, 3)),
    "pvt_medium": partial(_pvt, depths=(3, 4, 18, 3)),
    "pvt_large": partial(_pvt, depths=(3, 8, 27, 3)),
    "pvt_v2_b1": partial(_pvt_v2, depths=(2, 2, 2, 2)),
    "pvt_v2_b2": partial(_pvt_v2, depths=(3, 4, 6, 3)),
    "resmlp_12": partial(_resmlp, depth=12),
    "resmlp_24": partial(_resmlp, depth=24),
    "resmlp_36": partial(_resmlp, depth=36),
    "gmlp_s": partial(_gmlp, depth=30, width=256),
    "mixer_b16": partial(_mixer, depth=12, width=768),
    **dict.fromkeys(("gfnet_mini", "gfnet_mini_at"), partial(_gfnet, widths=[48], depths=[4], patch=2, classes=10)),
    "vit_mini": partial(_vit, width=64, depth=5, patch=4, classes=10, class_token=False),
    "resmlp_mini": partial(_resmlp, depth=8, width=64, patch=4, classes=10),
    **dict.fromkeys(
        ("resnet_mini", "resnet_mini_at"),
        partial(_resnet, depths=(3, 1, 1, 1), bottleneck=False, widths=(64, 64, 64, 64), classes=10),
    ),
}
