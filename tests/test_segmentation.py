"""Regions, resizing and whole-image evaluation, against definitions worked by hand and by loops."""

import hashlib
import io
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from http_server import Reply, serve
from PIL import Image

from gfnet_bench.cli import main
from gfnet_bench.datasets.sources import get
from gfnet_bench.errors import GfnetBenchError, MissingError
from gfnet_bench.metrics import segmentation as metrics
from gfnet_bench.scene_sets import ADE20K, SCENE_SETS
from gfnet_bench.segmentation import ade20k, doctor
from gfnet_bench.segmentation.evaluation import Evaluator, normalised, sample, sized
from gfnet_bench.segmentation.resizing import aligned, fitted, labels_of, prepared, resize_labels
from gfnet_bench.segmentation.scenes import Scene, Scenes

NOT = metrics.IGNORED


def regions_of(*pairs, classes=3):
    return metrics.regions(np.stack([metrics.confusion(np.array(p), np.array(t), classes) for p, t in pairs]))


def test_a_tiny_mask_by_hand():
    predicted, truth = np.array([[0, 0, 1], [1, 2, 0]]), np.array([[0, 1, 1], [1, 0, NOT]])
    assert metrics.confusion(predicted, truth, 4).tolist() == [[1, 0, 1, 0], [1, 2, 0, 0], [0] * 4, [0] * 4]
    found = regions_of((predicted, truth), classes=4)
    # Class 2 is predicted where it is not: 0. Class 3 is nowhere and left out of the mean.
    assert metrics.class_iou(found)[:3].tolist() == [1 / 3, 2 / 3, 0] and np.isnan(metrics.class_iou(found)[3])
    assert metrics.mean_iou(found) == pytest.approx(1 / 3)
    assert metrics.pixel_accuracy(found) == 3 / 5
    assert metrics.mean_accuracy(found) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_regions_are_summed_before_they_are_divided():
    found = regions_of(([0, 0, 0, 0], [0, 0, 0, 1]), ([1, 1], [1, 0]), classes=2)
    assert metrics.class_iou(found).tolist() == [3 / 5, 1 / 3]  # image by image they would be (3/4 + 0) / 2 and so on


@pytest.mark.parametrize(("predicted", "truth"), [([0, 3], [0, 1]), ([0, 1], [0, 3]), ([0], [0, 1])])
def test_labels_that_are_no_classes_are_refused(predicted, truth):
    with pytest.raises(ValueError, match="expected"):
        metrics.confusion(np.array(predicted), np.array(truth), 3)


def drawn(n, quality, seed, k=4):
    """Regions of images that differ: how much of each is right is drawn for the image."""
    rng = np.random.default_rng(seed)
    pairs = []
    for share in rng.beta(quality * 8, (1 - quality) * 8, n):
        truth = rng.choice(k, 60, p=rng.dirichlet(np.ones(k)))
        pairs.append((np.where(rng.random(60) < share, truth, rng.integers(0, k, 60)), truth))
    return regions_of(*pairs, classes=k)


def influence(found):
    """(n,) what each image adds to the mean IoU: the derivative by its weight, the delta method."""
    union = found.predicted + found.labelled - found.intersect
    iou = found.intersect.sum(0) / union.sum(0)
    return np.mean((found.intersect - iou * union) / union.sum(0), axis=1)


def test_the_bootstrap_agrees_with_the_delta_method():
    found, other = drawn(200, 0.7, 1), drawn(200, 0.7, 1)
    low, high = metrics.mean_iou_interval(found)
    assert (low + high) / 2 == pytest.approx(metrics.mean_iou(found))
    assert (high - low) / 2 == pytest.approx(metrics.Z * np.sqrt((influence(found) ** 2).sum()), rel=0.08)
    rng = np.random.default_rng(5)  # the second model misses some of what the first has right
    other = other._replace(intersect=(other.intersect * rng.uniform(0.8, 1, (200, 1))).astype(np.int32))
    paired = metrics.compare_mean_iou(found, other)
    error = np.sqrt(((influence(found) - influence(other)) ** 2).sum())
    assert paired.difference == metrics.mean_iou(found) - metrics.mean_iou(other)
    assert paired.interval.high - paired.difference == pytest.approx(metrics.Z * error, rel=0.08)
    with pytest.raises(ValueError, match="same images"):
        metrics.compare_mean_iou(found, drawn(200, 0.7, 2))


def test_the_interval_covers_the_truth():
    truth = metrics.mean_iou(drawn(20_000, 0.6, 99))
    intervals = [metrics.mean_iou_interval(drawn(80, 0.6, seed)) for seed in range(150)]
    assert 0.89 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.99
    assert metrics.mean_iou_interval(drawn(1, 0.6, 0)) is None


@pytest.mark.parametrize(
    ("size", "kept", "shown"),
    [
        ((512, 683), (512, 683), (512, 704)),  # (2048, 512): the short side is 512 already
        ((256, 256), (512, 512), (512, 512)),
        ((200, 1000), (410, 2048), (416, 2048)),  # 2048 / 1000 is less than 512 / 200; 409.6 rounds up
        ((1000, 750), (683, 512), (704, 512)),
    ],
)
def test_sizes_by_hand(size, kept, shown):
    assert fitted(size, (2048, 512)) == kept and aligned(kept) == shown


def test_resizing_is_that_of_opencv():
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (45, 61, 3), dtype=np.uint8)
    once = cv2.resize(image, (163, 120), interpolation=cv2.INTER_LINEAR)
    twice = cv2.resize(once, (192, 128), interpolation=cv2.INTER_LINEAR)
    ours = prepared(image, (480, 120))
    assert ours.shape == twice.shape and np.abs(ours.astype(int) - twice).max() <= 2
    for size in ((90, 130), (20, 31)):
        expected = cv2.resize(image[..., 0], size[::-1], interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(resize_labels(image[..., 0], size), expected)


class Colours(torch.nn.Module):
    """(b, 3, h, w) to logits at a quarter of the size that depend on the place."""

    def forward(self, images):
        pooled = F.avg_pool2d(images, 4)
        return torch.cat((pooled, pooled.roll(1, 2).mean(1, keepdim=True) * 1.5), dim=1)


def by_definition(logits, shown, original):
    """mmsegmentation's whole mode: `encode_decode` resizes to the input, `whole_inference` to the original, softmax."""
    logits = F.interpolate(logits, shown, mode="bilinear", align_corners=False)
    logits = F.interpolate(logits, original, mode="bilinear", align_corners=False)
    return F.softmax(logits, dim=1).argmax(dim=1)[0].numpy()


def intersect_and_union(predicted, truth, classes):
    """mmsegmentation's counts, from their definition: three histograms, ignored pixels taken out of all."""
    predicted, truth = predicted[truth != NOT], truth[truth != NOT]
    bins = np.arange(classes + 1) - 0.5
    same, ours, theirs = (np.histogram(x, bins)[0] for x in (predicted[predicted == truth], predicted, truth))
    return same, ours + theirs - same


def test_evaluation_is_whole_mode_on_the_same_logits():
    rng = np.random.default_rng(3)
    made = {}
    for name, size in {"a": (50, 70), "b": (64, 64), "c": (81, 40)}.items():
        labels = rng.integers(0, 4, size, dtype=np.uint8)
        labels[:5] = NOT
        coarse = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
        made[name] = Scene(coarse.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]], labels)
    scenes = Scenes("made", "validation", tuple(made), tuple("wxyz"), made.__getitem__, "")
    network, box = Colours(), (256, 64)
    found = Evaluator(sized(network, None), box, torch.device("cpu")).count(scenes)
    same, union, once = np.zeros(4), np.zeros(4), 0
    for scene in made.values():
        shown = prepared(scene.image, box)
        logits = network(normalised(torch.from_numpy(shown)[None]))
        labels = by_definition(logits, shown.shape[:2], scene.labels.shape)
        counted = intersect_and_union(labels, scene.labels, 4)
        same, union = same + counted[0], union + counted[1]
        directly = F.interpolate(logits, scene.labels.shape, mode="bilinear", align_corners=False).argmax(1)[0].numpy()
        once += (directly != labels).sum()
        assert np.array_equal(labels_of(logits, shown.shape[:2], scene.labels.shape)[0].numpy(), labels)
    assert np.array_equal(metrics.class_iou(found.regions), same / union)
    assert found.confusion.sum() == sum((scene.labels != NOT).sum() for scene in made.values())
    assert once > 0  # upsampling once is another protocol


def test_a_sample_is_seeded_and_in_order():
    scenes = Scenes("made", "validation", tuple("abcdefghij"), ("x",), dict().__getitem__, "")
    rows = list(sample(scenes, 4, 0))
    assert rows == sorted(rows) == list(sample(scenes, 4, 0)) and len(rows) == 4 != list(sample(scenes, 4, 1))
    assert list(sample(scenes, None, 0)) == list(range(10))


@pytest.fixture
def ade(tmp_path):
    """The set's folders with two images."""
    for kind in ("images", "annotations"):
        (tmp_path / ade20k.FOLDER / kind / "validation").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(2):
        image = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
        image.save(tmp_path / ade20k.FOLDER / "images" / "validation" / f"ADE_val_{i}.jpg")
        save_mask(tmp_path, i, np.arange(600, dtype=np.uint16).reshape(20, 30) % 151)
    return tmp_path


def save_mask(folder, i, levels, mode="L"):
    image = Image.fromarray(levels.astype(np.uint8)).convert(mode)
    image.save(folder / ade20k.FOLDER / "annotations" / "validation" / f"ADE_val_{i}.png")


@pytest.fixture
def small(monkeypatch):
    """A set of two images."""
    monkeypatch.setitem(SCENE_SETS._things, "ade20k", replace(ADE20K, images={"validation": 2}))


def test_a_whole_folder_is_well_and_says_what_zero_is(ade, small, capsys):
    for name, *deep in (["ade20k"], ["ADE20K", "--deep", "-j", "2"]):
        assert main(["doctor", name, "--data-dir", str(ade), *deep]) == 0
        assert "2 of validation images with masks" in " ".join(capsys.readouterr().out.split())
    (finding,) = doctor.examine("ade20k", [ade])
    assert finding.severity == "ok" and "level 0 of a mask is what is of none" in finding.text
    (line, _) = doctor.status([ade])
    assert (line.found, line.expected, line.where) == (2, 2, str(ade / ade20k.FOLDER))
    assert main(["data", "status", "--data-dir", str(ade)]) == 0
    assert "2 of 2 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda place: save_mask(place, 1, np.zeros((20, 30)), "P"), "1 masks in .* cannot be used: ADE_val_1 .*palet"),
        (lambda place: save_mask(place, 1, np.full((20, 30), 200)), "found 200; is it a mask of another set"),
        (lambda place: save_mask(place, 1, np.full((20, 30), NOT)), "found 255; is it a mask whose levels were made"),
        (lambda place: save_mask(place, 1, np.zeros((30, 20))), r"another size .*: ADE_val_1 \(20 x 30 for 30 x 20\)"),
        (lambda place: next(place.rglob("ADE_val_1.png")).unlink(), "1 images of validation have no mask: ADE_val_1"),
        (lambda place: next(place.rglob("ADE_val_1.jpg")).unlink(), "1 masks of validation have no image: ADE_val_1"),
        (lambda place: next(place.rglob("ADE_val_1.jpg")).unlink(), "expected 2 files in .*images.*, found 1"),
        (lambda place: next(place.rglob("ADE_val_1.jpg")).write_bytes(b""), "images in .* cannot be read: .*empty"),
    ],
)
def test_what_is_wrong_with_a_folder_is_a_sentence(ade, small, damage, told):
    damage(ade)
    for deep in (False, True):
        findings = doctor.examine("ade20k", [ade], deep=deep, workers=2)
        assert {finding.severity for finding in findings} == {"error"}
        assert any(re.search(told, finding.text) for finding in findings)


def test_only_deep_reads_the_pixels_of_images(ade, small):
    picture = next(ade.rglob("ADE_val_1.jpg"))
    picture.write_bytes(picture.read_bytes()[:-60])
    assert [finding.severity for finding in doctor.examine("ade20k", [ade])] == ["ok"]
    (finding,) = doctor.examine("ade20k", [ade], deep=True)
    assert finding.severity == "error" and "truncated" in finding.text


def test_a_set_that_is_nowhere_says_how_to_get_it(tmp_path, capsys):
    assert main(["doctor", "ade20k", "--data-dir", str(tmp_path)]) == 1
    assert "gfnet-bench data get ade20k" in " ".join(capsys.readouterr().out.split())
    assert main(["doctor", "mini_scenes"]) == 0
    assert [(line.name, line.found) for line in doctor.status([tmp_path])] == [("ade20k", 0), ("mini_scenes", 2300)]


def zipped(folder):
    """The set as its archive has it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def offered(monkeypatch, server, *replies):
    """The archive at an address of a server here."""
    body = max((r.body for r in replies), key=len)
    (file,) = ADE20K.downloads
    url = server.put(f"/{file.file}", *replies)
    here = replace(file, urls=(url,), size=len(body), md5=hashlib.md5(body).hexdigest())
    monkeypatch.setitem(SCENE_SETS._things, "ade20k", replace(ADE20K, images={"validation": 2}, downloads=(here,)))


def test_the_archive_is_fetched_resumed_checked_and_unpacked(ade, tmp_path, monkeypatch, capsys):
    body, data = zipped(ade), tmp_path / "data"
    with serve(monkeypatch) as server:
        headers = {"ETag": '"one"'}
        offered(monkeypatch, server, Reply(body, headers=headers, cut=700), Reply(body, headers=headers))
        assert main(["data", "get", "ade20k", "--data-dir", str(data), "--no-progress"]) == 0
        assert server.ranges() == [None, "bytes=700-"]
        assert main(["data", "get", "ade20k", "mini_scenes", "--data-dir", str(data), "--no-progress"]) == 0
        assert len(server.requests) == 2 and capsys.readouterr().out.count("nothing to fetch") == 2
    assert [path.name for path in data.iterdir()] == [ade20k.FOLDER]
    assert ade20k.scenes([data], "validation").fingerprint == ade20k.scenes([ade], "validation").fingerprint
    assert doctor.examine("ade20k", [data])[0].severity == "ok"


def test_another_archive_is_refused(ade, tmp_path, monkeypatch):
    with serve(monkeypatch) as server:
        offered(monkeypatch, server, Reply(zipped(ade)))
        server.put("/ADEChallengeData2016.zip", Reply(zipped(ade)[:-1] + b"x"))
        with pytest.raises(MissingError, match="received a file with md5"):
            get(["ade20k"], tmp_path / "data", progress=False)
        assert not list((tmp_path / "data").iterdir())


def test_an_archive_that_leads_elsewhere_is_not_unpacked(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{ade20k.FOLDER}/images/../../../evil.jpg", b"x")
    with serve(monkeypatch) as server:
        offered(monkeypatch, server, Reply(buffer.getvalue()))
        with pytest.raises(GfnetBenchError, match="would land outside the folder"):
            get(["ade20k"], tmp_path / "data", progress=False)
    assert not list(tmp_path.rglob("evil.jpg"))


def test_what_is_known_of_the_archive():
    (file,) = ADE20K.downloads
    assert file.gives == (ade20k.FOLDER,) and file.file == f"{ade20k.FOLDER}.zip" and len(bytes.fromhex(file.md5)) == 16
    assert ADE20K.classes == len(set(ADE20K.names)) == 150 and ADE20K.images == {"training": 20210, "validation": 2000}
    assert (ADE20K.names[0], ADE20K.names[12], ADE20K.names[149]) == ("wall", "person", "flag")


def test_zero_is_ignored_and_the_others_move_down_by_one(ade):
    found = ade20k.scenes([ade], "validation")
    scene = found.read("ADE_val_1")
    assert scene.labels.ravel()[:4].tolist() == [NOT, 0, 1, 2] and scene.labels.ravel()[150] == 149
    assert found.ids == ("ADE_val_0", "ADE_val_1") and len(found.classes) == 150
    assert ade20k.scenes([ade / ade20k.FOLDER], "validation").fingerprint == found.fingerprint


@pytest.mark.parametrize(
    ("levels", "mode", "message"),
    [
        (np.zeros((20, 30)), "P", "found a palette image"),
        (np.zeros((20, 30)), "RGB", "found a colour image"),
        (np.full((20, 30), 151), "L", "expected levels 0 to 150, found 151"),
        (np.zeros((30, 20)), "L", "found 20 x 30 for 30 x 20"),
    ],
)
def test_a_mask_that_is_none_is_told(ade, levels, mode, message):
    save_mask(ade, 1, levels, mode)
    found = ade20k.scenes([ade], "validation")
    found.read("ADE_val_0")
    with pytest.raises(GfnetBenchError, match=message):
        found.read("ADE_val_1")


def test_missing_masks_and_folders_are_told(ade, tmp_path):
    masks = ade / ade20k.FOLDER / "annotations" / "validation"
    (masks / "ADE_val_0.png").write_bytes(b"no image")
    with pytest.raises(GfnetBenchError, match="no mask"):
        ade20k.scenes([ade], "validation").read("ADE_val_0")
    (masks / "ADE_val_0.png").unlink()
    with pytest.raises(GfnetBenchError, match=r"a mask for each image .* found none for ADE_val_0.jpg; unpack"):
        ade20k.scenes([ade], "validation")
    with pytest.raises(MissingError, match="expected JPEG files"):
        ade20k.scenes([ade], "training")
    with pytest.raises(MissingError, match="expected ADEChallengeData2016"):
        ade20k.scenes([tmp_path / "nowhere"], "validation")
