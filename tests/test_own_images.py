"""Anyone's images: folders and CSVs of any kind are read alike, odd ones named, and classes found among a model's."""

from pathlib import Path

import numpy as np
import pytest
from fake_imagenet import encoded
from test_corrupt_odd_files import ODD

from gfnet_bench.catalog import paper_transform
from gfnet_bench.cli import main
from gfnet_bench.datasets import DATASETS, generated_of, load_images, suite_of
from gfnet_bench.datasets.label_names import imagenet_names, match
from gfnet_bench.datasets.own_images import images_of_folder, read, use
from gfnet_bench.errors import UsageError
from gfnet_bench.suites import SUITES

CLASSES = ("bird", "cat", "dog")
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two images a class, one of them deeper and grey."""
    for name in CLASSES:
        (tmp_path / "pets" / name / "more").mkdir(parents=True)
        (tmp_path / "pets" / name / "a.png").write_bytes(encoded(PIXELS, "PNG"))
        (tmp_path / "pets" / name / "more" / "b.jpg").write_bytes(encoded(PIXELS[..., 0], "JPEG"))
    return tmp_path / "pets"


def listed(folder: Path, head: str = "path,label") -> str:
    rows = [(file.relative_to(folder).as_posix(), file.relative_to(folder).parts[0]) for file in folder.rglob("*.*g")]
    fields = dict(zip(("path", "label"), zip(*rows, strict=True), strict=True))
    separator = ";" if ";" in head else ","
    names = {"filename": "path", "class": "label"}
    columns = [fields.get(names.get(name.lower(), name.lower()), ["x"] * len(rows)) for name in head.split(separator)]
    return "\n".join([head, *(separator.join(row) for row in zip(*columns, strict=True))])


def test_a_folder_is_a_suite_and_two_data_sets_by_its_name_alone(folder):
    images = use(folder)
    assert (images.name, images.classes) == ("images:pets", CLASSES)
    assert images.found.items.ids[:2] == ("bird/a.png", "bird/more/b.jpg")
    assert images.found.items.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert generated_of("images:pets") == "images:pets:corrupted"
    assert suite_of("images:pets:corrupted") == SUITES["images:pets"]
    assert DATASETS["images:pets"].images == 6 and DATASETS["images:elsewhere"].images == 0
    assert not {name for name in (*DATASETS, *SUITES) if name.startswith("images:")}


@pytest.mark.parametrize("head", ["path,label", "Label;Path", "id,filename,class"])
def test_a_csv_gives_the_same_images_as_folders(head, folder):
    of_folders = images_of_folder(folder, paper_transform(32, 32), progress=False)
    file = folder / "list.csv"
    file.write_text("\ufeff" + listed(folder, head).replace("cat/more/b.jpg", r"cat\more\b.jpg"))
    of_file = images_of_folder(file, paper_transform(32, 32), progress=False)
    assert of_file.data_sha256 == of_folders.data_sha256 and of_file.names == CLASSES
    assert np.array_equal(of_file.pixels[:], of_folders.pixels[:])
    assert read(folder).found.layout == "a folder a class"  # a list beside class folders is heeded when it is named


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
def test_odd_files_are_named_counted_and_left_out(odd, folder, capsys):
    odd(folder / "cat")
    images = images_of_folder(folder, paper_transform(224, 224), progress=False)
    assert [image for image, _ in images.excluded] == ["cat/odd.JPEG"]
    assert (len(images), images.expected) == (6, 7)
    capsys.readouterr()
    assert main(["doctor", "--images", str(folder), "--deep", "-j", "0"]) == 1
    out = capsys.readouterr().out
    assert "7 images of 3 classes (bird 2, cat 3, dog 2)" in out and "odd.JPEG" in out


def nothing(folder):
    folder.rename(folder.with_name("gone"))


def only_images(folder):
    for name in CLASSES:
        (folder / name / "a.png").rename(folder / f"{name}.png")
        (folder / name).rename(folder.with_name(name))


def splits(folder):
    folder.rename(folder.with_name("train"))
    folder.mkdir()
    folder.with_name("train").rename(folder / "train")


def two_lists(folder):
    only_images(folder)
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("path,label\nbird.png,bird\n")


def list_without_a_label(folder):
    only_images(folder)
    (folder / "a.csv").write_text("path,label\nbird.png,bird\ncat.png,\n")


def list_with_an_image_twice(folder):
    only_images(folder)
    (folder / "a.csv").write_text("path,label\nbird.png,bird\nbird.png,cat\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nothing, "expected a folder, or a CSV of path and label, found neither"),
        (only_images, "found 3 images in no class folder"),
        (splits, "found train, which hold them; name one"),
        (two_lists, "found a.csv, b.csv; name one"),
        (list_without_a_label, "expected a label in line 3"),
        (list_with_an_image_twice, "expected each path once, found bird.png again"),
    ],
)
def test_what_is_no_such_folder_is_refused_in_a_sentence(spoil, message, folder, capsys):
    spoil(folder)
    assert main(["doctor", "--images", str(folder)]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


NAMED = ["Dog", "fish", "cat", "BIRD"]


def test_classes_are_found_by_name_else_by_order():
    found = match("m", CLASSES, 4, NAMED, "class_names")
    assert found.logits == {"bird": 3, "cat": 2, "dog": 0}
    assert found.how == "by name (class_names), over these 3 of its 4 classes"
    assert match("m", ["cat"], 4, NAMED) == (
        {"cat": 2, "Dog": 0, "fish": 1, "BIRD": 3},
        "by name (), over all its 4 classes, since the images are of one",
    )
    for names in (None, ["LABEL_0", "LABEL_1", "LABEL_2"]):
        assert match("m", CLASSES, 3, names) == ({"bird": 0, "cat": 1, "dog": 2}, "by sorted order")
    assert match("m", ["golden retriever", "n01443537"], 1000).logits == {"golden retriever": 207, "n01443537": 1}
    as_transformers_has_them = [", ".join(names[1:3]) for names in imagenet_names()]
    found = match("m", ["golden retriever", "n01443537"], 1000, as_transformers_has_them, "its id2label")
    assert found.logits == {"golden retriever": 207, "n01443537": 1}
    assert match("m", ["10", "2"], 1000).logits == {"10": 10, "2": 2}


@pytest.mark.parametrize(
    ("classes", "count", "names", "message"),
    [
        (CLASSES, 4, None, "expected images of its 4 classes, found 3 (bird, cat, dog)"),
        (("cat", "cow", "dog"), 4, NAMED, "(x: Dog, fish, cat, BIRD), found 1 of 3 that it does not (cow)"),
        (CLASSES, 3, NAMED, "expected a name for each of its 3 logits, found 4"),
        (("DOG", "dog"), 4, NAMED, "found DOG, dog for one of its classes"),
        (("crane", "tench"), 1000, None, "found crane, of which there are several"),
        (sorted(map(str, range(12))), 12, None, "found numbers (0, 1, 10, 11, 2 and 7 more)"),
        (CLASSES, 1000, None, "expected images of its 1000 classes, found 3"),
    ],
)
def test_classes_that_do_not_fit_are_refused_with_both_lists(classes, count, names, message):
    with pytest.raises(UsageError, match=r"--class-names|once") as refused:
        match("m", classes, count, names, "x")
    assert message in str(refused.value)


def test_a_folder_that_changes_is_another_set_of_images(folder):
    before = images_of_folder(folder, paper_transform(32, 32), progress=False)
    (folder / "dog" / "a.png").write_bytes(encoded(PIXELS[::-1], "PNG"))
    after = load_images(use(folder).name, (), paper_transform(32, 32), progress=False)
    assert before.data_sha256 != after.data_sha256
