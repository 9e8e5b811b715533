"""The folders people have: found in place, or refused for the true reason."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_imagenet import file_numbers, photo, rename_classes, write_c, write_classes, write_val
from test_datasets import as_dict, expected_labels
from test_ground_truth import DEVKIT, write_caffe, write_ground_truth, write_kaggle, write_map

from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.classes import subset, wnids
from gfnet_bench.errors import GfnetBenchError, MissingError


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_val(tmp_path_factory.mktemp("data") / "val")


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_val(tmp_path_factory.mktemp("flat") / "images", folder_of=lambda label: "")


def link(place: Path, target: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return place


def test_names_in_other_letters(tmp_path: Path) -> None:
    for label, (number,) in file_numbers().items():
        place = tmp_path / "val" / wnids()[label].upper()
        place.mkdir(parents=True)
        (place / f"ilsvrc2012_val_{number:08d}.jpeg").write_bytes(photo(label))
    assert as_dict(tmp_path) == expected_labels()


VAL_PLACES = [
    "val",
    "Val",
    "VAL",
    "validation",
    "val/val",
    "val/ILSVRC2012_img_val",
    "ILSVRC2012_img_val",
    "ilsvrc2012_val",
    "imagenet/val",
    "ImageNet/validation",
    "imagenet-1k/val",
    "imagenet_1k/val",
    "ImageNet1K/Val",
    "ILSVRC2012/validation",
    "ILSVRC/Data/CLS-LOC/val",
    "imagenet/ILSVRC/Data/CLS-LOC/val",
    "imagenet/images/val",
    "imagenet-object-localization-challenge/ILSVRC/Data/CLS-LOC/val",
    "data/imagenet/val",
    "datasets/ILSVRC2012/val",
    "imagenet-val",
]


@pytest.mark.parametrize("place", VAL_PLACES)
def test_the_validation_set_is_found_in_place(place: str, val: Path, tmp_path: Path) -> None:
    link(tmp_path / "DATA" / place, val)
    (tmp_path / "DATA" / "train" / wnids()[0]).mkdir(parents=True)
    assert as_dict(tmp_path / "DATA") == expected_labels()
    assert as_dict(tmp_path / "DATA" / place) == expected_labels()


@pytest.mark.parametrize("place", ["tiny-imagenet-200/val", "coco/val", "imagenet-100/val", "train", "valuables"])
def test_other_sets_are_not_taken_for_it(place: str, val: Path, tmp_path: Path) -> None:
    link(tmp_path / place, val)
    with pytest.raises(MissingError, match="expected a folder val"):
        as_dict(tmp_path)


A_LIKE = ["{0}", "{1}", "{2}", "{0}/{0}", "imagenet/{0}", "data/{1}", "{0}/{0}/{0}"]
COOP = {"imagenet_a": "imagenet-adversarial/imagenet-a", "imagenet_r": "imagenet-rendition/imagenet-r"}


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_a_and_r_are_found_in_place(name: str, tmp_path: Path) -> None:
    dashed = name.replace("_", "-")
    classes = {wnids()[label]: label for label in subset(name)}
    original = write_classes(tmp_path / "images", classes)
    for n, place in enumerate([*A_LIKE, COOP[name]]):
        place = place.format(dashed, name, dashed.replace("imagenet", "ImageNet").upper())
        found = DATASETS[name].find([link(tmp_path / str(n) / place, original).parents[place.count("/")]])
        assert sorted(found.labels.tolist()) == sorted(subset(name)) and found.ids[0].startswith(
            wnids()[subset(name)[0]]
        )


@pytest.mark.parametrize(
    "place", ["sketch", "imagenet-sketch", "ImageNet-Sketch/sketch", "imagenet-sketch/images", "imagenet_sketch"]
)
def test_sketch_is_found_in_place(place: str, tmp_path: Path) -> None:
    write_classes(tmp_path / place, {wnid: label for label, wnid in enumerate(wnids())})
    assert len(DATASETS["imagenet_sketch"].find([tmp_path]).ids) == 1000
    assert len(DATASETS["imagenet_sketch"].find([tmp_path / place]).ids) == 1000


FORMAT_VAL = "imagenetv2-matched-frequency-format-val"


@pytest.mark.parametrize(
    ("place", "name_of"),
    [
        (FORMAT_VAL, str),
        (f"imagenetv2/{FORMAT_VAL}", "{:04d}".format),
        (f"{FORMAT_VAL}/{FORMAT_VAL}", lambda label: wnids()[label]),
        ("ImageNetV2", lambda label: wnids()[label]),
    ],
)
def test_v2_has_the_same_ids_however_its_folders_are_called(
    place: str, name_of: Callable[[int], str], tmp_path: Path
) -> None:
    write_classes(tmp_path / place, {name_of(label): label for label in range(1000)})
    items = DATASETS["imagenet_v2"].find([tmp_path])
    assert dict(zip(items.ids, items.labels.tolist(), strict=True)) == {f"{n}/image_0.jpg": n for n in range(1000)}
    for other in ("imagenet_v2_threshold", "imagenet_v2_top"):
        with pytest.raises(MissingError):
            DATASETS[other].find([tmp_path])


def test_c_is_found_in_place(tmp_path: Path) -> None:
    for place in ("imagenet-c", "ImageNet-C/imagenet_c", "imagenet/Imagenet-C"):
        write_c(tmp_path / place.replace("/", "-") / place, "fog", 3, side=8)
        assert "1 corruptions" in DATASETS["imagenet_c"].locate([tmp_path / place.replace("/", "-")]).layout


@pytest.mark.parametrize("place", ["ILSVRC/Data/CLS-LOC/val", "imagenet/val", "val"])
@pytest.mark.parametrize("deep", [False, True], ids=["from above", "from the images"])
def test_labels_are_found_above_the_images(place: str, deep: bool, flat: Path, tmp_path: Path) -> None:
    link(tmp_path / place, flat)
    write_kaggle(tmp_path)
    assert as_dict(tmp_path / place if deep else tmp_path) == expected_labels()


def test_labels_are_found_behind_a_link(flat: Path, tmp_path: Path) -> None:
    link(tmp_path / "val", flat)
    label_file = flat.parent / "LOC_val_solution.csv"
    write_kaggle(flat.parent)
    try:
        assert as_dict(tmp_path) == expected_labels()
    finally:
        label_file.unlink()


def plus_one(text: str) -> str:
    return "\n".join(f"{name} {int(number) + 1}" for name, number in (line.split() for line in text.splitlines()))


def by_wnid(text: str) -> str:
    return "\n".join(f"{name} {wnids()[int(number)]}" for name, number in (line.split() for line in text.splitlines()))


def with_commas(text: str) -> str:
    return text.replace(" ", ",")


@pytest.mark.parametrize(
    ("change", "encoding"),
    [(plus_one, "utf-8"), (by_wnid, "utf-8-sig"), (with_commas, "utf-16"), (str, "latin-1"), (plus_one, "utf-16-be")],
)
def test_a_list_of_files_and_classes_is_read_as_far_as_it_is_proven(
    change: Callable[[str], str], encoding: str, flat: Path, tmp_path: Path
) -> None:
    link(tmp_path / "val", flat)
    write_caffe(tmp_path)
    text = change((tmp_path / "val.txt").read_text())
    mark = "\ufeff" if encoding == "utf-16-be" else ""  # Python writes one of its own accord in "utf-16"
    (tmp_path / "val.txt").write_bytes(f"{mark}# caf\xe9\n{text}\n".encode(encoding))
    assert as_dict(tmp_path) == expected_labels()


@pytest.mark.parametrize("write", [write_map, write_kaggle, write_caffe])
@pytest.mark.parametrize("kind", ["bytes", "zeros", "half", "folder", "FIFO", "numbers", "letters", "empty"])
def test_a_damaged_label_file_is_named(
    kind: str, write: Callable[[Path], None], flat: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    link(tmp_path / "val", flat)
    write(tmp_path)
    for file in [file for file in tmp_path.rglob("*") if file.suffix in (".txt", ".csv") and file.is_file()]:
        size = file.stat().st_size
        file.unlink()
        rng = random.Random(size)
        if kind == "folder":
            file.mkdir()
        elif kind == "FIFO":
            os.mkfifo(file)
        else:
            content = {
                "bytes": rng.randbytes(5000),
                "zeros": bytes(5000),
                "half": b"ILSVRC2012_val_0000",
                "numbers": b"\n".join(b"9" * n for n in range(1, 6000, 500)) + b"\n-1\n1e5\n\xb2\n",
                "letters": b'a b c\n\n,,,,\n"',
                "empty": b"",
            }[kind]
            file.write_bytes(content)
    with pytest.raises(GfnetBenchError, match=r"(LOC_val_solution\.csv|val\.txt|ground_truth\.txt)"):
        as_dict(tmp_path)


def test_a_damaged_class_list_is_named(flat: Path, tmp_path: Path) -> None:
    pytest.importorskip("scipy.io")
    link(tmp_path / "val", flat)
    write_ground_truth(tmp_path)
    for content in (b"", b"MATLAB 5.0 MAT-file" + bytes(200), random.Random(0).randbytes(4000)):
        (tmp_path / "meta.mat").write_bytes(content)
        with pytest.raises(GfnetBenchError, match=r"ground_truth\.txt \(meta\.mat cannot be read: "):
            as_dict(tmp_path)
    write_ground_truth(tmp_path, offset=1)  # which needs no class list
    assert as_dict(tmp_path) == expected_labels()


def test_of_two_label_files_the_one_that_has_all_images_counts(flat: Path, tmp_path: Path) -> None:
    link(tmp_path / "val", flat)
    write_kaggle(tmp_path)
    lines = (tmp_path / "LOC_val_solution.csv").read_text().splitlines()
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(lines[:20]))
    write_caffe(tmp_path)
    assert as_dict(tmp_path) == expected_labels()


@pytest.mark.parametrize(
    ("name_of", "kit"),
    [
        (lambda label: str(label + 1), False),
        (lambda label: f"{label + 1:04d}", False),
        (lambda label: str(1 + DEVKIT.index(label)), True),
    ],
    ids=["from 1", "from 0001", "development kit"],
)
def test_numbered_folders_are_read_in_the_order_that_is_proven(
    name_of: Callable[[int], str], kit: bool, val: Path, tmp_path: Path
) -> None:
    rename_classes(val, tmp_path / "val", name_of)
    if kit:
        with pytest.raises(GfnetBenchError, match=r"the development kit's order, whose meta\.mat or map_clsloc"):
            as_dict(tmp_path)
        write_map(tmp_path)
    assert as_dict(tmp_path) == expected_labels()


def test_numbered_folders_without_proof_are_refused_for_the_true_reason(tmp_path: Path) -> None:
    write_classes(tmp_path / "val", {str(label + 1): label for label in range(1000)})
    with pytest.raises(GfnetBenchError, match="order cannot be told because the files do not have their official"):
        as_dict(tmp_path)
    write_classes(tmp_path / "imagenetv2", {str(label + 1): label for label in range(1000)})
    with pytest.raises(GfnetBenchError, match=r"others \(1000\); they are counted from 1, in an order that no file"):
        DATASETS["imagenet_v2"].find([tmp_path])


def test_a_class_folder_that_is_none_is_named(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "imagenet-a", {wnids()[label]: label for label in subset("imagenet_a")[1:]})
    link(folder / wnids()[subset("imagenet_a")[0]], tmp_path / "nowhere")
    with pytest.raises(
        GfnetBenchError, match=rf"found 199 \({wnids()[subset('imagenet_a')[0]]} is there, but no folder\)"
    ):
        DATASETS["imagenet_a"].find([tmp_path])


def test_a_folder_without_the_images_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "imagenet-a" / "images").mkdir(parents=True)
    with pytest.raises(MissingError, match=r"that holds its images \(.*imagenet-a has images\)"):
        DATASETS["imagenet_a"].find([tmp_path])


@pytest.mark.parametrize("kind", ["loop", "dangling", "file", "missing", "too long"])
def test_a_data_folder_that_is_none(kind: str, tmp_path: Path) -> None:
    place = tmp_path / ("x" * 300 if kind == "too long" else "DATA")
    if kind in ("loop", "dangling"):
        place.symlink_to("DATA" if kind == "loop" else "nowhere")
    elif kind == "file":
        place.write_text("")
    for name in ("imagenet", "imagenet_a", "imagenet_v2", "imagenet_c"):
        with pytest.raises(GfnetBenchError, match=rf"^{name}: .*{place.name}"):
            DATASETS[name].find([place])
        (tmp_path / name).mkdir()
        (tmp_path / name / "val").symlink_to("val")
        with pytest.raises(MissingError):
            DATASETS[name].find([tmp_path / name])
