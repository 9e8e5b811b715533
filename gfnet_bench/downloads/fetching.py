"""Fetching a file: from several addresses, resumed, verified, and under its own name only once it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gfnet_bench.bars import tqdm
from gfnet_bench.downloads.checksum import Checksum, pin, pinned
from gfnet_bench.downloads.remote import BrokenError, RefusedError, RemoteFile
from gfnet_bench.downloads.webpage import looks_like_page, read_page
from gfnet_bench.errors import GfnetBenchError, MissingError, remedy
from gfnet_bench.filetypes import HEAD, file_type

try:
    import fcntl
except ImportError:  # Windows, where two processes must not fetch the same file at once
    fcntl = None  # type: ignore[assignment]

PAUSES = (1.0, 4.0, 15.0)  # seconds before each further attempt at a broken transfer
NOUNS = {"checkpoint": "weights", "archive": "archive", "json": "JSON file", "image": "picture", "file": "file"}

# Bytes that no file of a kind has; where its size is published, twice that, which may be rounded, and a megabyte.
LARGEST = {"checkpoint": 32 << 30, "archive": 64 << 30, "json": 1 << 28, "image": 1 << 26, "file": 64 << 30}


def cache_dir() -> Path:
    """Where downloads live: GFNET_BENCH_CACHE, else `gfnet_bench` under TORCH_HOME, by default ~/.cache/torch."""
    if own := os.environ.get("GFNET_BENCH_CACHE"):
        return Path(own).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or Path(cache, "torch")).expanduser() / "gfnet_bench"


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    label: str | None = None,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    expect: str = "checkpoint",
    progress: bool = True,
    timeout: float = 30.0,
) -> Path:
    """The file at `target`, fetched first if it is not there, and verified each time.

    A file put there by hand is as good as a fetched one. Where no checksum is published, the sha256 of the first file
    seen is noted beside it and holds from then on.

    Args:
        urls: addresses of the same file, tried in turn; links as Google Drive shares them will do.
        target: where the file belongs; an unfinished one waits beside it as `<target>.part`.
        label: what messages call it; the file's name by default.
        sha256: the published checksum, if there is one.
        md5: likewise; it counts only where there is no sha256.
        size: the published size in bytes, perhaps rounded; a server that sends much more is not listened to.
        expect: "checkpoint", "archive", "json" or "image": a file that does not begin like one is not kept; "file" for
            any other, of which only a page is told.
        progress: show a bar on stderr.
        timeout: seconds of silence, or of next to nothing, after which a connection counts as broken.

    Returns:
        `target`.

    Raises:
        MissingError: no address gave the file; the text says how to get it by hand.
        GfnetBenchError: the file is not the one expected, or the disk cannot take it.
    """
    published = Checksum("sha256", sha256) if sha256 else Checksum("md5", md5) if md5 else None
    most = LARGEST[expect] if size is None else 2 * size + (1 << 20)
    job = _Job(label or target.name, target, expect, published or pinned(target), most, progress, timeout)
    try:
        if not target.is_file():
            make_room(target.parent, 0, job.label)
            with alone(target):
                if not target.is_file():  # another process may have brought it meanwhile
                    job.fetch(urls)
                    return target
    except OSError as error:
        raise GfnetBenchError(
            f"{job.label}: cannot write {target} ({error.strerror or error}); {remedy(error)}, "
            "what has arrived is kept."
        ) from error
    job.verify()
    return target


def readable(size: float) -> str:
    """A number of bytes for people: "1.3 GB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"


def make_room(folder: Path, size: int, label: str) -> None:
    """Make `folder` if need be, and make sure that `size` more bytes fit into it.

    Raises:
        GfnetBenchError: if it cannot be made, or they do not fit.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise GfnetBenchError(f"{label}: cannot use {folder} ({error.strerror}); choose another folder.") from error
    if size > free:
        raise GfnetBenchError(
            f"{label}: needs {readable(size)} in {folder}, found {readable(free)} free; "
            "free some space or choose another folder."
        )


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let no other process make `path` meanwhile (it waits); a process that dies lets go by itself."""
    lock = path.with_name(path.name + ".lock")
    while fcntl is not None:
        with lock.open("ab") as file:
            _wait_for(file.fileno(), path)
            if not _still_there(lock, file.fileno()):
                continue  # the holder before us was done and removed it: a lock on it keeps nobody out
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
    yield


def _wait_for(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tqdm.write(f"{path.name}: another process is at work on it; waiting", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        pass  # some clusters mount file systems that have no locks


def _still_there(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _problem(head: bytes, expect: str) -> str | None:
    """Why a file that begins like this is not what was expected, or None."""
    if looks_like_page(head):
        return str(read_page("", head))
    begins = {
        "checkpoint": head.startswith((b"PK", b"\x80")) or head[5:9] == b"\0\0\0{",  # torch, older torch, safetensors
        "archive": head.startswith((b"PK", b"\x1f\x8b")) or head[257:262] == b"ustar",
        "json": head.lstrip().startswith((b"{", b"[")),
        "image": head.startswith((b"\x89PNG", b"\xff\xd8")),
        "file": True,
    }
    if begins[expect]:
        return None
    kind = file_type(head[:HEAD])
    if kind is not None:
        return f"received {kind.name} instead of the file"
    return f"received a file that begins {head[:24]!r}, which no {NOUNS[expect]} does"


@dataclass(frozen=True)
class _Arrival:
    """What a `.part` file is a part of: only the same version of the same file may be added to it."""

    url: str
    version: str | None
    length: int | None


@dataclass(frozen=True)
class _Job:
    """One file to fetch."""

    label: str
    target: Path
    expect: str
    checksum: Checksum | None
    most: int
    progress: bool
    timeout: float

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    def fetch(self, urls: Sequence[str]) -> None:
        """Bring the file from the first address that gives it; the one that gave a part already goes first."""
        begun = self._begun()
        problems = []
        for url in sorted(urls, key=lambda url: begun is None or url != begun.url):
            try:
                self._transfer(url)
                self._check_part()
            except RefusedError as error:
                problems.append(f"{url}: {error}")
            else:
                self.part.replace(self.target)
                self.note.unlink(missing_ok=True)
                if self.checksum is None:
                    self.verify()
                return
        raise MissingError(
            f"{self.label}: no {NOUNS[self.expect]} at {self.target}, and no address gave it ({'; '.join(problems)}); "
            "fetch it by hand from one of them and put it there."
        )

    def verify(self) -> None:
        """Hold the finished file against its checksum; the first one seen of an unpublished kind sets it."""
        if self.checksum is None:
            with self.target.open("rb") as file:
                problem = _problem(file.read(1 << 16), self.expect)
            if problem:
                raise GfnetBenchError(f"{self.label}: {problem} ({self.target}); delete the file to fetch it again.")
            pin(self.target)
        elif difference := self.checksum.difference(self.target):
            have = "have" if self.expect == "checkpoint" else "has"
            raise GfnetBenchError(
                f"{self.label}: {NOUNS[self.expect]} {have} {difference}; delete the file to fetch it again "
                f"({self.target})."
            )

    def _check_part(self) -> None:
        if self.checksum is not None and (difference := self.checksum.difference(self.part)):
            self._discard()
            note = self.checksum.note
            advice = f" (noted at the first download; delete {note} to accept another file)" if note else ""
            raise RefusedError(f"received a file with {difference}{advice}")

    def _transfer(self, url: str) -> None:
        for pause in (*PAUSES, None):
            try:
                return self._attempt(url)
            except BrokenError as error:
                if pause is None:
                    raise RefusedError(f"{error}, {len(PAUSES) + 1} times") from error
                time.sleep(pause)

    def _attempt(self, url: str) -> None:
        """Bring what is missing of the part, or all of it if the part is of something else."""
        begun = self._begun()
        if begun is None or begun.url != url or not (begun.version or self.checksum):
            offset = 0  # nothing there that can be told to belong to this file
        else:
            offset = self.part.stat().st_size
            if offset == begun.length:
                return
        with RemoteFile(url, offset, self.timeout) as remote:
            arrival = _Arrival(url, remote.version, remote.length)
            if remote.start == 0 or (remote.start == offset and arrival == begun):
                return self._receive(remote, arrival)
        self._discard()
        return self._attempt(url)

    def _receive(self, remote: RemoteFile, arrival: _Arrival) -> None:
        cut_short = len(remote.head) < min(512, arrival.length or 0)  # too early to judge, and reported below
        if remote.start == 0 and not cut_short and (problem := _problem(remote.head, self.expect)):
            raise RefusedError(problem)
        most = self.most if arrival.length is None else arrival.length
        if most > self.most:
            raise RefusedError(f"announces {readable(most)}, expected at most {readable(self.most)}")
        if arrival.length is not None:
            make_room(self.target.parent, arrival.length - remote.start, self.label)
        too_much = False
        with self.part.open("ab" if remote.start else "wb") as file:
            self.note.write_text(json.dumps(asdict(arrival)))
            with self._bar(remote.start, arrival.length) as bar:
                for block in remote.blocks():
                    if file.tell() + len(block) > most:
                        too_much = True
                        break
                    file.write(block)
                    bar.update(len(block))
            arrived = file.tell()
        if too_much:
            self._discard()
            raise RefusedError(f"sends more than {readable(most)}{'' if arrival.length is None else ', as announced'}")
        if arrival.length is not None and arrived < arrival.length:
            raise BrokenError(f"the connection ended after {arrived} of {arrival.length} bytes")

    def _bar(self, start: int, length: int | None) -> tqdm[None]:
        return tqdm(
            desc=self.label,
            initial=start,
            total=length,
            unit="B",
            unit_scale=True,
            mininterval=1.0,
            disable=not self.progress,
        )

    def _begun(self) -> _Arrival | None:
        """What the part on disk is a part of, or None if there is none worth keeping."""
        try:
            return _Arrival(**json.loads(self.note.read_text())) if self.part.stat().st_size else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
