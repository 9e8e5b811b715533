from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_imagenet import file_numbers, photo, rename_classes, truncated, val_name, write_c, write_classes, write_val

from gfnet_bench.cli import main
from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.classes import subset, wnids
from gfnet_bench.datasets.doctor import Finding, examine, status


def texts(findings: list[Finding], severity: str) -> str:
    return "\n".join(finding.text for finding in findings if finding.severity == severity)


def full_a(root: Path) -> Path:
    """7,500 images in the 200 classes, the least that the doctor finds nothing wrong with."""
    names = {wnids()[label]: label for label in subset("imagenet_a")}
    folder = write_classes(root / "imagenet-a", names, per_class=37)
    for n in range(100):
        (folder / next(iter(names)) / f"more_{n}.jpg").write_bytes(photo(6))
    return folder


def test_status_has_a_line_for_every_set(tmp_path: Path) -> None:
    write_val(tmp_path / "val")
    write_c(tmp_path / "imagenet-c", "fog", 3, side=8)
    write_c(tmp_path / "imagenet-c", "saturate", 1, side=8)  # an extra one, which somebody unpacked
    write_classes(tmp_path / "imagenet_v2", {"10": 10})
    lines = {line.name: line for line in status([tmp_path])}
    assert list(lines) == list(DATASETS)
    assert (lines["imagenet"].found, lines["imagenet"].expected) == (1000, 50000)
    assert lines["imagenet"].where == str(tmp_path / "val")
    assert (lines["imagenet_a_control"].found, lines["imagenet_a_control"].expected) == (200, 10000)
    assert (lines["imagenet_c"].found, lines["imagenet_c"].expected) == (2, 80)
    assert lines["imagenet_c"].unit == "corruption folders"
    assert (lines["imagenet_r"].where, lines["imagenet_r"].found) == ("", 0)
    assert "gfnet-bench data get imagenet_r" in lines["imagenet_r"].note
    assert "expected 1000 class folders" in lines["imagenet_v2"].note
    assert (lines["mini"].found, lines["mini"].expected) == (1000, 1000)


def test_a_whole_set_is_well_until_it_is_damaged(tmp_path: Path) -> None:
    folder = full_a(tmp_path)
    (finding,) = examine("imagenet_a", [tmp_path])
    assert finding.severity == "ok" and f"7500 images in {folder}" in finding.text
    classes = sorted(path for path in folder.iterdir())
    (classes[0] / "image_0.jpg").write_bytes(b"")
    for place in classes[:150]:  # enough for a sample of 1000 to meet some
        (place / "image_1.jpg").write_bytes(truncated(photo(1, 200, 150)))
    (folder / "old stuff").mkdir()
    findings = examine("imagenet_a", [tmp_path])
    assert "1 empty files: " in texts(findings, "error") and "image_0.jpg" in texts(findings, "error")
    assert "of 1000 images looked at have no end marker" in texts(findings, "warning")
    assert "name no class: old stuff" in texts(findings, "warning")
    deep = examine("imagenet_a", [tmp_path], deep=True)
    assert "150 images cannot be read: " in texts(deep, "error") and "(truncated: " in texts(deep, "error")


def test_counts(tmp_path: Path) -> None:
    write_val(tmp_path / "val")
    findings = examine("imagenet", [tmp_path])
    assert "expected 50000 images" in texts(findings, "error") and "found 1000" in texts(findings, "error")
    assert "expected 50 images of each class, found others in 1000 classes: class 0 has 1" in texts(findings, "error")


def test_wrong_class_order_and_text_order(tmp_path: Path) -> None:
    val = write_val(tmp_path / "right" / "val")
    rename_classes(val, tmp_path / "a" / "val", lambda label: wnids()[(label + 1) % 1000])
    assert "order of the sorted WordNet ids" in texts(examine("imagenet", [tmp_path / "a"]), "error")
    position = {label: n for n, label in enumerate(sorted(range(1000), key=str))}
    rename_classes(val, tmp_path / "b" / "val", lambda label: str(position[label]))
    assert "names as text" in texts(examine("imagenet", [tmp_path / "b"]), "error")


# Without names


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, and what was said on both streams, with single spaces."""
    status = main(["doctor", *words])
    captured = capsys.readouterr()
    return status, " ".join(captured.out.split()), " ".join(captured.err.split())


def wrong_order(root: Path) -> str:
    rename_classes(write_val(root / "images"), root / "val", lambda label: wnids()[(label + 1) % 1000])
    return "imagenet: expected labels in the order of the sorted WordNet ids"


def no_labels(root: Path) -> str:
    write_val(root / "val", folder_of=lambda label: "")
    return "holds the images without class folders, and no label file lies beside it"


def half_unpacked(root: Path) -> str:
    write_classes(root / "imagenet-a", {wnids()[label]: label for label in subset("imagenet_a")[:7]})
    return "imagenet_a: expected 200 class folders"


def twice(root: Path) -> str:
    for name in ("imagenet-r", "imagenet/imagenet-r"):
        write_classes(root / name, {wnids()[label]: label for label in subset("imagenet_r")})
    return "imagenet_r: expected one copy"


@pytest.mark.parametrize("write", [wrong_order, no_labels, half_unpacked, twice])
def test_a_set_whose_folder_is_there_is_reported_once_whatever_is_wrong_with_it(
    write: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = write(tmp_path)
    status, out, _ = doctor(capsys, "--data-dir", str(tmp_path))
    assert status == 1 and said in out and out.count("error ") == 1
    assert "mini_v2: 700 images" in out and "sketch" not in out
    assert main(["data", "status", "--data-dir", str(tmp_path)]) == 0
    assert " ".join(capsys.readouterr().out.split()).count(said) == 1


def test_who_has_the_images_is_not_told_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    no_labels(tmp_path)
    main(["data", "status", "--data-dir", str(tmp_path)])
    out = " ".join(capsys.readouterr().out.split())
    assert "ILSVRC2012_img_val.tar" not in out and "LOC_val_solution.csv" in out
    assert out.lower().count("the images are those of imagenet") == 4


@pytest.mark.parametrize("kind", ["missing", "file", "dangling", "loop"])
def test_a_data_folder_that_is_none_fails(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "DATA"
    if kind == "file":
        place.write_text("")
    elif kind != "missing":
        place.symlink_to("nowhere" if kind == "dangling" else "DATA")
    for named in ([], ["imagenet"], ["imagenet_real"]):
        status, out, err = doctor(capsys, *named, "--data-dir", str(tmp_path), "--data-dir", str(place))
        assert (status, out) == (1, "") and f"expected a folder of data sets, found none at {place}" in err
    assert doctor(capsys, "mini", "--data-dir", str(place))[0] == 0


def test_a_missing_set_is_a_warning(tmp_path: Path) -> None:
    (finding,) = examine("imagenet_sketch", [tmp_path])
    assert finding.severity == "warning" and "gfnet-bench data get imagenet_sketch" in finding.text


def test_corruptions_one_by_one(tmp_path: Path) -> None:
    for severity in range(1, 6):
        (tmp_path / "imagenet-c" / "fog" / str(severity)).mkdir(parents=True)
        if severity != 4:
            (tmp_path / "imagenet-c" / "fog" / str(severity) / "n01440764").mkdir()
    write_c(tmp_path / "imagenet-c", "fog", 3, side=8)
    name = val_name(file_numbers()[7][0])
    (tmp_path / "imagenet-c" / "fog" / "3" / wnids()[7] / name).write_bytes(b"")
    findings = examine("imagenet_c", [tmp_path])
    by_set = {finding.dataset: finding.text for finding in findings if "class folders" in finding.text}
    assert set(by_set) == {f"imagenet_c fog {severity}" for severity in (1, 2, 4, 5)}
    assert any(name in f.text for f in findings if f.dataset == "imagenet_c fog 3")
    assert "expected 15 corruptions" in texts(findings, "warning")


@pytest.mark.parametrize("name", DATASETS)
def test_every_set_can_be_examined_where_there_is_nothing(name: str, tmp_path: Path) -> None:
    findings = examine(name, [tmp_path])
    assert [f.severity for f in findings] == (["ok"] if DATASETS[name].suite == "mini" else ["warning"])
