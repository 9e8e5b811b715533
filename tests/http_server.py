"""A web server on this machine that misbehaves as told."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest


@dataclass(frozen=True)
class Reply:
    """How to answer one request."""

    body: bytes = b""
    status: int = 200
    media_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True  # honour a Range header
    says_length: bool = True
    cut: int | None = None  # end after so many bytes although more were promised
    stall: bool = False  # go silent there instead
    raw: Iterable[bytes] | None = None  # send these instead of all the above, and nothing else
    pause: float = 0.0  # seconds between them


def page(title: str, body: str = "") -> bytes:
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{body}</body></html>".encode()


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


class Server:
    """Answers a path with its replies in turn, the last of them for ever."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.url = ""

    def put(self, path: str, *replies: Reply | bytes) -> str:
        self.replies[path] = [r if isinstance(r, Reply) else Reply(r) for r in replies]
        return self.url + path

    def ranges(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [request.headers.get("range") for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    owner: Server

    def do_GET(self) -> None:
        owner = self.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        owner.requests.append(Request(self.command, self.path, headers))
        replies = owner.replies.get(self.path) or owner.replies.get(self.path.partition("?")[0]) or [Reply(status=404)]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply.raw is not None:
            self._send_raw(reply)
            return
        status, body, more = reply.status, reply.body, {}
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if wanted and reply.ranges and status == 200:
            start = int(wanted[1])
            status, body = (206, body[start:]) if start < len(body) else (416, b"")
            more = {"Content-Range": f"bytes {start}-{len(reply.body) - 1}/{len(reply.body)}"}
        self.send_response(status)
        self.send_header("Content-Type", reply.media_type)
        if reply.says_length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in (reply.headers | more).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[: reply.cut])
            self.wfile.flush()
            if reply.stall:
                owner.closing.wait(5)

    def _send_raw(self, reply: Reply) -> None:
        with contextlib.suppress(OSError):
            for piece in reply.raw or ():
                self.wfile.write(piece)
                self.wfile.flush()
                if self.owner.closing.wait(reply.pause):
                    return

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server; the environment's proxies, if any, stay out of the way."""
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    owner = Server()
    handler = type("Handler", (_Handler,), {"owner": owner})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        owner.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield owner
        finally:
            owner.closing.set()
            http.shutdown()
            thread.join()
