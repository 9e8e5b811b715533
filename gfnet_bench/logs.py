"""What a process did, line by line: a JSON object an event, in a file of its own beside the records.

Each process has its own file, which it alone writes: two that start in the same second keep both their logs, and lines
of several machines never mix on a network file system.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FOLDER = "log"


class Log:
    """The log of this process in a results folder; its file is made with the first event.

    What cannot be logged is lost, and nothing else: a full disk must not end a measurement that still has its numbers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER
        self._handle: int | None = None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def note(self, event: str, **fields: Any) -> None:
        """Write a line: when, what, and what more there is to say of it."""
        now = datetime.now(timezone.utc)
        told = {"time": now.isoformat(timespec="milliseconds"), "event": event, **fields}
        with contextlib.suppress(OSError):
            if self._handle is None:
                self._handle = self._begun(now)
            os.write(self._handle, f"{json.dumps(told, ensure_ascii=False)}\n".encode(errors="replace"))

    def _begun(self, now: datetime) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{now:%Y%m%dT%H%M%S}-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        return os.open(self.folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o666)
