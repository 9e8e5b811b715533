from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_imagenet import (
    STRANGE_NAMES,
    class_of,
    encoded,
    file_numbers,
    photo,
    rename_classes,
    val_name,
    write_c,
    write_classes,
    write_odd,
    write_val,
)

from gfnet_bench.catalog import Transform, paper_transform
from gfnet_bench.datasets import DATASETS, load_images, prepared
from gfnet_bench.datasets.base import Corruption
from gfnet_bench.datasets.classes import agreement, file_number, real_labels, subset, wnids
from gfnet_bench.datasets.decode import decode
from gfnet_bench.datasets.doctor import examine
from gfnet_bench.datasets.image_files import printable
from gfnet_bench.datasets.images import choose, taken
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.metrics import ids_sha256
from gfnet_bench.mini import images_path

TINY = Transform("paper", 32, 32, 36, "bicubic")
A_WNIDS = [wnids()[label] for label in subset("imagenet_a")]

# The first ten validation images, from the development kit and from the list that Caffe distributed.
FIRST_TEN_DEVKIT = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164]
FIRST_TEN = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_val(tmp_path_factory.mktemp("data") / "val")


def expected_labels() -> dict[str, int]:
    return {f"ILSVRC2012_val_{number:08d}": label for label, numbers in file_numbers().items() for number in numbers}


def as_dict(data_dir: Path, name: str = "imagenet") -> dict[str, int]:
    items = DATASETS[name].find([data_dir])
    assert list(items.ids) == sorted(items.ids)
    assert len(items.paths) == len(items.labels) == len(items.ids)
    return dict(zip(items.ids, items.labels.tolist(), strict=True))


# Classes


def test_class_tables() -> None:
    assert len(wnids()) == 1000 and list(wnids()) == sorted(wnids())
    assert (wnids()[0], wnids()[65], wnids()[999]) == ("n01440764", "n01751748", "n15075141")  # tench, sea snake, paper
    assert subset("imagenet_a")[:3] == (6, 11, 13)  # stingray, goldfinch, junco
    assert subset("imagenet_r")[:3] == (1, 2, 4)  # goldfish, white shark, hammerhead
    assert len(subset("imagenet_a")) == len(subset("imagenet_r")) == 200


def test_real_labels_are_those_of_the_publication() -> None:
    assert len(real_labels()) == 50000 and sum(map(bool, real_labels())) == 46837
    assert real_labels()[0] == () and real_labels()[1] == (970, 795)


def test_agreement_tells_the_class_order() -> None:
    # Eight of the nine of these that ReaL has answers for; the bakery was relabelled.
    assert agreement(range(1, 11), FIRST_TEN) == (8 / 9, 9)
    assert agreement(range(1, 11), [i - 1 for i in FIRST_TEN_DEVKIT]) == (0.0, 9)
    assert agreement([None, None], [1, 2]) == (0.0, 0)


# Every data set


def test_listing_data_sets_needs_no_heavy_import() -> None:
    code = "import sys, gfnet_bench.datasets; print({'numpy', 'torch', 'timm', 'PIL', 'tqdm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_is_described(name: str) -> None:
    spec = DATASETS[name]
    assert spec.name == name and spec.title and spec.help and spec.images > 0
    assert (spec.read is None) == (spec.images_of is not None)
    assert spec.control is None or spec.control in DATASETS
    assert ("mini" in spec.title) == (spec.suite == "mini")


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].suite == "imagenet"])
def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(name: str, tmp_path: Path) -> None:
    source = DATASETS[name].source
    with pytest.raises(MissingError) as caught:
        DATASETS[name].find([tmp_path, tmp_path / "absent"])
    text = str(caught.value)
    assert str(tmp_path) in text and "absent (which does not exist)" in text and source.folders[0] in text
    assert ("image-net.org" if source.name == "imagenet" else f"gfnet-bench data get {source.name}") in text
    with pytest.raises(MissingError, match="GFNET_BENCH_DATA"):
        DATASETS[name].find([])


# The validation set


@pytest.mark.parametrize(
    "place", ["val", "validation", "imagenet/val", "ILSVRC2012/val", "ILSVRC2012_img_val", "ILSVRC/Data/CLS-LOC/val"]
)
def test_validation_folder_is_found_under_its_usual_names(place: str, val: Path, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).symlink_to(val)
    assert as_dict(tmp_path) == expected_labels()


def test_the_data_folder_may_be_the_validation_folder(val: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(val)
    assert as_dict(tmp_path / "images") == expected_labels()
    assert as_dict(val) == expected_labels()


def test_another_set_with_the_same_classes_is_not_taken_for_it(tmp_path: Path) -> None:
    write_classes(tmp_path / "sketches", {wnid: label for label, wnid in enumerate(wnids())})
    with pytest.raises(MissingError):
        DATASETS["imagenet"].find([tmp_path / "sketches"])


@pytest.mark.parametrize("name", [str, "{:04d}".format])
def test_folders_named_by_index_count_as_numbers(name: Callable[[int], str], val: Path, tmp_path: Path) -> None:
    rename_classes(val, tmp_path / "val", name)
    assert as_dict(tmp_path) == expected_labels()


def test_folders_numbered_in_text_order_are_refused(val: Path, tmp_path: Path) -> None:
    position = {label: n for n, label in enumerate(sorted(range(1000), key=str))}
    rename_classes(val, tmp_path / "val", lambda label: str(position[label]))
    with pytest.raises(GfnetBenchError, match="order of their names as text: folder 2 holds class 10"):
        DATASETS["imagenet"].find([tmp_path])


def test_folders_in_another_class_order_are_refused(val: Path, tmp_path: Path) -> None:
    shuffled = random.Random(0).sample(wnids(), 1000)
    rename_classes(val, tmp_path / "val", lambda label: shuffled[label])
    with pytest.raises(GfnetBenchError, match=r"order of the sorted WordNet ids.*of 1000 agree with the ReaL"):
        DATASETS["imagenet"].find([tmp_path])


def test_index_folders_whose_order_cannot_be_told_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "val", {str(label): label for label in range(1000)})
    with pytest.raises(GfnetBenchError, match="whose order cannot be told"):
        DATASETS["imagenet"].find([tmp_path])


def test_missing_classes_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "val", {wnid: label for label, wnid in enumerate(wnids()[:10])})
    with pytest.raises(GfnetBenchError, match=r"expected 1000 class folders in .*val, found 10; unpack"):
        DATASETS["imagenet"].find([tmp_path])


def test_two_copies_are_refused_and_a_link_is_none(val: Path, tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to(val)
    (tmp_path / "validation").symlink_to(val)
    assert len(as_dict(tmp_path)) == 1000
    rename_classes(val, tmp_path / "imagenet" / "val", lambda label: wnids()[label])
    with pytest.raises(GfnetBenchError, match=r"expected one copy, found .*val .* and .*imagenet/val .*--data-dir"):
        DATASETS["imagenet"].find([tmp_path])
    assert DATASETS["imagenet"].locate([val.parent, tmp_path]).folder == val


def test_leftovers_are_passed_over_and_doubles_are_not(tmp_path: Path) -> None:
    write_val(tmp_path / "val")
    first = tmp_path / "val" / wnids()[0]
    name = val_name(file_numbers()[0][0])
    (first / f"._{name}").write_bytes(b"left by a Mac")
    (first / "notes.txt").write_text("hello")
    (tmp_path / "val" / "__MACOSX").mkdir()
    assert as_dict(tmp_path) == expected_labels()
    (first / f"copy_of_{name}").write_bytes(photo(0))
    with pytest.raises(GfnetBenchError, match=r"expected each image once, found .* and .*copy_of"):
        DATASETS["imagenet"].find([tmp_path])


# The shifted sets


def test_v2_folder_10_is_class_10(tmp_path: Path) -> None:
    write_classes(tmp_path / "imagenetv2-matched-frequency-format-val", {str(label): label for label in range(1000)})
    items = DATASETS["imagenet_v2"].find([tmp_path])
    assert dict(zip(items.ids, items.labels.tolist(), strict=True))["10/image_0.jpg"] == 10
    assert sorted(items.labels.tolist()) == list(range(1000))
    assert all(
        class_of(decode(path.read_bytes())[0, 0]) == label
        for path, label in zip(items.paths, items.labels, strict=True)
    )


def test_v2_half_unpacked_or_counted_from_1_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "a" / "imagenet_v2", {str(label): label for label in range(10)})
    with pytest.raises(GfnetBenchError, match=r"expected 1000 class folders in .*imagenet_v2, found 10"):
        DATASETS["imagenet_v2"].find([tmp_path / "a"])
    write_classes(tmp_path / "b" / "imagenet_v2", {str(label + 1): label for label in range(1000)})
    with pytest.raises(GfnetBenchError, match="found 999 of them and 1 others"):
        DATASETS["imagenet_v2"].find([tmp_path / "b"])


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_200_classes_keep_their_place_among_1000(name: str, tmp_path: Path) -> None:
    folder = DATASETS[name].folders[0]
    write_classes(tmp_path / folder, {wnids()[label]: label for label in subset(name)})
    (tmp_path / folder / "README.txt").write_text("hello")
    items = DATASETS[name].find([tmp_path])
    assert tuple(items.labels.tolist()) == subset(name)
    assert items.ids[0] == f"{wnids()[subset(name)[0]]}/image_0.jpg"
    assert DATASETS[name].find([tmp_path / folder]).ids == items.ids


def test_the_validation_set_under_the_name_of_a_is_refused(val: Path, tmp_path: Path) -> None:
    (tmp_path / "imagenet-a").symlink_to(val)
    with pytest.raises(GfnetBenchError, match=r"expected the 200 class folders .*, found 200 of them and 800 others"):
        DATASETS["imagenet_a"].find([tmp_path])


def test_the_control_is_the_same_classes_of_the_validation_set(val: Path) -> None:
    found = as_dict(val.parent, "imagenet_a_control")
    assert found == {image: label for image, label in expected_labels().items() if label in subset("imagenet_a")}


def test_real_leaves_out_images_without_answers(tmp_path: Path) -> None:
    write_val(tmp_path / "val")
    (tmp_path / "val" / "n01751748" / val_name(1)).write_bytes(photo(65))  # ReaL has no answer for it
    assert len(DATASETS["imagenet"].find([tmp_path]).ids) == 1001
    images = load_images("imagenet_real", [tmp_path], TINY, limit=20, cache_dir=tmp_path / "cache", progress=False)
    assert len(DATASETS["imagenet_real"].find([tmp_path]).ids) == 1000
    assert images.answers == tuple(real_labels()[(file_number(image) or 0) - 1] for image in images.ids)
    assert all(label in answers for label, answers in zip(images.labels.tolist(), images.answers, strict=True))


@pytest.mark.parametrize("name", ["stray.JPEG", val_name(0), val_name(50001), val_name(99_999_999)])
def test_a_stray_image_stops_no_set(name: str, val: Path, tmp_path: Path) -> None:
    folder = rename_classes(val, tmp_path / "val", lambda label: wnids()[label])
    (folder / wnids()[3]).unlink()
    (folder / wnids()[3]).mkdir()
    (folder / wnids()[3] / name).write_bytes(photo(3))
    assert len(DATASETS["imagenet"].find([tmp_path]).ids) == 1000
    assert len(DATASETS["imagenet_real"].find([tmp_path]).ids) == 999
    assert all(examine(spec, [tmp_path]) for spec in ("imagenet", "imagenet_real", "imagenet_a_control"))


def test_class_folders_without_images(tmp_path: Path) -> None:
    for wnid in A_WNIDS:
        (tmp_path / "imagenet-a" / wnid).mkdir(parents=True)
    (tmp_path / "imagenet-a" / "stray").mkdir()
    (finding,) = examine("imagenet_a", [tmp_path])
    assert finding.severity == "error" and "found 0" in finding.text
    with pytest.raises(GfnetBenchError, match="expected 7500 images, found none"):
        load_images("imagenet_a", [tmp_path], TINY)


def test_real_needs_official_file_names(tmp_path: Path) -> None:
    write_classes(tmp_path / "val", {wnid: label for label, wnid in enumerate(wnids())})
    with pytest.raises(GfnetBenchError, match="official names"):
        DATASETS["imagenet_real"].find([tmp_path])


# ImageNet-C


def test_c_with_and_without_group_folders(tmp_path: Path) -> None:
    write_c(tmp_path / "a" / "imagenet-c", "fog", 3, side=8)
    write_c(tmp_path / "b" / "imagenet-c", "fog", 3, group="weather", side=8)
    first = DATASETS["imagenet_c"].find([tmp_path / "a"], Corruption("fog", 3))
    second = DATASETS["imagenet_c"].find([tmp_path / "b" / "imagenet-c"], Corruption("fog", 3))
    assert first.ids == second.ids == tuple(sorted(expected_labels()))
    assert first.labels.tolist() == [expected_labels()[image] for image in first.ids]
    assert not DATASETS["imagenet_c"].find([tmp_path / "a"]).ids  # it is there; that is all this asks
    (tmp_path / "imagenet_v2" / "1" / "2").mkdir(parents=True)  # numbered folders alone are no ImageNet-C
    with pytest.raises(MissingError, match=r"expected a folder imagenet-c"):
        DATASETS["imagenet_c"].find([tmp_path])
    with pytest.raises(MissingError, match=r"expected fog/4 in .*, found fog.*gfnet-bench data get imagenet_c"):
        DATASETS["imagenet_c"].find([tmp_path / "a"], Corruption("fog", 4))
    write_c(tmp_path / "a" / "imagenet-c", "fog", 3, group="weather", side=8)
    with pytest.raises(GfnetBenchError, match="expected one copy"):
        DATASETS["imagenet_c"].find([tmp_path / "a"], Corruption("fog", 3))


def test_c_files_are_shown_as_they_are(tmp_path: Path) -> None:
    write_c(tmp_path / "imagenet-c", "fog", 1, side=8)
    items = DATASETS["imagenet_c"].find([tmp_path], Corruption("fog", 1))
    (chosen,) = choose(items.ids, items.labels.tolist(), 1, seed=0)
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    items.paths[chosen].write_bytes(encoded(noise, quality=85))

    def load(side: int) -> np.ndarray:
        options = {"limit": 1, "corruption": ("fog", 1), "cache_dir": tmp_path / "cache", "progress": False}
        return load_images("imagenet_c", [tmp_path], paper_transform(side, side), **options).pixels[0]  # type: ignore[arg-type]

    shown = decode(items.paths[chosen].read_bytes())
    np.testing.assert_array_equal(load(224), shown)
    np.testing.assert_array_equal(load(192), shown[16:208, 16:208])
    with pytest.raises(GfnetBenchError, match="224 x 224 pixels and are not resized, but the model takes 384 x 384"):
        load(384)


def test_corruption_and_data_set_must_fit(val: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="imagenet_c: needs a corruption"):
        load_images("imagenet_c", [tmp_path], TINY)
    with pytest.raises(UsageError, match="imagenet: is not corrupted from files"):
        load_images("imagenet", [val.parent], TINY, corruption=("fog", 1))


# Odd files


def odd_a(root: Path) -> tuple[str, dict[Path, str]]:
    folder = write_classes(root / "imagenet-a", {wnid: wnids().index(wnid) for wnid in A_WNIDS})
    odd = write_odd(folder / A_WNIDS[0], lambda n: f"odd_{n}.JPEG")
    for name in STRANGE_NAMES:
        path = Path(os.fsdecode(os.fsencode(folder / A_WNIDS[1]) + b"/" + name + b".JPEG"))
        path.write_bytes(photo(6))
        odd[path] = "expected a name in UTF-8 without control characters"
    return "imagenet_a", odd


def odd_v2(root: Path) -> tuple[str, dict[Path, str]]:
    folder = write_classes(root / "imagenet_v2", {str(label): label for label in range(1000)})
    return "imagenet_v2", write_odd(folder / "10", lambda n: f"odd_{n}.png")


def odd_flat(root: Path) -> tuple[str, dict[Path, str]]:
    taken = {number for (number,) in file_numbers().values()}
    numbers = [n for n, answers in enumerate(real_labels(), 1) if answers and n not in taken and n % 997 == 0]
    labels = {**expected_labels(), **{f"ILSVRC2012_val_{n:08d}": real_labels()[n - 1][0] for n in numbers}}
    write_val(root / "val", folder_of=lambda label: "")
    rows = ["ImageId,PredictionString", *(f"{image},{wnids()[label]} 1" for image, label in labels.items())]
    (root / "LOC_val_solution.csv").write_text("\n".join(rows))
    return "imagenet", write_odd(root / "val", lambda n: val_name(numbers[n]))


@pytest.mark.parametrize("layout", [odd_a, odd_v2, odd_flat])
def test_every_odd_file_is_named_counted_and_left_out(
    layout: Callable[[Path], tuple[str, dict[Path, str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, odd = layout(tmp_path)
    paper = paper_transform(224, 224)
    items = DATASETS[name].find([tmp_path])
    of_path = dict(zip(items.paths, items.ids, strict=True))
    small = [row for row, path in enumerate(items.paths) if path in odd or row % 50 == 0]
    read = prepared.load(
        name, [items.ids[r] for r in small], [items.paths[r] for r in small], paper, cache_dir=tmp_path / "cache"
    )
    reasons = {items.paths[small[n]]: reason for n, reason in read.reasons.items()}
    assert set(reasons) == set(odd)
    for path, reason in odd.items():
        assert reason in reasons[path], path
    assert [class_of(pixels[100, 100]) for pixels in read.pixels[:]] == items.labels[
        np.array(small)[read.kept]
    ].tolist()
    glance, found = ("\n".join(f.text for f in examine(name, [tmp_path], deep=deep)) for deep in (False, True))
    for path in odd:
        assert printable(path) in found and printable(of_path[path]) == of_path[path]
        assert printable(path) in glance or path.is_file()  # of what is no file all, of other files a sample
    for text in (found, capsys.readouterr().err, *read.reasons.values(), *items.ids):
        text.encode()
        assert "BytesIO" not in text and "\x1b" not in text
    images = load_images(name, [tmp_path], TINY, limit=3, cache_dir=tmp_path / "cache", progress=False)
    assert len(images.fingerprint) == 64 and ids_sha256(items.ids)


def test_an_odd_copy_is_no_second_image(val: Path, tmp_path: Path) -> None:
    folder = rename_classes(val, tmp_path / "val", lambda label: wnids()[label])
    (folder / wnids()[0]).unlink()
    (folder / wnids()[0]).mkdir()
    name = val_name(file_numbers()[0][0])
    (folder / wnids()[0] / name).write_bytes(photo(0))
    (folder / wnids()[0] / f"copy_of_{name}").mkdir()
    items = DATASETS["imagenet"].find([tmp_path])
    assert set(expected_labels()) | {f"{wnids()[0]}/copy_of_{name}"} == set(items.ids)


def test_a_class_folder_that_cannot_be_listed_is_missed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_classes(
        tmp_path / "imagenet-a", {wnid: label for label, wnid in enumerate(wnids()) if wnid in A_WNIDS}
    )
    closed, scandir = folder / A_WNIDS[3], os.scandir

    def refusing(path: Path) -> object:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    images = load_images("imagenet_a", [tmp_path], TINY, cache_dir=tmp_path / "cache", progress=False)
    assert images.excluded == ((A_WNIDS[3], "Permission denied"),) and len(images) == 199
    assert f"{closed} (Permission denied)" in "".join(finding.text for finding in examine("imagenet_a", [tmp_path]))
    closed = folder
    with pytest.raises(GfnetBenchError, match=r"imagenet_a: cannot read .*imagenet-a \(Permission denied\)"):
        DATASETS["imagenet_a"].find([tmp_path])


# Limits


def many() -> tuple[list[str], list[int]]:
    labels = [label for label in range(20) for _ in range(3 + label % 4)]
    return [f"image_{n:03d}" for n in range(len(labels))], labels


def test_a_limit_does_not_depend_on_the_order_of_files() -> None:
    ids, labels = many()
    order = random.Random(0).sample(range(len(ids)), len(ids))
    shuffled = choose([ids[n] for n in order], [labels[n] for n in order], 33, seed=5)
    assert {ids[n] for n in choose(ids, labels, 33, seed=5)} == {ids[order[n]] for n in shuffled}


def test_a_limit_is_spread_over_the_classes() -> None:
    ids, labels = many()
    assert max(Counter(labels[n] for n in choose(ids, labels, 15, 0)).values()) == 1
    assert set(Counter(labels[n] for n in choose(ids, labels, 60, 0)).values()) == {3}


def test_limits_are_nested_and_the_seed_changes_them() -> None:
    ids, labels = many()
    picks = [set(choose(ids, labels, limit, 0)) for limit in (7, 30, 31, 1000)]
    assert [len(pick) for pick in picks] == [7, 30, 31, len(ids)]
    assert picks[0] < picks[1] < picks[2] < picks[3]
    assert set(choose(ids, labels, 30, 1)) != picks[1]


def test_a_share_is_of_the_whole_set_and_at_least_one_image() -> None:
    assert [taken(limit, 7500) for limit in (None, 50, 9000, 0.1, 0.9999, 1e-9)] == [7500, 50, 7500, 750, 7499, 1]
    of_mini = [
        load_images("mini", [], Transform("paper", 32, 32, 32, "bicubic"), limit=limit, progress=False).ids
        for limit in (0.1, 100)
    ]
    assert of_mini[0] == of_mini[1] and len(of_mini[0]) == 100
    for limit in (0, 0.0, 1.0, -0.5):
        with pytest.raises(UsageError, match="at least 1 image, or a share between 0 and 1"):
            load_images("mini", [], Transform("paper", 32, 32, 32, "bicubic"), limit=limit, progress=False)


def test_load_images_shows_the_right_picture_for_each_label(val: Path, tmp_path: Path) -> None:
    images = load_images("imagenet", [val.parent], TINY, limit=100, seed=3, cache_dir=tmp_path, progress=False)
    assert images.pixels.shape == (100, 32, 32, 3) and images.pixels.dtype == np.uint8
    assert len(set(images.labels.tolist())) == 100
    assert [class_of(pixels[16, 16]) for pixels in images.pixels[:]] == images.labels.tolist()
    assert images.excluded == () and images.expected == 100
    with pytest.raises(UsageError, match="limit of at least 1"):
        load_images("imagenet", [val.parent], TINY, limit=0, cache_dir=tmp_path)


@pytest.mark.parametrize(("limit", "expected"), [(None, 10000), (12, 12), (10**6, 10000)])
def test_the_size_of_the_set_is_no_unreadable_image(
    limit: int | None, expected: int, val: Path, tmp_path: Path
) -> None:
    images = load_images("imagenet_a_control", [val.parent], TINY, limit=limit, cache_dir=tmp_path, progress=False)
    assert images.excluded == () and images.expected == images.subset([0]).expected == expected


def test_subset_and_fingerprint(val: Path, tmp_path: Path) -> None:
    images = load_images("imagenet_a_control", [val.parent], TINY, limit=12, cache_dir=tmp_path, progress=False)
    part = images.subset([7, 2])
    assert part.ids == (images.ids[7], images.ids[2]) and part.classes == subset("imagenet_a")
    np.testing.assert_array_equal(part.pixels[0:2], np.asarray(images.pixels)[[7, 2]])
    assert images.subset(range(12)).fingerprint == images.fingerprint != part.fingerprint
    part.pixels[0][:] = 0  # what is read is a copy
    assert part.pixels[0].any()


# The embedded suite


@pytest.mark.parametrize("name", ["mini", "mini_v2", "mini_a", "mini_c"])
def test_mini_is_the_packaged_file(name: str) -> None:
    images = load_images(name, [], Transform("paper", 32, 32, None, "bicubic"), progress=False)
    assert len(images) == DATASETS[name].images and not images.excluded and images.classes is None
    with np.load(images_path()) as file:
        row = {f"fashion-mnist/test/{index:05d}": n for n, index in enumerate(file["index"].tolist())}
        rows = [row[image] for image in images.ids]
        assert set(file["subset"][rows].tolist()) == {"mini" if name == "mini_c" else name}
        np.testing.assert_array_equal(file["labels"][rows], images.labels)
        pixels = np.asarray(images.pixels)
        assert pixels.shape == (len(images), 32, 32, 3)
        for channel in range(3):
            np.testing.assert_array_equal(pixels[:, 2:30, 2:30, channel], file["images"][rows])
    assert pixels[:, [0, 1, 30, 31]].max() == pixels[:, :, [0, 1, 30, 31]].max() == 0


def test_mini_limit_and_wrong_size() -> None:
    images = load_images("mini", [], Transform("paper", 32, 32, None, "bicubic"), limit=30, seed=1)
    assert Counter(images.labels.tolist()) == dict.fromkeys(range(10), 3)
    with pytest.raises(GfnetBenchError, match="32 x 32 pixels after resizing, expected at least 224 x 224"):
        load_images("mini", [], Transform("paper", 224, 224, None, "bicubic"))
