"""What holds for all corruptions at all severities in all recipes, and how near they are to imagecorruptions."""

import numpy as np
import pytest
import torch

from gfnet_bench import plugins
from gfnet_bench.catalog import CORRUPTIONS, IMAGENET_C, MCE_NAMES, CorruptionName, declared
from gfnet_bench.corruptions import RECIPES, SEVERITIES, corrupt, made_by
from gfnet_bench.corruptions.base import apply
from gfnet_bench.corruptions.draws import CounterDraws
from gfnet_bench.corruptions.reference import NumpyDraws, corrupt_reference
from gfnet_bench.errors import GfnetBenchError, UsageError

# Drawn by generators that cannot be fed with the reference's numbers; statistics are tested with the noises.
OTHER_GENERATOR = {"impulse_noise", "shot_noise"}
IDENTICAL = {"jpeg_compression", "pixelate", "fog", "contrast", "glass_blur"}
# Of OpenCV's cubic, which enlarges the textures of frost, no two builds agree: see test_textures_are_opencvs.
SHARES = {"frost": 0.93}
PUBLISHED = [name for names in IMAGENET_C.values() for name in names]
MADE = [(name, recipe) for recipe in RECIPES for name in made_by(recipe)]
SEEDS = [11, 2**40 + 5, 2**63 - 1]


def pictures(count: int, height: int, width: int, texture: float = 8) -> torch.Tensor:
    """(count, 3, height, width) uint8: smooth colours, edges and texture."""
    rng = np.random.RandomState(0)
    y, x = np.mgrid[:height, :width] / 12
    waves = np.stack([np.sin(x * (1 + i) + c) + np.cos(y * (2 - c) + i) for i in range(count) for c in range(3)])
    clean = 128 + 50 * waves.reshape(count, 3, height, width)
    clean[:, :, height // 3 : height // 2, width // 4 : width // 2] = rng.randint(0, 256, (count, 3, 1, 1))
    return torch.from_numpy(np.clip(clean + rng.normal(0, texture, clean.shape), 0, 255).astype(np.uint8))


IMAGES = pictures(3, 40, 48)


def compare_with_reference(images, name, severity):
    """Ours with the draws of imagecorruptions against imagecorruptions itself."""
    seeds = SEEDS[: len(images)]
    ours = apply(images, name, severity, recipe="imagecorruptions", draws=NumpyDraws(seeds))
    theirs = corrupt_reference(images.permute(0, 2, 3, 1).numpy(), name, severity, seeds)
    apart = np.abs(ours.permute(0, 2, 3, 1).numpy().astype(int) - theirs)
    assert apart.max() <= (0 if name in IDENTICAL else 1)
    assert (apart == 0).mean() >= SHARES.get(name, 0.999)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in OTHER_GENERATOR])
@pytest.mark.parametrize("size", [(64, 80), (33, 47)], ids=str)
def test_pixels_are_those_of_imagecorruptions_with_the_same_draws(name, size):
    pytest.importorskip("imagecorruptions", reason='needs pip install "gfnet-bench[reference]"')
    images = pictures(2, *size)
    for severity in SEVERITIES:
        compare_with_reference(images, name, severity)


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in OTHER_GENERATOR])
def test_pixels_of_photographs_are_those_of_imagecorruptions(name, photographs):
    pytest.importorskip("imagecorruptions", reason='needs pip install "gfnet-bench[reference]"')
    from PIL import Image

    files = sorted((photographs / "photos").iterdir())[:2]
    crops = [np.array(Image.open(file).convert("RGB"))[30:254, 30:254] for file in files]
    for severity in SEVERITIES:
        compare_with_reference(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2), name, severity)


@pytest.mark.parametrize(("name", "recipe"), MADE)
def test_an_image_is_corrupted_alike_alone_and_in_any_batch(name, recipe):
    for severity in SEVERITIES:
        together = corrupt(IMAGES, name, severity, recipe=recipe, seeds=SEEDS)
        assert together.shape == IMAGES.shape and together.dtype == torch.uint8
        assert torch.equal(corrupt(IMAGES.flip(0), name, severity, recipe=recipe, seeds=SEEDS[::-1]).flip(0), together)
        for i, seed in enumerate(SEEDS):
            assert torch.equal(corrupt(IMAGES[i : i + 1], name, severity, recipe=recipe, seeds=[seed])[0], together[i])
        assert (together != IMAGES).any(), "something happens"


@pytest.mark.parametrize(("name", "recipe"), [pair for pair in MADE if pair[1] in ("imagenet_c", "imagecorruptions")])
def test_float_images_give_the_same_levels(name, recipe):
    bytes_ = corrupt(IMAGES, name, 3, recipe=recipe, seeds=SEEDS)
    floats = corrupt(IMAGES.float() / 255, name, 3, recipe=recipe, seeds=torch.tensor(SEEDS))
    assert floats.dtype == torch.float32
    torch.testing.assert_close(floats, bytes_.float() / 255, rtol=0, atol=0)


@pytest.mark.parametrize("name", made_by("imagenet_c"))
def test_images_are_left_as_they_are_whatever_their_layout(name):
    images = IMAGES.clone()
    expected = corrupt(images, name, 2, seeds=SEEDS)
    assert torch.equal(images, IMAGES), "the input is not written to"
    assert torch.equal(corrupt(images.contiguous(memory_format=torch.channels_last), name, 2, seeds=SEEDS), expected)


RANDOM = {
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur", "snow", "frost",
    "fog", "elastic_transform", "spatter",
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_seed_gives_another_image_where_there_is_chance(name):
    image = IMAGES[:1]
    first = corrupt(image, name, 5, recipe="imagecorruptions", seeds=[1])
    others = [corrupt(image, name, 5, recipe="imagecorruptions", seeds=[seed]) for seed in (2, 3)]
    assert all(torch.equal(first, other) for other in others) == (name not in RANDOM)


# Not pixelate: how its blocks fall on an edge counts more than their size.
MONOTONE = (
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur", "zoom_blur", "gaussian_blur",
    "brightness", "contrast", "jpeg_compression",
)  # fmt: skip


@pytest.mark.parametrize("recipe", ["imagenet_c", "imagecorruptions"])
@pytest.mark.parametrize("name", MONOTONE)
def test_a_higher_severity_is_further_from_the_image(name, recipe):
    images = pictures(3, 96, 96, texture=1)
    corrupted = [corrupt(images, name, severity, recipe=recipe, seeds=SEEDS) for severity in SEVERITIES]
    distances = [(c.float() - images.float()).abs().mean().item() for c in corrupted]
    assert distances == sorted(distances) and len(set(distances)) == 5


def test_no_image_is_no_problem():
    empty = IMAGES[:0]
    for name in made_by("imagenet_c"):
        assert corrupt(empty, name, 1, seeds=[]).shape == empty.shape
        assert corrupt(empty.float(), name, 1, seeds=torch.tensor([], dtype=torch.int64)).dtype == torch.float32


def test_one_that_is_added_is_a_name_everywhere_and_no_part_of_mce(tmp_path):
    """Its file is read by the catalogue without torch, and registers it where it is imported."""
    (tmp_path / "rain.py").write_text(
        "from gfnet_bench.corruptions.base import corruption\n\n\n"
        '@corruption("rain", group="weather", imagecorruptions=(1, 2, 3, 4, 5))\n'
        "def rain(images, level, draws):\n"
        "    return images // level\n"
    )
    assert declared(tmp_path) == [CorruptionName("rain", "weather")]
    with plugins.apart():
        plugins.load(tmp_path / "rain.py")
        assert CORRUPTIONS["rain"].group == "weather" and "rain" not in MCE_NAMES
        assert torch.equal(corrupt(IMAGES, "rain", 2, recipe="imagecorruptions", seeds=SEEDS), IMAGES // 2)
        with pytest.raises(GfnetBenchError, match=r"^rain: expected a recipe .* \(imagecorruptions\), found cifar_c$"):
            corrupt(IMAGES, "rain", 2, recipe="cifar_c", seeds=SEEDS)
    assert "rain" not in made_by("imagecorruptions") and "rain" not in CORRUPTIONS


def test_capitals_and_dashes_are_forgiven():
    expected = corrupt(IMAGES, "jpeg_compression", 3, recipe="cifar_c", seeds=SEEDS)
    assert torch.equal(corrupt(IMAGES, "JPEG-compression", 3, recipe="CIFAR-C", seeds=SEEDS), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "gausian_noise"}, UsageError, "did you mean gaussian_noise"),
        ({"recipe": "imagenet-d"}, UsageError, "did you mean imagenet_c"),
        ({"severity": 0}, UsageError, "severity: expected 1, 2, 3, 4 or 5, found 0"),
        ({"severity": 6}, UsageError, "severity: expected 1, 2, 3, 4 or 5, found 6"),
        ({"severity": 2.5}, UsageError, "severity: expected 1, 2, 3, 4 or 5, found 2.5"),
        ({"images": IMAGES[:, :1]}, GfnetBenchError, r"found \(3, 1, 40, 48\). Convert grey"),
        ({"images": IMAGES[:, [0, 1, 2, 2]]}, GfnetBenchError, r"found \(3, 4, 40, 48\). Convert grey or transparent"),
        ({"images": IMAGES[0]}, GfnetBenchError, r"expected images \(b, 3, h, w\), .* found \(3, 40, 48\)"),
        ({"images": IMAGES[:, :, :31]}, GfnetBenchError, r"sides of 32 pixels or more, found \(3, 3, 31, 48\)"),
        ({"images": IMAGES.long()}, GfnetBenchError, r"found torch.int64. Convert them with .to\(torch.uint8\)"),
        ({"images": IMAGES.float()}, GfnetBenchError, "found values from 0 to 255. Undo the normalisation, or divide"),
        ({"images": IMAGES / 255 - 0.5}, GfnetBenchError, "found values from -0.5 to"),
        ({"images": torch.full((3, 3, 40, 48), torch.nan)}, GfnetBenchError, "found values from nan to nan"),
        ({"seeds": SEEDS[:2]}, GfnetBenchError, r"expected 3 integer seeds, one an image, found \(2,\)"),
        ({"seeds": 7}, GfnetBenchError, r"expected 3 integer seeds, one an image, found int"),
        ({"seeds": [0.5, 1, 2]}, GfnetBenchError, "expected 3 integer seeds, one an image, found list .*'float'"),
        ({"seeds": [2**64, 1, 2]}, GfnetBenchError, "expected 3 integer seeds, one an image, found list"),
        ({"images": IMAGES.numpy()}, GfnetBenchError, "as a tensor, found ndarray"),
        ({"severity": 3.0}, UsageError, "severity: expected 1, 2, 3, 4 or 5, found 3.0"),
        ({"severity": "3"}, UsageError, "severity: expected 1, 2, 3, 4 or 5, found '3'"),
        ({"seeds": torch.rand(3)}, GfnetBenchError, "expected 3 integer seeds, one an image, found .* torch.float32"),
    ],
    ids=str,
)
def test_what_it_cannot_take_is_described(change, error, message):
    arguments = {"images": IMAGES, "name": "fog", "severity": 1, "recipe": "imagenet_c", "seeds": SEEDS, **change}
    images, name, severity = (arguments.pop(key) for key in ("images", "name", "severity"))
    with pytest.raises(error, match=message):
        corrupt(images, name, severity, **arguments)


@pytest.mark.parametrize(("name", "recipe"), [pair for pair in MADE if pair[1] in ("imagenet_c", "imagecorruptions")])
def test_no_byte_hangs_on_how_cuda_divides_by_a_number(name, recipe, monkeypatch):
    # CUDA multiplies by the reciprocal of a plain number, so whole levels would come out one lower, flat areas at once.
    greys = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8).expand(-1, 3, -1, -1)
    images = torch.cat([greys.repeat_interleave(8, 2).repeat_interleave(8, 3), pictures(2, 64, 64)])
    draws = [CounterDraws(torch.arange(len(images))) for _ in SEVERITIES + SEVERITIES]
    expected = [apply(images, name, s, recipe=recipe, draws=draws.pop()) for s in SEVERITIES]
    divide = torch.Tensor.div_

    def reciprocal(x, by, **options):
        if isinstance(by, torch.Tensor) or options or not x.is_floating_point():
            return divide(x, by, **options)
        return x.mul_((1 / torch.tensor(by, dtype=x.dtype)).item())

    monkeypatch.setattr(torch.Tensor, "div_", reciprocal)
    for severity, wanted in zip(SEVERITIES, expected, strict=True):
        assert torch.equal(apply(images, name, severity, recipe=recipe, draws=draws.pop()), wanted)


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "recipe"), MADE)
def test_a_gpu_makes_the_bytes_of_the_cpu(name, recipe):
    images = torch.cat([pictures(2, 64, 64), torch.full((1, 3, 64, 64), 85, dtype=torch.uint8)])
    for severity in SEVERITIES:
        here = corrupt(images, name, severity, recipe=recipe, seeds=SEEDS)
        there = corrupt(images.cuda(), name, severity, recipe=recipe, seeds=SEEDS).cpu()
        # Normal numbers may differ in their last bits, and sums in double precision; a JPEG spreads what differs.
        assert (here == there).float().mean() > 0.99


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "recipe"), [pair for pair in MADE if pair[1] in ("imagenet_c", "imagecorruptions")])
def test_on_a_gpu_the_batch_does_not_matter_either(name, recipe):
    images = pictures(3, 224, 224).cuda()
    for severity in SEVERITIES:
        together = corrupt(images, name, severity, recipe=recipe, seeds=SEEDS)
        assert together.device == images.device
        for i, seed in enumerate(SEEDS):
            assert torch.equal(corrupt(images[i : i + 1], name, severity, recipe=recipe, seeds=[seed])[0], together[i])


@pytest.mark.parametrize("name", ["jpeg_compression", "pixelate", "spatter", "elastic_transform", "motion_blur"])
def test_numbers_that_never_change_are_sent_to_a_device_once(name, monkeypatch):
    """On the CPU, which stands in for it: what a second batch still makes of NumPy's and Python's numbers."""
    from gfnet_bench.corruptions import jpeg_compression, pixelate

    made = []
    for maker in ("tensor", "from_numpy"):
        real = getattr(torch, maker)
        monkeypatch.setattr(torch, maker, lambda *a, r=real, **k: (made.append(r), r(*a, **k))[1])
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    seeds = torch.arange(2)

    def once():
        made.clear()
        if name == "jpeg_compression":
            jpeg_compression.jpeg_of_tensors(images, 85)
        elif name == "pixelate":
            pixelate.pixelated_by_products(images, 0.6, pixelate.Image.Resampling.BOX)
        else:
            corrupt(images, name, 3, recipe="imagenet_c", seeds=seeds)
        return len(made)

    once()
    # The final JPEG, whose files a CPU writes.
    assert once() == (name in ("motion_blur", "spatter", "elastic_transform"))
