from __future__ import annotations

import errno
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_imagenet import encoded, photo, truncated

from gfnet_bench.catalog import Transform
from gfnet_bench.datasets import decoding, image_files, pixel_file, prepared, storage
from gfnet_bench.datasets.decode import read_image
from gfnet_bench.datasets.pixel_file import PixelFile
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


def test_what_cannot_be_read_is_tried_again(
    files: list[Path], tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of one file fails for a while: neither its size nor its time tell when it is well again."""
    without_waiting = image_files._without_waiting

    def failing(path: str, flags: int) -> int:
        if Path(path) == files[7]:
            raise OSError(errno.EIO, "Input/output error")
        return without_waiting(path, flags)

    with monkeypatch.context() as patch:
        patch.setattr(image_files, "_without_waiting", failing)
        for _ in range(2):
            read = load(files, tmp_path / "cache", CROPPED)
            assert read.reasons == {7: "Input/output error"} and len(read.kept) == 39
    assert decoded.count("07") == 2
    read = load(files, tmp_path / "cache", CROPPED)
    assert not read.reasons
    np.testing.assert_array_equal(read.pixels[:], truth(files, CROPPED))
    assert decoded.count("07") == 3 and len(decoded) == 42


def test_a_file_that_vanishes_is_named(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files[7].unlink()  # after it was listed

    def read(path: Path, transform: Transform) -> np.ndarray:
        files[9].unlink(missing_ok=True)  # and after it was found there
        return read_image(path, transform)

    monkeypatch.setattr(decoding, "read_image", read)
    assert load(files, tmp_path / "cache", CROPPED).reasons == dict.fromkeys((7, 9), "No such file or directory")


def test_a_disk_that_goes_away_is_no_set_of_bad_files(
    files: list[Path], tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "CHUNK", 5)
    elsewhere = tmp_path / "elsewhere"

    def read(path: Path, transform: Transform) -> np.ndarray:
        if path == files[20] and path.exists():
            files[0].parent.rename(elsewhere)
        return read_image(path, transform)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "read_image", read)
        with pytest.raises(GfnetBenchError, match=r"00\.jpg could be read and is gone, with others; is the disk still"):
            load(files, tmp_path / "cache", CROPPED)
    with pytest.raises(GfnetBenchError, match=r"none of 40 images can be read; the first, .*00.jpg: No such file"):
        load(files, tmp_path / "cache", CROPPED)
    elsewhere.rename(files[0].parent)
    decoded.clear()
    np.testing.assert_array_equal(load(files, tmp_path / "cache", CROPPED).pixels[:], truth(files, CROPPED))
    assert decoded == [path.stem for path in files[20:]]


@pytest.mark.parametrize("workers", [0, 1])
def test_memory_that_runs_out_is_no_bad_file(workers: int, files: list[Path], tmp_path: Path) -> None:
    files[3].write_bytes(b"no JPEG, so that Pillow is asked")
    code = MEMORY.format(root=str(files[0].parent), cache=str(tmp_path / "cache"), workers=workers)
    (tmp_path / "code.py").write_text(code)
    done = subprocess.run([sys.executable, str(tmp_path / "code.py")], capture_output=True, text=True, check=False)
    assert "memory ran out, or a process died" in done.stdout, done.stderr


MEMORY = """
from pathlib import Path
from gfnet_bench.catalog import Transform
from gfnet_bench.datasets import decode, decoding, prepared
from gfnet_bench.errors import GfnetBenchError

def no_memory(*arguments):
    raise MemoryError

import PIL.Image
PIL.Image.open = no_memory
decoding.WORTH_A_PROCESS = 20
if __name__ == "__main__":
    files = sorted(Path({root!r}).iterdir())
    try:
        prepared.load("photos", [f.stem for f in files], files, Transform("paper", 32, 32, None, "bicubic"),
                      cache_dir=Path({cache!r}), workers={workers}, progress=False)
    except GfnetBenchError as error:
        print(error)
"""


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot allocate room beforehand")
def test_the_room_for_pixels_is_taken_before_anything_is_decoded(
    files: list[Path], tmp_path: Path, decoded: list[str]
) -> None:
    file = PixelFile.create(tmp_path, (40, 32, 32, 3))
    assert len(file) == 40 and (tmp_path / "pixels.npy").stat().st_blocks * 512 >= 40 * 32 * 32 * 3
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(GfnetBenchError, match=r"cannot keep decoded images .* \(File too large\); free some space"):
            load(files, tmp_path / "cache", CROPPED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not decoded and not storage.stored(tmp_path / "cache")


def test_a_disk_that_fills_up_meanwhile_ends_the_run_with_a_sentence(
    files: list[Path], tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On file systems that cannot allocate beforehand."""
    monkeypatch.setattr(decoding, "CHUNK", 5)
    monkeypatch.setattr(pixel_file, "_allocate", lambda file, size: None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def read(path: Path, transform: Transform) -> np.ndarray:
        if path == files[20]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
        return read_image(path, transform)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(decoding, "read_image", read)
            with pytest.raises(GfnetBenchError, match=r"File too large\); free some space .* decoded is kept"):
                load(files, tmp_path / "cache", CROPPED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    decoded.clear()
    np.testing.assert_array_equal(load(files, tmp_path / "cache", CROPPED).pixels[:], truth(files, CROPPED))
    assert decoded == [path.stem for path in files[20:]]


# Damage


DAMAGED = Transform("paper", 32, 32, None, "bicubic")
FEW = 6


def _swapped(index: dict[str, Any]) -> dict[str, Any]:
    """The first two images have changed places."""
    first, second, *rest = index["images"].items()
    return {**index, "images": dict([second, first, *rest])}


def _array(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


INDEXES: dict[str, Callable[[dict[str, Any]], object]] = {
    "null": lambda index: None,
    "a list": lambda index: [],
    "no images": lambda index: {},
    "images are null": lambda index: {**index, "images": None},
    "images are a list": lambda index: {**index, "images": list(index["images"])},
    "stamps are null": lambda index: {**index, "images": dict.fromkeys(index["images"])},
    "stamps are text": lambda index: {**index, "images": dict.fromkeys(index["images"], "ab")},
    "stamps are too long": lambda index: {**index, "images": {image: [1, 2, 3, 4] for image in index["images"]}},
    "one image less": lambda index: {**index, "images": dict(list(index["images"].items())[:-1])},
    "one image more": lambda index: {**index, "images": {"other": [1, 2], **index["images"]}},
    "images in another order": _swapped,
}
CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "one byte less": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "all zeros": lambda data: bytes(len(data)),
    "all ones": lambda data: b"\xff" * len(data),
    "not UTF-8": lambda data: b"\xff\xfe\xfd" + data[3:],
    "deep nesting": lambda data: b"[" * 100_000,
    "another shape": lambda data: _array(np.zeros((FEW, 16, 64, 3), np.uint8)),
    "another size": lambda data: _array(np.zeros((FEW, 48, 48, 3), np.uint8)),
    "another type": lambda data: _array(np.zeros((FEW, 32, 32, 3), np.int8)),
    "columns first": lambda data: _array(np.asfortranarray(np.zeros((FEW, 32, 32, 3), np.uint8))),
    "marks of all rows": lambda data: _array(np.ones(FEW, bool)),
    "numbers of all rows": lambda data: _array(np.ones(FEW, np.uint32)),
    "rows that have moved on": lambda data: data[:128] + data[128 + 3072 :] + data[128 : 128 + 3072],
    "rows of zeros": lambda data: data[: 128 + 3072] + bytes(max(0, len(data) - 128 - 3072)),
}


def _folder_instead(path: Path) -> None:
    path.mkdir()
    (path / "file").write_bytes(b"1")


KINDS: dict[str, Callable[[Path], None]] = {
    "gone": lambda path: None,
    "a folder": _folder_instead,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a FIFO": lambda path: os.mkfifo(path),
}


def _damages() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Ways to damage the folder of a set."""

    def write(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
        return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())) and None

    def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
        return lambda data: json.dumps(change(json.loads(data))).encode()

    def replace(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
        def damage(folder: Path) -> None:
            (folder / name).unlink()
            make(folder / name)

        return damage

    def replace_all(make: Callable[[Path], None]) -> Callable[[Path], None]:
        def damage(folder: Path) -> None:
            shutil.rmtree(folder)
            make(folder)

        return damage

    def flip(seed: int) -> Callable[[Path], None]:
        def damage(folder: Path) -> None:
            rng = random.Random(seed)
            path = rng.choice(sorted(folder.iterdir()))
            data = bytearray(path.read_bytes())
            start = rng.randrange(len(data))
            end = start + rng.choice([1, 1, 1, rng.randrange(4000)])
            data[start:end] = rng.choice([bytes(b ^ 1 << rng.randrange(8) for b in data[start:end]), b""])
            path.write_bytes(data)

        return damage

    for name in ("pixels.npy", "done.npy", prepared.INDEX):
        yield from ((f"{name}: {what}", write(name, change)) for what, change in CONTENTS.items())
        yield from ((f"{name}: {what}", replace(name, make)) for what, make in KINDS.items())
    yield from ((f"{prepared.INDEX}: {what}", write(prepared.INDEX, edit(change))) for what, change in INDEXES.items())
    yield from ((f"the set: {what}", replace_all(make)) for what, make in KINDS.items())
    yield from ((f"byte flip {seed}", flip(seed)) for seed in range(60))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    """A few files, and a cache that has them decoded."""
    root = tmp_path_factory.mktemp("whole")
    (root / "photos").mkdir()
    paths = [root / "photos" / f"{n}.jpg" for n in range(FEW)]
    for n, path in enumerate(paths):
        path.write_bytes(photo(25 * n + 1))
    load(paths, root / "cache", DAMAGED)
    return paths, root / "cache"


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_a_damaged_set_heals_itself_and_says_so(
    state: str, whole: tuple[list[Path], Path], tmp_path: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    files, cache = whole
    (place,) = (one.folder.relative_to(cache) for one in storage.stored(cache))
    expected = truth(files, DAMAGED)
    decoded.clear()
    damages = [(what, damage) for what, damage in _damages() if state == "finished" or prepared.INDEX not in what]
    assert len(damages) > 100
    for n, (what, damage) in enumerate(damages):
        own = tmp_path / str(n)
        shutil.copytree(cache, own)
        folder = own / place
        if state == "unfinished":
            folder = folder.rename(folder.with_name(folder.name + prepared.PARTIAL))
            (folder / prepared.INDEX).unlink()
        damage(folder)
        storage.stored(own)
        read = load(files, own, DAMAGED)
        assert not read.reasons and np.array_equal(read.pixels[:], expected), what
        if decoded and what != "the set: gone" and state == "finished":
            assert ("photos: " in (said := capsys.readouterr().err) and "damaged" in said) or "not whole" in said, what
        decoded.clear()
        capsys.readouterr()
        again = load(files, own, DAMAGED)
        assert not decoded and np.array_equal(again.pixels[:], expected) and not capsys.readouterr().err, what
        assert [one.state for one in storage.stored(own)] == ["ready"], what


def test_a_set_that_serves_a_smaller_one_heals_as_well(
    whole: tuple[list[Path], Path], tmp_path: Path, decoded: list[str]
) -> None:
    files, cache = whole
    (place,) = (one.folder.relative_to(cache) for one in storage.stored(cache))
    some = [files[4], files[1]]
    expected = truth(some, DAMAGED)
    for n, (what, damage) in enumerate(_damages()):
        shutil.copytree(cache, tmp_path / str(n))
        damage(tmp_path / str(n) / place)
        assert np.array_equal(load(some, tmp_path / str(n), DAMAGED).pixels[:], expected), what
        decoded.clear()
        assert np.array_equal(load(some, tmp_path / str(n), DAMAGED).pixels[:], expected) and not decoded, what
        storage.prune(tmp_path / str(n))
        assert "damaged" not in {one.state for one in storage.stored(tmp_path / str(n))}, what


def test_if_no_image_is_whole_the_set_is_refused(files: list[Path], tmp_path: Path) -> None:
    for path in files:
        path.write_bytes(encoded(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(GfnetBenchError, match=r"none of 40 images can be read; .*8 x 8 pixels after resizing"):
        load(files, tmp_path / "cache", CROPPED)
    assert not storage.stored(tmp_path / "cache")


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

decoding.read_image, decoding.CHUNK = stop, 5
files = sorted(Path(sys.argv[1]).iterdir())
prepared.load("photos", [f.stem for f in files], files, Transform("paper", 32, 32, None, "bicubic"),
              cache_dir=Path(sys.argv[2]), progress=False)
"""


def test_a_killed_run_is_taken_up_where_it_stopped(files: list[Path], tmp_path: Path, decoded: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(files[0].parent), str(tmp_path / "cache")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [one.state for one in storage.stored(tmp_path / "cache")] == ["unfinished"]
    read = load(files, tmp_path / "cache", CROPPED)
    assert decoded == [path.stem for path in files[25:]]
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
