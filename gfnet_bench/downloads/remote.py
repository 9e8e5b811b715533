"""One file on a server, opened for reading from some byte on."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from gfnet_bench import __version__
from gfnet_bench.downloads.webpage import WebPage, direct_url, looks_like_page, read_page

SLOWEST = 1 << 10
"""Bytes a second, on average over the time of silence that is allowed: a transfer of less counts as broken."""

_BLOCK = 1 << 18
_BUSY = (408, 425, 429)
_QUOTED = 120  # characters of what a server says


class RefusedError(Exception):
    """This address does not give the file, and asking again will not help."""


class BrokenError(Exception):
    """The transfer broke off; another attempt may bring the rest."""


class RemoteFile:
    """The answer to "send me this file from byte `offset` on".

    Redirects are followed, and so is a page that only asks whether one really wants the file; to addresses of http and
    https alone, and not from the internet into this machine or its network. A server that is silent for `timeout`
    seconds, or sends less than `SLOWEST` for that long, is given up: a transfer takes no longer than that for its size.

    Attributes:
        start: the byte the answer begins with: 0 if the server sends all of the file nevertheless.
        length: the size of the whole file in bytes, if the server says.
        version: the server's mark for this state of the file (ETag or time of change), if it has one.
        head: the first bytes of the answer.
        media_type: what the server calls it.
    """

    def __init__(self, url: str, offset: int = 0, timeout: float = 30.0) -> None:
        self._cookies = CookieJar()
        self._url, self._timeout = direct_url(url), timeout
        self._watch = _Watch(timeout)
        try:
            self._open(self._url, offset)
            if self._is_page():
                page = self._read_page()
                confirmed = page.confirmation(self._cookies)
                if confirmed is None:
                    raise RefusedError(str(page))
                self._open(confirmed, offset)
                if self._is_page():
                    raise RefusedError(str(self._read_page()))
        except BaseException:
            self._watch.end()
            raise

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._watch.end()
        self._response.close()

    def blocks(self) -> Iterator[bytes]:
        """The bytes from `start` on, as they come; they may end early without an error."""
        block = self.head
        while block:
            yield block
            block = self._read()

    def _open(self, url: str, offset: int) -> None:
        try:
            self._response = _ask(url, "GET", self._timeout, self._watch, offset, self._cookies, self._url)
        except urllib.error.HTTPError as error:
            error.close()
            if self._watch.expired:
                raise BrokenError(f"no answer ({self._watch})") from error
            if error.code == 416 and offset:  # nothing beyond `offset`: the file has become another one
                return self._open(url, 0)
            broken = error.code >= 500 or error.code in _BUSY
            text = f"HTTP {error.code} {' '.join(str(error.reason).split())[:_QUOTED]}"
            raise (BrokenError if broken else RefusedError)(text) from error
        except urllib.error.URLError as error:  # no connection at all, which waiting does not mend
            raise RefusedError(f"no connection ({error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(f"no answer ({self._reason(error)})") from error
        if self._watch.expired:  # in the middle of the headers, whose end it looked like
            self._response.close()
            raise BrokenError(f"no answer ({self._watch})")
        headers = self._response.headers
        self.start, self.length = 0, _number(headers.get("Content-Length"))
        if self._response.status == 206:
            range_sent = re.match(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})$", headers.get("Content-Range", ""), re.ASCII)
            if range_sent is None or not offset:
                self._response.close()
                raise RefusedError("sent a part of the file in a way that cannot be understood")
            self.start, self.length = int(range_sent[1]), int(range_sent[2])
        self.version = headers.get("ETag") or headers.get("Last-Modified")
        self.media_type = headers.get_content_type()
        self.head = self._beginning()

    def _beginning(self) -> bytes:
        """As much as is needed to tell what it is."""
        head = b""
        while len(head) < _BLOCK and (block := self._read(_BLOCK - len(head))):
            head += block
        return head

    def _read(self, size: int = _BLOCK) -> bytes:
        self._watch.wait()
        try:
            block = self._response.read1(size)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an odd size of a chunk
            self._response.close()
            raise BrokenError(f"the connection broke ({self._reason(error)})") from error
        if not block and self._watch.expired:  # which looks like the end of the file
            raise BrokenError(f"the connection broke ({self._watch})")
        self._watch.note(len(block))
        return block

    def _reason(self, error: Exception) -> str:
        return str(self._watch) if self._watch.expired else str(error)[:_QUOTED] or type(error).__name__

    def _is_page(self) -> bool:
        # Some servers call every file text/html, so the name alone does not make it one.
        named = self.media_type == "text/html" and self.head.lstrip().startswith(b"<")
        return self.start == 0 and (named or looks_like_page(self.head))

    def _read_page(self) -> WebPage:
        with self._response:
            return read_page(self._response.url, self.head)


def size_of(url: str, timeout: float = 30.0) -> int | None:
    """How many bytes `url` would send, or None if its server does not say."""
    watch = _Watch(timeout)
    try:
        with _ask(direct_url(url), "HEAD", timeout, watch) as response:
            return _number(response.headers.get("Content-Length"))
    except (OSError, http.client.HTTPException, RefusedError):
        return None
    finally:
        watch.end()


def answers(url: str, timeout: float) -> bool:
    """Whether there is a server at `url` at all."""
    watch = _Watch(timeout)
    try:
        _ask(url, "HEAD", timeout, watch).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except (OSError, http.client.HTTPException, RefusedError):
        return False
    finally:
        watch.end()
    return True


class _Watch:
    """Cuts the connections of an exchange when too little comes for too long: single bytes keep a socket patient.

    The time between `wait` and `note` counts, and not what a slow disk takes in between.
    """

    def __init__(self, patience: float) -> None:
        self.expired = False
        self._patience, self._came, self._waited = patience, 0, 0.0
        self._since: float | None = time.monotonic()
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def __str__(self) -> str:
        return f"less than {SLOWEST} bytes a second for {self._patience:g} s"

    def wait(self) -> None:
        """More is asked for."""
        self._since = time.monotonic()

    def note(self, count: int) -> None:
        """So many bytes have come."""
        self._waited, self._since = self._waited_until_now(), None
        self._came += count
        if self._came >= SLOWEST * self._patience:
            self._came, self._waited = 0, 0.0

    def over(self, kind: Callable[..., Any]) -> Callable[..., Any]:
        """Connections of a kind whose sockets are watched."""

        def make(*arguments: Any, **options: Any) -> Any:
            connection = kind(*arguments, **options)
            connect = connection.connect

            def connect_and_note() -> None:
                connect()
                self._sockets.append(connection.sock)

            connection.connect = connect_and_note
            return connection

        return make

    def end(self) -> None:
        """The exchange is over."""
        self._over.set()

    def _waited_until_now(self) -> float:
        since = self._since
        return self._waited + (0.0 if since is None else time.monotonic() - since)

    def _run(self) -> None:
        while not self._over.wait(min(1.0, self._patience / 10)):
            if self._waited_until_now() > self._patience:
                self.expired = True
                for connected in self._sockets:
                    with contextlib.suppress(OSError):
                        connected.shutdown(socket.SHUT_RDWR)


class _Watched(urllib.request.AbstractHTTPHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> http.client.HTTPResponse:
        return super().do_open(self._watch.over(http_class), req, **options)


class _Plain(_Watched, urllib.request.HTTPHandler):
    pass


class _Secure(_Watched, urllib.request.HTTPSHandler):
    pass


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, origin: str) -> None:
        self._origin = origin

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check(newurl, self._origin)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.close()  # urllib would read what the server sends beside the address, which may have no end
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _ask(
    url: str,
    method: str,
    timeout: float,
    watch: _Watch,
    offset: int = 0,
    cookies: CookieJar | None = None,
    origin: str | None = None,
) -> http.client.HTTPResponse:
    """The answer of a server; `origin` is the address that led to `url`.

    Raises:
        RefusedError: if it leads where a download must not.
        OSError, http.client.HTTPException: if there is no answer, or none that is good.
    """
    origin = origin or url
    _check(url, origin)
    opener = urllib.request.OpenerDirector()  # knows these alone: no files, no ftp
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPCookieProcessor(cookies),
        _Redirects(origin),
        _Plain(watch),
        _Secure(watch),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", f"gfnet-bench/{__version__}")]
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    try:
        request = urllib.request.Request(url, method=method, headers=headers)
        response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    except (http.client.InvalidURL, ValueError) as error:  # of a redirect, perhaps
        raise RefusedError(f"it leads to an address that cannot be understood ({str(error)[:_QUOTED]})") from error
    return response


def _check(url: str, origin: str) -> None:
    """Make sure that a download which began at `origin` may go to `url`.

    Raises:
        RefusedError: if not.
    """
    try:
        parts, host = urlsplit(url), urlsplit(url).hostname
        began = urlsplit(origin).hostname
    except ValueError as error:
        raise RefusedError(f"it leads to an address that cannot be understood ({error})") from error
    if parts.scheme not in ("http", "https") or not host:
        raise RefusedError(f"it leads to {url[:_QUOTED]!r}, expected an address of http or https")
    if _is_internal(host) and not _is_internal(began or ""):
        raise RefusedError(f"it leads to {host[:_QUOTED]!r}, into this machine or its network")


def _is_internal(host: str) -> bool:
    """Whether an address, in any of its spellings, is not one of the internet."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        number = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)[0][4][0]
    except (OSError, ValueError):  # a name
        return False
    address = ipaddress.ip_address(str(number).partition("%")[0])
    return not (getattr(address, "ipv4_mapped", None) or address).is_global


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text, re.ASCII) else None
