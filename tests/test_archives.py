from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from gfnet_bench.downloads import archives
from gfnet_bench.downloads.archives import unpack
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


def outcome(archive: Path, folder: Path) -> dict[str, bytes] | str:
    """What an archive unpacks to, or the sentence that refuses it and leaves nothing."""
    try:
        unpack(archive, folder, progress=False)
    except GfnetBenchError as error:
        text = str(error)
        assert archive.name in text and text.isprintable() and len(text) < 1000, text
        assert list(folder.iterdir()) == []
        return text
    found = tree(folder)
    shutil.rmtree(folder)
    return found


def make_xz(path: Path, files: dict[str, bytes]) -> Path:
    return make_tar(path, files, "w:xz")


def make_bz2(path: Path, files: dict[str, bytes]) -> Path:
    return make_tar(path, files, "w:bz2")


def make_pax(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "ü" * 300}) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{'é' * 60}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


MANY = pytest.mark.parametrize("make", [make_tar, make_tgz, make_zip, make_xz, make_bz2, make_pax])
SMALL_FILES = {"a/x.jpg": PHOTO[:700], "a/y.jpg": PHOTO[700:900], "a/empty": b"", "b": PHOTO[:3]}


@MANY
def test_a_flipped_bit_is_noticed_or_does_no_harm(tmp_path: Path, make: Maker) -> None:
    archive = make(tmp_path / "a", SMALL_FILES)
    content, expected = archive.read_bytes(), outcome(archive, tmp_path / "data")
    protected = make not in (make_tar, make_pax)  # which have a checksum for each header, and none for the rest
    rng = random.Random(0)
    for _ in range(120):
        damaged = bytearray(content)
        where = rng.randrange(len(content))
        damaged[where] ^= 1 << rng.randrange(8)
        archive.write_bytes(damaged)
        found = outcome(archive, tmp_path / "data")
        if protected:
            assert isinstance(found, str) or found == expected, where
        elif not isinstance(found, str) and make is make_tar:
            assert found.keys() == expected.keys(), where


@MANY
def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, make: Maker) -> None:
    archive = make(tmp_path / "a", SMALL_FILES)
    content = archive.read_bytes()
    whole = len(content) if make in (make_tgz, make_zip, make_xz, make_bz2) else len(content.rstrip(b"\0")) + 512
    for end in range(0, whole, max(1, whole // 60)):  # behind the mark of its end a tar is filled up
        archive.write_bytes(content[:end])
        assert isinstance(outcome(archive, tmp_path / "data"), str), end


def test_a_damaged_header_does_not_end_an_archive(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", SMALL_FILES)
    content = bytearray(archive.read_bytes())
    content[content.index(b"a/y.jpg")] ^= 1
    archive.write_bytes(content)
    assert "bad checksum, expected a header or the mark of the end" in outcome(archive, tmp_path / "data")
    archive.write_bytes(make_tar(archive, SMALL_FILES).read_bytes() * 2)  # two archives, one behind the other
    assert "more behind the mark of its end" in outcome(archive, tmp_path / "data")


def raw_tar(path: Path, *members: tuple[dict[str, object], bytes]) -> Path:
    """Headers as told, with the right checksum."""
    blocks = []
    for fields, content in members:
        member = tarfile.TarInfo("a.jpg")
        member.size = len(content)
        for key, value in fields.items():
            setattr(member, key, value)
        blocks.append(member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512))
    path.write_bytes(b"".join(blocks) + bytes(1024))
    return path


def pax(**records: object) -> tuple[dict[str, object], bytes]:
    lines = b""
    for key, value in records.items():
        record = f" {key.replace('_', '.')}={value}\n".encode()
        length = next(n for n in range(len(record), len(record) + 9) if n == len(record) + len(str(n)))
        lines += str(length).encode() + record
    return {"type": tarfile.XHDTYPE, "name": "././@PaxHeader"}, lines


HUGE = {"size": 1 << 40}
MADE_TO_HARM = {
    "pax header of a terabyte": [({"type": tarfile.XHDTYPE, **HUGE}, b"")],
    "global pax header of a terabyte": [({"type": tarfile.XGLTYPE, **HUGE}, b"")],
    "long name of a terabyte": [({"type": tarfile.GNUTYPE_LONGNAME, **HUGE}, b"")],
    "pax header of negative size": [({"type": tarfile.XHDTYPE, "size": -1024}, b"")],
    "member of negative size": [({"size": -1024}, b"")],
    "negative size in pax": [pax(size=-1024), ({}, b"x")],  # on which some tarfiles go round for ever
    "size of a million digits": [pax(size="9" * 200_000), ({}, b"")],
    "pax of length zero": [({"type": tarfile.XHDTYPE}, b"0 a=b\n"), ({}, b"")],
    "sparse file": [({"type": tarfile.GNUTYPE_SPARSE}, b"x")],
    "sparse 0.0": [pax(GNU_sparse_size=1 << 40, GNU_sparse_offset="x"), ({}, b"x")],
    "sparse 0.1": [pax(GNU_sparse_map="0,x", GNU_sparse_size=1 << 40), ({}, b"x")],
    "sparse 0.1 that is large": [pax(GNU_sparse_map="0,1", GNU_sparse_size=1 << 40), ({}, b"x")],
    "sparse 1.0": [pax(GNU_sparse_major=1, GNU_sparse_minor=0, GNU_sparse_realsize=1 << 40), ({}, b"9999999999\n")],
    "headers within headers": [pax(path="x")] * 3000,
    "nothing after a pax header": [pax(path="x")],
    "a file of no name": [({"name": ""}, b"x")],
    "a file of the folder's name": [({"name": "./"}, b"x")],
    "a name with a NUL": [pax(path="a\0b"), ({}, b"x")],
    "a name too long": [pax(path="n" * 300), ({}, b"x")],
    "a path too long": [pax(path="n/" * 3000), ({}, b"x")],
    "the same file twice": [({}, b"x"), ({}, b"y")],
    "a file and a folder": [({}, b"x"), ({"name": "a.jpg/b"}, b"y")],
    "a folder and a file": [({"name": "a.jpg/b"}, b"y"), ({}, b"x")],
    "a member of unknown type": [({"type": b"Z"}, b"x"), ({"type": b"\x80"}, b"x")],
    "a contiguous file of a terabyte": [({"type": tarfile.CONTTYPE, **HUGE}, b"x")],
}


@pytest.mark.parametrize("name", MADE_TO_HARM)
@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_made_to_harm_is_refused_in_a_sentence(tmp_path: Path, name: str, packed: bool) -> None:
    archive = raw_tar(tmp_path / "a.tar", *MADE_TO_HARM[name])
    if packed:
        archive.write_bytes(gzip.compress(archive.read_bytes()))
    assert isinstance(outcome(archive, tmp_path / "data"), str)


def test_odd_records_of_a_pax_header_are_passed_over(tmp_path: Path) -> None:
    for record in (pax(size="x"), ({"type": tarfile.XHDTYPE}, b"12 size 1234\n"), pax(size="9" * 5000)):
        found = outcome(raw_tar(tmp_path / "a.tar", record, ({}, b"")), tmp_path / "data")
        assert found == {"a.jpg": b""} or isinstance(found, str)


@pytest.mark.parametrize("packed", [False, True])
def test_a_million_empty_files_are_too_many(tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SMALL", 1 << 16)
    archive = raw_tar(tmp_path / "a.tar", *(({"name": str(i)}, b"") for i in range(1000)))
    if packed:
        archive.write_bytes(gzip.compress(archive.read_bytes()))
        assert "expected at most 10 times the size" in outcome(archive, tmp_path / "data")
    else:
        assert len(outcome(archive, tmp_path / "data")) == 1000


@pytest.mark.parametrize("name", ["", ".", "/", "a\0.jpg", "n" * 300, "n/" * 3000, "\udcff" * 3])
def test_broken_names_in_a_zip(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"ok.jpg": b"x", "N" * max(1, len(name)): b"y"})
    stored = name.encode("utf-8", "surrogateescape") if name else b""
    archive.write_bytes(archive.read_bytes().replace(b"N" * max(1, len(name)), stored.ljust(max(1, len(name)), b"\0")))
    found = outcome(archive, tmp_path / "data")
    assert isinstance(found, str) if not name.startswith("\udcff") else len(found) == 2


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_a_zip_that_stand_in_each_others_way(tmp_path: Path) -> None:
    for names in (["a", "a"], ["a", "a/b"], ["a/b", "a"]):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
            for name in names:
                zipped.writestr(name, name)
        assert "two members are called" in outcome(tmp_path / "a.zip", tmp_path / "data")
    both = make_zip(tmp_path / "a.zip", {"a.jpg": b"x", "A.jpg": b"y"})
    found = outcome(both, tmp_path / "data")
    assert found == {"a.jpg": b"x", "A.jpg": b"y"} or "two members" in found  # as the file system has it


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_special_files_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    member = zipfile.ZipInfo("sketch/odd")
    member.create_system = 3
    member.external_attr = (kind | 0o777) << 16
    assert "is a special file" in outcome(make_zip(tmp_path / "a.zip", {}, extra=member), tmp_path / "data")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "a Git-LFS pointer"),
        (b'{"error": "not found"}', "JSON that begins"),
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(900), "a PNG image"),
    ],
)
def test_what_is_no_archive_is_named_for_what_it_is(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    assert f"expected a tar, tar.gz or zip file, found {found}" in outcome(tmp_path / "a.tar.gz", tmp_path / "data")


@MAKERS
def test_an_archive_of_nothing_is_named(tmp_path: Path, make: Maker) -> None:
    assert "found an archive of nothing" in outcome(make(tmp_path / "a", {}), tmp_path / "data")


def test_an_archive_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.tar")
    (tmp_path / "folder.tar").mkdir()
    for name in ("fifo.tar", "folder.tar", "none.tar"):
        assert str(tmp_path / name) in outcome(tmp_path / name, tmp_path / "data")


@MANY
@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory")], ids=["python", "system"])
def test_memory_that_runs_out_is_not_taken_for_a_bad_archive(
    tmp_path: Path, make: Maker, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(tmp_path / "a", SMALL_FILES)

    def full(*arguments: object, **options: object) -> None:
        raise error

    for of, name in (
        (tarfile, "open"),
        (zipfile, "ZipFile"),
        (tarfile.TarFile, "extractfile"),
        (zipfile.ZipFile, "open"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(of, name, full)
            found = outcome(archive, tmp_path / "data")
        if isinstance(found, str):
            assert "memory ran out" in found and "delete" not in found


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
