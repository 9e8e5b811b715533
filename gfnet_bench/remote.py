"""One file on a server, opened for reading from some byte on."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from types import TracebackType

from gfnet_bench import __version__
from gfnet_bench.webpage import WebPage, direct_url, looks_like_page, read_page

_BLOCK = 1 << 18
_PAGE = 1 << 20  # more of a page than this is not read
_BUSY = (408, 425, 429)


class RefusedError(Exception):
    """This address does not give the file, and asking again will not help."""


class BrokenError(Exception):
    """The transfer broke off; another attempt may bring the rest."""


class RemoteFile:
    """The answer to "send me this file from byte `offset` on".

    Redirects are followed, and so is a page that only asks whether one really wants the file.

    Attributes:
        start: the byte the answer begins with: 0 if the server sends all of the file nevertheless.
        length: the size of the whole file in bytes, if the server says.
        version: the server's mark for this state of the file (ETag or time of change), if it has one.
        head: the first bytes of the answer.
        media_type: what the server calls it.
    """

    def __init__(self, url: str, offset: int = 0, timeout: float = 30.0) -> None:
        self._cookies = CookieJar()
        self._timeout = timeout
        self._open(direct_url(url), offset)
        if self._is_page():
            page = self._read_page()
            confirmed = page.confirmation(self._cookies)
            if confirmed is None:
                raise RefusedError(str(page))
            self._open(confirmed, offset)
            if self._is_page():
                raise RefusedError(str(self._read_page()))

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._response.close()

    def blocks(self) -> Iterator[bytes]:
        """The bytes from `start` on, as they come; they may end early without an error."""
        block = self.head
        while block:
            yield block
            block = self._read(_BLOCK)

    def _open(self, url: str, offset: int) -> None:
        try:
            self._response = _ask(url, "GET", self._timeout, offset, self._cookies)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and offset:  # nothing beyond `offset`: the file has become another one
                return self._open(url, 0)
            broken = error.code >= 500 or error.code in _BUSY
            text = f"HTTP {error.code} {' '.join(error.reason.split())}"
            raise (BrokenError if broken else RefusedError)(text) from error
        except urllib.error.URLError as error:  # no connection at all, which waiting does not mend
            raise RefusedError(f"no connection ({error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(f"no answer ({error or type(error).__name__})") from error
        headers = self._response.headers
        self.start, self.length = 0, _number(headers.get("Content-Length"))
        if self._response.status == 206:
            range_sent = re.match(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
            if range_sent is None or not offset:
                self._response.close()
                raise RefusedError("sent a part of the file in a way that cannot be understood")
            self.start, self.length = int(range_sent[1]), int(range_sent[2])
        self.version = headers.get("ETag") or headers.get("Last-Modified")
        self.media_type = headers.get_content_type()
        self.head = self._read(_BLOCK)

    def _read(self, size: int) -> bytes:
        try:
            return self._response.read(size)
        except (OSError, http.client.HTTPException) as error:
            self._response.close()
            raise BrokenError(f"the connection broke ({error or type(error).__name__})") from error

    def _is_page(self) -> bool:
        # Some servers call every file text/html, so the name alone does not make it one.
        named = self.media_type == "text/html" and self.head.lstrip().startswith(b"<")
        return self.start == 0 and (named or looks_like_page(self.head))

    def _read_page(self) -> WebPage:
        with self:
            return read_page(self._response.url, self.head + self._read(_PAGE))


def size_of(url: str, timeout: float = 30.0) -> int | None:
    """How many bytes `url` would send, or None if its server does not say."""
    try:
        with _ask(direct_url(url), "HEAD", timeout) as response:
            return _number(response.headers.get("Content-Length"))
    except (OSError, http.client.HTTPException):
        return None


def _ask(
    url: str, method: str, timeout: float, offset: int = 0, cookies: CookieJar | None = None
) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    opener.addheaders = [("User-Agent", f"gfnet-bench/{__version__}")]
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    response: http.client.HTTPResponse = opener.open(
        urllib.request.Request(url, method=method, headers=headers), timeout=timeout
    )
    return response


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
