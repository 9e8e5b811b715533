from __future__ import annotations

import random
from http.cookiejar import CookieJar

import pytest

from gfnet_bench.catalog import MODELS
from gfnet_bench.downloads.webpage import direct_url, looks_like_page, read_page

DIRECT = "https://drive.usercontent.google.com/download?id=1_xrf-C7c&export=download&confirm=t"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://drive.google.com/file/d/1_xrf-C7c/view?usp=sharing", DIRECT),
        ("https://drive.google.com/file/d/1_xrf-C7c", DIRECT),
        ("https://drive.google.com/open?id=1_xrf-C7c", DIRECT),
        ("https://drive.google.com/uc?export=download&id=1_xrf-C7c", DIRECT),
        (DIRECT, DIRECT),
        ("https://cloud.tsinghua.edu.cn/f/3d0c1579aa524a0a99dd/?dl=1",) * 2,
        ("https://example.org/drive.google.com/file/d/1_xrf-C7c",) * 2,
    ],
)
def test_links_people_share_become_links_to_the_file(url: str, expected: str) -> None:
    assert direct_url(url) == expected


def test_the_links_of_the_catalog_lead_to_files() -> None:
    weights = [MODELS[name].weights for name in MODELS]
    urls = [direct_url(url) for w in weights if w is not None for url in w.urls]
    assert len([url for url in urls if url.startswith("https://drive.usercontent.google.com/download?id=1")]) == 7
    assert not [url for url in urls if "//drive.google.com" in url or not url.startswith("https://")]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"<!DOCTYPE html>", True),
        (b"\xef\xbb\xbf\r\n <HTML lang=en>", True),
        (b"<!-- cached --><html>", True),
        (b"PK\x03\x04<html>", False),
        (b"\x80\x02}q\x00", False),
        (b"", False),
    ],
)
def test_a_page_is_known_by_its_beginning(head: bytes, expected: bool) -> None:
    assert looks_like_page(head) is expected


def test_a_confirmation_keeps_to_the_page_it_stands_on() -> None:
    form = b'<form action="get?x=1"><input name="confirm" value="a&b"><input type="submit"></form>'
    assert read_page("https://h.org/d/page", form).confirmation(CookieJar()) == "https://h.org/d/get?confirm=a%26b"


def test_a_form_that_asks_something_else_is_no_confirmation() -> None:
    page = read_page(
        "https://h.org/login", b'<form action="/login"><input name="password"></form><a href="/help">?</a>'
    )
    assert page.confirmation(CookieJar()) is None
    assert str(page) == "received the web page '(without a title)' instead of the file"


def test_no_page_is_too_broken_to_be_read() -> None:
    rng = random.Random(0)
    pieces = [
        "<",
        "!",
        "--",
        ">",
        "a",
        "[",
        "CDATA[",
        "/",
        "title",
        "form",
        "input",
        " ",
        "=",
        "'",
        '"',
        "&",
        "#",
        "]]",
    ]
    pieces += ["?", "script", "<a href='http://[?confirm=1'>", "<form action='http://[x'><input name=confirm>", "\0"]
    for _ in range(3000):
        content = "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 25)))
        page = read_page("https://h.org/page", content.encode())
        address = page.confirmation(CookieJar())
        assert address is None or "confirm" in address
        assert len(str(page)) < 200


def test_a_broken_link_does_not_hide_the_one_that_confirms() -> None:
    page = read_page("https://h.org/page", b"<a href='http://[?confirm=1'>x</a><a href='/get?confirm=2'>Download</a>")
    assert page.confirmation(CookieJar()) == "https://h.org/get?confirm=2"
