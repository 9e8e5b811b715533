from __future__ import annotations

import hashlib
import itertools
import random
import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_server import Reply, Server, page, serve

import gfnet_bench
from gfnet_bench.downloads import fetching
from gfnet_bench.downloads.fetching import alone, cache_dir, fetch, readable
from gfnet_bench.errors import GfnetBenchError, MissingError

ZIP = b"PK\x03\x04"  # a checkpoint as torch saves it begins like this
FILE = ZIP + random.Random(0).randbytes(600_000)
OTHER = ZIP + random.Random(1).randbytes(600_000)
ETAG = {"ETag": '"one"'}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0, 0.0))
    with serve(monkeypatch) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "gfnet-s.pth"


def get(url: str, target: Path, **options: object) -> bytes:
    path = fetch([url], target, label="gfnet_s", progress=False, **options)  # type: ignore[arg-type]
    assert path == target
    return path.read_bytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def closed_port() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_a_file_is_fetched_once_and_leaves_nothing_but_its_checksum_beside_it(server: Server, target: Path) -> None:
    url = server.put("/f", FILE)
    assert get(url, target) == FILE
    assert get(url, target) == FILE
    assert [(r.method, r.path) for r in server.requests] == [("GET", "/f")]
    assert server.requests[0].headers["user-agent"] == f"gfnet-bench/{gfnet_bench.__version__}"
    assert names(target.parent) == ["gfnet-s.pth", "gfnet-s.pth.sha256"]
    assert (target.parent / "gfnet-s.pth.sha256").read_text() == f"{sha256(FILE)}  gfnet-s.pth\n"


def test_a_missing_file_is_asked_for_once_and_then_the_next_address(server: Server, target: Path) -> None:
    urls = [server.put("/gone", Reply(status=404)), server.put("/f", FILE)]
    assert fetch(urls, target, progress=False).read_bytes() == FILE
    assert [r.path for r in server.requests] == ["/gone", "/f"]


def test_a_server_in_trouble_is_asked_again_but_not_for_ever(server: Server, target: Path) -> None:
    assert get(server.put("/f", Reply(status=503), Reply(status=500), Reply(FILE)), target) == FILE
    server.requests.clear()
    with pytest.raises(MissingError, match="HTTP 503 Service Unavailable, 4 times"):
        get(server.put("/f", Reply(status=503)), target.with_name("b.pth"))
    assert len(server.requests) == 4


@pytest.mark.parametrize("mark", [ETAG, {"ETag": 'W/"weak"'}, {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}])
def test_a_cut_transfer_goes_on_where_it_ended(server: Server, target: Path, mark: dict[str, str]) -> None:
    url = server.put("/f", Reply(FILE, headers=mark, cut=400_000), Reply(FILE, headers=mark))
    assert get(url, target) == FILE
    assert server.ranges() == [None, "bytes=400000-"]


def test_a_cut_transfer_goes_on_in_a_later_run(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSES", ())
    url = server.put("/f", Reply(FILE, headers=ETAG, cut=400_000), Reply(FILE, headers=ETAG))
    with pytest.raises(MissingError, match="the connection ended after 400000 of 600004 bytes"):
        get(url, target)
    assert not target.exists()
    # The address that a part came from is asked first, whatever the order.
    assert fetch([server.url + "/never", url], target, progress=False).read_bytes() == FILE
    assert server.ranges() == [None, "bytes=400000-"]


def test_a_whole_part_needs_only_its_name(server: Server, target: Path) -> None:
    url = server.put("/f", Reply(FILE, headers=ETAG))
    get(url, target)
    (target.parent / "gfnet-s.pth.part").write_bytes(FILE)
    (target.parent / "gfnet-s.pth.part.json").write_text(f'{{"url": "{url}", "version": "x", "length": {len(FILE)}}}')
    target.unlink()
    assert get(url, target) == FILE
    assert len(server.requests) == 1


def test_a_cut_before_the_first_bytes_counts_as_a_cut(server: Server, target: Path) -> None:
    assert get(server.put("/f", Reply(FILE, cut=0), Reply(FILE, cut=2), Reply(FILE)), target) == FILE


def test_a_server_that_ignores_ranges_sends_everything_again(server: Server, target: Path) -> None:
    url = server.put("/f", Reply(FILE, headers=ETAG, cut=400_000), Reply(FILE, headers=ETAG, ranges=False))
    assert get(url, target) == FILE
    assert server.ranges() == [None, "bytes=400000-"]


@pytest.mark.parametrize(
    "changed",
    [
        Reply(OTHER, headers={"ETag": '"two"'}),
        Reply(OTHER + b"longer", headers=ETAG),
        Reply(OTHER[:300_000], headers={"ETag": '"two"'}),  # asked beyond its end, the server answers 416
    ],
    ids=["same length", "same mark", "shorter"],
)
def test_a_file_that_changed_meanwhile_is_not_glued_to_its_old_beginning(
    server: Server, target: Path, changed: Reply
) -> None:
    assert get(server.put("/f", Reply(FILE, headers=ETAG, cut=400_000), changed), target) == changed.body


def test_without_a_mark_of_its_version_nothing_is_continued(server: Server, target: Path) -> None:
    assert get(server.put("/f", Reply(FILE, cut=400_000), Reply(OTHER)), target) == OTHER
    assert server.ranges() == [None, None]


def test_with_a_checksum_a_file_without_a_mark_is_continued(server: Server, target: Path) -> None:
    assert get(server.put("/f", Reply(FILE, cut=400_000), Reply(FILE)), target, sha256=sha256(FILE)) == FILE
    assert server.ranges() == [None, "bytes=400000-"]


def test_a_file_of_unstated_length_is_fetched(server: Server, target: Path) -> None:
    assert get(server.put("/f", Reply(FILE, says_length=False)), target) == FILE


def test_a_silent_connection_is_given_up_and_continued(server: Server, target: Path) -> None:
    stalled = Reply(FILE, headers=ETAG, cut=400_000, stall=True)
    assert get(server.put("/f", stalled, Reply(FILE, headers=ETAG)), target, timeout=0.2) == FILE
    assert server.ranges()[1] is not None


@pytest.mark.parametrize("media_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_page_in_place_of_a_file_is_named_and_not_kept(server: Server, target: Path, media_type: str) -> None:
    url = server.put("/f", Reply(page("Please\n log in"), media_type=media_type))
    with pytest.raises(MissingError, match="received the web page 'Please log in' instead of the file") as caught:
        get(url, target)
    assert url in str(caught.value) and str(target) in str(caught.value)
    assert names(target.parent) == []
    assert fetch([url, server.put("/mirror", FILE)], target, progress=False).read_bytes() == FILE


@pytest.mark.parametrize(
    ("expect", "begins"),
    [
        ("checkpoint", ZIP),
        ("checkpoint", b"\x80\x02}"),
        ("checkpoint", (60).to_bytes(8, "little") + b'{"a":'),
        ("archive", ZIP),
        ("archive", b"\x1f\x8b\x08"),
        ("archive", bytes(257) + b"ustar"),
        ("json", b"[[1]]"),
    ],
)
def test_a_file_is_known_by_its_first_bytes(server: Server, target: Path, expect: str, begins: bytes) -> None:
    good = server.put("/good", begins + bytes(600))
    bad = server.put("/bad", b"File not found on this server" + bytes(600))
    assert fetch([bad, good], target, expect=expect, progress=False).read_bytes().startswith(begins)
    with pytest.raises(MissingError, match=r"begins b'File not found on this s', which no .* does"):
        fetch([bad], target.with_name("b"), expect=expect, progress=False)


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_with_another_checksum_is_not_kept(server: Server, target: Path, algorithm: str) -> None:
    bad, good = server.put("/bad", OTHER), server.put("/good", FILE)
    checksum = {algorithm: hashlib.new(algorithm, FILE).hexdigest()}
    with pytest.raises(MissingError, match=rf"{algorithm} {hashlib.new(algorithm, OTHER).hexdigest()[:12]}\.\.\., exp"):
        get(bad, target, **checksum)
    assert names(target.parent) == []
    assert fetch([bad, good], target, progress=False, **checksum).read_bytes() == FILE  # type: ignore[arg-type]
    assert names(target.parent) == ["gfnet-s.pth"]


def test_a_file_that_changes_on_disk_is_refused_until_fetched_again(server: Server, target: Path) -> None:
    url = server.put("/f", FILE)
    get(url, target)
    target.write_bytes(OTHER)
    with pytest.raises(GfnetBenchError) as caught:
        get(url, target)
    assert str(caught.value) == (
        f"gfnet_s: weights have sha256 {sha256(OTHER)[:12]}..., expected {sha256(FILE)[:12]}...; "
        f"delete the file to fetch it again ({target})."
    )
    target.unlink()
    assert get(url, target) == FILE


def test_a_file_that_changed_at_its_address_is_accepted_only_on_request(server: Server, target: Path) -> None:
    url = server.put("/f", FILE)
    get(url, target)
    target.unlink()
    server.put("/f", OTHER)
    note = target.with_name("gfnet-s.pth.sha256")
    with pytest.raises(MissingError, match=r"noted at the first download; delete .*gfnet-s.pth.sha256 to accept"):
        get(url, target)
    note.unlink()
    assert get(url, target) == OTHER
    assert note.read_text().startswith(sha256(OTHER))


def test_a_published_checksum_wins_over_the_noted_one(server: Server, target: Path) -> None:
    url = server.put("/f", FILE)
    get(url, target)
    target.with_name("gfnet-s.pth.sha256").write_text(f"{'0' * 64}  gfnet-s.pth\n")
    assert get(url, target, sha256=sha256(FILE).upper()) == FILE
    with pytest.raises(GfnetBenchError, match=r"expected 000000000000\.\.\."):
        get(url, target)


def test_without_a_network_one_sentence_says_what_to_fetch_and_where_to_put_it(target: Path) -> None:
    urls = [closed_port() + "/a", closed_port() + "/b"]
    with pytest.raises(MissingError) as caught:
        fetch(urls, target, label="gfnet_s", progress=False)
    text = str(caught.value)
    assert text.startswith("gfnet_s: no weights at ") and "\n" not in text
    assert all(part in text for part in (*urls, str(target), "no connection", "put it there."))
    target.write_bytes(FILE)
    assert get(urls[0], target) == FILE
    assert target.with_name("gfnet-s.pth.sha256").read_text().startswith(sha256(FILE))


def test_a_page_saved_by_hand_is_not_accepted(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(page("Google Drive - Sign in"))
    with pytest.raises(GfnetBenchError, match=r"web page 'Google Drive - Sign in' .*delete the file"):
        get(closed_port(), target)
    assert names(target.parent) == ["gfnet-s.pth"]


def test_a_read_only_cache_can_be_used(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(FILE)
    target.with_name("gfnet-s.pth.sha256").mkdir()  # even root cannot write a note here
    assert get(closed_port(), target) == FILE


def test_a_disk_too_small_is_noticed_before_anything_is_written(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 599_999, 599_999))
    with pytest.raises(GfnetBenchError, match=r"gfnet_s: needs 600\.0 kB in .*cache, found 600\.0 kB free; free some"):
        get(server.put("/f", Reply(FILE, headers=ETAG)), target)
    assert names(target.parent) == []


def test_a_disk_that_fills_up_keeps_what_has_arrived(server: Server, target: Path) -> None:
    resource = pytest.importorskip("resource")
    url = server.put("/f", Reply(FILE, headers=ETAG))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))  # writing beyond it fails as on a full disk
    try:
        with pytest.raises(GfnetBenchError, match=r"gfnet_s: cannot write .*gfnet-s.pth \(.*what has arrived is kept"):
            get(url, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    arrived = target.with_name("gfnet-s.pth.part").stat().st_size
    assert 0 < arrived <= 300_000
    assert get(url, target) == FILE
    assert server.ranges() == [None, f"bytes={arrived}-"]


def test_a_folder_that_cannot_be_made_is_named(target: Path) -> None:
    target.parent.write_text("a file where the folder should be")
    with pytest.raises(GfnetBenchError, match=r"gfnet_s: cannot use .*cache \(.*\); choose another folder"):
        get(closed_port(), target)


def test_of_several_at_once_one_fetches_and_the_others_wait(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.put("/f", Reply(FILE, headers=ETAG, cut=400_000, stall=True), Reply(FILE, headers=ETAG))
    contents: list[bytes] = []
    threads = [threading.Thread(target=lambda: contents.append(get(url, target, timeout=0.3))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents == [FILE] * 4
    assert len(server.requests) == 2
    assert names(target.parent) == ["gfnet-s.pth", "gfnet-s.pth.sha256"]
    assert "another process is at work on it; waiting" in capsys.readouterr().err


def test_whoever_waited_holds_a_lock_that_others_can_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    monkeypatch.setattr(fetching.tqdm, "write", lambda *text, **options: waiting.set())
    seen = []

    def second() -> None:
        with alone(tmp_path / "file"):
            seen.append((tmp_path / "file.lock").exists())

    thread = threading.Thread(target=second)
    with alone(tmp_path / "file"):
        thread.start()
        assert waiting.wait(5) and not seen
    thread.join()
    assert seen == [True]
    assert names(tmp_path) == []


def test_a_lock_that_a_dead_process_left_does_not_block(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("gfnet-s.pth.lock").touch()
    assert get(server.put("/f", FILE), target) == FILE


def test_progress_goes_to_stderr(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gfnet_bench.bars.SELDOM", 1e-9)  # a log is told of a longer one only
    fetch([server.put("/f", FILE)], target, label="gfnet_s")
    out, err = capsys.readouterr()
    assert out == "" and "gfnet_s: 100%" in err


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "home/.cache/torch/gfnet_bench"),
        ({"XDG_CACHE_HOME": "xdg"}, "xdg/torch/gfnet_bench"),
        ({"XDG_CACHE_HOME": "xdg", "TORCH_HOME": "torch_home"}, "torch_home/gfnet_bench"),
        ({"TORCH_HOME": "torch_home", "GFNET_BENCH_CACHE": "own"}, "own"),
        ({"GFNET_BENCH_CACHE": "~/own"}, "home/own"),
        ({"GFNET_BENCH_CACHE": "", "TORCH_HOME": ""}, "home/.cache/torch/gfnet_bench"),
    ],
)
def test_where_downloads_live(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    for name in ("GFNET_BENCH_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "home", "USERPROFILE": "home"} | environment).items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(expected)


def test_readable_sizes() -> None:
    assert [readable(n) for n in (999, 1000, 2_500_000, 21e9)] == ["999 bytes", "1.0 kB", "2.5 MB", "21.0 GB"]


def test_a_server_that_announces_too_much_is_not_listened_to(server: Server, target: Path) -> None:
    url = server.put("/f", Reply(FILE, headers=ETAG))
    assert get(url, target, size=300_000) == FILE  # published sizes are rounded
    large = Reply(raw=[b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000000\r\n\r\n", FILE])
    with pytest.raises(MissingError, match=r"announces 9000\.0 GB, expected at most 1\.6 MB"):
        get(server.put("/g", large), target.with_name("b"), size=300_000)
    with pytest.raises(MissingError, match=r"announces 9000\.0 GB, expected at most 34\.4 GB"):
        get(server.put("/g", large), target.with_name("b"))
    assert not target.with_name("b.part").exists()


@pytest.mark.parametrize("header", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_server_that_never_ends_is_stopped(server: Server, target: Path, header: bytes) -> None:
    block = FILE[:60_000]
    blocks = [b"%x\r\n%s\r\n" % (len(block), block)] if header else [block]
    answer = itertools.chain([b"HTTP/1.1 200 OK\r\n" + header + b"\r\n"], itertools.repeat(*blocks))
    with pytest.raises(MissingError, match=r"sends more than 2\.0 MB"):
        get(server.put("/f", Reply(raw=answer)), target, size=500_000)
    assert names(target.parent) == []


def test_a_part_never_becomes_longer_than_the_whole(server: Server, target: Path) -> None:
    begun = Reply(FILE, headers=ETAG, cut=400_000)
    head = b'HTTP/1.1 206 Partial Content\r\nETag: "one"\r\nContent-Range: bytes 400000-600003/600004\r\n\r\n'
    url = server.put("/f", begun, Reply(raw=[head, FILE[400_000:] + b"more"]))
    with pytest.raises(MissingError, match=r"sends more than 600\.0 kB, as announced"):
        get(url, target)
    assert names(target.parent) == []


def test_bytes_that_drop_in_are_given_up_and_continued(server: Server, target: Path) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: 600004\r\n\r\n' + FILE[:300_000]
    drops = itertools.chain([head], (FILE[i : i + 1] for i in range(300_000, 600_004)))
    url = server.put("/f", Reply(raw=drops, pause=0.01), Reply(FILE, headers=ETAG))
    assert get(url, target, timeout=0.3) == FILE
    assert server.ranges()[1] is not None


def test_local_and_other_addresses_are_no_addresses(target: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(FILE)
    urls = [(tmp_path / "secret").as_uri(), "ftp://127.0.0.1/f", str(tmp_path / "secret"), "", "http://["]
    with pytest.raises(MissingError) as caught:
        fetch(urls, target, progress=False)
    assert str(caught.value).count("it leads to") == len(urls)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "a Git-LFS pointer"),
        (b'{"error": "Repository not found"}', 'JSON that begins \'{"error": "Repository not found"}\''),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML that begins"),
        (b"\x1f\x8b\x08" + bytes(99), "a gzip file"),
        (bytes(999), "nothing but zeros"),
        (b"", "an empty file"),
    ],
)
def test_what_came_instead_of_a_file_is_named(server: Server, target: Path, body: bytes, found: str) -> None:
    with pytest.raises(MissingError, match=f"received {found}.* instead of the file"):
        get(server.put("/f", body), target)
    assert names(target.parent) == []


@pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"abc  gfnet-s.pth\n", b"0" * 63])
def test_a_damaged_note_of_a_checksum_is_named(target: Path, note: bytes) -> None:
    target.parent.mkdir()
    target.write_bytes(FILE)
    target.with_name("gfnet-s.pth.sha256").write_bytes(note)
    with pytest.raises(GfnetBenchError, match=r"gfnet-s\.pth\.sha256: expected the sha256 of gfnet-s\.pth, found none"):
        get(closed_port(), target)


@pytest.mark.parametrize(
    "note", [b"[" * 100_000, b"3", b'{"url": 3}', b'{"a": 1}', b"\xff", b'{"url": "x", "length": "y"}']
)
def test_a_damaged_note_of_a_part_makes_it_start_again(server: Server, target: Path, note: bytes) -> None:
    target.parent.mkdir()
    target.with_name("gfnet-s.pth.part").write_bytes(OTHER)
    target.with_name("gfnet-s.pth.part.json").write_bytes(note)
    assert get(server.put("/f", FILE), target) == FILE
