import numpy as np
import pytest
import torch

from gfnet_bench.corruptions import base, defocus_blur, elastic_transform, gaussian_blur, glass_blur, zoom_blur
from gfnet_bench.corruptions.reference import NumpyDraws, corrupt_reference

pytest.importorskip("imagecorruptions", reason='needs pip install "gfnet-bench[reference]"')
cv2 = pytest.importorskip("cv2")
ndimage = pytest.importorskip("scipy.ndimage")
filters = pytest.importorskip("skimage.filters")

BLURS = ["gaussian_blur", "glass_blur", "defocus_blur", "zoom_blur", "elastic_transform"]
SEVERITIES = [1, 2, 3, 4, 5]
SIDES = {"imagenet_c": 224, "cifar_c": 32, "tiny_imagenet_c": 64}
SEEDS = [5, 2**40 + 6]


def pictures(height: int, width: int) -> np.ndarray:
    """Noise, and smooth colours with a white area, a black one and steps of every grey: (2, h, w, 3)."""
    state = np.random.RandomState(height)
    y, x = np.mgrid[:height, :width] / 12
    waves = [np.sin(x * (1 + c) + c) + np.cos(y * (2 - c)) for c in range(3)]
    smooth = 128 + 50 * np.stack(waves, -1) + state.normal(0, 4, (height, width, 3))
    smooth[: height // 3] = 255
    smooth[: height // 3, : width // 4] = 0
    smooth[height // 2 :, : width // 2] = 16 * (np.arange(width // 2) // 12)[:, None] + np.array([3, 7, 12])
    return np.stack([state.randint(0, 256, smooth.shape), smooth.clip(0, 255)]).astype(np.uint8)


def greys() -> np.ndarray:
    """Flat squares of 14 pixels in all 256 greys: (1, 224, 224, 3)."""
    squares = np.arange(256).reshape(16, 16).repeat(14, 0).repeat(14, 1)
    return np.stack([squares, squares.T, 255 - squares], -1)[None].astype(np.uint8)


def ours(images: np.ndarray, name: str, severity: int, recipe: str, seeds=SEEDS) -> np.ndarray:
    """By our function, with the random numbers of the reference; the images as a view of NHWC memory."""
    draws = NumpyDraws(seeds[: len(images)])
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    corrupted = base.apply(tensor, name, severity, recipe=recipe, draws=draws)
    assert corrupted.dtype == torch.uint8
    return corrupted.permute(0, 2, 3, 1).numpy()


def assert_near(found: np.ndarray, expected: np.ndarray, share: float = 0.999) -> None:
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference == 0).mean() >= share


# 36 x 71: sides whose enlargement has a black last row, with factors of 1.2 and more
CASES = [(name, size) for name in BLURS for size in ((40, 57), (64, 64), (36, 71), (224, 224))]
CASES.remove(("glass_blur", (224, 224)))  # the reference takes a second for each; one severity is below


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name, size", CASES)
def test_bytes_are_those_of_imagecorruptions(name, size, severity):
    images = pictures(*size)
    expected = corrupt_reference(images, name, severity, SEEDS)
    found = ours(images, name, severity, "imagecorruptions")
    if name in ("glass_blur", "gaussian_blur"):
        assert np.array_equal(found, expected)
    else:
        assert_near(found, expected)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", [name for name in BLURS if name != "glass_blur"])
def test_flat_areas_end_on_the_reference_side_of_truncation(name, severity):
    expected = corrupt_reference(greys(), name, severity, SEEDS[:1])
    assert_near(ours(greys(), name, severity, "imagecorruptions"), expected, 0.9999)


def test_glass_blur_of_flat_areas_and_of_a_photograph_s_size():
    expected = corrupt_reference(greys(), "glass_blur", 2, SEEDS[:1])
    assert np.array_equal(ours(greys(), "glass_blur", 2, "imagecorruptions"), expected)


@pytest.mark.parametrize("recipe", ["imagenet_c", "imagecorruptions"])
@pytest.mark.parametrize("name", BLURS)
def test_a_result_does_not_depend_on_the_batch_or_on_strides(name, recipe):
    images = np.concatenate([pictures(40, 57), pictures(40, 57)[:, ::-1]])
    seeds = [1, 2, 3, 4]
    together = ours(images, name, 3, recipe, seeds)
    for i in (3, 0, 2):
        assert np.array_equal(ours(images[i : i + 1], name, 3, recipe, seeds[i:])[0], together[i])
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    corrupted = base.apply(planes, name, 3, recipe=recipe, draws=NumpyDraws(seeds))
    assert np.array_equal(corrupted.permute(0, 2, 3, 1).numpy(), together)


@pytest.mark.parametrize("name", BLURS)
def test_images_are_left_alone(name):
    images = torch.from_numpy(pictures(40, 57)).permute(0, 3, 1, 2).contiguous()
    before = images.clone()
    base.apply(images, name, 2, recipe="imagenet_c", draws=NumpyDraws(SEEDS))
    assert torch.equal(images, before)


@pytest.mark.parametrize("mode", ["nearest", "reflect"])
@pytest.mark.parametrize("sigma", [0, 0.3, 2.24, (1.5, 6.0), 19.5, 170.8])
def test_gaussian_is_skimages(sigma, mode):
    planes = np.random.RandomState(0).rand(2, 3, 40, 57)
    for truncate in (3, 4):
        expected = filters.gaussian(planes, (0, 0, *np.broadcast_to(sigma, 2)), mode=mode, truncate=truncate)
        found = gaussian_blur.gaussian(torch.from_numpy(planes), sigma, mode, truncate)
        assert np.abs(found.numpy() - expected).max() < 1e-13


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_shuffle_is_the_loop(reach):
    h, w = 33, 37
    draws = NumpyDraws([8, 9])
    found = glass_blur._sources(h, w, reach, draws).view(2, h, w)
    for i, seed in enumerate([8, 9]):
        state = np.random.RandomState(seed)
        pixels = np.arange(i * h * w, (i + 1) * h * w).reshape(h, w, 1).repeat(3, 2)
        for y in range(h - reach, reach, -1):
            for x in range(w - reach, reach, -1):
                dx, dy = state.randint(-reach, reach, size=(2,))
                pixels[y, x], pixels[y + dy, x + dx] = pixels[y + dy, x + dx], pixels[y, x]
        assert np.array_equal(found[i].numpy(), pixels[..., 0])


def test_glass_shuffle_worked_by_hand():
    class Right:
        """Every pixel looks one to the right and one row up, or not up."""

        def __init__(self, down):
            self.down = down

        def integers(self, low, high, shape):
            return torch.tensor([1, self.down]).expand(1, *shape)

    # 7 x 7, reach 2: the loop visits rows and columns 5, 4, 3. Along a row, backwards: 5 takes 6's pixel, then 4
    # takes what 5 has now, and so on, so that all three show column 6.
    along = glass_blur._sources(7, 7, 2, Right(0)).view(7, 7)
    expected = torch.arange(49).view(7, 7)
    expected[3:6, 3:6] = expected[3:6, 6:]
    assert torch.equal(along.long(), expected)
    # Up and right: the pixel above has not been visited yet, so each takes what was there from the start.
    up = glass_blur._sources(7, 7, 2, Right(-1)).view(7, 7)
    expected = torch.arange(49).view(7, 7)
    expected[3:6, 3:6] = torch.arange(49).view(7, 7)[2:5, 4:7]
    assert torch.equal(up.long(), expected)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("recipe", ["cifar_c", "tiny_imagenet_c"])
def test_published_glass_blur(recipe, severity):
    constants = {
        "cifar_c": [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
        "tiny_imagenet_c": [(0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)],
    }
    sigma, delta, iterations = constants[recipe][severity - 1]
    side = SIDES[recipe]
    image = pictures(side, side)[1]
    state = np.random.RandomState(SEEDS[0])
    x = np.uint8(filters.gaussian(image / 255.0, sigma, channel_axis=-1) * 255)
    for _ in range(iterations):
        for h in range(side - delta, delta, -1):
            for w in range(side - delta, delta, -1):
                dx, dy = state.randint(-delta, delta, size=(2,))
                x[h, w] = x[h + dy, w + dx]
    expected = np.clip(filters.gaussian(x / 255.0, sigma, channel_axis=-1), 0, 1) * 255
    found = ours(image[None], "glass_blur", severity, recipe)[0]
    assert np.array_equal(found, expected.astype(np.uint8))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("recipe", ["cifar_c", "tiny_imagenet_c"])
def test_published_gaussian_and_defocus_blur(recipe, severity):
    sigmas = {"cifar_c": [0.4, 0.6, 0.7, 0.8, 1], "tiny_imagenet_c": [0.5, 0.75, 1, 1.25, 1.5]}
    disks = {
        "cifar_c": [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
        "tiny_imagenet_c": [(0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)],
    }
    images = pictures(SIDES[recipe], SIDES[recipe])
    blurred = filters.gaussian(images / 255, (0, *[sigmas[recipe][severity - 1]] * 2, 0)) * 255
    assert np.array_equal(ours(images, "gaussian_blur", severity, recipe), blurred.astype(np.uint8))

    radius, alias = disks[recipe][severity - 1]
    grid = np.hypot(*np.mgrid[-8:9, -8:9])
    kernel = (grid <= radius).astype(np.float32)
    kernel = cv2.GaussianBlur(kernel / kernel.sum(), (3, 3), sigmaX=alias)
    expected = np.stack([cv2.filter2D(image / 255, -1, kernel) for image in images]).clip(0, 1) * 255
    assert_near(ours(images, "defocus_blur", severity, recipe), expected.astype(np.uint8))


@pytest.mark.parametrize("radius, alias", [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)])
def test_disk_is_opencvs_to_the_last_bit_or_so(radius, alias):
    reach = max(8, radius)
    places = np.arange(-reach, reach + 1)
    kernel = (places**2 + places[:, None] ** 2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(kernel / kernel.sum(), (3, 3) if radius <= 8 else (5, 5), sigmaX=alias)
    found = defocus_blur.disk(radius, alias)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, kernel, rtol=3e-7, atol=1e-12)
    assert np.sign(found.sum(dtype=float) - 1) == np.sign(kernel.sum(dtype=float) - 1)


def zoomed(image: np.ndarray, factor: float, centred: bool) -> np.ndarray:
    """The published crop, for square images, or that of imagecorruptions."""
    side = len(image)
    crop = int(np.ceil(side / factor))
    start = (side - crop) // 2
    large = ndimage.zoom(image[start : start + crop, start : start + crop], (factor, factor, 1), order=1)
    trim = (len(large) - side) // 2 if centred else 0
    return large[trim : trim + side, trim : trim + side]


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("factor", [1, 1.07, 1.2000000000000002, 2, 2.5, 4.5])
@pytest.mark.parametrize("side", [32, 36, 64, 101])
def test_clipped_zoom_is_scipys(side, factor, centred):
    layers = np.random.RandomState(0).rand(2, side, side, 1)
    expected = np.stack([zoomed(layer, factor, centred) for layer in layers]).transpose(0, 3, 1, 2)
    found = zoom_blur.clipped_zoom(torch.from_numpy(layers).permute(0, 3, 1, 2), factor, centred=centred)
    assert np.abs(found.numpy() - expected).max() < 1e-12


def test_clipped_zoom_treats_each_axis_by_itself():
    plane = torch.rand(1, 1, 40, 57, dtype=torch.float64)
    turned = zoom_blur.clipped_zoom(plane.mT, 1.3, centred=True)
    torch.testing.assert_close(zoom_blur.clipped_zoom(plane, 1.3, centred=True), turned.mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("recipe", list(SIDES))
def test_published_zoom_blur(recipe, severity):
    stops = {"imagenet_c": [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)]}
    small = [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)]
    factors = np.arange(1, *stops.get(recipe, small)[severity - 1])
    image = pictures(SIDES[recipe], SIDES[recipe])[1]
    x = (image / 255.0).astype(np.float32)
    layers = np.zeros_like(x)
    for factor in factors:
        layers += zoomed(x, factor, centred=True)
    expected = np.clip((x + layers) / (len(factors) + 1), 0, 1) * 255
    assert_near(ours(image[None], "zoom_blur", severity, recipe)[0], expected.astype(np.uint8))


ELASTIC = {
    "imagenet_c": (244, [(2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)]),
    "cifar_c": (32, [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)]),
    "tiny_imagenet_c": (
        64,
        [(0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)],
    ),
}


def affine_matrix(side: int, moves: np.ndarray) -> np.ndarray:
    middle, third = np.float32([side // 2, side // 2]), side // 3
    corners = np.float32([middle + third, [middle[0] + third, middle[1] - third], middle - third])
    return cv2.getAffineTransform(corners, corners + moves.astype(np.float32))


def warped_in_fixed_point(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """What OpenCV's warpAffine was when the sets were made: places in 32nds of a pixel. (OpenCV 5 has exact ones.)"""
    side = len(image)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    x, y = np.arange(side), np.arange(side)[:, None]
    parts = [np.rint(a * x * 1024) + np.rint((b * y + c) * 1024) + 16 for a, b, c in inverse]
    columns, rows = (part.astype(int) >> 5 for part in parts)
    mirrored = np.pad(image.astype(float), [(side - 1, side - 1)] * 2 + [(0, 0)], mode="reflect")
    (x0, fx), (y0, fy) = (((p >> 5) + side - 1, (p & 31)[..., None] / 32) for p in (columns, rows))
    top = mirrored[y0, x0] * (1 - fx) + mirrored[y0, x0 + 1] * fx
    bottom = mirrored[y0 + 1, x0] * (1 - fx) + mirrored[y0 + 1, x0 + 1] * fx
    return (top * (1 - fy) + bottom * fy).astype(np.float32)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("recipe", list(SIDES))
def test_published_elastic_transform(recipe, severity):
    scale, constants = ELASTIC[recipe]
    alpha, sigma, affine = (scale * share for share in constants[severity - 1])
    side = SIDES[recipe]
    image = pictures(side, side)[1]
    state = np.random.RandomState(SEEDS[0] % 2**32)
    matrix = affine_matrix(side, state.uniform(-affine, affine, (3, 2)))
    x = warped_in_fixed_point(np.float32(image) / 255, matrix)
    dx, dy = (
        (filters.gaussian(state.uniform(-1, 1, (side, side)), sigma, mode="reflect", truncate=3) * alpha).astype(
            np.float32
        )
        for _ in range(2)
    )
    places = np.arange(side)[:, None] + dy, np.arange(side) + dx
    channels = [ndimage.map_coordinates(x[..., c], places, order=1, mode="reflect") for c in range(3)]
    expected = np.clip(np.stack(channels, -1), 0, 1) * 255
    assert_near(ours(image[None], "elastic_transform", severity, recipe)[0], expected.astype(np.uint8))


def test_affine_map_is_opencvs_to_a_32nd_of_a_pixel():
    side, moves = 64, np.random.RandomState(0).uniform(-8, 8, (1, 3, 2))
    ramp = np.mgrid[:side, :side].astype(np.float32).transpose(1, 2, 0)
    expected = cv2.warpAffine(ramp, affine_matrix(side, moves[0]), (side, side), borderMode=cv2.BORDER_REFLECT_101)
    rows, columns = elastic_transform._affine_places(side, side, torch.from_numpy(moves))
    planes = torch.from_numpy(ramp.transpose(2, 0, 1).copy())[:, None]
    found = elastic_transform._sample(planes, rows, columns, edge_twice=False)
    difference = np.abs(found[:, 0].permute(1, 2, 0).numpy() - expected)
    assert difference.mean() < 1 / 64
    assert difference.max() < 1 / 16


@pytest.mark.parametrize(
    "edge_twice, expected", [(True, [1, 0, 0, 1, 2, 2, 1, 0, 0]), (False, [2, 1, 0, 1, 2, 1, 0, 1, 2])]
)
def test_mirrors(edge_twice, expected):
    places = torch.arange(-2, 7, dtype=torch.int32)
    assert elastic_transform._mirrored(places, 3, edge_twice).tolist() == expected
