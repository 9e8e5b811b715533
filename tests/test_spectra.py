"""Filters whose spectra, kernels and energies are known beforehand."""

import numpy as np
import pytest
import torch

from gfnet_bench import spectra
from gfnet_bench.clustering import cluster, silhouette
from gfnet_bench.errors import UsageError
from gfnet_bench.models.gfnet import GlobalFilter

GRIDS = [(8, 8), (7, 7), (6, 9), (9, 6)]


def weight_of(kernels):
    """(d, h, w) kernels, zero displacement first, to the weight that stands for them."""
    half = np.fft.rfft2(kernels).transpose(1, 2, 0)
    return np.stack([half.real, half.imag], axis=-1)


def learned(grid, channels=3, seed=0):
    """Random weights, whose first and last columns are not those of a real kernel, as learned ones are not."""
    return np.random.default_rng(seed).normal(size=(grid[0], grid[1] // 2 + 1, channels, 2))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_weight_made_from_a_kernel_gives_the_kernel_back(grid):
    kernels = np.random.default_rng(1).normal(size=(3, *grid))
    found = spectra.spatial_kernels(weight_of(kernels), grid[1])
    assert np.allclose(np.fft.ifftshift(found, axes=(1, 2)), kernels, atol=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_layer_is_circular_convolution_with_its_kernels(grid):
    weight, x = learned(grid), np.random.default_rng(2).normal(size=(*grid, 3))
    layer = GlobalFilter(3, grid)
    layer.load_state_dict({"complex_weight": torch.from_numpy(weight).float()})
    with torch.no_grad():
        ours = layer(torch.from_numpy(x).float()[None])[0].numpy()
    kernels = spectra.spatial_kernels(weight, grid[1])
    direct = np.zeros_like(x)
    for dy in range(grid[0]):
        for dx in range(grid[1]):
            shift = dy - grid[0] // 2, dx - grid[1] // 2
            direct += np.roll(x, shift, axis=(0, 1)) * kernels[:, dy, dx]
    assert np.abs(ours - direct).max() / np.abs(direct).max() < 4e-6


@pytest.mark.parametrize("grid", GRIDS)
def test_parseval(grid):
    weight = learned(grid)
    energy = (spectra.spectra(weight, grid[1]) ** 2).sum((1, 2)) / (grid[0] * grid[1])
    assert np.allclose(energy, (spectra.spatial_kernels(weight, grid[1]) ** 2).sum((1, 2)))


def test_the_recipe_by_hand():
    """Inside the half spectrum the magnitude is the weight's; across zero it is the same; the edges are averaged."""
    weight = learned((6, 6), channels=1)
    half = weight[..., 0, 0] + 1j * weight[..., 0, 1]
    found = spectra.spectra(weight, 6)[0]
    for row in range(-3, 3):
        for column in (1, 2):
            assert found[row + 3, column + 3] == pytest.approx(abs(half[row, column]))
            assert found[(3 - row) % 6, 3 - column] == pytest.approx(abs(half[row, column]))
        for edge, place in ((0, 3), (3, 0)):  # where a column is its own mirror image
            mean = (half[row, edge] + np.conj(half[-row % 6, edge])) / 2
            assert found[row + 3, place] == pytest.approx(abs(mean))


def test_a_half_spectrum_of_another_width_is_refused():
    with pytest.raises(ValueError, match="5 columns of a half spectrum 8 wide, found 4"):
        spectra.spectra(learned((8, 7)), 8)


@pytest.mark.parametrize(("ky", "kx", "angle"), [(0, 3, 0), (2, 0, 90), (2, 2, 45), (2, -2, 135), (1, 3, 18.4349)])
def test_a_cosine_has_its_frequency_and_direction(ky, kx, angle):
    y, x = np.mgrid[:16, :16]
    magnitudes = spectra.spectra(weight_of(np.cos(2 * np.pi * (ky * y + kx * x) / 16)[None]), 16)
    assert {tuple(at) for at in np.argwhere(magnitudes[0] > 1e-9) - 8} == {(ky, kx), (-ky, -kx)}
    energy = magnitudes**2
    assert spectra.centre_of_mass(energy) == pytest.approx(np.hypot(ky, kx) / 16)
    axis = spectra.orientation(energy)
    assert axis.angle == pytest.approx(angle, abs=1e-3) and axis.coherence == pytest.approx(1)
    profile = spectra.angular_profile(energy)
    assert profile.at[profile.mean[0].argmax()] == pytest.approx(round(angle / 15) * 15)


def test_white_and_point_filters():
    delta = np.zeros((1, 9, 9))
    delta[0, 0, 0] = 1  # passes everything on: a white spectrum
    weight = weight_of(delta)
    energy = spectra.spectra(weight, 9) ** 2
    assert np.allclose(energy, 1)
    assert spectra.centre_of_mass(energy) == pytest.approx(spectra.radii(9, 9).mean())
    assert np.allclose(spectra.radial_profile(energy).mean, 1) and np.allclose(spectra.angular_profile(energy).mean, 1)
    assert spectra.orientation(energy).coherence == pytest.approx(0, abs=1e-12)
    assert spectra.energy_radius(spectra.spatial_kernels(weight, 9), 0.9) == 0


def test_a_constant_filter_averages_over_the_whole_grid():
    weight = np.zeros((8, 5, 1, 2))
    weight[0, 0, 0, 0] = 64
    kernels = spectra.spatial_kernels(weight, 8)
    assert np.allclose(kernels, 1)
    energy = spectra.spectra(weight, 8) ** 2
    assert spectra.centre_of_mass(energy) == 0 and spectra.band_shares(energy).tolist() == [[1, 0, 0]]
    # Half of 64 equal values: as many displacements lie within a radius of 3.6055 (the root of 13), 37; within 3, 29.
    assert spectra.energy_radius(kernels, 0.5) == pytest.approx(np.sqrt(10))
    assert spectra.energy_radius(kernels, 1.0) == pytest.approx(np.hypot(4, 4))


def test_a_gaussian_holds_its_known_shares():
    """Energy of a Gaussian of deviation s: 1 - exp(-(r / s)^2) within r, in space as in frequency."""
    side, s = 64, 5.0
    y, x = np.mgrid[:side, :side] - side // 2
    kernel = np.exp(-(x**2 + y**2) / (2 * s**2))
    weight = weight_of(np.fft.ifftshift(kernel)[None])
    kernels = spectra.spatial_kernels(weight, side)
    for share in (0.5, 0.9):
        assert spectra.energy_radius(kernels, share) == pytest.approx(s * np.sqrt(-np.log(1 - share)), abs=0.3)
    energy = spectra.spectra(weight, side) ** 2
    # Amplitude exp(-(r / t)^2 / 2) with t = 1 / (2 pi s); the mean radius of its energy is t sqrt(pi) / 2.
    assert spectra.centre_of_mass(energy) == pytest.approx(
        np.sqrt(np.pi) / (4 * np.pi * s), rel=0.02
    )  # on so coarse a grid


def test_bands_take_in_their_upper_edge():
    energy = np.ones((12, 12))
    low, middle, high = spectra.band_shares(energy)
    radius = spectra.radii(12, 12)
    assert low == pytest.approx((radius < 0.17).mean())  # 2 / 12 belongs to the low third
    assert middle == pytest.approx(((radius > 0.17) & (radius < 0.34)).mean()) and low + middle + high == 1


def test_a_wide_filter_counts_in_cycles_per_token_along_both_axes():
    x = np.mgrid[:8, :16][1]
    kernel = np.cos(2 * np.pi * 4 * x / 16)  # a quarter of a cycle per token
    energy = spectra.spectra(weight_of(kernel[None]), 16) ** 2
    assert spectra.centre_of_mass(energy) == pytest.approx(0.25)


# Energy of pictures


def test_the_energy_of_a_wave_is_at_its_frequency_and_sums_to_the_mean_square():
    y, x = np.mgrid[:12, :16]
    wave = 3 + 2 * np.cos(2 * np.pi * (3 * y / 12 + 4 * x / 16) + 0.3)
    energy = spectra.energy(np.stack([wave, np.zeros_like(wave)]))
    there = {tuple(at): float(energy[0][tuple(at)]) for at in np.argwhere(energy[0] > 1e-9)}
    assert there == {(6, 8): pytest.approx(9), (9, 12): pytest.approx(1), (3, 4): pytest.approx(1)}
    assert energy[0].sum() == pytest.approx((wave**2).mean()) and energy[1].sum() == 0


def test_white_noise_is_one_at_every_frequency():
    noise = np.random.default_rng(0).normal(size=(400, 16, 16))
    energy = spectra.energy(noise)
    found = spectra.against_white_noise(spectra.radial_profile(energy).mean, energy.sum((-2, -1)), 256)
    assert found.shape == (400, 9) and np.abs(found.mean(0) - 1).max() < 0.15
    assert not len(spectra.against_white_noise(np.zeros((3, 9)), np.zeros(3), 256))


# Fourier noise


@pytest.mark.parametrize(("height", "width"), [(6, 6), (5, 5), (4, 7)])
def test_noise_is_an_orthonormal_basis_of_one_frequency_each(height, width):
    frequencies = spectra.noise_frequencies(height, width)
    basis = np.stack([spectra.noise(k, height, width) for k in frequencies])
    flat = basis.reshape(len(basis), -1)
    assert np.isrealobj(basis) and np.allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-12)
    for k, vector in zip(frequencies, basis, strict=True):
        there = {tuple(at) for at in np.argwhere(np.abs(np.fft.fft2(vector)) > 1e-9)}
        assert there == {tuple(k % (height, width)), tuple(-k % (height, width))}


@pytest.mark.parametrize(("side", "count", "expected"), [(32, None, 514), (224, 63, 1985), (9, 5, 13), (7, None, 25)])
def test_of_each_frequency_and_its_mirror_image_one_is_measured(side, count, expected):
    frequencies = spectra.noise_frequencies(side, side, count)
    assert len(frequencies) == expected
    found = spectra.noise_map(np.hypot(*frequencies.T), frequencies, side, side)
    n = count or side
    rows, columns = np.mgrid[:n, :n] - n // 2
    assert np.allclose(found, np.hypot(rows, columns))


@pytest.mark.parametrize("count", [0, 4, 33])
def test_a_grid_without_mirror_images_is_refused(count):
    with pytest.raises(UsageError, match="odd number of frequencies up to 32 a side"):
        spectra.noise_frequencies(32, 32, count)


# Clusters


def test_three_heaps_are_found_and_counted():
    random = np.random.default_rng(3)
    heaps = np.repeat([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]], [10, 20, 30], axis=0)
    rows = heaps + random.normal(scale=0.1, size=heaps.shape)
    found = cluster(rows)
    assert len(found.centres) == 3 and sorted(np.bincount(found.labels)) == [10, 20, 30]
    assert all(len(set(found.labels[part])) == 1 for part in (slice(0, 10), slice(10, 30), slice(30, 60)))
    assert np.array_equal(cluster(rows).labels, found.labels)
    assert len(cluster(rows, range(5, 6)).centres) == 5


def test_silhouette_by_hand():
    at = np.array([0.0, 1.0, 10.0])
    # (10 - 1) / 10, (9 - 1) / 9, and 0 for the one that is alone.
    found = silhouette(np.abs(at[:, None] - at), np.array([0, 0, 1]))
    assert found == pytest.approx((0.9 + 8 / 9 + 0) / 3)


def test_equal_rows_and_silent_channels_do_no_harm():
    assert np.isfinite(cluster(np.ones((8, 4))).silhouette)
    assert np.allclose(spectra.log_profiles(np.zeros((2, 4, 4))), 0)


def test_a_profile_forgets_the_scale_of_a_filter():
    magnitudes = spectra.spectra(learned((8, 8)), 8)
    assert np.allclose(spectra.log_profiles(magnitudes), spectra.log_profiles(100 * magnitudes))
