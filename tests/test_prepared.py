from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_imagenet import encoded, photo, truncated

from gfnet_bench.catalog import Transform
from gfnet_bench.datasets import decoding, prepared, storage
from gfnet_bench.datasets.decode import read_image
from gfnet_bench.errors import GfnetBenchError

RESIZED = Transform("paper", 32, 32, 36, "bicubic")
CROPPED = Transform("paper", 32, 32, None, "bicubic")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Forty photographs, each of another colour."""
    (tmp_path / "photos").mkdir()
    paths = [tmp_path / "photos" / f"{n:02d}.jpg" for n in range(40)]
    for n, path in enumerate(paths):
        path.write_bytes(photo(25 * n, 200, 150))
    return paths


def load(files: Sequence[Path], cache: Path, transform: Transform = RESIZED, **options: object) -> prepared.Read:
    ids = [path.stem for path in files]
    return prepared.load("photos", ids, files, transform, cache_dir=cache, progress=False, **options)  # type: ignore[arg-type]


def truth(files: Sequence[Path], transform: Transform = RESIZED) -> np.ndarray:
    return np.stack([read_image(path, transform) for path in files])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from here on."""
    names: list[str] = []

    def note(path: Path, transform: Transform) -> np.ndarray:
        names.append(path.stem)
        return read_image(path, transform)

    monkeypatch.setattr(decoding, "read_image", note)
    return names


def test_the_second_time_nothing_is_decoded(files: list[Path], tmp_path: Path, decoded: list[str]) -> None:
    for _ in range(2):
        read = load(files, tmp_path / "cache")
        np.testing.assert_array_equal(read.pixels[:], truth(files))
        assert read.sizes.tolist() == [path.stat().st_size for path in files]
    assert len(decoded) == 40


def test_a_larger_set_serves_a_smaller_one_in_any_order(files: list[Path], tmp_path: Path, decoded: list[str]) -> None:
    load(files, tmp_path / "cache")
    some = [files[n] for n in (31, 4, 17)]
    np.testing.assert_array_equal(load(some, tmp_path / "cache").pixels[:], truth(some))
    assert len(decoded) == 40


@pytest.mark.parametrize("change", ["content", "time", "transform", "library"])
def test_what_changes_pixels_makes_a_new_set(
    change: str, files: list[Path], tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(files, tmp_path / "cache")
    transform = RESIZED
    if change == "content":
        files[3].write_bytes(photo(999))
    elif change == "time":
        os.utime(files[3], ns=(0, 0))
    elif change == "transform":
        transform = Transform("paper", 32, 32, 36, "bilinear")
    else:
        monkeypatch.setattr(prepared, "versions", lambda: {"torch": "0"})
    np.testing.assert_array_equal(load(files, tmp_path / "cache", transform).pixels[:], truth(files, transform))
    assert len(decoded) == 80


def test_the_name_of_a_transform_changes_nothing(files: list[Path], tmp_path: Path, decoded: list[str]) -> None:
    load(files, tmp_path / "cache")
    load(files, tmp_path / "cache", Transform("model", 32, 32, 36, "bicubic"))
    assert len(decoded) == 40


@pytest.mark.parametrize(("transform", "workers"), [(CROPPED, 2), (RESIZED, 1)])
def test_processes_give_the_same_pixels(
    transform: Transform, workers: int, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "WORTH_A_PROCESS", 20)
    monkeypatch.setattr(decoding, "CHUNK", 7)
    read = load(files, tmp_path / "cache", transform, workers=workers)
    np.testing.assert_array_equal(read.pixels[:], truth(files, transform))


def test_damaged_images_are_named_and_left_out(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[5].write_bytes(truncated(files[5].read_bytes()))
    files[9].write_bytes(b"")
    for _ in range(2):
        read = load(files, tmp_path / "cache")
        assert sorted(read.reasons) == [5, 9]
        assert "truncated" in read.reasons[5] and "empty" in read.reasons[9]
        assert "photos: 2 of 40 images left out as unreadable: 05 (truncated" in capsys.readouterr().err
        whole = [path for n, path in enumerate(files) if n not in (5, 9)]
        assert [files[n] for n in read.kept] == whole
        np.testing.assert_array_equal(read.pixels[:], truth(whole))
    files[5].write_bytes(photo(1))
    assert sorted(load(files, tmp_path / "cache").reasons) == [9]


def test_if_no_image_is_whole_the_set_is_refused(files: list[Path], tmp_path: Path) -> None:
    for path in files:
        path.write_bytes(encoded(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(GfnetBenchError, match=r"none of 40 images can be read; .*8 x 8 pixels after resizing"):
        load(files, tmp_path / "cache", CROPPED)
    assert not storage.stored(tmp_path / "cache")


def test_a_file_that_is_gone_stops_the_cell(files: list[Path], tmp_path: Path) -> None:
    files[7].unlink()
    with pytest.raises(GfnetBenchError, match=r"cannot read .*07.jpg \(No such file"):
        load(files, tmp_path / "cache")


def test_a_full_disk_is_said_beforehand(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 100_000, 100_000))
    with pytest.raises(GfnetBenchError, match=r"GFNET_BENCH_CACHE\): needs 122.9 kB in .*, found 100.0 kB free"):
        load(files, tmp_path / "cache")


KILLED = """
import os, signal, sys
from pathlib import Path
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets import decoding, prepared

count, read = 0, decoding.read_image
def stop(path, transform):
    global count
    count += 1
    if count > 25:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path, transform)

decoding.read_image, decoding.CHUNK, decoding.SYNC = stop, 5, 10
files = sorted(Path(sys.argv[1]).iterdir())
prepared.load("photos", [f.stem for f in files], files, Transform("paper", 32, 32, None, "bicubic"),
              cache_dir=Path(sys.argv[2]), progress=False)
"""


def test_a_killed_run_is_taken_up_where_it_stopped(files: list[Path], tmp_path: Path, decoded: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(files[0].parent), str(tmp_path / "cache")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [one.state for one in storage.stored(tmp_path / "cache")] == ["unfinished"]
    read = load(files, tmp_path / "cache", CROPPED)
    assert decoded == [path.stem for path in files[20:]]  # 25 were decoded, the first 20 of them also marked
    np.testing.assert_array_equal(read.pixels[:], truth(files, CROPPED))
    assert [one.state for one in storage.stored(tmp_path / "cache")] == ["ready"]


TOGETHER = """
import sys, time
from pathlib import Path
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets import decoding, prepared

read = decoding.read_image
def slowly(path, transform):
    print("decoded", path.stem)
    time.sleep(0.02)
    return read(path, transform)

decoding.read_image = slowly
files = sorted(Path(sys.argv[1]).iterdir())
found = prepared.load("photos", [f.stem for f in files], files, Transform("paper", 32, 32, None, "bicubic"),
                      cache_dir=Path(sys.argv[2]), keep=sys.argv[3] == "keep", progress=False)
print("sum", int(found.pixels[:].sum()))
"""


@pytest.mark.parametrize("keep", ["keep", "drop"])
def test_two_runs_at_once_do_not_disturb_each_other(keep: str, files: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOGETHER, str(files[0].parent), str(tmp_path / "cache"), keep]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [line for run in runs for line in run.communicate()[0].splitlines()]
    assert [run.returncode for run in runs] == [0, 0]
    expected = f"sum {int(truth(files, CROPPED).sum())}"
    assert [line for line in lines if line.startswith("sum")] == [expected, expected]
    assert sum(line.startswith("decoded") for line in lines) == (40 if keep == "keep" else 80)
    states = [one.state for one in storage.stored(tmp_path / "cache")]
    assert states == (["ready"] if keep == "keep" else [])


def test_pixels_that_are_not_kept_leave_nothing_behind(files: list[Path], tmp_path: Path) -> None:
    read = load(files, tmp_path / "cache", CROPPED, keep=False)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    np.testing.assert_array_equal(read.pixels[:], truth(files, CROPPED))


def test_storage_is_told_and_given_back(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    load(files[:10], cache)
    load(files, cache)
    load(files, cache, CROPPED)
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "versions", lambda: {"torch": "0"})
        load(files[:5], cache)
    (cache / "images" / "photos" / prepared.recipe(CROPPED) / "7-abc.partial").mkdir()
    unfinished = cache / "images" / "photos" / prepared.recipe(CROPPED) / "7-abc.partial" / "pixels.npy"
    unfinished.write_bytes(b"")
    sets = storage.stored(cache)
    assert sorted((one.files, one.images, one.state) for one in sets) == [
        ("photos", 5, "outdated"),
        ("photos", 7, "unfinished"),
        ("photos", 10, "covered"),
        ("photos", 40, "ready"),
        ("photos", 40, "ready"),
    ]
    assert all(one.bytes >= one.images * 32 * 32 * 3 for one in sets if one.state == "ready")
    assert {one.state for one in storage.prune(cache)} == {"outdated", "covered"}  # another run may be at work
    os.utime(unfinished, ns=(0, 0))
    assert {one.state for one in storage.prune(cache)} == {"unfinished"}
    assert {one.state for one in storage.stored(cache)} == {"ready"}
