"""Who works on what in a folder that several processes share, on one machine or on many whose clocks differ.

A worker has a file with a counter that a thread of it raises; a cell that it works on has a file that names the worker.
Both lie in `.leases` of the results. A file of a name is made by one process alone, so that a cell has one worker. One
whose counter stood still for the time of a lease, by the clock of the one who looks, is taken for dead: its cell goes
to whoever makes the file of the next number. On the same machine a lock that the system lets go tells its end at once.

No lease is needed for what is right: records appear whole, and a cell is looked at again once it is taken. It keeps two
workers from the same work.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gfnet_bench import timelimits

try:
    import fcntl
except ImportError:  # Windows, where the counter alone tells
    fcntl = None  # type: ignore[assignment]

FOLDER = ".leases"
STACK = ".stack"
"""Ends the name of the file that says where a worker stood when a time limit ended it."""

LEASE_S = 120.0
"""A counter that stood still so long is a dead worker's; a network file system may show a change a minute late."""


class Leases:
    """The leases of one worker. A block, after which they are given back; the thread starts with the first of them.

    Args:
        folder: the results.
        lease_s: seconds without a change after which another worker is taken for dead.
        clock: seconds that only grow; what it starts at does not matter.
        renews: raise the counter in a thread; without, `renew` does it.
    """

    def __init__(
        self,
        folder: Path,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.monotonic,
        *,
        renews: bool = True,
    ) -> None:
        self.folder = folder / FOLDER
        self._lease_s, self._clock, self._renews = lease_s, clock, renews
        self._name = f"worker-{secrets.token_hex(8)}"
        self._handle: int | None = None
        self._counter = 0
        self._about: dict[str, Any] = {}
        self._held: dict[str, int] = {}
        self._seen: dict[str, tuple[Any, float]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._renewing = threading.Lock()

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, kind: object = None, *error: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):  # what stays is a dead worker's, and the error at hand matters more
            for key in list(self._held):
                self.give_back(key)
        if self._handle is not None:
            with contextlib.suppress(OSError):
                (self.folder / self._name).unlink()
            self._leave()
        with contextlib.suppress(OSError):
            if kind is None:
                self._sweep()
        with contextlib.suppress(OSError):  # others are at work
            self.folder.rmdir()

    def take(self, key: str, text: str = "") -> bool:
        """Take a lease unless a worker that is alive has it, or another is quicker.

        Args:
            key: what is worked on, as part of a file's name.
            text: the same, for people.

        Raises:
            OSError: if the folder cannot be written to.
        """
        self._arrive()
        number = max(self._numbers(key), default=-1)
        if number >= 0 and not self._is_dead(key, number):
            return False
        try:
            handle = os.open(self._file(key, number + 1), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        except FileNotFoundError:  # the results were removed under this worker, its own file with them
            self._leave()
            return self.take(key, text)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"worker": self._name, "at": text, **self._about}, file)
        self._held[key] = number + 1
        return True

    def give_back(self, key: str) -> None:
        """Let others take it: those that find no record of it will. A lease that was lost meanwhile is the other's."""
        last = self._held.pop(key)
        for number in sorted(self._numbers(key)):  # the newest last: as long as it is there, it counts
            if number <= last:
                self._file(key, number).unlink(missing_ok=True)

    @contextlib.contextmanager
    def within(self, seconds: float | None, keys: Sequence[str], text: str) -> Iterator[None]:
        """End this process unless the block ends in time; where it `stood` is told to who takes these leases then.

        Args:
            seconds: how long it may take; None for ever.
            keys: what is worked on.
            text: said on stderr then.
        """
        if seconds is None:
            yield
            return
        self._arrive()
        with timelimits.within(seconds, self.folder / f"{self._name}{STACK}", keys, text):
            yield

    def stood(self, key: str) -> list[str]:
        """Where each worker stood that a time limit ended over this, before the one who has the lease now."""
        before = (number for number in self._numbers(key) if number < self._held[key])
        workers = (str(read(self._file(key, number)).get("worker")) for number in sorted(before))
        found = (timelimits.stood(self.folder / f"{worker}{STACK}", key) for worker in workers)
        return [place for place in found if place is not None]

    def renew(self) -> None:
        """Show that this worker is alive."""
        # On a full disk a worker is taken for dead, and can save nothing either.
        with self._renewing, contextlib.suppress(OSError):
            if self._handle is None:
                return
            self._counter += 1
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, f"{self._counter:012} {self._about.get('boot')}\n".encode())
            os.fsync(self._handle)  # a network file system shows others what was written through

    def _arrive(self) -> None:
        """Make the file of this worker; the folder may be removed by one that leaves."""
        draft = self.folder / f".{self._name}"  # nobody sees it before it is locked and says of which machine it is
        while self._handle is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
                self._about = {"host": platform.node(), "pid": os.getpid(), "boot": _boot() if self._locks() else None}
                self.renew()
                draft.rename(self.folder / self._name)
            except FileNotFoundError:
                self._leave()
        if self._renews and self._thread is None:
            self._thread = threading.Thread(target=self._renew_always, name="leases", daemon=True)
            self._thread.start()

    def _leave(self) -> None:
        """Let go of the file of this worker."""
        with self._renewing:
            handle, self._handle = self._handle, None
            if handle is not None:
                os.close(handle)

    def _sweep(self) -> None:
        """Remove what killed workers of this machine left, and what they held if nobody is at work.

        While others are, a lease that goes away could make two of them think that they have the next one. Where a
        worker stood that a time limit ended stays, for whoever tries its cell once more.
        """
        names = set(_listed(self.folder))
        for draft in (name for name in names if name.startswith(".worker-")):  # one that is alive makes it once more
            (self.folder / draft).unlink(missing_ok=True)
        names = {name for name in names if not name.startswith(".")}
        workers = {name for name in names if name.startswith("worker-") and not name.endswith(STACK)}
        dead = {name for name in workers if has_ended(self.folder, {"worker": name, "boot": self._boot_of(name)})}
        holders = {
            name: str(read(self.folder / name).get("worker")) for name in names if not name.startswith("worker-")
        }
        late = {name for name in dead if f"{name}{STACK}" in names}
        for name, holder in holders.items() if dead == workers else ():
            if holder not in late:  # nor one that was killed before it wrote its name
                (self.folder / name).unlink(missing_ok=True)
        for name in dead - (late & set(holders.values())):
            if dead == workers or name not in holders.values():
                for file in (name, f"{name}{STACK}"):
                    (self.folder / file).unlink(missing_ok=True)

    def _boot_of(self, worker: str) -> str:
        return (_text(self.folder / worker) or "").strip().partition(" ")[2]

    def _locks(self) -> bool:
        """Lock the file of this worker, for as long as the process lives, where the file system can."""
        with contextlib.suppress(OSError):
            if fcntl is not None and self._handle is not None:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
        return False

    def _renew_always(self) -> None:
        while not self._ended.wait(self._lease_s / 12):
            self.renew()

    def _file(self, key: str, number: int) -> Path:
        return self.folder / f"{key}.{number}"

    def _numbers(self, key: str) -> list[int]:
        """How often it was taken, as files are there for that; the newest counts."""
        start = f"{key}."
        return [int(name[len(start) :]) for name in _listed(self.folder) if name.startswith(start)]

    def _is_dead(self, key: str, number: int) -> bool:
        """Whether the worker that has this lease is gone: known, or not seen to change for the time of a lease."""
        about = read(self._file(key, number))
        worker = self.folder / str(about.get("worker"))
        if has_ended(self.folder, about):
            return True
        state = number, about, _text(worker)
        now = self._clock()
        if key not in self._seen or self._seen[key][0] != state:
            self._seen[key] = state, now
        return now - self._seen[key][1] >= self._lease_s


def read(path: Path) -> dict[str, Any]:
    """What a lease says: its worker, host and process, and what it works on; empty where that is not written yet."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(_text(path) or "")
        return found if isinstance(found, dict) else {}
    return {}


def has_ended(folder: Path, about: dict[str, Any]) -> bool:
    """Whether the worker of a lease is known to have ended: it was on this machine, and its lock is gone."""
    if fcntl is None or about.get("boot") is None or about["boot"] != _boot():
        return False
    try:
        handle = os.open(folder / str(about.get("worker")), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _boot() -> str | None:
    """What one machine has from its start to its end, and no other; None where the system does not tell."""
    text = _text(Path("/proc/sys/kernel/random/boot_id"))
    return None if text is None else text.strip()
