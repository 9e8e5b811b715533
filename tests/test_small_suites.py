"""CIFAR-10, Tiny ImageNet and their corruptions: small trees in the published layouts, read by another way as well."""

import io
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from gfnet_bench.catalog import Transform
from gfnet_bench.cli import main
from gfnet_bench.datasets import DATASETS, doctor, load_images
from gfnet_bench.datasets.base import Corruption
from gfnet_bench.errors import GfnetBenchError, MissingError
from gfnet_bench.mini import weights_path
from gfnet_bench.models import Asked, load_model
from gfnet_bench.store import Store

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
WNIDS = [f"n{20000000 + 7919 * i % 9999991:08d}" for i in range(200)]  # in no order
SMALL = Transform("paper", 32, 32, None, "bicubic")


class AsPython2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is how the published batches are written."""

    def save_bytes(self, content):
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch = pickle._Pickler.dispatch | {bytes: save_bytes}


@pytest.fixture
def cifar(tmp_path):
    """20 test images as the batch, and two corruptions of them as arrays."""
    rng = np.random.default_rng(0)
    rows, labels = rng.integers(0, 256, (20, 3072), dtype=np.uint8), [(7 * i) % 10 for i in range(20)]
    batch = {b"batch_label": b"testing batch 1 of 1", b"labels": labels, b"data": rows, b"filenames": [b"x.png"] * 20}
    file = tmp_path / "cifar-10-batches-py" / "test_batch"
    file.parent.mkdir()
    with file.open("wb") as out:
        AsPython2(out, 2).dump(batch)
    corrupted = tmp_path / "CIFAR-10-C"
    corrupted.mkdir()
    for name in ("fog", "spatter"):
        np.save(corrupted / f"{name}.npy", rng.integers(0, 256, (100, 32, 32, 3), dtype=np.uint8))
    np.save(corrupted / "labels.npy", np.tile(labels, 5))
    return tmp_path


def test_the_batch_is_read_as_its_authors_say(cifar):
    batch = pickle.loads((cifar / "cifar-10-batches-py" / "test_batch").read_bytes(), encoding="bytes")
    images = load_images("cifar10", [cifar], SMALL, progress=False)
    assert images.labels.tolist() == batch[b"labels"] and images.ids[11] == "cifar10/test/00011"
    red, green, blue = batch[b"data"][11, :1024], batch[b"data"][11, 1024:2048], batch[b"data"][11, 2048:]
    np.testing.assert_array_equal(images.pixels[11], np.dstack([p.reshape(32, 32) for p in (red, green, blue)]))


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (pickle.dumps({b"data": Hostile(), b"labels": []}, 2), "it names builtins.exec|it names __builtin__.exec"),
        (pickle.dumps({b"labels": [1], b"data": np.zeros((1, 3000), np.uint8)}, 2), "ValueError"),
        (b"\x80\x02}q", "damaged"),
        (b"", "damaged"),
    ],
    ids=["code", "another shape", "cut off", "empty"],
)
def test_a_batch_that_is_none_is_refused_and_runs_nothing(cifar, content, found):
    (cifar / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(GfnetBenchError, match=found):
        DATASETS["cifar10"].find([cifar])


def test_class_folders_are_counted_as_torchvision_counts_them(tmp_path):
    for number, name in enumerate(reversed(CLASSES)):
        (tmp_path / "cifar10" / "test" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "cifar10" / "test" / name / "1.png")
    images = load_images("cifar10", [tmp_path], SMALL, progress=False)
    theirs = ImageFolder(str(tmp_path / "cifar10" / "test"))
    assert images.labels.tolist() == theirs.targets
    assert [tuple(p[0, 0]) for p in images.pixels[:]] == [image.getpixel((0, 0)) for image, _ in theirs]


@pytest.mark.parametrize("severity", [1, 4, 5])
def test_a_severity_is_a_fifth_of_the_array(cifar, severity):
    images = load_images("cifar10_c", [cifar], SMALL, corruption=("spatter", severity), progress=False)
    part = slice((severity - 1) * 20, severity * 20)
    np.testing.assert_array_equal(images.pixels[:], np.load(cifar / "CIFAR-10-C" / "spatter.npy")[part])
    assert images.labels.tolist() == np.load(cifar / "CIFAR-10-C" / "labels.npy")[part].tolist()
    assert images.ids == DATASETS["cifar10"].find([cifar]).ids  # so that both can be compared image by image


def test_arrays_that_do_not_fit_are_refused(cifar):
    folder, fog = cifar / "CIFAR-10-C", Corruption("fog", 2)
    with pytest.raises(MissingError, match=r"expected frost.npy in .*, found those of fog, spatter"):
        DATASETS["cifar10_c"].find([cifar], Corruption("frost", 1))
    for array, found in (
        (np.zeros((90, 32, 32, 3), np.uint8), r"each of the 90 images of fog.npy.*found int64 \(100,\)"),
        (np.zeros((100, 32, 32), np.uint8), r"expected bytes of shape \(n, 32, 32, 3\), found uint8 \(100, 32, 32\)"),
        (np.array([Hostile()]), "found none that can be read"),
    ):
        np.save(folder / "fog.npy", array)
        with pytest.raises(GfnetBenchError, match=found):
            DATASETS["cifar10_c"].find([cifar], fog)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The archive's layout, class folders with and without `images`, and one cell of Tiny-ImageNet-C."""
    import simplejpeg

    root = tmp_path_factory.mktemp("tiny")
    lines = []
    for number, wnid in enumerate(WNIDS):
        colour = np.full((64, 64, 3), (number, 255 - number, 9), dtype=np.uint8)
        content = simplejpeg.encode_jpeg(colour, quality=95, colorsubsampling="444")
        name = f"val_{number}.JPEG"
        lines.append(f"{name}\t{wnid}\t0\t0\t63\t63\n")
        for folder in (
            "archive/tiny-imagenet-200/val/images",
            f"sorted/tiny-imagenet-200/val/{wnid}",
            f"nested/tiny-imagenet/val/{wnid}/images",
            f"archive/Tiny-ImageNet-C/fog/3/{wnid}",
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / name).write_bytes(content)
    (root / "archive/tiny-imagenet-200/val/val_annotations.txt").write_text("".join(lines))
    return root


def test_tiny_imagenet_is_one_set_in_every_layout(tiny):
    own = Transform("paper", 64, 64, None, "bicubic")
    first, *others = (
        load_images("tiny_imagenet", [tiny / layout], own, progress=False)
        for layout in sorted(("archive", "sorted", "nested"))
    )
    theirs = ImageFolder(str(tiny / "sorted/tiny-imagenet-200/val"))
    numbers = [int(image.removeprefix("val_")) for image in first.ids]
    labels = {path.rpartition("_")[2]: label for path, label in theirs.samples}
    assert first.labels.tolist() == [labels[f"{number}.JPEG"] for number in numbers]
    for other in others:
        assert other.ids == first.ids and other.labels.tolist() == first.labels.tolist()
        np.testing.assert_array_equal(other.pixels[:], first.pixels[:])
    corrupted = load_images("tiny_imagenet_c", [tiny / "archive"], own, corruption=("fog", 3), progress=False)
    assert corrupted.ids == first.ids and corrupted.labels.tolist() == first.labels.tolist()
    np.testing.assert_array_equal(corrupted.pixels[:], first.pixels[:])


def test_a_part_of_the_classes_is_refused(tiny, tmp_path):
    lines = (tiny / "archive/tiny-imagenet-200/val/val_annotations.txt").read_text().splitlines(keepends=True)
    images = tmp_path / "tiny-imagenet-200" / "val" / "images"
    images.mkdir(parents=True)
    (images / "val_0.JPEG").write_bytes(b"")
    (images.parent / "val_annotations.txt").write_text("".join(lines[1:]))
    with pytest.raises(GfnetBenchError, match=r"a line for each of 1 images in .*none for 1"):
        DATASETS["tiny_imagenet"].find([tmp_path])
    (images.parent / "val_annotations.txt").write_text(lines[0])
    with pytest.raises(GfnetBenchError, match=r"images of 200 classes in .*, found those of 1"):
        DATASETS["tiny_imagenet"].find([tmp_path])


def test_the_doctor_counts_them(cifar, tiny):
    shown = {s.name: (s.found, s.expected, s.unit) for s in doctor.status([cifar, tiny / "archive"])}
    assert shown["cifar10"] == (20, 10000, "images") and shown["cifar10_c"] == (10, 80, "corruption folders")
    assert shown["tiny_imagenet_c_generated"] == (200, 10000, "images") and shown["tiny_imagenet_c"][0] == 1
    texts = [f.text for name in ("cifar10", "tiny_imagenet") for f in doctor.examine(name, [cifar, tiny / "archive"])]
    assert [text.partition(" in ")[0] for text in texts] == [
        "expected 10000 images", "expected 1000 images of each class, found others",
        "expected 10000 images", "expected 50 images of each class, found others",
    ]  # fmt: skip
    assert {f.severity for f in doctor.examine("cifar10_c", [cifar])} == {"error", "warning"}  # short, and of two


@pytest.mark.parametrize("suite", ["cifar10", "tiny_imagenet"])
def test_a_suite_without_models_asks_for_one(suite, capsys):
    assert main(["robustness", "--suite", suite, "--dry-run"]) == 2
    assert "has no models of its own; name one of" in capsys.readouterr().err


@pytest.mark.parametrize(("side", "resize"), [(32, None), (224, (224, 224))])
def test_images_are_shown_whole_at_the_models_size(side, resize):
    model = load_model("resnet18", Asked(img_size=side), pretrained=False, suite="cifar10")
    assert (model.transform.height, model.transform.width, model.transform.resize) == (side, side, resize)


def test_a_network_of_ten_classes_is_measured_on_cifar(cifar, tmp_path, capsys):
    checkpoint, here = str(weights_path("resnet_mini")), str(cifar)
    words = ["robustness", "--suite", "cifar10", "-m", "resnet_mini", "--checkpoint", checkpoint, "--data-dir", here]
    words += ["--corruption", "fog", "--severity", "2", "--output-dir", str(tmp_path / "out"), "--no-progress"]
    assert main([*words, "--attack", "clean"]) == 0
    assert "Robustness and generalisation, CIFAR-10, %" in capsys.readouterr().out
    found = {r.cell.settings["dataset"]: r.values for r in Store(tmp_path / "out")}
    batch = pickle.load(io.BytesIO((cifar / "cifar-10-batches-py" / "test_batch").read_bytes()), encoding="bytes")
    clean = torch.from_numpy(batch[b"data"].reshape(-1, 3, 32, 32))
    fog = torch.from_numpy(np.load(cifar / "CIFAR-10-C" / "fog.npy")[20:40]).permute(0, 3, 1, 2)
    for dataset, pixels in (("cifar10", clean), ("cifar10_c", fog)):
        right = load_model("resnet_mini")(pixels / 255).argmax(1) == torch.tensor(batch[b"labels"])
        assert found[dataset]["top1"] == pytest.approx(right.float().mean().item()) and found[dataset]["images"] == 20
