from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_server import Reply, Server, page, serve

from gfnet_bench.catalog import Weights
from gfnet_bench.errors import GfnetBenchError, MissingError
from gfnet_bench.models.weights import fetch_weights, sha256_of

CHECKPOINT = b"PK\x03\x04 as torch saves it" * 50


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("GFNET_BENCH_CACHE", str(tmp_path))
    with serve(monkeypatch) as running:
        yield running


def weights(*urls: str, sha256: str | None = None) -> Weights:
    return Weights("gfnet-s.pth", urls, sha256, "raoyongming/GFNet, official release", 0.8)


def test_the_checkpoint_lands_in_the_cache_with_its_checksum(server: Server, tmp_path: Path) -> None:
    page_only = server.put("/a", Reply(page("Sign in"), media_type="text/html"))
    path = fetch_weights(weights(page_only, server.put("/b", CHECKPOINT)), "gfnet_s", progress=False)
    assert path == tmp_path / "checkpoints" / "gfnet-s.pth"
    assert sha256_of(path) == hashlib.sha256(CHECKPOINT).hexdigest()
    assert path.with_name("gfnet-s.pth.sha256").read_text().split() == [sha256_of(path), "gfnet-s.pth"]


def test_messages_name_the_model(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"gfnet_s: no weights at .*gfnet-s.pth, .*HTTP 404"):
        fetch_weights(weights(server.url + "/gone"), "gfnet_s", progress=False)
    (tmp_path / "checkpoints" / "gfnet-s.pth").write_bytes(CHECKPOINT)
    with pytest.raises(GfnetBenchError, match=r"gfnet_s: weights have sha256 .*\.\.\., expected 41ab41ab41ab\.\.\."):
        fetch_weights(weights(server.url, sha256="41ab" * 16), "gfnet_s", progress=False)
