"""What a file share sends in place of a file: telling a page from a file, and getting past a page that only asks."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

_DRIVE_ID = re.compile(r"https?://drive\.google\.com/(?:file/d/|(?:open|uc)\?(?:[^#]*&)?id=)([\w-]+)")
_LARGEST = 1 << 18  # bytes of a page that are looked at; those of file shares are smaller
_TITLE = 120  # characters
_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<!--", b"<script", b"<title")


def direct_url(url: str) -> str:
    """The address of the file behind a Google Drive link that people share; any other address is left as it is."""
    found = _DRIVE_ID.match(url)
    if found is None:
        return url
    return f"https://drive.usercontent.google.com/download?id={found[1]}&export=download&confirm=t"


def looks_like_page(head: bytes) -> bool:
    """Whether these first bytes begin an HTML page, whatever the server called them."""
    return head.lstrip(b"\xef\xbb\xbf\t\r\n ").lower().startswith(_STARTS)


@dataclass(frozen=True)
class WebPage:
    """The few things of a page that matter to somebody who wanted a file."""

    url: str
    title: str
    links: tuple[str, ...]
    forms: tuple[tuple[str, dict[str, str]], ...]
    quota_exceeded: bool

    def __str__(self) -> str:
        if self.quota_exceeded:
            return "the share's download quota for this file is used up for today"
        return f"received the web page {self.title[:_TITLE]!r} instead of the file"

    def confirmation(self, cookies: CookieJar) -> str | None:
        """The address that the page's "download anyway" leads to, wherever that is, or None if it offers none.

        Google Drive has asked in three ways so far: a form with a field `confirm`, a link with it, a cookie holding it.
        """
        for action, fields in self.forms:
            if "confirm" in fields and (address := self._address(action)):
                return address.partition("?")[0] + "?" + urlencode(fields)
        for link in self.links:
            if (address := self._address(link)) and "confirm" in parse_qs(urlsplit(address).query):
                return address
        for cookie in cookies:
            if cookie.name.startswith("download_warning") and "confirm=" not in self.url:
                return f"{self.url}{'&' if '?' in self.url else '?'}{urlencode({'confirm': cookie.value})}"
        return None

    def _address(self, link: str) -> str | None:
        """Where a link of the page leads; None where that cannot be understood."""
        try:
            return urljoin(self.url, link)
        except ValueError:
            return None


def read_page(url: str, content: bytes) -> WebPage:
    """The page at `url`."""
    text = content[:_LARGEST].decode("utf-8", errors="replace")
    reader = _Reader()
    with contextlib.suppress(AssertionError):  # HTMLParser's word for a declaration that is none
        reader.feed(text)
    title = " ".join("".join(reader.title).split()) or "(without a title)"
    quota = "quota exceeded" in title.lower() or "too many users have viewed or downloaded" in text.lower()
    return WebPage(url, title, tuple(reader.links), tuple(reader.forms), quota)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.title: list[str] = []
        self.links: list[str] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "title":
            self._in_title = True
        elif tag == "a":
            self.links.append(values.get("href", ""))
        elif tag == "form":
            self.forms.append((values.get("action", ""), {}))
        elif tag == "input" and self.forms and "name" in values:
            self.forms[-1][1][values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
