import subprocess
import sys
import warnings

import numpy as np
import pytest

from gfnet_bench.catalog import CORRUPTIONS, IMAGENET_C, MCE_NAMES, SEVERITIES
from gfnet_bench.corruptions import reference
from gfnet_bench.corruptions.reference import corrupt_reference
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError

pytest.importorskip("imagecorruptions", reason='needs pip install "gfnet-bench[reference]"')

RANDOM = {
    "gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog",
    "elastic_transform", "speckle_noise", "spatter",
}  # fmt: skip

PUBLISHED = [name for names in IMAGENET_C.values() for name in names]


def pictures(count: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Smooth colours with some texture."""
    y, x = np.mgrid[:height, :width] / 12
    waves = [np.sin(x * (1 + i) + c) + np.cos(y * (2 - c) + i) for i in range(count) for c in range(3)]
    clean = 128 + 50 * np.stack(waves).reshape(count, 3, height, width).transpose(0, 2, 3, 1)
    return np.clip(clean + np.random.RandomState(0).normal(0, 8, clean.shape), 0, 255).astype(np.uint8)


IMAGES = pictures(3)
SEEDS = [11, 2**40 + 5, 2**63 - 1]


@pytest.fixture(scope="module")
def package():
    """The package itself, as installed; its imports of what is deprecated are its own business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("imagecorruptions", reason="needs setuptools<81", exc_type=ImportError)


def test_names_are_those_of_mce_then_the_extra_ones(package):
    assert PUBLISHED == list(CORRUPTIONS)[:19] == package.get_corruption_names("all")
    assert list(MCE_NAMES) == package.get_corruption_names("common")
    for group in ("noise", "blur", "weather", "digital"):
        assert list(IMAGENET_C[group]) == package.get_corruption_names(group)


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_corruption_depends_on_image_and_seed_alone(name, severity):
    together = corrupt_reference(IMAGES, name, severity, SEEDS)
    assert together.shape == IMAGES.shape
    assert together.dtype == np.uint8
    for i in (2, 0, 1):
        assert (together[i] != IMAGES[i]).any()
        assert np.array_equal(corrupt_reference(IMAGES[i : i + 1], name, severity, SEEDS[i : i + 1])[0], together[i])
    other = corrupt_reference(IMAGES[:1], name, severity, [12])[0]
    assert np.array_equal(other, together[0]) == (name not in RANDOM)


# Impulse noise cannot be compared: it takes no notice of NumPy's seed.
@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "impulse_noise"])
def test_bytes_are_those_of_the_package_with_numpy_seeded(package, monkeypatch, name):
    ours = corrupt_reference(IMAGES, name, 3, [7, 8, 9])
    # What others do to make the package run: put the names back that NumPy 2 and scikit-image 0.26 have dropped.
    module = sys.modules["imagecorruptions.corruptions"]
    gaussian = module.gaussian

    def old_gaussian(image, *args, multichannel=False, **options):
        return gaussian(image, *args, channel_axis=-1 if multichannel else None, **options)

    monkeypatch.setattr(np, "float_", np.float64, raising=False)
    monkeypatch.setattr(module, "gaussian", old_gaussian)
    state = np.random.get_state()
    for image, seed, corrupted in zip(IMAGES, (7, 8, 9), ours, strict=True):
        np.random.seed(seed)
        assert np.array_equal(corrupted, package.corrupt(image, severity=3, corruption_name=name))
    np.random.set_state(state)


def test_gaussian_blur_is_scipys(package):
    from scipy.ndimage import gaussian_filter

    expected = np.clip(gaussian_filter(IMAGES[0] / 255, (3, 3, 0), mode="nearest"), 0, 1) * 255
    ours = corrupt_reference(IMAGES[:1], "gaussian_blur", 3, [0])[0]
    assert np.abs(ours.astype(int) - expected.astype(int)).max() <= 1


def test_impulse_noise_sets_the_stated_share_of_values_to_black_and_white():
    grey = np.full((1, 224, 224, 3), 128, np.uint8)
    for severity, amount in zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True):
        corrupted = corrupt_reference(grey, "impulse_noise", severity, [1])
        assert set(np.unique(corrupted)) == {0, 128, 255}
        for value in (0, 255):
            # 150,528 values: the standard deviation of the share is below 0.001.
            assert abs((corrupted == value).mean() - amount / 2) < 0.004


def test_glass_blur_shuffles_no_further_than_stated():
    # A white dot at severity 1: twice a blur of 0.7 that ends after 3 pixels, twice a shift by at most 1.
    image = np.zeros((1, 41, 41, 3), np.uint8)
    image[0, 20, 20] = 255
    distances = [
        np.abs(np.argwhere(corrupt_reference(image, "glass_blur", 1, [seed])[0, :, :, 0]) - 20).max()
        for seed in range(5)
    ]
    assert 3 < max(distances) <= 3 + 2 + 3


def test_fog_brightens_the_dark():
    dark = np.zeros((1, 32, 32, 3), np.uint8)
    dark[0, 0, 0] = 255  # fog scales by the brightest value
    assert corrupt_reference(dark, "fog", 5, [0]).mean() > 60


def test_spatter_without_a_drop_leaves_a_small_image_alone():
    small = pictures(1, 32, 32)
    corrupted = [corrupt_reference(small, "spatter", 1, [seed])[0] for seed in range(60)]
    untouched = [np.array_equal(image, small[0]) for image in corrupted]
    assert any(untouched)
    assert not all(untouched)
    assert all(image.mean() > small.mean() - 1 for image in corrupted), "0 / 0 would be black"


def test_nothing_outside_is_touched(package):
    state = np.random.get_state()[1].copy()
    package_names = dict(vars(sys.modules["imagecorruptions.corruptions"]))
    numpy_names = set(vars(np))
    modules = {name: sys.modules.get(name) for name in ("pkg_resources", "scipy.ndimage.interpolation")}
    reference._package.cache_clear()
    for name in PUBLISHED:
        corrupt_reference(IMAGES[:1], name, 2, [5])
    assert np.array_equal(np.random.get_state()[1], state)
    assert dict(vars(sys.modules["imagecorruptions.corruptions"])) == package_names
    assert set(vars(np)) == numpy_names
    assert {name: sys.modules.get(name) for name in modules} == modules


def test_works_without_pkg_resources(monkeypatch):
    expected = corrupt_reference(IMAGES, "frost", 3, SEEDS)
    monkeypatch.setitem(sys.modules, "pkg_resources", None)  # as setuptools 81 leaves it
    reference._package.cache_clear()
    assert np.array_equal(corrupt_reference(IMAGES, "frost", 3, SEEDS), expected)
    assert sys.modules["pkg_resources"] is None


def test_name_is_forgiven_capitals_and_a_wrong_one_suggests():
    assert np.array_equal(corrupt_reference(IMAGES, "JPEG-compression", 1, SEEDS)[0].shape, IMAGES[0].shape)
    with pytest.raises(UsageError, match="did you mean gaussian_noise"):
        corrupt_reference(IMAGES, "gausian_noise", 1, SEEDS)


@pytest.mark.parametrize("severity", [0, 6, 2.5])
def test_severity_that_does_not_exist_is_refused(severity):
    with pytest.raises(UsageError, match="severity: expected 1, 2, 3, 4 or 5, found"):
        corrupt_reference(IMAGES, "fog", severity, SEEDS)


@pytest.mark.parametrize("images", [pictures(1, 31, 64), IMAGES / 255, IMAGES[0], IMAGES[..., :1]])
def test_images_it_cannot_take_are_described(images):
    with pytest.raises(GfnetBenchError, match=r"expected images \(n, h, w, 3\) uint8 with sides of 32 pixels or more"):
        corrupt_reference(images, "fog", 1, [0])


def test_one_seed_for_each_image():
    with pytest.raises(ValueError, match="zip"):
        corrupt_reference(IMAGES, "fog", 1, [0])


def test_absent_package_says_how_to_get_it(monkeypatch):
    reference._package.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(
        MissingError, match=r'found none that can be imported .* pip install "gfnet-bench\[reference\]"'
    ):
        corrupt_reference(IMAGES, "fog", 1, SEEDS)


def test_another_version_is_refused(monkeypatch):
    reference._package.cache_clear()
    monkeypatch.setattr(reference, "VERSION", "1.1.3")
    with pytest.raises(MissingError, match=r"expected version 1\.1\.3, found 1\.1\.2"):
        corrupt_reference(IMAGES, "fog", 1, SEEDS)


def test_names_are_known_without_numpy():
    code = "import sys, gfnet_bench.catalog as c; print('fog' in c.CORRUPTIONS, 'numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "True False\n"
