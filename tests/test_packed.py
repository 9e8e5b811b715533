"""Archives that lie in the data folder: named, with the one command that unpacks them, and that command works."""

from __future__ import annotations

import io
import re
import shlex
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_imagenet import file_numbers, photo, val_name, write_classes
from test_datasets import as_dict, expected_labels
from test_ground_truth import write_kaggle, write_map

from gfnet_bench.cli import main
from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.classes import subset, wnids
from gfnet_bench.errors import MissingError

Files = dict[str, bytes]


def flat() -> Files:
    return {val_name(number): photo(label) for label, (number,) in file_numbers().items()}


def by_class(top: str = "") -> Files:
    return {f"{top}{wnids()[label]}/{val_name(n)}": photo(label) for label, (n,) in file_numbers().items()}


def write_tar(path: Path, files: Files, mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path: Path, files: Files) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_shards(folder: Path, name: str, label_of: Callable[[int], object] = lambda label: label) -> None:
    """Three shards of webdataset, as the hub has them."""
    samples = sorted(file_numbers().items())
    for shard in range(3):
        files: Files = {}
        for label, (number,) in samples[shard::3]:
            key = val_name(number).removesuffix(".JPEG")
            files |= {f"{key}.cls": str(label_of(label)).encode(), f"{key}.jpg": photo(label), f"{key}.json": b"{}"}
        write_tar(folder / name.format(shard), files)


def labels_beside(data: Path) -> None:
    write_kaggle(data)


def kit_beside(data: Path) -> None:
    """The development kit, packed too."""
    write_map(data)
    kit = data / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"
    inside = f"ILSVRC2012_devkit_t12/data/{kit.name}"
    write_tar(data / "ILSVRC2012_devkit_t12.tar.gz", {inside: kit.read_bytes()}, "w:gz")
    kit.unlink()
    kit.parent.rmdir()
    kit.parent.parent.rmdir()


def nothing(data: Path) -> None:
    """Class folders need no labels."""


PACKED: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "ILSVRC2012_img_val.tar": (lambda data: write_tar(data / "ILSVRC2012_img_val.tar", flat()), labels_beside),
    "with the kit": (lambda data: write_tar(data / "ILSVRC2012_img_val.tar", flat()), kit_beside),
    "in val": (lambda data: write_tar(data / "imagenet" / "val" / "ILSVRC2012_img_val.tar", flat()), labels_beside),
    "val.zip": (lambda data: write_zip(data / "val.zip", by_class()), nothing),
    "val.zip of val": (lambda data: write_zip(data / "val.zip", by_class("val/")), nothing),
    "Val.ZIP": (lambda data: write_zip(data / "Val.ZIP", by_class()), nothing),
    "val_images.tgz": (lambda data: write_tar(data / "val_images.tgz", by_class(), "w:gz"), nothing),
    "Kaggle's": (
        lambda data: write_zip(
            data / "imagenet-object-localization-challenge.zip",
            {f"ILSVRC/Data/CLS-LOC/val/{name}": content for name, content in flat().items()}
            | {"LOC_val_solution.csv": _kaggle()},
        ),
        nothing,
    ),
    "shards": (lambda data: write_shards(data, "imagenet1k-validation-{:02d}.tar"), nothing),
    "more shards": (lambda data: write_shards(data / "imagenet", "imagenet-val-{:06d}.tar"), nothing),
}


def _kaggle() -> bytes:
    rows = [f"{image},{wnids()[label]} 85 1 499 272" for image, label in expected_labels().items()]
    return "\n".join(["ImageId,PredictionString", *rows]).encode()


@pytest.mark.parametrize("case", PACKED)
def test_what_lies_there_packed_is_named_with_the_command_that_unpacks_it(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, beside = PACKED[case]
    data = tmp_path / "my data"
    data.mkdir()
    write(data)
    beside(data)
    with pytest.raises(MissingError) as caught:
        DATASETS["imagenet"].find([data])
    text = str(caught.value)
    assert "which lies there packed (" in text and "image-net.org" not in text
    assert main(["data", "status", "--data-dir", str(data)]) == 0
    assert (
        " ".join(capsys.readouterr().out.split()).count("lies there packed (") == 1
    )  # not for each of the sets that use its images
    before = {path for path in data.rglob("*") if path.is_file()}
    (command,) = re.findall("`(.*?)`", text)
    program, *words = shlex.split(command)
    assert program == "gfnet-bench" and main([*words, "--no-progress"]) == 0
    assert "1000 images in" in capsys.readouterr().out
    assert as_dict(data) == expected_labels()
    assert before <= {path for path in data.rglob("*") if path.is_file()}  # what people put there stays
    assert main([*words, "--no-progress"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert not [path for path in data.rglob(".*")]


def test_the_labels_may_be_what_is_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tar(tmp_path / "ILSVRC2012_img_val.tar", flat())
    assert main(["data", "get", "imagenet", "--data-dir", str(tmp_path), "--no-progress"]) == 1
    assert "no label file lies beside it" in capsys.readouterr().err  # the next thing to do
    kit_beside(tmp_path)
    with pytest.raises(MissingError) as caught:
        DATASETS["imagenet"].find([tmp_path])
    (command,) = re.findall("`(.*?)`", str(caught.value))
    assert main([*shlex.split(command)[1:], "--no-progress"]) == 0
    assert as_dict(tmp_path) == expected_labels()


def test_a_dry_run_unpacks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_zip(tmp_path / "val.zip", by_class())
    assert main(["data", "get", "imagenet", "--dry-run", "--data-dir", str(tmp_path)]) == 0
    assert f"imagenet: would unpack {tmp_path / 'val.zip'}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["val.zip"]


@pytest.mark.parametrize("name", ["imagenet-a.zip", "ImageNet_A.tar"])
def test_open_sets_too(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = write_classes(tmp_path / "tree", {wnids()[label]: label for label in subset("imagenet_a")})
    files = {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*.jpg")}
    (write_zip if name.endswith("zip") else write_tar)(tmp_path / "DATA" / name, files)
    with pytest.raises(MissingError, match=r"`gfnet-bench data get imagenet_a --data-dir .*` unpacks it"):
        DATASETS["imagenet_a"].find([tmp_path / "DATA"])
    assert main(["data", "get", "imagenet_a", "--data-dir", str(tmp_path / "DATA"), "--no-progress"]) == 0
    assert DATASETS["imagenet_a"].find([tmp_path / "DATA"]).labels.tolist() == list(subset("imagenet_a"))


@pytest.mark.parametrize("name", ["train.tar", "imagenetv2-matched-frequency-format-val.tar", "values.zip", "coco.zip"])
def test_archives_of_other_things_are_not_taken_for_it(name: str, tmp_path: Path) -> None:
    write_tar(tmp_path / name, {"a": b"b"})
    with pytest.raises(MissingError, match=r"image-net\.org"):
        DATASETS["imagenet"].find([tmp_path])


@pytest.mark.parametrize(
    ("label_of", "said"),
    [
        (lambda label: (label + 1) % 1000, "agree with the ReaL labels"),
        (lambda label: label + 2000, "labels from 0 to 999"),
        (lambda label: "cat", "expected a class index in a .cls beside"),
        (lambda label: "", "expected a class index in a .cls beside"),
    ],
)
def test_shards_whose_labels_are_others_are_refused(
    label_of: Callable[[int], object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shards(tmp_path, "val-{:04d}.tar", label_of)
    assert main(["data", "get", "imagenet", "--data-dir", str(tmp_path), "--no-progress"]) == 1
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"val-{n:04d}.tar" for n in range(3)]


def test_damaged_archives_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, (name, content) in enumerate(
        (("val.zip", b"PK\x03\x04"), ("val.tar", b"no tar"), ("val-00.tar", b""), ("val.parquet", b"PAR1"))
    ):
        data = tmp_path / str(n)
        data.mkdir()
        (data / name).write_bytes(content)
        assert main(["data", "get", "imagenet", "--data-dir", str(data), "--no-progress"]) == 1
        said = capsys.readouterr().err
        assert name in said
        assert [path.name for path in data.iterdir()] == [name]


def write_parquet(path: Path, rows: list[tuple[str, int, bytes]]) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": content, "path": name} for name, _, content in rows]
    parquet.write_table(arrow.table({"image": images, "label": [label for _, label, _ in rows]}), path)


def rows() -> Iterator[tuple[str, int, bytes]]:
    for label, (number,) in sorted(file_numbers().items()):
        yield val_name(number).replace(".JPEG", f"_{wnids()[label]}.JPEG"), label, photo(label)


def test_the_hubs_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything = list(rows())
    for part in range(2):
        write_parquet(tmp_path / "data" / f"validation-0000{part}-of-00002.parquet", everything[part::2])
    assert main(["data", "get", "imagenet", "--data-dir", str(tmp_path), "--no-progress"]) == 0
    assert "1000 images in" in capsys.readouterr().out
    assert as_dict(tmp_path) == expected_labels()


def test_parquet_without_its_library_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "validation-00000-of-00014.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # type: ignore[arg-type]
    assert main(["data", "get", "imagenet", "--data-dir", str(tmp_path), "--no-progress"]) == 1
    assert "which is not installed: `pip install pyarrow`, then run the same" in capsys.readouterr().err
