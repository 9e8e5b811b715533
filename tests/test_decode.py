from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from fake_imagenet import encoded, truncated
from PIL import Image

from gfnet_bench.catalog import Transform, model_transform, paper_transform
from gfnet_bench.datasets.decode import BadImage, decode, read_image, resize_and_crop

PHOTOS = os.environ.get("GFNET_BENCH_TEST_DATA")


def textured(height: int = 90, width: int = 120, seed: int = 0) -> np.ndarray:
    """A picture with edges, smooth parts and texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([127 + 80 * np.sin(x / (3 + c)) + 40 * np.cos(y / (2 + c)) for c in range(3)], axis=2)
    waves[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
    return np.clip(waves + rng.normal(0, 12, waves.shape), 0, 255).astype(np.uint8)


def with_pillow(data: bytes, transform: Transform) -> np.ndarray:
    """torchvision's Resize and CenterCrop on a Pillow image, by their published rules."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if transform.resize is not None:
        side, (w, h) = transform.resize, image.size
        size = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
        image = image.resize(size, Image.Resampling[transform.interpolation.upper()])
    left = round((image.width - transform.width) / 2.0)
    top = round((image.height - transform.height) / 2.0)
    return np.asarray(image.crop((left, top, left + transform.width, top + transform.height)))


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize(("crop", "share"), [((64, 64), 1.0), ((64, 64), 0.875), ((48, 80), 0.9)])
@pytest.mark.parametrize("size", [(90, 120), (121, 90), (60, 200), (64, 64)])
def test_every_crop_mode_of_timm(mode: str, crop: tuple[int, int], share: float, size: tuple[int, int]) -> None:
    from timm.data.transforms_factory import transforms_imagenet_eval

    mean = (0.485, 0.456, 0.406)
    timms = transforms_imagenet_eval(crop, share, mode, interpolation="bicubic", mean=mean, normalize=False)
    image = textured(*size)
    expected = timms(Image.fromarray(image)).permute(1, 2, 0).numpy()
    ours = resize_and_crop(image, model_transform(*crop, share, "bicubic", mode, mean))
    assert ours.shape == expected.shape == (*crop, 3)
    difference = np.abs(ours.astype(int) - expected)
    assert difference.max() <= 3 and difference.mean() < 0.5  # images that grow differ by one level more


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}, {"subsampling": 1}])
def test_jpeg_is_decoded_bit_for_bit_like_pillow(options: dict[str, object]) -> None:
    data = encoded(textured(), **options)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("WEBP", "RGB")]
)
def test_other_modes_and_formats_are_what_pillow_makes_of_them(form: str, mode: str) -> None:
    data = encoded(textured(), form, mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert decode(data).shape == (90, 120, 3)
    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("side", ["landscape", "portrait", "square"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resize_and_crop_is_pillows_within_two_levels(interpolation: str, side: str) -> None:
    height, width = {"landscape": (90, 121), "portrait": (133, 90), "square": (97, 97)}[side]
    transform = Transform("paper", 56, 56, 64, interpolation)
    data = encoded(textured(height, width))
    got, expected = resize_and_crop(decode(data), transform), with_pillow(data, transform)
    difference = np.abs(got.astype(int) - expected)
    assert got.shape == (56, 56, 3) and got.flags.c_contiguous
    assert difference.max() <= 2 and difference.mean() <= 0.01


@pytest.mark.parametrize(
    ("resize", "interpolation"), [(64, "nearest"), (64, "lanczos"), (None, "bicubic"), (90, "bicubic")]
)
def test_what_is_not_resampled_by_torch_is_exactly_pillows(resize: int | None, interpolation: str) -> None:
    transform = Transform("model", 48, 56, resize, interpolation)
    data = encoded(textured(), "PNG")
    np.testing.assert_array_equal(resize_and_crop(decode(data), transform), with_pillow(data, transform))


def test_a_file_of_the_size_of_the_crop_is_left_alone() -> None:
    pixels = textured(224, 224)
    np.testing.assert_array_equal(resize_and_crop(pixels, Transform("paper", 224, 224, None, "bicubic")), pixels)


@pytest.mark.parametrize("odd", [57, 58, 59, 60])
def test_crop_rounds_half_to_even_as_torchvision(odd: int) -> None:
    from torchvision.transforms.functional import center_crop

    pixels = textured(odd, odd + 1)
    expected = np.asarray(center_crop(Image.fromarray(pixels), [56, 56]))
    np.testing.assert_array_equal(resize_and_crop(pixels, Transform("paper", 56, 56, None, "bicubic")), expected)


def test_the_papers_transform_is_torchvisions() -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    reference = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])
    pixels = textured(300, 401)
    expected = np.asarray(reference(Image.fromarray(pixels))).astype(int)
    difference = np.abs(resize_and_crop(pixels, paper_transform(224, 224)) - expected)
    assert difference.max() <= 2 and difference.mean() <= 0.01


def test_too_small_a_file_is_refused_not_padded() -> None:
    with pytest.raises(BadImage, match="120 x 90 pixels after resizing, expected at least 224 x 224"):
        resize_and_crop(textured(), Transform("paper", 224, 224, None, "bicubic"))


def damaged() -> dict[str, bytes]:
    """Whole files with something wrong, of which some are padded with grey by decoders that say nothing."""
    jpeg, progressive, png = encoded(textured()), encoded(textured(), progressive=True), encoded(textured(), "PNG")
    return {
        "half": truncated(jpeg),
        "half with an end marker": truncated(jpeg) + b"\xff\xd9",
        "progressive half": truncated(progressive),
        "progressive half with an end marker": truncated(progressive) + b"\xff\xd9",
        "without the last byte": jpeg[:-1],
        "header only": jpeg[:200],
        "png half": truncated(png),
        "empty": b"",
        "web page": b"<!DOCTYPE html><html></html>",
    }


@pytest.mark.parametrize("case", damaged())
def test_damage_is_an_error(case: str) -> None:
    with pytest.raises(BadImage):
        decode(damaged()[case])


def test_stray_bytes_before_the_end_marker_are_harmless() -> None:
    # ImageNet has such files (nothings/stb#422); strict decoders refuse them.
    data = encoded(textured())
    np.testing.assert_array_equal(decode(data[:-2] + b"\x7f\x7f" + data[-2:]), decode(data))
    np.testing.assert_array_equal(decode(data + b"\0" * 100), decode(data))


@pytest.mark.data
@pytest.mark.skipif(PHOTOS is None, reason="GFNET_BENCH_TEST_DATA is not set")
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_real_photographs_are_pillows_within_tolerance(interpolation: str) -> None:
    assert PHOTOS is not None
    transform = Transform("paper", 224, 224, 256, interpolation)
    greatest, means = 0, []
    for path in sorted(Path(PHOTOS, "photos").iterdir()):
        data = path.read_bytes()
        assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        difference = np.abs(read_image(path, transform).astype(int) - with_pillow(data, transform))
        greatest, means = max(greatest, int(difference.max())), [*means, difference.mean()]
    print(f"{len(means)} photographs, {interpolation}: greatest difference {greatest}, mean {np.mean(means):.5f}")
    assert len(means) >= 100 and greatest <= 2 and np.mean(means) <= 0.01
