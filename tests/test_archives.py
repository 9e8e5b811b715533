from __future__ import annotations

import io
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from gfnet_bench import archives
from gfnet_bench.archives import unpack
from gfnet_bench.errors import GfnetBenchError

PHOTO = bytes(range(256)) * 40
FILES = {"imagenet-a/n01498041/0.jpg": PHOTO, "imagenet-a/n01531178/1.jpg": PHOTO[::-1], "imagenet-a/README.txt": b""}


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w", extra: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if extra is not None:
            tar.addfile(extra)
    return path


def make_zip(path: Path, files: dict[str, bytes], extra: zipfile.ZipInfo | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
        if extra is not None:
            zipped.writestr(extra, "/outside/file")
    return path


def make_tgz(path: Path, files: dict[str, bytes]) -> Path:
    return make_tar(path, files, "w:gz")


MAKERS = pytest.mark.parametrize("make", [make_tar, make_tgz, make_zip])
Maker = Callable[[Path, dict[str, bytes]], Path]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@MAKERS
def test_everything_arrives_and_nothing_else(tmp_path: Path, make: Maker) -> None:
    archive = make(tmp_path / "a.tar.gz", FILES)  # whatever it is called, the content decides
    assert unpack(archive, tmp_path / "data", progress=False) == (tmp_path / "data" / "imagenet-a",)
    assert tree(tmp_path / "data") == FILES


def test_entries_at_the_top_move_one_by_one(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "noise.tar", {"./shot_noise/1/n/a.JPEG": PHOTO, "gaussian_noise/1/n/a.JPEG": PHOTO})
    data = tmp_path / "imagenet-c"
    (data / "fog").mkdir(parents=True)
    assert unpack(archive, data, progress=False) == (data / "gaussian_noise", data / "shot_noise")
    assert sorted(path.name for path in data.iterdir()) == ["fog", "gaussian_noise", "shot_noise"]


def test_folders_and_empty_ones_are_made(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("imagenet-a/empty")
    folder.type = tarfile.DIRTYPE
    folder.mode = 0  # as stored, nobody could write into it
    unpack(make_tar(tmp_path / "a.tar", FILES, extra=folder), tmp_path, progress=False)
    assert list((tmp_path / "imagenet-a" / "empty").iterdir()) == []


def test_what_is_there_already_stays_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    archive = make_tar(tmp_path / "a.tar", FILES)
    unpack(archive, data, progress=False)
    (data / "imagenet-a" / "README.txt").write_text("my notes")
    unpack(archive, data, progress=False)
    assert (data / "imagenet-a" / "README.txt").read_text() == "my notes"
    assert [path.name for path in data.iterdir()] == ["imagenet-a"]


@MAKERS
@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "C:/evil", "C:evil", "..\\evil", "a\\..\\..\\evil", "\\\\host\\evil"],
)
def test_a_member_that_would_land_outside_is_refused(tmp_path: Path, make: Maker, name: str) -> None:
    data = tmp_path / "deep" / "data"
    archive = make(tmp_path / "a", FILES | {name: b"evil"})
    with pytest.raises(GfnetBenchError, match="evil' would land outside the folder"):
        unpack(archive, data, progress=False)
    assert tree(tmp_path) == {"a": archive.read_bytes()}
    assert list(data.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "target", "found"),
    [
        (tarfile.SYMTYPE, "/outside", "a link"),
        (tarfile.SYMTYPE, "../..", "a link"),
        (tarfile.SYMTYPE, "n01498041", "a link"),
        (tarfile.LNKTYPE, "/outside/file", "a link"),
        (tarfile.CHRTYPE, "", "a special file"),
        (tarfile.BLKTYPE, "", "a special file"),
        (tarfile.FIFOTYPE, "", "a special file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes, target: str, found: str) -> None:
    member = tarfile.TarInfo("imagenet-a/way-out")
    member.type, member.linkname = kind, target
    archive = make_tar(tmp_path / "a.tar", FILES, extra=member)
    with pytest.raises(GfnetBenchError, match=f"'imagenet-a/way-out' is {found}, expected files and folders only"):
        unpack(archive, tmp_path / "data", progress=False)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("sketch/way-out")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(GfnetBenchError, match="'sketch/way-out' is a link"):
        unpack(make_zip(tmp_path / "a.zip", {}, extra=member), tmp_path / "data", progress=False)


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", FILES)
    left = tmp_path / ".a.tar.unpacking"
    (left / "imagenet-a" / "n01498041").mkdir(parents=True)
    (left / "imagenet-a" / "n01498041" / "half.jpg").write_bytes(b"half")
    unpack(archive, tmp_path, progress=False)
    assert tree(tmp_path / "imagenet-a") == {name.removeprefix("imagenet-a/"): body for name, body in FILES.items()}
    assert not left.exists()


@MAKERS
def test_a_damaged_archive_leaves_nothing(tmp_path: Path, make: Maker) -> None:
    archive = make(tmp_path / "a.tar", FILES | {"imagenet-a/last.jpg": PHOTO})
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 3])
    with pytest.raises(GfnetBenchError, match=r"a.tar: the archive cannot be read \(.*; delete it to fetch it again"):
        unpack(archive, tmp_path / "data", progress=False)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_zip_with_a_changed_byte_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("sketch/a.jpg", PHOTO)
    content = archive.read_bytes()
    archive.write_bytes(content.replace(PHOTO[:300], PHOTO[1:301]))
    with pytest.raises(GfnetBenchError, match=r"cannot be read .*CRC"):
        unpack(archive, tmp_path / "data", progress=False)
    assert list((tmp_path / "data").iterdir()) == []


@MAKERS
def test_an_archive_that_grows_out_of_proportion_is_stopped(
    tmp_path: Path, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SMALL", 1 << 20)
    archive = make(tmp_path / "a", {f"a/{i}.jpg": bytes(1 << 20) for i in range(4)})
    if make is make_tar:  # stored as it is, it does not grow
        unpack(archive, tmp_path / "data", progress=False)
    else:
        with pytest.raises(GfnetBenchError, match=r"unpack to more than 2\.1 MB, expected at most 10 times the size"):
            unpack(archive, tmp_path / "data", progress=False)
        assert list((tmp_path / "data").iterdir()) == []


def test_a_disk_too_small_is_noticed_and_left_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 20_000, 20_000))
    with pytest.raises(GfnetBenchError, match=r"a.tar: needs 30\.7 kB in .*, found 20\.0 kB free; free some space"):
        unpack(make_tar(tmp_path / "a.tar", FILES), tmp_path / "data", progress=False)
    # Compressed, the archive itself would fit, but not the photograph in it.
    with pytest.raises(GfnetBenchError, match=r"a.tgz: needs 20\.5 kB"):
        unpack(make_tgz(tmp_path / "a.tgz", {"a.jpg": PHOTO + PHOTO}), tmp_path / "data", progress=False)
    assert list((tmp_path / "data").iterdir()) == []
