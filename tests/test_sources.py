from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from http_server import Reply, Server, serve

from gfnet_bench.datasets import sources
from gfnet_bench.datasets.base import DATASETS
from gfnet_bench.datasets.sources import SOURCES, Source, get
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.registry import Registry

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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The addresses of ImageNet-A, two groups of ImageNet-C and ReaL lead to small files of a server here."""
    with serve(monkeypatch) as running:
        small: Registry[tuple[Source, ...]] = Registry("dataset")
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
            small.add(
                name,
                tuple(
                    Source(
                        file,
                        (running.put(f"/{file}", body),),
                        gives[file],
                        len(body),
                        md5=hashlib.md5(body).hexdigest(),
                    )
                    for file, body in files.items()
                ),
            )
        small.add("imagenet", ())
        small.add("mini", ())
        monkeypatch.setattr(sources, "SOURCES", small)
        yield running


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_data_set_has_an_entry_and_lands_where_it_is_looked_for() -> None:
    assert set(SOURCES) == set(DATASETS)
    for name in SOURCES:
        for source in SOURCES[name]:
            for path in source.gives if source.is_archive else ():
                assert path.split("/")[0] in DATASETS[name].folders


def test_the_table_is_the_published_one() -> None:
    everything = [source for name in SOURCES for source in SOURCES[name]]
    assert len({source.file for source in everything}) == len(everything) == 12
    for source in everything:
        assert all(url.startswith("https://") for url in source.urls)
        length = 64 if source.sha256 else 32
        assert len(bytes.fromhex(source.sha256 or source.md5 or "")) == length // 2
    published = {path for source in SOURCES["imagenet_c"] for path in source.gives}
    assert len(published) == 19
    extra = next(source for source in SOURCES["imagenet_c"] if source.file == "extra.tar")
    assert {Path(path).name for path in extra.gives} == {"speckle_noise", "spatter", "gaussian_blur", "saturate"}


def test_timms_copy_of_the_labels_is_the_published_file() -> None:
    import timm.data

    copy = Path(timm.data.__file__).parent / "_info" / "imagenet_real_labels.json"
    (source,) = SOURCES["imagenet_real"]
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
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    get(["imagenet_real"], tmp_path, progress=False)
    assert files(tmp_path) == ["real.json"]


def test_a_wrong_archive_is_not_unpacked(server: Server, tmp_path: Path) -> None:
    server.put("/imagenet-a.tar", tar("imagenet-a/other.jpg"))
    with pytest.raises(MissingError, match=r"imagenet_a: no archive at .*received a file with md5"):
        get(["imagenet_a"], tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_something_else_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.put("/imagenet-a.tar", tar("natural/0.jpg"))
    small: Registry[tuple[Source, ...]] = Registry("dataset")
    small.add("imagenet_a", (Source("imagenet-a.tar", (url,), ("imagenet-a",), 10_000),))
    monkeypatch.setattr(sources, "SOURCES", small)
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
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = sources.SOURCES["imagenet_a"]
    small: Registry[tuple[Source, ...]] = Registry("dataset")
    small.add("imagenet_a", (replace(source, size=10**18),))
    monkeypatch.setattr(sources, "SOURCES", small)
    with pytest.raises(GfnetBenchError, match=r"imagenet_a: needs 2000000000\.0 GB"):
        get(["imagenet_a"], tmp_path, progress=False)
    assert server.requests == []
