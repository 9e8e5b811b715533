"""Code of one's own, `FILE.py` or `PACKAGE.MODULE`, and `FILE.py:FACTORY` in it: where it is, and its hash.

Nothing is run here, but for the `__init__` of packages that a module is in.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnet_bench.downloads.checksum import sha256_of
from gfnet_bench.errors import UsageError, about
from gfnet_bench.files import resolved

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
ALIAS = "gfnet_bench_own_"
"""What the names of modules begin with that were files: see `owncode.module_of`."""

_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Code:
    """Code of one's own.

    Attributes:
        place: `FILE.py`, or `PACKAGE.MODULE`.
    """

    place: str

    @property
    def is_file(self) -> bool:
        """Whether `place` is the path of a file."""
        return self.place.endswith(".py")

    def __str__(self) -> str:
        return self.place

    @property
    def file(self) -> Path:
        """The file it is in.

        Raises:
            UsageError: if there is none.
        """
        if self.is_file:
            if Path(self.place).is_file():
                return Path(self.place)
            raise UsageError(f"{self}: expected Python code at {self.place}, found no such file; check the path")
        with importable(Path.cwd()):
            try:
                spec = importlib.util.find_spec(self.place)
            except (ImportError, ValueError) as error:  # a package on the way to it is missing, or is none
                raise UsageError(f"{self}: expected a module {self.place}, found none ({error})") from error
        if spec is None:
            raise UsageError(f"{self}: expected a module {self.place}, found none here or installed")
        if spec.origin is None or not spec.origin.endswith(".py"):
            raise UsageError(f"{self}: expected a module of Python code, found {spec.origin or 'a folder'}")
        return Path(spec.origin)

    @property
    def root(self) -> Path:
        """The folder from which its file is imported."""
        return self.file.parents[0 if self.is_file else self._depth]

    @property
    def _depth(self) -> int:
        return self.place.count(".") + (self.file.name == "__init__.py")

    def sources(self) -> list[Path]:
        """Its file, and what that imports from the same folder or package, and so on; as the code says, not as it runs.

        Of an installed module its file alone: a package has a version, and hundreds of files.
        """
        file, root = self.file, self.root
        if root.name in _INSTALLED:
            return [file]
        waiting = [file, *([] if self.is_file else _files_of(root, self.place.split(".")))]  # with packages it is in
        found = dict.fromkeys(waiting)
        while waiting:
            at = waiting.pop()
            for name in _imports(at, at.relative_to(root).parts[:-1]):
                if name[:1] == [__package__]:  # which has a version and a commit, wherever it lies
                    continue
                for near in _files_of(root, name):
                    if near not in found:
                        found[near] = None
                        waiting.append(near)
        return sorted(found)

    def sha256(self) -> str:
        """The hash of its file; with others that it imports, the hash of theirs and their names."""
        with about(self.place):
            files = self.sources()
            if len(files) == 1:
                return sha256_of(files[0])
            lines = [f"{sha256_of(file)}  {file.relative_to(self.root).as_posix()}\n" for file in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Factory(Code):
    """A callable that builds a network.

    Attributes:
        attribute: its name in there; dots lead into a class.
    """

    attribute: str

    def __str__(self) -> str:
        return f"{self.place}:{self.attribute}"

    @classmethod
    def of(cls, made: Callable[..., Any]) -> Factory:
        """The factory that a function or class at the top of a file is."""
        module = made.__module__
        return cls(str(sys.modules[module].__file__) if module.startswith(ALIAS) else module, made.__qualname__)


class importable:
    """A block in which modules are looked for in a folder too: first, as Python does for a script that it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(resolved(folder))

    def __enter__(self) -> None:
        sys.path.insert(0, self._folder)
        importlib.invalidate_caches()  # a file may be younger than what the import system last saw of its folder

    def __exit__(self, *error: object) -> None:
        if self._folder in sys.path:
            sys.path.remove(self._folder)


def factory_of(name: str) -> Factory | None:
    """The factory that a model's name says, `./mynet.py:Net` or `package.module:make`; None for a name of another kind.

    The path of a file is freed of what does not change it, so that `./mynet.py` and `mynet.py` are one model.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not re.fullmatch(_NAME, attribute):
        return None
    if place.endswith(".py"):
        return Factory(os.path.normpath(place), attribute)
    return Factory(place, attribute) if re.fullmatch(_NAME, place) else None


def _imports(file: Path, package: tuple[str, ...]) -> Iterator[list[str]]:
    """What a file imports, each as the parts of its dotted name."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):  # running it says it better
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            yield from ([*base, alias.name] for alias in node.names)


def _files_of(root: Path, name: list[str]) -> Iterator[Path]:
    """The files that importing a dotted name runs, of those below a folder."""
    for end in range(1, len(name) + 1):
        place = root.joinpath(*name[:end])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                yield file
                break
