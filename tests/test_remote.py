from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
from http_server import Reply, Server, page, serve

from gfnet_bench.remote import BrokenError, RefusedError, RemoteFile, size_of

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
