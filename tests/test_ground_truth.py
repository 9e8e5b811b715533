"""A validation set whose images all lie in one folder: every list of labels in the wild, and what is wrong with one."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_imagenet import file_numbers, val_name, write_val
from test_datasets import as_dict, expected_labels

from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.classes import real_labels, wnids
from gfnet_bench.errors import GfnetBenchError, MissingError


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_val(tmp_path_factory.mktemp("flat") / "val", folder_of=lambda label: "")


def true_label(number: int) -> int:
    """A label for every one of the 50,000 images that ReaL would agree with."""
    return next(iter(real_labels()[number - 1]), 0)


DEVKIT = random.Random(1).sample(range(1000), 1000)  # development kit number less one -> class index


def write_ground_truth(folder: Path, offset: int = 0) -> None:
    number_of = {label: n + 1 for n, label in enumerate(DEVKIT)}
    lines = [number_of[true_label(n)] if not offset else true_label(n) + offset for n in range(1, 50001)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, lines)) + "\n")


def write_kaggle(root: Path) -> None:
    with (root / "LOC_val_solution.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        rows.writerows([image, f"{wnids()[label]} 85 1 499 272 "] for image, label in expected_labels().items())


def write_map(root: Path) -> None:
    write_ground_truth(root / "ILSVRC2012_devkit_t12" / "data")
    lines = [f"{wnids()[label]} {n} name" for n, label in enumerate(DEVKIT, 1)]
    (root / "map_clsloc.txt").write_text("\n".join(lines))


def write_meta(root: Path) -> None:
    io = pytest.importorskip("scipy.io")
    write_ground_truth(root / "ILSVRC2012_devkit_t12" / "data")
    above = [(1001, "n00001740"), (1002, "n00001930")]  # the kit lists the ancestors as well
    rows = [*((n, wnids()[label]) for n, label in enumerate(DEVKIT, 1)), *above]
    synsets = np.array(rows, dtype=[("ILSVRC2012_ID", object), ("WNID", object)])
    io.savemat(root / "ILSVRC2012_devkit_t12" / "data" / "meta.mat", {"synsets": synsets[:, None]})


def write_caffe(root: Path) -> None:
    lines = [f"{val_name(n)} {true_label(n)}" for n in range(1, 50001)]
    (root / "val.txt").write_text("\n".join(lines))


def write_wnid_lines(root: Path) -> None:
    lines = [wnids()[true_label(n)] for n in range(1, 50001)]
    (root / "imagenet_2012_validation_synset_labels.txt").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_kaggle, "LOC_val_solution.csv (WordNet ids"),
        (write_map, "ground_truth.txt (development kit numbers"),
        (write_meta, "ground_truth.txt (development kit numbers"),
        (write_caffe, "val.txt (positions of the sorted WordNet ids, from 0"),
        (write_wnid_lines, "synset_labels.txt (WordNet ids"),
        (lambda root: write_ground_truth(root, offset=1), "positions of the sorted WordNet ids, from 1"),
    ],
)
def test_labels_of_a_flat_folder(write: Callable[[Path], None], said: str, flat: Path, tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to(flat)
    write(tmp_path)
    found = DATASETS["imagenet"].locate([tmp_path])
    assert dict(zip(found.items.ids, found.items.labels.tolist(), strict=True)) == expected_labels()
    assert said in found.layout


def test_kaggles_archive(flat: Path, tmp_path: Path) -> None:
    (tmp_path / "ILSVRC" / "Data" / "CLS-LOC").mkdir(parents=True)
    (tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val").symlink_to(flat)
    write_kaggle(tmp_path)
    assert as_dict(tmp_path) == expected_labels()


def test_file_names_may_carry_the_class(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    for label, (number,) in file_numbers().items():
        (tmp_path / "val" / f"ILSVRC2012_val_{number:08d}_{wnids()[label]}.JPEG").write_bytes(b"")
    assert as_dict(tmp_path) == expected_labels()


def test_a_flat_folder_without_labels_says_what_it_needs(flat: Path, tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to(flat)
    with pytest.raises(MissingError, match=r"no label file.*LOC_val_solution.csv.*ground_truth.txt.*devkit"):
        DATASETS["imagenet"].find([tmp_path])


def test_development_kit_numbers_without_the_kits_list_are_refused(flat: Path, tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to(flat)
    write_ground_truth(tmp_path)
    with pytest.raises(GfnetBenchError, match=r"put meta.mat .* or map_clsloc.txt beside"):
        DATASETS["imagenet"].find([tmp_path])


def test_a_label_file_must_have_every_image(flat: Path, tmp_path: Path) -> None:
    (tmp_path / "val").symlink_to(flat)
    write_kaggle(tmp_path)
    lines = (tmp_path / "LOC_val_solution.csv").read_text().splitlines()
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(lines[:-3]))
    with pytest.raises(GfnetBenchError, match=r"expected a label for each of 1000 images .* found none for 3"):
        DATASETS["imagenet"].find([tmp_path])
