from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from http_server import Reply, Server, serve

from gfnet_bench.catalog import CORRUPTIONS, CorruptionName
from gfnet_bench.datasets import DATASETS
from gfnet_bench.datasets.sources import get
from gfnet_bench.downloads.download import Download
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError

Holding = Callable[..., Any]

A = "imagenet-a/n01498041/0.jpg"


def tar(*names: str) -> bytes:
    """Each file holds its own name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


def come_as(holding: Holding, name: str, *downloads: Download) -> None:
    """Other files for a data set."""
    holding(DATASETS, name, replace(DATASETS[name], downloads=downloads))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, holding: Holding) -> Iterator[Server]:
    """The addresses of ImageNet-A, two groups of ImageNet-C and ReaL lead to small files of a server here."""
    with serve(monkeypatch) as running:
        groups = {
            group: tar(
                *(f"{corruption}/{severity}/n01440764/a.JPEG" for corruption in corruptions for severity in "12")
            )
            for group, corruptions in (("noise", ("gaussian_noise", "shot_noise")), ("extra", ("spatter",)))
        }
        replies = {
            "imagenet_a": {"imagenet-a.tar": tar(A)},
            "imagenet_c": {f"{group}.tar": body for group, body in groups.items()},
            "imagenet_real": {"real.json": b"[[1], []]"},
        }
        gives = {
            "imagenet-a.tar": ("imagenet-a",),
            "noise.tar": ("imagenet-c/gaussian_noise", "imagenet-c/shot_noise"),
            "extra.tar": ("imagenet-c/spatter",),
            "real.json": ("real.json",),
        }
        for name, files in replies.items():
            there = tuple(
                Download(
                    (running.put(f"/{file}", body),),
                    gives[file],
                    len(body),
                    md5=hashlib.md5(body).hexdigest(),
                    group=file.removesuffix(".tar") if name == "imagenet_c" else None,
                    on_request=file == "extra.tar",
                    shipped=DATASETS[name].downloads[0].shipped,
                )
                for file, body in files.items()
            )
            come_as(holding, name, *there)
        yield running


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_data_set_lands_where_it_is_looked_for() -> None:
    for spec in map(DATASETS.__getitem__, DATASETS):
        for file in spec.downloads:
            for path in file.gives if file.is_archive else ():
                assert path.split("/")[0] in spec.folders


def test_the_table_is_the_published_one() -> None:
    everything = [file for name in DATASETS for file in DATASETS[name].downloads]
    assert len({file.file for file in everything}) == len(everything) == 12
    for file in everything:
        assert all(url.startswith("https://") for url in file.urls)
        length = 64 if file.sha256 else 32
        assert len(bytes.fromhex(file.sha256 or file.md5 or "")) == length // 2


def test_published_archives_hold_what_was_published(holding: Holding, tmp_path: Path) -> None:
    archives = {file.group: {Path(path).name for path in file.gives} for file in DATASETS["imagenet_c"].downloads}
    assert archives["extra"] == {"speckle_noise", "spatter", "gaussian_blur", "saturate"}
    published = set().union(*archives.values())
    assert len(published) == 19 and published <= set(CORRUPTIONS)
    holding(CORRUPTIONS, "rain", CorruptionName("rain", "extra"))  # made here, in no archive
    for name in archives["extra"]:
        (tmp_path / "imagenet-c" / name).mkdir(parents=True)
    get(["imagenet_c"], tmp_path, corruptions=["extra"], progress=False)
    with pytest.raises(UsageError, match="imagenet_c: unknown corruption 'rain'"):
        get(["imagenet_c"], tmp_path, corruptions=["rain"], progress=False)


def test_a_set_that_no_address_gives_says_how_to_get_it(holding: Holding, tmp_path: Path) -> None:
    own = replace(DATASETS["imagenet_a"], name="mine", downloads=(), help="Ask its authors.")
    holding(DATASETS, "mine", own)
    with pytest.raises(MissingError, match=r"mine: this set cannot be fetched\. Ask its authors\. Put it into"):
        get(["mine"], tmp_path)
    with pytest.raises(MissingError, match=r"imagenet_a_control: its images are those of imagenet, which cannot be f"):
        get(["imagenet_a_control"], tmp_path)


def test_timms_copy_of_the_labels_is_the_published_file() -> None:
    import timm.data

    copy = Path(timm.data.__file__).parent / "_info" / "imagenet_real_labels.json"
    (source,) = DATASETS["imagenet_real"].downloads
    assert copy.stat().st_size == source.size
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == source.sha256
    labels = json.loads(copy.read_text())
    assert (len(labels), sum(not answers for answers in labels)) == (50000, 3163)


def test_an_archive_is_fetched_unpacked_and_removed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get(["imagenet-a"], tmp_path / "data", progress=False)
    assert files(tmp_path) == [f"data/{A}"]
    assert (tmp_path / "data" / A).read_text() == A
    assert capsys.readouterr().out == f"imagenet_a: fetched {tmp_path / 'data' / 'imagenet-a'}\n"
    get(["imagenet_a"], tmp_path / "data", progress=False)
    assert "nothing to fetch" in capsys.readouterr().out
    assert len(server.requests) == 1


def test_an_archive_put_there_by_hand_is_used_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "imagenet-a.tar").write_bytes(tar(A))
    get(["imagenet_a"], tmp_path, progress=False)
    assert files(tmp_path) == ["imagenet-a.tar", A]
    assert server.requests == []


def test_a_dry_run_prints_sizes_and_fetches_nothing(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get(["imagenet_a", "imagenet_c"], tmp_path, dry_run=True)
    assert {request.method for request in server.requests} == {"HEAD"}
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out.splitlines() == [
        f"imagenet_a: would fetch 10.2 kB from {server.url}/imagenet-a.tar for {tmp_path / 'imagenet-a'}",
        f"imagenet_c: would fetch 10.2 kB from {server.url}/noise.tar for "
        f"{tmp_path / 'imagenet-c/gaussian_noise'}, {tmp_path / 'imagenet-c/shot_noise'}",
        "20.5 kB in all; unpacking an archive needs its size again until it is done",
    ]


@pytest.mark.parametrize(
    ("corruptions", "asked", "there"),
    [
        ((), ["/noise.tar"], {"gaussian_noise", "shot_noise"}),
        (("extra",), ["/extra.tar"], {"spatter"}),
        (("spatter", "noise"), ["/noise.tar", "/extra.tar"], {"gaussian_noise", "shot_noise", "spatter"}),
        (("shot_noise",), ["/noise.tar"], {"gaussian_noise", "shot_noise"}),
    ],
)
def test_imagenet_c_comes_in_groups(
    server: Server, tmp_path: Path, corruptions: tuple[str, ...], asked: list[str], there: set[str]
) -> None:
    get(["imagenet_c"], tmp_path, corruptions=corruptions, progress=False)
    assert [request.path for request in server.requests] == asked
    assert {path.name for path in (tmp_path / "imagenet-c").iterdir()} == there
    assert all((tmp_path / "imagenet-c" / c / "2" / "n01440764" / "a.JPEG").is_file() for c in there)


def test_a_corruption_that_is_there_is_not_fetched_for_its_group(server: Server, tmp_path: Path) -> None:
    (tmp_path / "imagenet-c" / "shot_noise").mkdir(parents=True)
    get(["imagenet_c"], tmp_path, corruptions=["shot_noise"], progress=False)
    assert server.requests == []


def test_imagenet_is_refused_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"imagenet: .*image-net\.org/download\.php.*--data-dir"):
        get(["imagenet_a", "imagenet"], tmp_path, progress=False)
    assert server.requests == []


def test_unknown_names_suggest_known_ones(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean imagenet_a"):
        get(["imagenet_aa"], tmp_path)
    with pytest.raises(
        UsageError, match="unknown corruption 'fogg'; expected one of the groups noise, extra or of gau"
    ):
        get(["imagenet_c"], tmp_path, corruptions=["fogg"])


def test_the_labels_that_timm_ships_are_not_fetched(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    get(["imagenet_real", "mini"], tmp_path, progress=False)
    assert server.requests == [] and capsys.readouterr().out.count("nothing to fetch") == 2
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    get(["imagenet_real"], tmp_path, progress=False)
    assert files(tmp_path) == ["real.json"]


def test_a_wrong_archive_is_not_unpacked(server: Server, tmp_path: Path) -> None:
    server.put("/imagenet-a.tar", tar("imagenet-a/other.jpg"))
    with pytest.raises(MissingError, match=r"imagenet_a: no archive at .*received a file with md5"):
        get(["imagenet_a"], tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_something_else_is_named(server: Server, tmp_path: Path, holding: Holding) -> None:
    url = server.put("/imagenet-a.tar", tar("natural/0.jpg"))
    come_as(holding, "imagenet_a", Download((url,), ("imagenet-a",), 10_000))
    with pytest.raises(
        GfnetBenchError, match=r"imagenet_a: expected .*imagenet-a from .*imagenet-a.tar, found .*natural"
    ):
        get(["imagenet_a"], tmp_path, progress=False)


def test_a_size_that_no_server_tells_comes_from_the_table(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put("/imagenet-a.tar", Reply(status=404))
    get(["imagenet_a"], tmp_path, dry_run=True)
    assert "would fetch 10.2 kB" in capsys.readouterr().out


def test_a_disk_too_small_for_archive_and_content_is_noticed_first(
    server: Server, tmp_path: Path, holding: Holding
) -> None:
    (file,) = DATASETS["imagenet_a"].downloads
    come_as(holding, "imagenet_a", replace(file, size=10**18))
    with pytest.raises(GfnetBenchError, match=r"imagenet_a: needs 2000000000\.0 GB"):
        get(["imagenet_a"], tmp_path, progress=False)
    assert server.requests == []
