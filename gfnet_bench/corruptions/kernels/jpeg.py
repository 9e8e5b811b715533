"""A JPEG file's loss in two kernels: one makes chroma at half the size, the other luma and the colours of both.

A thread holds a row or a column of a block of 8 x 8 numbers, one in each element of a tuple, and transforms it by
straight-line code of 32-bit integers. Sums may pass 32 bits on the way, where they wrap; none does at its end, since
pixels are bounded and so are the errors of rounding.
"""

# mypy: disable-error-code="no-untyped-def, assignment, misc"
# (the compiler of the kernels reads annotations in its own way, and knows the length of a tuple)

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from gfnet_bench.corruptions.jpeg_tensors import CHROMA, COSINES, LUMA, jpeg_of_tensors, steps_of

BLOCKS = 32  # of a program, eight threads each
WARPS = 8


def jpeg(images: Tensor, quality: int) -> Tensor:
    """`jpeg_of_tensors` in two launches: (b, 3, h, w) uint8 on a CUDA device, in and out."""
    images = images.contiguous()
    b, _, h, w = images.shape
    wide = w % 16 == 0  # rows are read eight bytes at a time: all about images that makes other machine code
    if wide and images.data_ptr() % 8:
        images = images.clone()
    down, across = -(-h // 16), -(-w // 16)
    chroma = torch.empty((b, 2, 8 * down, 8 * across), dtype=torch.uint8, device=images.device)
    out = torch.empty_like(images)
    source, target = (images.view(torch.int64), out.view(torch.int64)) if wide else (images, out)
    for_luma, for_chroma = _dividers(quality, images.device)
    options = {"WIDE": wide, "BLOCKS": BLOCKS, "num_warps": WARPS, "enable_fp_fusion": True}
    count = b * 2 * down * across
    grid = (triton.cdiv(count, BLOCKS),)
    chroma_kernel[grid](source, chroma.view(torch.int64), for_chroma, count, h, w, **options)
    count = b * -(-h // 8) * -(-w // 8)
    grid = (triton.cdiv(count, BLOCKS),)
    colour_kernel[grid](source, chroma, target, for_luma, count, h, w, **options)
    return out


def agrees(device: torch.device, wide: bool) -> bool:
    """Whether images, wide or not, come out as `jpeg_of_tensors` has them: noise, and two kinds that saturate."""
    h, w = (40, 96) if wide else (51, 89)
    generator = torch.Generator(device).manual_seed(0)
    noise = torch.randint(0, 256, (3, 3, h, w), dtype=torch.uint8, device=device, generator=generator)
    images = torch.cat([noise, noise[:, :, :1, :1].expand(-1, -1, h, w), noise // 128 * 255])
    return all(torch.equal(jpeg(images, quality), jpeg_of_tensors(images, quality)) for quality in (7, 85))


@lru_cache(maxsize=32)
def _dividers(quality: int, device: torch.device) -> list[Tensor]:
    """For luma and for chroma, (8, 8, 2) int32: a step, and by what to multiply for a division by 8 steps.

    The high half of x times 2**32 / d, rounded up, is x // d where x * d stays below 2**32.
    """
    tables = (steps_of(table, quality, torch.device("cpu")).to(torch.int64) for table in (LUMA, CHROMA))
    return [torch.stack([s, -(-(1 << 32) // (8 * s))], dim=2).to(torch.int32).to(device) for s in tables]


@triton.constexpr_function
def _cosine(k, t):
    return COSINES[k][t]


@triton.jit
def _forth(x, BITS: constexpr):
    """Cosine transform of eight numbers, divided by 2**BITS and rounded, halves up."""
    sums = ()
    differences = ()
    for t in tl.static_range(4):
        sums += (x[t] + x[7 - t],)
        differences += (x[t] - x[7 - t],)
    out = ()
    for k in tl.static_range(8):
        halves = sums if k % 2 == 0 else differences
        total = halves[0] * _cosine(k, 0) + (1 << (BITS - 1))
        for t in tl.static_range(1, 4):
            total += halves[t] * _cosine(k, t)
        out += (total >> BITS,)
    return out


@triton.jit
def _back(x, BITS: constexpr):
    """The inverse of `_forth`."""
    even = ()
    odd = ()
    for t in tl.static_range(4):
        total = x[0] * _cosine(0, t) + (1 << (BITS - 1))
        other = x[1] * _cosine(1, t)
        for k in tl.static_range(2, 8, 2):
            total += x[k] * _cosine(k, t)
            other += x[k + 1] * _cosine(k + 1, t)
        even += (total,)
        odd += (other,)
    out = ()
    for t in tl.static_range(4):
        out += ((even[t] + odd[t]) >> BITS,)
    for t in tl.static_range(4):
        out += ((even[3 - t] - odd[3 - t]) >> BITS,)
    return out


@triton.jit
def _exchanged(x, BLOCKS: constexpr):
    """Eight tensors (BLOCKS, 8), rows of blocks, to eight of columns, or the other way round."""
    fours = ()
    for i in tl.static_range(4):
        fours += (tl.join(x[i], x[i + 4]),)
    twos = (tl.join(fours[0], fours[2]), tl.join(fours[1], fours[3]))
    block = tl.join(twos[0], twos[1]).reshape(BLOCKS, 8, 8).permute(0, 2, 1)
    parts = tl.split(block.reshape(BLOCKS, 8, 4, 2))
    even = tl.split(parts[0].reshape(BLOCKS, 8, 2, 2))
    odd = tl.split(parts[1].reshape(BLOCKS, 8, 2, 2))
    x0, x4 = tl.split(even[0])
    x2, x6 = tl.split(even[1])
    x1, x5 = tl.split(odd[0])
    x3, x7 = tl.split(odd[1])
    return (x0, x1, x2, x3, x4, x5, x6, x7)


@triton.jit
def _rounded(rows, dividers, BLOCKS: constexpr):
    """Blocks of bytes, eight rows (BLOCKS, 8), to bytes whose cosine transform is a multiple of the steps."""
    x = ()
    for t in tl.static_range(8):
        x += (rows[t] - 128,)
    x = _forth(_exchanged(_forth(x, 11), BLOCKS), 15)
    column = tl.arange(0, 8)[None, :]
    multiples = ()
    for k in tl.static_range(8):
        step = tl.load(dividers + 16 * k + 2 * column)
        inverse = tl.load(dividers + 16 * k + 2 * column + 1).to(tl.uint32)
        size = tl.umulhi((tl.abs(x[k]) + 4 * step).to(tl.uint32), inverse).to(tl.int32) * step
        multiples += (tl.where(x[k] < 0, -size, size),)
    x = _back(_exchanged(_back(multiples, 11), BLOCKS), 18)
    out = ()
    for t in tl.static_range(8):
        out += (_byte(x[t] + 128),)
    return out


@triton.jit
def _byte(x):
    return tl.minimum(tl.maximum(x, 0), 255)


@triton.jit
def _start(images, image, plane, row, h, w, WIDE: constexpr):
    """Where a row of a plane of an image begins."""
    place = ((image * 3 + plane).to(tl.int64) * h + row) * w
    return images + (place // 8 if WIDE else place)


@triton.jit
def _eight(row, column, w, WIDE: constexpr):
    """Eight bytes of a row, from a column that eight divides; beyond the last the last one."""
    x = ()
    if WIDE:
        packed = tl.load(row + column // 8)
        for i in tl.static_range(8):
            x += ((packed >> (8 * i)).to(tl.int32) & 255,)
    else:
        for i in tl.static_range(8):
            x += (tl.load(row + tl.minimum(column + i, w - 1)).to(tl.int32),)
    return x


@triton.jit
def _packed(x):
    """Eight bytes as one number."""
    low = x[0] | (x[1] << 8) | (x[2] << 16) | (x[3] << 24)
    high = x[4] | (x[5] << 8) | (x[6] << 16) | (x[7] << 24)
    return (low.to(tl.int64) & 0xFFFFFFFF) | (high.to(tl.int64) << 32)


@triton.jit(do_not_specialize=("count", "h", "w"))
def chroma_kernel(images, chroma, dividers, count, h, w, WIDE: constexpr, BLOCKS: constexpr):
    """Images (b, 3, h, w) to chroma (b, 2, down, 8, across), rows of eight bytes as int64: blueness and redness."""
    block = tl.program_id(0) * BLOCKS + tl.arange(0, BLOCKS)[:, None]
    i = tl.arange(0, 8)[None, :]
    exists = (block < count) & (i >= 0)
    block = tl.minimum(block, count - 1)
    across = tl.cdiv(w, 16)
    down = tl.cdiv(h, 16)
    column = block % across
    y = block // across % down
    plane = block // (across * down)
    image = plane // 2
    blueness = plane % 2 == 0
    of_red = tl.where(blueness, -11059, 32768)
    of_green = tl.where(blueness, -21709, -27439)
    of_blue = tl.where(blueness, 32768, -5329)
    # Half the rows are taken first and repeated then, columns the other way round.
    first = 2 * tl.minimum(8 * y + i, (h - 1) // 2)
    x = ()
    for half in tl.static_range(2):
        sums = (0, 0, 0, 0)
        for k in tl.static_range(2):
            row = tl.minimum(first + k, h - 1)
            red = _eight(_start(images, image, 0, row, h, w, WIDE), 16 * column + 8 * half, w, WIDE)
            green = _eight(_start(images, image, 1, row, h, w, WIDE), 16 * column + 8 * half, w, WIDE)
            blue = _eight(_start(images, image, 2, row, h, w, WIDE), 16 * column + 8 * half, w, WIDE)
            pixels = ()
            for j in tl.static_range(8):
                total = of_red * red[j] + of_green * green[j] + of_blue * blue[j]
                pixels += ((total + ((128 << 16) + (1 << 15) - 1)) >> 16,)
            before = sums
            sums = ()
            for j in tl.static_range(4):
                sums += (before[j] + pixels[2 * j] + pixels[2 * j + 1],)
        for j in tl.static_range(4):
            x += ((sums[j] + 1 + j % 2) >> 2,)  # halves and quarters go down and up in turn
    x = _rounded(x, dividers, BLOCKS)
    place = ((plane * down + y).to(tl.int64) * 8 + i) * across + column
    tl.store(chroma + place, _packed(x), mask=exists)


@triton.jit(do_not_specialize=("count", "h", "w"))
def colour_kernel(images, chroma, out, dividers, count, h, w, WIDE: constexpr, BLOCKS: constexpr):
    """Images (b, 3, h, w) and their chroma (b, 2, h', w') to images: luma is made on the way."""
    block = tl.program_id(0) * BLOCKS + tl.arange(0, BLOCKS)[:, None]
    i = tl.arange(0, 8)[None, :]
    exists = block < count
    block = tl.minimum(block, count - 1)
    across = tl.cdiv(w, 8)
    down = tl.cdiv(h, 8)
    column = block % across
    y = block // across % down * 8 + i
    image = block // (across * down)
    row = tl.minimum(y, h - 1)
    red = _eight(_start(images, image, 0, row, h, w, WIDE), 8 * column, w, WIDE)
    green = _eight(_start(images, image, 1, row, h, w, WIDE), 8 * column, w, WIDE)
    blue = _eight(_start(images, image, 2, row, h, w, WIDE), 8 * column, w, WIDE)
    luma = ()
    for j in tl.static_range(8):
        luma += ((19595 * red[j] + 38470 * green[j] + 7471 * blue[j] + (1 << 15)) >> 16,)
    luma = _rounded(luma, dividers, BLOCKS)

    pitch = 8 * tl.cdiv(w, 16)
    rows = 8 * tl.cdiv(h, 16)
    near = tl.minimum(y // 2, (h - 1) // 2)
    far = tl.minimum(tl.maximum(y // 2 + 2 * (y % 2) - 1, 0), (h - 1) // 2)
    start = chroma + image.to(tl.int64) * (2 * rows * pitch)
    blues = _doubled(start + near * pitch, start + far * pitch, 4 * column, w)
    start += rows * pitch
    reds = _doubled(start + near * pitch, start + far * pitch, 4 * column, w)
    half: constexpr = 1 << 15
    red = ()
    green = ()
    blue = ()
    for j in tl.static_range(8):
        red += (_byte(luma[j] + ((91881 * reds[j] + half) >> 16)),)
        green += (_byte(luma[j] + ((-22554 * blues[j] - 46802 * reds[j] + half) >> 16)),)
        blue += (_byte(luma[j] + ((116130 * blues[j] + half) >> 16)),)
    exists &= y < h
    _store(_start(out, image, 0, row, h, w, WIDE), red, 8 * column, w, exists, WIDE)
    _store(_start(out, image, 1, row, h, w, WIDE), green, 8 * column, w, exists, WIDE)
    _store(_start(out, image, 2, row, h, w, WIDE), blue, 8 * column, w, exists, WIDE)


@triton.jit
def _doubled(near, far, column, w):
    """Eight pixels from four of chroma, and those about them, in two rows: 3/4 of the nearest and 1/4 of the next."""
    sums = ()
    for j in tl.static_range(6):
        there = tl.minimum(tl.maximum(column + j - 1, 0), (w - 1) // 2)
        nearest = tl.load(near + there).to(tl.int32) - 128
        sums += (3 * nearest + tl.load(far + there).to(tl.int32) - 128,)
    line = ()
    for j in tl.static_range(1, 5):  # eighths go up and down in turn
        line += ((3 * sums[j] + sums[j - 1] + 8) >> 4, (3 * sums[j] + sums[j + 1] + 7) >> 4)
    return line


@triton.jit
def _store(row, x, column, w, exists, WIDE: constexpr):
    """Eight bytes into a row, from a column that eight divides."""
    if WIDE:
        tl.store(row + column // 8, _packed(x), mask=exists)
    else:
        for i in tl.static_range(8):
            tl.store(row + column + i, x[i].to(tl.uint8), mask=exists & (column + i < w))
