"""Colour, JPEG and pixelation are those of scikit-image, libjpeg and Pillow to the byte, with and without those."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from gfnet_bench.corruptions.base import apply
from gfnet_bench.corruptions.draws import CounterDraws
from gfnet_bench.corruptions.jpeg_compression import jpeg, jpeg_of_tensors
from gfnet_bench.corruptions.pixelate import pixelate, pixelated_by_products
from gfnet_bench.corruptions.reference import corrupt_reference

NAMES = ("brightness", "saturate", "contrast", "jpeg_compression", "pixelate")


def noisy(h, w, n=2):
    return np.random.default_rng(h * w).integers(0, 256, (n, h, w, 3), dtype=np.uint8)


def smooth(h, w):
    small = np.random.default_rng(h + w).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(x).resize((w, h), Image.Resampling.BICUBIC)) for x in small])


def colours():
    """Every colour of a few levels: ties between channels, greys, black, white, and what reaches white or black."""
    levels = list(itertools.product((0, 1, 2, 63, 85, 127, 128, 170, 204, 253, 254, 255), repeat=3))
    return np.array(levels, dtype=np.uint8).reshape(1, 36, 48, 3)


IMAGES = {"noisy": noisy(40, 57), "smooth": smooth(64, 64), "colours": colours()}


def tensor(images):
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2)


def digital(images, name, severity, recipe="imagecorruptions"):
    return apply(images, name, severity, recipe=recipe, draws=CounterDraws(torch.zeros(len(images), dtype=torch.int64)))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_same_bytes_as_imagecorruptions(name, kind, severity):
    pytest.importorskip("imagecorruptions")
    images = IMAGES[kind]
    wanted = corrupt_reference(images, name, severity, range(len(images)))
    difference = np.abs(digital(tensor(images), name, severity).permute(0, 2, 3, 1).numpy().astype(int) - wanted)
    # The mean of all the colours is 128.5 exactly, and some of them become whole numbers, up to rounding.
    assert difference.max() <= (name == "contrast" and kind == "colours")


@pytest.mark.parametrize("name", NAMES)
def test_neither_memory_layout_nor_batch_matter(name):
    images = tensor(noisy(33, 50, n=3))  # channels last in memory
    together = digital(images, name, 3, "imagenet_c")
    assert torch.equal(digital(images.contiguous(), name, 3, "imagenet_c"), together)
    assert torch.equal(digital(images[1:2], name, 3, "imagenet_c"), together[1:2])


def pillow_jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [7, 10, 25, 49, 50, 65, 85, 95])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (40, 57), (63, 34), (50, 49)])
def test_jpeg_is_pillows_with_and_without_a_file(size, quality):
    images = np.concatenate([noisy(*size), smooth(*size)])
    wanted = np.stack([pillow_jpeg(image, quality) for image in images])
    for way in (jpeg, jpeg_of_tensors):
        assert np.array_equal(way(tensor(images), quality).permute(0, 2, 3, 1).numpy(), wanted)


@pytest.mark.parametrize("factor", [0.25, 0.3, 0.4, 0.6, 0.65, 0.75, 0.95])
@pytest.mark.parametrize("size", [(32, 32), (45, 61), (57, 40)])
def test_pixelate_is_pillows_with_and_without_pillow(size, factor):
    images, box = noisy(*size), Image.Resampling.BOX
    (h, w), way = size, []
    for image in images:
        small = Image.fromarray(image).resize((int(w * factor), int(h * factor)), box)
        way.append(np.asarray(small.resize((w, h), box)))
    wanted = tensor(np.stack(way))
    assert torch.equal(pixelate(tensor(images), factor, draws=None), wanted)
    assert torch.equal(pixelated_by_products(tensor(images), factor, box), wanted)


def test_pixelate_of_tall_images_is_the_same_on_every_device():
    images = tensor(noisy(120, 40))
    assert torch.equal(pixelate(images, 0.4, None), pixelated_by_products(images, 0.4, Image.Resampling.BOX))


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", ["imagenet_c", "imagecorruptions", "cifar_c"])
@pytest.mark.parametrize("name", NAMES)
def test_cuda_gives_the_same_bytes(name, recipe):
    images = tensor(np.concatenate([noisy(41, 50), smooth(41, 50)]))
    for severity in range(1, 6):
        on_gpu = digital(images.cuda(), name, severity, recipe)
        assert torch.equal(on_gpu.cpu(), digital(images, name, severity, recipe))
