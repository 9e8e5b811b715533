"""What global filters do, as pure functions on arrays: spectra, kernels, where their energy lies, Fourier noise.

Weights are as learned, (h, w // 2 + 1, d, 2). Spectra and kernels are (d, h, w) with zero frequency, or zero
displacement, at [h // 2, w // 2]. Frequencies are in cycles per token, from -0.5 to 0.5 along each axis; the radius of
a frequency is its distance from zero, up to 0.71 in the corners. Energy is magnitude squared.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.errors import UsageError

Floats = NDArray[np.floating[Any]]

BANDS = (1 / 6, 1 / 3)
"""Radii that part low, middle and high frequencies."""

TOLERANCE = 1e-6
"""A frequency belongs to a radius that it exceeds by no more: 0.15 takes in 3 / 20, whatever floats make of it."""


class Orientation(NamedTuple):
    """The axis along which a spectrum extends.

    Attributes:
        angle: of the frequency vectors, in degrees from 0 (up to but not including) to 180; 0 is horizontal, which a
            pattern of vertical stripes has, 90 vertical.
        coherence: from 0 (no axis) to 1 (all energy on one line).
    """

    angle: Floats
    coherence: Floats


class Profile(NamedTuple):
    """Means over rings or sectors: where they are centred, and one mean each, (..., bins)."""

    at: Floats
    mean: Floats


# Filters


def spatial_kernels(weight: Floats, width: int) -> Floats:
    """The circular-convolution kernels that one layer's global filters stand for.

    Args:
        weight: (h, w // 2 + 1, d, 2), real and imaginary parts as learned.
        width: w, which the half spectrum leaves open by one.

    Returns:
        (d, h, w), zero displacement at [h // 2, w // 2].

    Raises:
        ValueError: if the second axis is not w // 2 + 1.

    Source: Rao et al. 2021 (GFNet), the global filter layer.
    """
    if weight.shape[1] != width // 2 + 1:
        raise ValueError(f"expected {width // 2 + 1} columns of a half spectrum {width} wide, found {weight.shape[1]}")
    half = weight[..., 0].astype(np.float64) + 1j * weight[..., 1]
    kernels = np.fft.irfft2(half, s=(weight.shape[0], width), axes=(0, 1))
    return np.fft.fftshift(kernels, axes=(0, 1)).transpose(2, 0, 1)


def spectra(weight: Floats, width: int) -> Floats:
    """Magnitudes of one layer's filters over all frequencies, by the recipe of the paper's Figure 5.

    The inverse real FFT and a full FFT back fill in the conjugate half; no logarithm, no scaling.

    Args:
        weight: (h, w // 2 + 1, d, 2).
        width: w.

    Returns:
        (d, h, w), zero frequency at [h // 2, w // 2].
    """
    kernels = np.fft.ifftshift(spatial_kernels(weight, width), axes=(1, 2))
    return np.abs(np.fft.fftshift(np.fft.fft2(kernels), axes=(1, 2)))


def axes(height: int, width: int) -> tuple[Floats, Floats]:
    """Vertical (h, 1) and horizontal (1, w) frequencies of a grid, zero in the middle."""
    rows, columns = (np.fft.fftshift(np.fft.fftfreq(side)) for side in (height, width))
    return rows[:, None], columns[None, :]


def radii(height: int, width: int) -> Floats:
    """(h, w) radius of every frequency, zero in the middle."""
    return np.hypot(*axes(height, width))


# Where the energy lies; the leading axes of what goes in come out again


def centre_of_mass(energy: Floats) -> Floats:
    """Mean radius of the frequencies, weighted by energy: (..., h, w) to (...); NaN where there is none."""
    return _of_total((energy * radii(*energy.shape[-2:])).sum((-2, -1)), energy.sum((-2, -1)))


def band_shares(energy: Floats) -> Floats:
    """Shares of the energy at low, middle and high frequencies (see `BANDS`): (..., h, w) to (..., 3); NaN of none."""
    band = np.digitize(radii(*energy.shape[-2:]), np.array(BANDS) + TOLERANCE, right=True)
    parts = [np.where(band == b, energy, 0).sum((-2, -1)) for b in range(len(BANDS) + 1)]
    return _of_total(np.stack(parts, axis=-1), energy.sum((-2, -1))[..., None])


def energy(pictures: Floats) -> Floats:
    """What each frequency adds to the mean square of pictures: (..., h, w) to the same, zero in the middle.

    All frequencies together sum to the mean square (Parseval).
    """
    height, width = pictures.shape[-2:]
    transformed = np.fft.fft2(pictures.astype(np.float64)) / (height * width)
    return np.fft.fftshift(np.abs(transformed) ** 2, axes=(-2, -1))


def against_white_noise(profiles: Floats, mean_square: Floats, frequencies: int) -> Floats:
    """Energies in units of what white noise of the same mean square has at every frequency.

    Args:
        profiles: (n, rings), see `energy` and `radial_profile`.
        mean_square: (n,), the sums over all frequencies.
        frequencies: how many there are, pixels of a picture.

    Returns:
        (m, rings) of those that have any energy.
    """
    some = mean_square > 0
    return profiles[some].astype(np.float64) * frequencies / mean_square[some, None].astype(np.float64)


def _of_total(parts: Floats, total: Floats) -> Floats:
    return np.divide(parts, total, out=np.full_like(parts, np.nan), where=total > 0)


def radial_profile(values: Floats) -> Profile:
    """Means over rings one grid frequency wide, out to the Nyquist frequency: (..., h, w) to (..., rings)."""
    side = min(values.shape[-2:])
    ring = np.rint(radii(*values.shape[-2:]) * side).astype(int)
    rings = range(side // 2 + 1)
    return Profile(np.arange(len(rings)) / side, np.stack([values[..., ring == r].mean(-1) for r in rings], axis=-1))


def angular_profile(values: Floats, bins: int = 12) -> Profile:
    """Means over sectors of directions, 0 to 180 degrees, between zero and the Nyquist frequency.

    Args:
        values: (..., h, w).
        bins: sectors, the first of which is centred on 0 (horizontal frequencies); those of a small grid that no
            frequency falls into are left out.
    """
    rows, columns = axes(*values.shape[-2:])
    radius = np.hypot(rows, columns)
    sector = np.rint(np.arctan2(rows, columns) / np.pi * bins).astype(int) % bins
    inside = (radius > 0) & (radius <= 0.5 + TOLERANCE)
    filled = np.unique(sector[inside])
    means = np.zeros((*values.shape[:-2], len(filled)))
    for i, b in enumerate(filled):
        means[..., i] = values[..., inside & (sector == b)].mean(-1)
    return Profile(filled * 180 / bins, means)


def orientation(energy: Floats) -> Orientation:
    """The axis of a spectrum, from its second moments: (..., h, w) to (...)."""
    rows, columns = axes(*energy.shape[-2:])
    difference = (energy * (columns**2 - rows**2)).sum((-2, -1))
    product = (energy * 2 * rows * columns).sum((-2, -1))
    total = (energy * (columns**2 + rows**2)).sum((-2, -1))
    coherence = np.divide(np.hypot(difference, product), total, out=np.zeros_like(total), where=total > 0)
    return Orientation(np.degrees(np.arctan2(product, difference)) / 2 % 180, coherence)


def energy_radius(kernels: Floats, share: float) -> Floats:
    """The effective receptive field: radius in tokens of the smallest disc that holds a share of a kernel's energy.

    Args:
        kernels: (..., h, w), zero displacement at [h // 2, w // 2]; distances are the shorter way round the torus.
        share: of the energy, above 0 and up to 1.

    Returns:
        (...).
    """
    height, width = kernels.shape[-2:]
    distance = np.hypot(*(d * n for d, n in zip(axes(height, width), (height, width), strict=True))).round(6)
    steps, ring = np.unique(distance, return_inverse=True)
    energy = (kernels**2).reshape(*kernels.shape[:-2], -1)
    within = np.cumsum([energy[..., ring.reshape(-1) == r].sum(-1) for r in range(len(steps))], axis=0)
    return steps[(within < (share - 1e-9) * within[-1]).sum(axis=0)]


def log_profiles(magnitudes: Floats) -> Floats:
    """What channels are compared by: log magnitude relative to the channel's root mean square, mean 0.

    Args:
        magnitudes: (d, h, w).

    Returns:
        (d, h * w). A tenth of the root mean square is added, below which a filter is as good as zero.
    """
    flat = magnitudes.reshape(len(magnitudes), -1)
    scale = np.sqrt((flat**2).mean(1, keepdims=True))
    relative = np.divide(flat, scale, out=np.zeros_like(flat), where=scale > 0)
    logs = np.log(relative + 0.1)
    return logs - logs.mean(1, keepdims=True)


# Fourier noise (Yin et al. 2019)


def noise_frequencies(height: int, width: int, count: int | None = None) -> NDArray[np.int64]:
    """The frequencies of real noise: of each k and -k, which are the same noise, the first in reading order.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        count: take the lowest count x count, an odd number; None for all there are.

    Returns:
        (f, 2) cycles per image, vertical and horizontal, the signed grid read from its top left corner.

    Raises:
        UsageError: if there are not so many, or the number is even and one side would lack its mirror image.
    """
    if count is not None and (count > min(height, width) or count % 2 == 0 or count < 1):
        raise UsageError(f"expected an odd number of frequencies up to {min(height, width)} a side, found {count}")
    sides = (height, width) if count is None else (count, count)
    rows, columns = (np.arange(-(n // 2), n - n // 2) for n in sides)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    names = np.ravel_multi_index(tuple((grid % (height, width)).T), (height, width))
    mirrored = np.ravel_multi_index(tuple((-grid % (height, width)).T), (height, width))
    place = {name: i for i, name in enumerate(names.tolist())}
    first = [i <= place.get(m, i) for i, m in enumerate(mirrored.tolist())]
    return grid[first]


def noise(frequency: NDArray[np.int64], height: int, width: int) -> Floats:
    """(h, w) Fourier noise of norm 1: only this frequency and its mirror image, with the source's phase of 45 degrees.

    Args:
        frequency: (2,) cycles per image, vertical and horizontal.
        height: of the image.
        width: of the image.
    """
    turns = np.arange(height)[:, None] * frequency[0] / height + np.arange(width)[None, :] * frequency[1] / width
    angle = 2 * np.pi * turns
    return (np.cos(angle) - np.sin(angle)) / np.sqrt(height * width)


def noise_map(values: Floats, frequencies: NDArray[np.int64], height: int, width: int) -> Floats:
    """Values by frequency as a map, each also at the mirror image: zero frequency at [h' // 2, w' // 2].

    Args:
        values: (f,).
        frequencies: (f, 2), all that `noise_frequencies` gave.
        height: of the image.
        width: of the image.
    """
    rows, columns = (int(-lowest) for lowest in frequencies.min(axis=0))
    # An odd side reaches as far up as down; an even one, which is the whole image, lacks its last row.
    shape = tuple(2 * n + (2 * n < side) for n, side in ((rows, height), (columns, width)))
    found = np.full(shape, np.nan)
    for sign in (-1, 1):
        at = sign * frequencies + (rows, columns)
        at = np.where(at >= shape, at - shape, at)
        found[at[:, 0], at[:, 1]] = values
    return found
