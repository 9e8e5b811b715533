"""What is on this machine now, told without decoding: every change is seen, and nothing else is taken for one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from fake_imagenet import file_numbers, photo, truncated, val_name, write_classes, write_val
from whole_records import scored

from gfnet_bench import present
from gfnet_bench.benches import robustness as bench_of
from gfnet_bench.catalog import paper_transform
from gfnet_bench.datasets import DATASETS, classes, contents, imagenet_real, load_images
from gfnet_bench.datasets.classes import wnids
from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.inputs import NOTED, same
from gfnet_bench.perturbations import CLEAN, parse
from gfnet_bench.records import Cell, Record
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.runner import run_together
from gfnet_bench.store import Store
from gfnet_bench.studies import robustness as study

IMAGES, CONTENTS = "images", "contents of images"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return write_val(tmp_path_factory.mktemp("original") / "val").parent


@pytest.fixture
def data(original, tmp_path) -> Path:
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


def image(data: Path, label: int) -> Path:
    return data / "val" / wnids()[label] / val_name(file_numbers()[label][0])


def record(dataset: str = "imagenet", model: str = "resnet_mini", **settings) -> Record:
    return scored(model=model, dataset=dataset, **settings)[0]


def now(data: Path, dataset: str = "imagenet", left_out=(), **settings) -> dict:
    """What a record would note that is made of the images as they are."""
    whole = record(dataset, **settings)
    excluded = [[name, "truncated"] for name in left_out]
    values = {**whole.values, "excluded": len(excluded)}
    known = Record(whole.cell, values, provenance={**whole.provenance, "excluded": excluded})
    found = present.Present([data], False).inputs(known)
    assert found.unknown == {}
    return dict(found.noted)


def test_it_is_what_measuring_notes(data, tmp_path):
    bad = image(data, 7)
    bad.write_bytes(truncated(photo(7)))
    for settings in ({}, {"limit": 50}, {"limit": 50, "seed": 1}):
        images = load_images(
            "imagenet", [data], paper_transform(32, 32), cache_dir=tmp_path, progress=False, **settings
        )
        found = now(data, left_out=[name for name, _ in images.excluded], **settings)
        assert found["data_sha256"] == images.data_sha256
        assert found["data_fingerprint"] == images.fingerprint


def test_of_the_embedded_suite_too():
    noted = Store(Path(__file__).parent.parent / "results").load().records
    old = next(r for r in noted if r.cell.study == "robustness")
    found = present.Present([], False).inputs(old)
    assert found.unknown == {}
    assert all(same(kind, old.provenance, found.noted) is True for kind in (IMAGES, "weights"))
    images = load_images("mini", [], paper_transform(32, 32), progress=False, limit=20)
    assert present.Present([], False).inputs(record("mini_c", limit=20, perturbation={"name": "fog", "severity": 1}))
    assert now(Path(), "mini", limit=20)["data_sha256"] == images.data_sha256


def other_folder(data: Path) -> None:
    """Two classes change their images."""
    a, b = image(data, 3), image(data, 4)
    a.rename(b.parent / a.name)
    b.rename(a.parent / b.name)


def same_size(data: Path) -> None:
    a, b = image(data, 3), image(data, 4)
    size = max(a.stat().st_size, b.stat().st_size)
    a.write_bytes(b.read_bytes().ljust(size, b"\0"))


def pad(path: Path) -> None:
    """A JPEG ends where it says, whatever follows."""
    path.write_bytes(path.read_bytes().ljust(4096, b"\0"))


def same_size_and_time(data: Path) -> None:
    a, b = image(data, 3), image(data, 4)
    times = a.stat()
    a.write_bytes(b.read_bytes())
    os.utime(a, ns=(times.st_atime_ns, times.st_mtime_ns))


def one_byte(data: Path) -> None:
    path = image(data, 3)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def removed(data: Path) -> None:
    image(data, 3).unlink()


def added(data: Path) -> None:
    shutil.copy(image(data, 3), image(data, 3).with_name(val_name(49_999)))


def emptied(data: Path) -> None:
    image(data, 3).write_bytes(b"")


def a_link(data: Path) -> None:
    path = image(data, 3)
    path.unlink()
    path.symlink_to(image(data, 4))


def a_folder(data: Path) -> None:
    path = image(data, 3)
    path.unlink()
    path.mkdir()


CHANGES = [other_folder, same_size, same_size_and_time, one_byte, removed, added, emptied, a_link, a_folder]
OF_CONTENTS_ALONE = [same_size, same_size_and_time, one_byte, a_link]


@pytest.mark.parametrize(
    ("dataset", "change"),
    [*(("imagenet", change) for change in CHANGES), ("imagenet_c_generated", same_size), ("imagenet_real", same_size)],
)
def test_every_change_of_the_images_is_seen(data, change, dataset):
    for label in (3, 4):
        pad(image(data, label))
    before = now(data, dataset)
    change(data)
    after = now(data, dataset)
    assert same(CONTENTS, before, after) is False
    if change not in OF_CONTENTS_ALONE:
        assert same(IMAGES, before, after) is False


def touched(data: Path) -> None:
    for label in range(50):
        os.utime(image(data, label), ns=(0, 0))


def unpacked_again(data: Path) -> None:
    shutil.copytree(data / "val", data / "copy")
    shutil.rmtree(data / "val")
    (data / "copy").rename(data / "val")


def laid_out_otherwise(data: Path) -> None:
    """The same images in folders named by class index."""
    for label, wnid in enumerate(wnids()):
        (data / "val" / wnid).rename(data / "val" / str(label))


def moved(data: Path) -> None:
    (data / "imagenet").mkdir()
    (data / "val").rename(data / "imagenet" / "val")


class Eye(torch.nn.Module):
    """Knows the colours that tests/fake_imagenet.py paints its classes with."""

    num_classes, params, name = 1000, 0, "eye"
    weights_sha256 = weights_source = weights_key = None
    transform = paper_transform(32, 32)

    def forward(self, images):
        label = torch.arange(1000)
        colours = torch.stack([8 * (label % 32), 8 * (label // 32)], dim=1) / 255
        return -((images.mean(dim=(2, 3))[:, None, :2] - colours) ** 2).sum(2) * 1e4


def many_labels(data: Path) -> None:
    """A tenth of the photographs in other class folders."""
    for label in range(0, 200, 2):
        a, b = image(data, label), image(data, label + 1)
        a.rename(b.parent / a.name)
        b.rename(a.parent / b.name)


@pytest.mark.parametrize(("change", "wrong"), [(many_labels, 200), (same_size, 1), (same_size_and_time, 1)])
def test_data_that_changed_between_two_commands_is_measured_anew(data, tmp_path, monkeypatch, change, wrong, capsys):
    """`--attack clean`, a change of the photographs, `--attack clean fgsm`: no row shows both."""
    monkeypatch.setattr(bench_of.Bench, "model", lambda self, cell: Eye())
    store = Store(tmp_path / "results")
    fgsm = parse("fgsm:epsilon=0")

    def command(*attacks, **how):
        bench = bench_of.Bench(data_dirs=[data], progress=False)
        cells = study.cells(["eye"], datasets=[("imagenet", attacks)], corruptions=[])
        how = {"inputs": bench.inputs, "progress": False, **how}
        return [r.values["top1"] for r in run_together(cells, bench.measure, study.together, store, **how)]

    for label in (3, 4):
        pad(image(data, label))
    assert command(CLEAN) == [1.0]
    change(data)
    with pytest.raises(GfnetBenchError, match="measured on other images, weights or code than there are now"):
        command(CLEAN, fgsm, overwrite="never")
    assert command(CLEAN, fgsm) == [1 - wrong / 1000] * 2
    assert "measured again, on other" in capsys.readouterr().err
    shown = [row["ours_percent"] for row in robustness(store).data.rows if row["metric"] == "top1" and row["images"]]
    assert shown == [pytest.approx(100 - wrong / 10)] * 2
    capsys.readouterr()
    assert command(CLEAN, fgsm) == [1 - wrong / 1000] * 2
    assert "measured again" not in capsys.readouterr().err


@pytest.mark.parametrize("change", [touched, unpacked_again, laid_out_otherwise, moved])
def test_the_same_images_are_the_same_however_they_lie(data, change):
    before = now(data)
    change(data)
    assert now(data) == before


def test_right_answers_and_classes_that_count_are_inputs_too(data, monkeypatch):
    write_classes(data / "imagenet-a", {wnids()[k]: k for k in DATASETS["imagenet_a"].classes()})
    before = {name: now(data, name) for name in ("imagenet_real", "imagenet_a", "imagenet_a_control")}
    others = [(*answers, 1) if answers else () for answers in classes.real_labels()]
    monkeypatch.setattr(imagenet_real, "real_labels", lambda: others)
    assert same(CONTENTS, before["imagenet_real"], now(data, "imagenet_real")) is False
    for name in ("imagenet_a", "imagenet_a_control"):
        assert now(data, name) == before[name]
    assert before["imagenet_a"]["data_sha256"] != before["imagenet_a_control"]["data_sha256"]


def test_unchanged_files_are_read_once(data, monkeypatch):
    monkeypatch.setattr(contents, "TICK", -1)  # files of this very moment count as settled
    read: list[Path] = []

    def counted(path):
        read.append(path)
        return read_file(path)

    read_file = contents.read_file
    monkeypatch.setattr(contents, "read_file", counted)
    before = now(data)
    assert len([path for path in read if path.suffix == ".JPEG"]) == 1000
    read.clear()
    assert now(data) == before
    same_size_and_time(data)
    assert now(data) != before
    assert [path for path in read if path.suffix == ".JPEG"] == [image(data, 3)]


@pytest.mark.parametrize("damage", [bytes, lambda whole: whole[:-5], lambda whole: whole[:100] + b"x" + whole[101:]])
def test_notes_of_hashes_are_not_believed(data, monkeypatch, tmp_path, damage):
    monkeypatch.setattr(contents, "TICK", -1)
    monkeypatch.setenv("GFNET_BENCH_CACHE", str(tmp_path / "cache"))
    before = now(data)
    (notes,) = (tmp_path / "cache" / "contents").iterdir()
    notes.write_bytes(damage(notes.read_bytes()) if damage is not bytes else b"")
    assert now(data) == before


def test_a_cache_that_takes_no_notes_is_no_obstacle(data, monkeypatch, tmp_path):
    monkeypatch.setattr(contents, "TICK", -1)
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("GFNET_BENCH_CACHE", str(tmp_path / "cache"))
    assert now(data)["data_sha256"]


def test_what_cannot_be_told_says_why(data, tmp_path, monkeypatch):
    here = present.Present([tmp_path / "nothing"], False)
    assert here.inputs(record("imagenet")).unknown == {IMAGES: "imagenet is not on this machine"}
    assert "the weights of gfnet_s are not on this machine" in here.inputs(record(model="gfnet_s")).unknown["weights"]
    assert "unknown model" in here.inputs(record(model="no_such_model")).unknown["weights"]
    monkeypatch.setattr(present, "READ_TO_COMPARE", 1000)
    found = present.Present([data], False).inputs(record())
    assert found.unknown[CONTENTS] == "more than 1e-06 GB would have to be read"
    assert IMAGES not in found.unknown and "data_fingerprint" in found.noted
    shutil.rmtree(data / "val" / wnids()[0])
    assert "expected 1000 class folders" in present.Present([data], False).inputs(record()).unknown[IMAGES]


def test_what_has_no_images_has_no_images(data):
    spectra = Cell("filters", 1, "gfnet_mini", {"measure": "spectra", "img_size": None, "checkpoint": None})
    found = present.Present([data], False).inputs(Record(spectra, {}))
    assert list(found.noted) == list(NOTED["weights"])
    own = Cell("filters", 1, "gfnet_mini", {"measure": "spectra", "img_size": None, "checkpoint": "ab" * 32})
    assert present.Present([data], False).inputs(Record(own, {})) == ({}, {})


def test_weights_are_those_that_would_be_loaded(tmp_path, monkeypatch):
    from gfnet_bench.models import load_model

    before = present.Present([], False).inputs(record()).noted["weights_sha256"]
    assert before == load_model("resnet_mini").weights_sha256
    other = tmp_path / "resnet_mini.safetensors"
    other.write_bytes(b"other weights")
    monkeypatch.setattr("gfnet_bench.models.base.weights_path", lambda name: other)
    assert present.Present([], False).inputs(record()).noted["weights_sha256"] != before
    monkeypatch.setenv("GFNET_BENCH_CACHE", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "gfnet-s.pth").write_bytes(b"fetched")
    found = present.Present([], False).inputs(record(model="gfnet_s"))
    assert found.unknown.keys() == {IMAGES} and found.noted["weights_sha256"]
