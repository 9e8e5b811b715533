"""Motion blur, snow, frost, fog and spatter against the reference package, and against the published scripts' tools.

`published_*` are those scripts' recipes, written from their constants with NumPy, SciPy, OpenCV and ImageMagick.
"""

import hashlib
from importlib import metadata

import imagemagick
import numpy as np
import pytest
import torch
from http_server import serve
from PIL import Image

from gfnet_bench.corruptions import textures
from gfnet_bench.corruptions.base import RECIPES, apply
from gfnet_bench.corruptions.draws import CounterDraws
from gfnet_bench.corruptions.motion_blur import magick_blur
from gfnet_bench.corruptions.reference import NumpyDraws, corrupt_reference
from gfnet_bench.errors import GfnetBenchError, MissingError

SEVERITIES = (1, 2, 3, 4, 5)
NAMES = ("motion_blur", "snow", "frost", "fog", "spatter")
CPU = torch.device("cpu")


def pictures(count, height, width, seed=0):
    """(n, h, w, 3): smooth colours with flat black, white and coloured parts, where rounding shows most."""
    rng = np.random.RandomState(seed)
    coarse = rng.randint(0, 256, (count, 8, 9, 3)).astype(np.uint8)
    images = np.stack(
        [np.asarray(Image.fromarray(c).resize((width, height), Image.Resampling.BICUBIC)) for c in coarse]
    )
    images = images.copy()
    for i, colour in enumerate(((0, 0, 0), (255, 255, 255), (255, 0, 0), (30, 200, 90))):
        images[:, 8 * i : 8 * i + 8, : width // 2] = colour
    return images


def tensor(images):
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


def ours(images, name, severity, recipe, seeds):
    return apply(tensor(images), name, severity, recipe=recipe, draws=NumpyDraws(seeds)).permute(0, 2, 3, 1).numpy()


def compare(found, expected, share):
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() >= share


# --- the package imagecorruptions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_those_of_imagecorruptions(name, severity):
    pytest.importorskip("imagecorruptions", reason='needs pip install "gfnet-bench[reference]"')
    share = {"frost": 0.93, "fog": 1}.get(name, 0.999)
    for images in (pictures(2, 40, 57), pictures(1, 64, 64), *([pictures(1, 224, 224)] if severity == 4 else [])):
        seeds = [7, 8][: len(images)]
        expected = corrupt_reference(images, name, severity, seeds)
        compare(ours(images, name, severity, "imagecorruptions", seeds), expected, share)


def test_small_images_without_a_drop_are_left_alone():
    images = pictures(60, 32, 32)
    corrupted = ours(images, "spatter", 1, "imagecorruptions", range(60))
    untouched = [np.array_equal(a, b) for a, b in zip(images, corrupted, strict=True)]
    assert any(untouched)
    assert not all(untouched)


# --- the published scripts ------------------------------------------------------------------------------------------

# Severities 2 and 5.
MOTION = {"imagenet_c": ((15, 5), (20, 15)), "cifar_c": ((6, 1.5), (9, 2.5))}
SNOW = {
    "imagenet_c": ((0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55)),
    "cifar_c": ((0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8)),
}
FROST = {"imagenet_c": ((0.8, 0.6), (0.6, 0.75)), "cifar_c": ((1, 0.3), (0.75, 0.45))}
FOG = {"imagenet_c": ((2, 2), (3, 1.4)), "cifar_c": ((0.5, 3), (1.5, 1.75))}
SIDES = {"imagenet_c": 224, "cifar_c": 32}
PUBLISHED = [(recipe, severity) for recipe in SIDES for severity in (2, 5)]


def constant(table, recipe, severity):
    return table[recipe][(2, 5).index(severity)]


def published_motion_blur(image, c, rng, side):
    return imagemagick.motion_blur(image, *c, rng.uniform(-45, 45))


def published_snow(image, c, rng, side):
    from scipy.ndimage import zoom

    x = image.astype(np.float32) / 255
    layer = rng.normal(size=(side, side), loc=c[0], scale=c[1])
    crop = int(np.ceil(side / c[2]))
    top = (side - crop) // 2
    layer = zoom(layer[top : top + crop, top : top + crop], c[2], order=1)
    trim = (layer.shape[0] - side) // 2
    layer = layer[trim : trim + side, trim : trim + side]
    layer = np.where(layer < c[3], 0, layer)
    layer = (np.clip(layer, 0, 1) * 255).astype(np.uint8)
    layer = imagemagick.motion_blur(layer, c[4], c[5], rng.uniform(-135, -45))[:, :, None] / 255.0
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)
    x = c[6] * x + (1 - c[6]) * np.maximum(x, grey[:, :, None] * 1.5 + 0.5)
    return np.uint8(np.clip(x + layer + layer[::-1, ::-1], 0, 1) * 255)


def published_frost(image, c, rng, side):
    cv2 = pytest.importorskip("cv2")
    texture = cv2.imread(str(textures.texture_file(list(textures.FILES)[rng.randint(5)])))
    if side == 32:
        texture = cv2.resize(texture, (0, 0), fx=0.2, fy=0.2)
    top, left = rng.randint(0, texture.shape[0] - side), rng.randint(0, texture.shape[1] - side)
    texture = texture[top : top + side, left : left + side, ::-1]
    return np.uint8(np.clip(c[0] * image + c[1] * texture, 0, 255))


def published_fog(image, c, rng, side):
    x = image / 255.0
    brightest = x.max()
    x = x + c[0] * diamond_square(256 if side == 224 else side, c[1], rng)[:side, :side, None]
    return np.uint8(np.clip(x * brightest / (brightest + c[0]), 0, 1) * 255)


def diamond_square(size, decay, rng):
    """Point by point, as the algorithm is told; the order of the draws is the scripts'."""
    land = np.zeros((size, size))
    step, wibble = size, 100.0

    def settle(rows, columns, around):
        noise = wibble * rng.uniform(-wibble, wibble, (len(rows), len(columns)))
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                mean = sum(land[(y + dy) % size, (x + dx) % size] for dy, dx in around) / 4
                land[y, x] = mean + noise[i, j]

    while step >= 2:
        half = step // 2
        corners, middles = range(0, size, step), range(half, size, step)
        settle(middles, middles, [(dy, dx) for dy in (-half, half) for dx in (-half, half)])
        cross = [(-half, 0), (half, 0), (0, -half), (0, half)]
        settle(corners, middles, cross)
        settle(middles, corners, cross)
        step, wibble = half, wibble / decay
    land -= land.min()
    return land / land.max()


@pytest.mark.parametrize(("recipe", "severity"), PUBLISHED)
@pytest.mark.parametrize(
    ("name", "make", "table", "share"),
    [
        ("motion_blur", published_motion_blur, MOTION, 0.999),
        ("snow", published_snow, SNOW, 0.999),
        ("frost", published_frost, FROST, 1),
        ("fog", published_fog, FOG, 0.9999),  # its sums in another order
    ],
)
def test_bytes_are_those_of_the_published_scripts(name, make, table, share, recipe, severity):
    side = SIDES[recipe]
    images = pictures(1 if side == 224 else 3, side, side, seed=severity)
    seeds = range(3, 3 + len(images))
    found = ours(images, name, severity, recipe, seeds)
    for image, seed, corrupted in zip(images, seeds, found, strict=True):
        expected = make(image, constant(table, recipe, severity), np.random.RandomState(seed), side)
        compare(corrupted, expected, share)


@pytest.mark.parametrize(("radius", "sigma"), [(10, 3), (20, 15), (9, 2.5)])
def test_motion_blur_is_imagemagicks(radius, sigma):
    rng = np.random.RandomState(radius)
    angles = rng.uniform(-180, 180, 2)
    for shape in ((40, 57, 3), (57, 40)):
        images = rng.randint(0, 256, (2, *shape)).astype(np.uint8)
        planes = images.transpose(0, 3, 1, 2) if len(shape) == 3 else images[:, None]
        blurred = magick_blur(torch.from_numpy(planes), radius, sigma, torch.from_numpy(angles)).numpy()
        for image, angle, found in zip(images, angles, blurred, strict=True):
            expected = imagemagick.motion_blur(image, radius, sigma, angle)
            compare(found, expected.transpose(2, 0, 1) if expected.ndim == 3 else expected[None], 0.999)


@pytest.mark.parametrize(
    ("angle", "places"),
    [
        (0, [(0, -i) for i in range(9)]),
        (-90, [(i, 0) for i in range(9)]),
        # i sin 30 and i cos 30, rounded; halves go down.
        (30, [(0, 0), (0, -1), (-1, -2), (-1, -3), (-2, -3), (-2, -4), (-3, -5), (-3, -6), (-4, -7)]),
    ],
)
def test_a_dot_is_smeared_into_the_kernel(angle, places):
    dot = torch.zeros((1, 1, 32, 32), dtype=torch.uint8)
    dot[0, 0, 16, 16] = 255
    # 255 exp(-i^2 / 18) over the sum 4.26, rounded down; ImageMagick gives the same.
    expected = torch.zeros_like(dot)
    for (down, right), value in zip(places, (59, 56, 47, 36, 24, 14, 8, 3, 1), strict=True):
        expected[0, 0, 16 + down, 16 + right] = value
    assert torch.equal(magick_blur(dot, 10, 3, torch.tensor([angle])), expected)


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_the_same_alone_and_in_a_batch(name, recipe):
    images, seeds = tensor(pictures(3, 45, 38)), torch.tensor([3, 2**40, 2**62 + 1])
    for severity in (1, 5):
        together = apply(images, name, severity, recipe=recipe, draws=CounterDraws(seeds))
        assert together.shape == images.shape
        assert together.dtype == torch.uint8
        for i in (2, 0, 1):
            one = images[i : i + 1].contiguous()
            alone = apply(one, name, severity, recipe=recipe, draws=CounterDraws(seeds[i : i + 1]))
            assert torch.equal(alone[0], together[i])
            assert not torch.equal(alone, one) or name == "spatter"


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_makes_the_same_bytes(name, recipe):
    images, seeds = tensor(pictures(3, 45, 38)), torch.tensor([3, 4, 5])
    here = apply(images, name, 3, recipe=recipe, draws=CounterDraws(seeds))
    there = apply(images.cuda(), name, 3, recipe=recipe, draws=CounterDraws(seeds.cuda())).cpu()
    # Normal numbers may differ in their last bits between devices.
    compare(there.numpy(), here.numpy(), 0.999 if name in ("snow", "spatter") else 1)


# --- textures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(textures.FILES))
def test_textures_are_opencvs(name):
    cv2 = pytest.importorskip("cv2")
    read = cv2.imread(str(textures.texture_file(name)))[:, :, ::-1]
    assert np.array_equal(textures._decoded(name), read)
    for scale in (0.2, 0.3):
        expected = cv2.resize(read, (0, 0), fx=scale, fy=scale)
        assert np.array_equal(textures.resize_linear(read, *expected.shape[:2], 1 / scale), expected)
    enlarged = textures._fitted(name, 32, 32, None)
    assert enlarged.shape[:2] == tuple(np.ceil(np.array(read.shape[:2]) * 1.1))
    for found in (enlarged, textures.resize_cubic(read, 500, 470)):
        size = found.shape[1::-1]
        # OpenCV computes bytes by the code it has for the processor, each with a rounding of its own; floats hardly so.
        compare(found, cv2.resize(read, size, interpolation=cv2.INTER_CUBIC), 0.94)
        compare(
            found, cv2.resize(read.astype(np.float32), size, interpolation=cv2.INTER_CUBIC).round().clip(0, 255), 0.999
        )


@pytest.mark.parametrize("scale", [1.0, None, 0.2])
def test_textures_are_larger_than_the_images(scale):
    for height, width in ((32, 32), (100, 150), (330, 300)):
        found = textures.textures(height, width, scale, CPU)
        assert (found.heights > height).all()
        assert (found.widths > width).all()
        assert found.pixels.shape == (5, int(found.heights.max()), int(found.widths.max()), 3)


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """No imagecorruptions, an empty cache, and a server to fetch from."""

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(textures.metadata, "distribution", absent)
    monkeypatch.setenv("GFNET_BENCH_CACHE", str(tmp_path))
    with serve(monkeypatch) as server:
        monkeypatch.setattr(textures, "SOURCE", server.url + "/")
        yield server


def test_a_texture_is_fetched_and_kept(elsewhere, monkeypatch, tmp_path):
    body = b"\x89PNG\r\n\x1a\n and so on"
    monkeypatch.setitem(textures.FILES, "frost1.png", hashlib.sha256(body).hexdigest())
    elsewhere.put("/frost1.png", body)
    path = textures.texture_file("frost1.png")
    assert path.read_bytes() == body
    assert tmp_path in path.parents
    assert textures.texture_file("frost1.png") == path
    assert len(elsewhere.requests) == 1


def test_a_texture_that_cannot_be_had_says_how_to_get_it(elsewhere):
    with pytest.raises(MissingError, match=r'frost2\.png: .*404.* pip install "gfnet-bench\[reference\]"'):
        textures.texture_file("frost2.png")


def test_a_wrong_texture_in_the_cache_is_refused(elsewhere, tmp_path):
    wrong = tmp_path / "textures" / "frost3.png"
    wrong.parent.mkdir()
    wrong.write_bytes(b"\x89PNG")
    with pytest.raises(
        GfnetBenchError, match=r"frost3\.png: .* sha256 .*, expected 2d0d50b4a9bb\.\.\.; delete the file"
    ):
        textures.texture_file("frost3.png")
