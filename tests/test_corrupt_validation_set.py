"""`corrupt` on ImageNet's validation set in the layouts it is found in: what it makes, `--dataset imagenet_c` reads."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_imagenet import class_of, file_numbers, photo, rename_classes, val_name, write_val
from PIL import Image

from gfnet_bench.cli import main
from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.base import Corruption
from gfnet_bench.datasets.classes import wnids
from gfnet_bench.datasets.image_tree import class_folders_of_imagenet
from gfnet_bench.errors import GfnetBenchError

QUICK = ["--corruption", "contrast", "--severity", "1", "--no-resize", "--workers", "0"]
QUICK += ["--device", "cpu", "--no-progress"]


def labels_of(file, number_of, classes=range(1000)):
    numbers = {number: label for label in classes for number in file_numbers()[label]}
    file.write_text("".join(f"{val_name(number)} {number_of(label)}\n" for number, label in sorted(numbers.items())))


def flat(folder, classes=range(1000), name=lambda number, label: val_name(number)):
    folder.mkdir(parents=True)
    for label in classes:
        for number in file_numbers()[label]:
            (folder / name(number, label)).write_bytes(photo(label))
    return folder


def by_index(tmp_path):
    return write_val(tmp_path / "val", folder_of=str)


def by_padded_index(tmp_path):
    return write_val(tmp_path / "val", folder_of="{:04d}".format)


def by_links(tmp_path):
    return rename_classes(write_val(tmp_path / "images"), tmp_path / "val", str)


def flat_with_labels_inside(tmp_path):
    labels_of(flat(tmp_path / "val") / "val.txt", int)
    return tmp_path / "val"


def flat_with_labels_beside(tmp_path):
    labels_of(tmp_path / "val.txt", int)
    return flat(tmp_path / "val")


def flat_with_labels_far_above(tmp_path):
    rows = {number: label for label, numbers in file_numbers().items() for number in numbers}
    lines = [f"ILSVRC2012_val_{number:08d},{wnids()[label]} 1 2 3 4" for number, label in rows.items()]
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "\n".join(lines) + "\n")
    return flat(tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val")


def flat_with_names_that_tell(tmp_path):
    return flat(tmp_path / "val", name=lambda number, label: val_name(number).replace(".", f"_{wnids()[label]}."))


def a_part_in_folders(tmp_path):
    val = write_val(tmp_path / "val")
    for wnid in wnids()[150:]:
        shutil.rmtree(val / wnid)
    return val


def a_part_flat(tmp_path):
    labels_of(tmp_path / "val.txt", int, range(150))
    return flat(tmp_path / "val", range(150))


LAYOUTS = {
    by_index: 1000,
    by_padded_index: 1000,
    by_links: 1000,
    flat_with_labels_inside: 1000,
    flat_with_labels_beside: 1000,
    flat_with_labels_far_above: 1000,
    flat_with_names_that_tell: 1000,
    a_part_flat: 150,
}


@pytest.mark.parametrize(("layout", "count"), LAYOUTS.items(), ids=lambda item: getattr(item, "__name__", None))
def test_the_classes_of_validation_images_are_told_in_every_layout(layout, count, tmp_path, monkeypatch):
    val = layout(tmp_path)
    monkeypatch.chdir(val.parent)
    for source in (val, Path(val.name)):
        classes = class_folders_of_imagenet(source)
        assert len(classes) == count
        for image, wnid in list(classes.items())[:: count // 50]:
            assert class_of(np.array(Image.open(source / image))[20, 20]) == wnids().index(wnid)


@pytest.mark.parametrize("layout", [by_index, a_part_flat, a_part_in_folders])
def test_what_is_made_of_them_is_read_as_imagenet_c(layout, tmp_path, capsys):
    val = layout(tmp_path)
    command = ["corrupt", str(val), str(tmp_path / "imagenet-c"), *QUICK]
    assert main(command) == 0
    items = DATASETS["imagenet_c"].find([tmp_path], Corruption("contrast", 1))
    assert len(items.ids) == LAYOUTS.get(layout, 150)
    assert all(path.parent.name == wnids()[label] for path, label in zip(items.paths, items.labels, strict=True))
    # One flat colour has no contrast to lose, so each file still tells the class it was written for.
    for path, label in list(zip(items.paths, items.labels, strict=True))[::10]:
        assert class_of(np.array(Image.open(path))[20, 20]) == label
    capsys.readouterr()
    assert main(command) == 0 and "wrote 0 files" in capsys.readouterr().err


def test_a_wrong_order_of_classes_is_never_taken_for_the_right_one(tmp_path):
    in_the_order_of_text = sorted(range(1000), key=str)
    val = write_val(tmp_path / "val", folder_of=lambda label: str(in_the_order_of_text.index(label)))
    with pytest.raises(GfnetBenchError, match="folder 2 holds class 10"):
        class_folders_of_imagenet(val)


def test_images_whose_classes_nobody_can_tell_stay_in_their_folders_and_both_commands_say_why(tmp_path, capsys):
    val = flat(tmp_path / "val", range(20))
    assert main(["corrupt", str(val), str(tmp_path / "imagenet-c"), *QUICK]) == 0
    err = capsys.readouterr().err
    assert "--dataset imagenet_c will not read it, though its images are ImageNet's: imagenet: " in err
    made = {file.relative_to(tmp_path / "imagenet-c/contrast/1") for file in (tmp_path / "imagenet-c").rglob("*.JPEG")}
    assert made == {file.relative_to(val) for file in val.rglob("*.JPEG")}
    with pytest.raises(GfnetBenchError, match=r"found none: it was made of images whose classes could not be told"):
        DATASETS["imagenet_c"].find([tmp_path], Corruption("contrast", 1))


def test_a_folder_of_an_older_version_goes_on_or_is_refused_but_never_mixed(tmp_path, capsys):
    labels_of(tmp_path / "val.txt", int, range(150))
    command = ["corrupt", str(flat(tmp_path / "val", range(150))), str(tmp_path / "old"), *QUICK]
    assert main([*command, "--dry-run"]) == 0
    (tmp_path / "val.txt").rename(tmp_path / "elsewhere.txt")
    assert main(command) == 0
    manifest = tmp_path / "old" / "corrupt.json"
    settings = json.loads(manifest.read_text())
    assert settings.pop("layout") == "as in SRC"  # older versions knew no other, and did not say so
    manifest.write_text(json.dumps(settings))
    capsys.readouterr()
    assert main(command) == 0 and "wrote 0 files" in capsys.readouterr().err
    (tmp_path / "elsewhere.txt").rename(tmp_path / "val.txt")
    assert main(command) == 1
    assert "made with layout as in SRC, but now it is layout class folders named by WordNet id" in (
        capsys.readouterr().err
    )


def test_photographs_of_ones_own_keep_their_folders(tmp_path):
    for name in ("n01440764/a.jpg", "7/b.jpg", "c.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(photo(3))
    assert main(["corrupt", str(tmp_path / "photos"), str(tmp_path / "out"), *QUICK]) == 0
    assert all((tmp_path / "out/contrast/1" / name).is_file() for name in ("n01440764/a.jpg", "7/b.jpg", "c.jpg"))
