from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_server import Reply, Server, page, serve

from gfnet_bench.downloads.remote import BrokenError, RefusedError, RemoteFile, answers, size_of

FILE = b"PK\x03\x04" + random.Random(0).randbytes(600_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serve(monkeypatch) as running:
        yield running


def no_server() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def read(url: str) -> bytes:
    with RemoteFile(url) as remote:
        return b"".join(remote.blocks())


@pytest.mark.parametrize("media_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_google_drives_form_is_answered(server: Server, media_type: str) -> None:
    server.put("/download?id=a1&export=download&confirm=t&uuid=5e-0c", FILE)
    form = (
        "<p>Google Drive can't scan this file for viruses.</p>"
        '<form id="download-form" action="/download" method="get">'
        '<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="a1">'
        '<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">'
        '<input type="hidden" name="uuid" value="5e-0c"></form>'
    )
    url = server.put("/uc", Reply(page("Google Drive - Virus scan warning", form), media_type=media_type))
    assert read(url + "?id=a1") == FILE
    assert [r.path for r in server.requests] == ["/uc?id=a1", "/download?id=a1&export=download&confirm=t&uuid=5e-0c"]


def test_google_drives_older_link_is_followed(server: Server) -> None:
    server.put("/uc?export=download&confirm=Xy_1&id=a1", FILE)
    link = '<a id="uc-download-link" href="/uc?export=download&amp;confirm=Xy_1&amp;id=a1">Download anyway</a>'
    assert read(server.put("/uc?id=a1", Reply(page("Virus scan warning", link), media_type="text/html"))) == FILE


def test_google_drives_oldest_cookie_is_answered_and_sent_back(server: Server) -> None:
    cookie = {"Set-Cookie": "download_warning_13058=Zz9; Path=/"}
    url = server.put("/uc?id=a1", Reply(page("Virus scan warning"), media_type="text/html", headers=cookie))
    server.put("/uc?id=a1&confirm=Zz9", FILE)
    assert read(url) == FILE
    assert server.requests[-1].headers["cookie"] == "download_warning_13058=Zz9"


def test_a_confirmation_that_leads_to_a_page_again_is_an_error(server: Server) -> None:
    link = '<a href="/uc?confirm=1">Download anyway</a>'
    url = server.put("/uc", Reply(page("Virus scan warning", link), media_type="text/html"))
    with pytest.raises(RefusedError, match="received the web page 'Virus scan warning'"):
        read(url)
    assert len(server.requests) == 2


def test_a_used_up_quota_is_called_by_its_name(server: Server) -> None:
    text = "Sorry. Too many users have viewed or downloaded this file recently. Please try again later."
    with pytest.raises(RefusedError, match="download quota for this file is used up"):
        read(server.put("/f", Reply(page("Google Drive", text), media_type="text/html")))


def test_a_file_that_is_called_a_page_is_a_file(server: Server) -> None:
    assert read(server.put("/f", Reply(FILE, media_type="text/html"))) == FILE


def test_redirects_are_followed(server: Server) -> None:
    server.put("/end", FILE)
    server.put("/middle", Reply(status=307, headers={"Location": "/end"}))
    assert read(server.put("/f/1?dl=1", Reply(status=302, headers={"Location": "/middle"}))) == FILE


def test_a_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.put("http://weights.invalid/f", FILE)
    assert read("http://weights.invalid/f") == FILE


def test_the_size_of_a_file_is_asked_for_without_fetching_it(server: Server) -> None:
    server.put("/f", FILE)
    assert size_of(server.put("/r", Reply(status=302, headers={"Location": "/f"}))) == len(FILE)
    assert server.requests[0].method == "HEAD"
    assert size_of(server.put("/gone", Reply(status=404))) is None
    assert size_of(no_server()) is None


def test_a_part_says_where_it_begins_and_how_long_the_whole_is(server: Server) -> None:
    url = server.put("/f", Reply(FILE, headers={"ETag": '"one"', "Last-Modified": "yesterday"}))
    with RemoteFile(url, 600_000) as remote:
        assert (remote.start, remote.length, remote.version) == (600_000, 600_004, '"one"')
        assert b"".join(remote.blocks()) == FILE[600_000:]


def test_beyond_the_end_the_whole_file_is_sent(server: Server) -> None:
    with RemoteFile(server.put("/f", FILE), 700_000) as remote:
        assert (remote.start, remote.length) == (0, 600_004)
        assert b"".join(remote.blocks()) == FILE
    assert server.ranges() == ["bytes=700000-", None]


def test_a_part_that_nobody_asked_for_is_refused(server: Server) -> None:
    part = Reply(FILE, status=206, headers={"Content-Range": "bytes 5-9/10"})
    with pytest.raises(RefusedError, match="sent a part of the file in a way that cannot be understood"):
        RemoteFile(server.put("/f", part))


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_trouble_that_may_pass(server: Server, status: int) -> None:
    with pytest.raises(BrokenError, match=f"HTTP {status} "):
        RemoteFile(server.put("/f", Reply(status=status)))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_trouble_that_stays(server: Server, status: int) -> None:
    with pytest.raises(RefusedError, match=f"HTTP {status} "):
        RemoteFile(server.put("/f", Reply(status=status)))


def test_no_server_at_all() -> None:
    with pytest.raises(RefusedError, match="no connection"):
        RemoteFile(no_server())


def test_redirects_in_a_circle(server: Server) -> None:
    with pytest.raises(RefusedError, match=r"HTTP 302 .*infinite loop"):
        RemoteFile(server.put("/f", Reply(status=302, headers={"Location": "/f"})))


ELSEWHERE = [
    "ftp://127.0.0.1/f",
    "file:///etc/hostname",
    "FILE:///etc/hostname",
    "data:application/octet-stream;base64,UEsDBA==",
    "gopher://127.0.0.1/f",
    "javascript:alert(1)",
    "local_file:///etc/hostname",
    "http:///f",
    "http://[",
    "http://[::1",
    "http://127.0.0.1:port/f",
    "http://a b/\tf",
    "http://" + "a" * 70 + ".invalid/f",
    "//",
]


@pytest.mark.parametrize("address", ELSEWHERE)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_lead_to_http_alone(server: Server, address: str, status: int) -> None:
    server.put("/second", Reply(status=status, headers={"Location": address}))
    url = server.put("/first", Reply(status=302, headers={"Location": "/second"}))
    with pytest.raises((RefusedError, BrokenError)) as caught:
        RemoteFile(url, timeout=1.0)
    assert len(str(caught.value)) < 400
    assert size_of(url, timeout=1.0) is None


@pytest.mark.parametrize("address", ELSEWHERE)
def test_nothing_but_http_is_asked_for(address: str) -> None:
    with pytest.raises((RefusedError, BrokenError)):
        RemoteFile(address, timeout=1.0)


@pytest.mark.parametrize("address", ELSEWHERE)
@pytest.mark.parametrize("kind", ["link", "form"])
def test_a_confirmation_leads_to_http_alone(server: Server, address: str, kind: str) -> None:
    link = f'<a href="{address}?confirm=1">Download anyway</a>'
    form = f'<form action="{address}"><input name="confirm" value="t"></form>'
    body = {"link": link, "form": form}[kind]
    with pytest.raises((RefusedError, BrokenError)):
        RemoteFile(server.put("/uc", Reply(page("Virus scan warning", body))), timeout=1.0)


def test_a_confirmation_cannot_read_a_local_file(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret?confirm=1"
    secret.write_bytes(FILE)
    url = server.put("/uc", Reply(page("Warning", f'<a href="{secret.as_uri()}">Download anyway</a>')))
    url2 = server.put("/uc2", Reply(page("Warning", f'<a href="file://{secret}">Download anyway</a>')))
    for address in (url, url2, secret.as_uri()):
        with pytest.raises(RefusedError):
            read(address)


LOOPBACK = ["127.0.0.1", "localhost", "LOCALHOST.", "a.localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"]
LOOPBACK += ["0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::]", "127.9.9.9"]
NETWORK = ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "[fe80::1]", "[fd00::1]", "100.64.0.1"]


@pytest.mark.parametrize("host", LOOPBACK + NETWORK)
def test_the_internet_does_not_lead_into_this_machine_or_its_network(
    server: Server, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)  # the only way to be the internet here
    inside = f"http://{host}/f?confirm=1"
    server.put(inside, FILE)
    moved = server.put("http://weights.invalid/moved", Reply(status=302, headers={"Location": inside}))
    asked = server.put("http://weights.invalid/asked", Reply(page("Warning", f'<a href="{inside}">Download</a>')))
    for url in (moved, asked):
        with pytest.raises(RefusedError, match="into this machine or its network"):
            read(url.removeprefix(server.url))
    assert [request.path for request in server.requests] == [
        "http://weights.invalid/moved",
        "http://weights.invalid/asked",
    ]


def test_the_internet_leads_on_into_the_internet(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.put("http://mirror.invalid/f?confirm=1", FILE)
    server.put("http://8.8.8.8/f", Reply(status=302, headers={"Location": "http://mirror.invalid/f?confirm=1"}))
    server.put("http://weights.invalid/f", Reply(page("Warning", '<a href="http://8.8.8.8/f?confirm=1">Download</a>')))
    assert read("http://weights.invalid/f") == FILE


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"


@pytest.mark.parametrize(
    "begins",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        HEADERS + b"Content-Length: 600004\r\n\r\n",
        HEADERS + b"\r\n",
        HEADERS + b"Transfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /",
        HEADERS.replace(b"application/octet-stream", b"text/html") + b"\r\n<html>",
    ],
    ids=["status", "header", "body", "unstated length", "chunks", "redirect", "page"],
)
def test_single_bytes_do_not_keep_a_connection_open(server: Server, begins: bytes) -> None:
    drops = itertools.chain([begins], itertools.repeat(b"1"))
    started = time.monotonic()
    with pytest.raises(BrokenError, match=r"less than 1024 bytes a second for 0\.3 s"):
        with RemoteFile(server.put("/f", Reply(raw=drops, pause=0.01)), timeout=0.3) as remote:
            for _ in remote.blocks():
                pass
    assert time.monotonic() - started < 20  # it would go on for ever
    for thread in threading.enumerate():
        if thread.name == "watch":
            thread.join(5)
            assert not thread.is_alive()


def test_a_slow_reader_is_no_slow_server(server: Server) -> None:
    with RemoteFile(server.put("/f", FILE), timeout=0.2) as remote:
        found = b""
        for block in remote.blocks():
            found += block
            time.sleep(0.3)
    assert found == FILE


@pytest.mark.parametrize("size", [b"-5", b"zz", b"9" * 5000, "²".encode("latin-1"), b"", b"1e3", b"+7"])
def test_odd_lengths_are_no_lengths(server: Server, size: bytes) -> None:
    answer = [HEADERS + b"Content-Length: " + size + b"\r\n\r\n" + FILE]
    with RemoteFile(server.put("/f", Reply(raw=answer)), timeout=1.0) as remote:
        assert remote.length is None or size == b"+7"
    chunked = [HEADERS + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n" + FILE[:999]]
    with pytest.raises(BrokenError):
        read(server.put("/chunked", Reply(raw=chunked)))


def test_what_is_no_http_is_no_answer(server: Server) -> None:
    rng = random.Random(2)
    for answer in (
        b"",
        b"\r\n\r\n",
        b"HTTP/9.9 abc\r\n\r\n",
        b"220 ftp ready\r\n",
        *(rng.randbytes(99) for _ in range(20)),
    ):
        with pytest.raises((BrokenError, RefusedError)):
            RemoteFile(server.put("/f", Reply(raw=[answer])), timeout=1.0)


def test_what_a_server_says_is_quoted_in_short(server: Server) -> None:
    with pytest.raises(RefusedError) as caught:
        RemoteFile(server.put("/f", Reply(raw=[b"HTTP/1.1 404 " + b"n" * 60_000 + b"\r\n\r\n"])))
    assert len(str(caught.value)) < 200
    with pytest.raises(RefusedError) as caught:
        RemoteFile(server.put("/f", Reply(page("t" * 100_000))))
    assert len(str(caught.value)) < 200


def test_a_redirect_with_an_endless_page_is_followed_at_once(server: Server) -> None:
    server.put("/end", FILE)
    head = b"HTTP/1.1 302 Found\r\nLocation: /end\r\n\r\n"
    assert read(server.put("/f", Reply(raw=itertools.chain([head], itertools.repeat(bytes(1 << 16)))))) == FILE


def test_a_server_answers_or_does_not(server: Server) -> None:
    assert answers(server.url, 1.0)  # it has no such page, but it is there
    assert answers(server.put("/f", FILE), 1.0)
    assert not answers(no_server(), 1.0)
    assert not answers(server.put("/elsewhere", Reply(status=302, headers={"Location": "ftp://127.0.0.1/"})), 1.0)
