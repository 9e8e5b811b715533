"""Plug-ins: files and installed packages that bring models, data sets, attacks ... of their own.

A plug-in is Python code that, when it is imported, enters things into registries as the package's own files do. A file
is named by `--plugin FILE.py` or in `$GFNET_BENCH_PLUGINS`; a package declares entry points in the groups `GROUPS`. It
runs once, and not before a registry is listed or asked for a name that it does not have.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.files import resolved
from gfnet_bench.terminal import one_line

if TYPE_CHECKING:
    from gfnet_bench.sourcecode import Code

GROUPS = ("models", "datasets", "suites", "attacks", "corruptions", "metrics", "mixers", "reports")
"""What a plug-in can bring; the groups of entry points are called `gfnet_bench.models` and so on."""

VARIABLE = "GFNET_BENCH_PLUGINS"
"""Files that every command knows, separated as in $PATH."""


class _Registry(Protocol):
    noun: str

    def add(self, name: str, thing: Any) -> Any: ...

    def remove(self, name: str) -> None: ...

    def origin(self, name: str) -> Plugin | None: ...

    def __contains__(self, name: str) -> bool: ...

    def __getitem__(self, name: str) -> Any: ...


@dataclass(eq=False)
class Plugin:
    """Code that brings things.

    Attributes:
        name: for people, `slide.py` or `slides.attack of slides 1.2`.
        code: where it is.
        version: of the package that declares it.
        group: of its entry point; empty for a file, which may bring anything.
        thing: what an entry point is called, and the object in the module that it names, which may be none.
        sha256: of the code when it ran.
        module: what running it gave.
        things: what it entered, and where.
        error: why it could not be imported.
    """

    name: str
    code: Code
    version: str | None = None
    group: str = ""
    thing: tuple[str, str] = ("", "")
    sha256: str | None = None
    module: ModuleType | None = None
    things: list[tuple[_Registry, str]] = field(default_factory=list)
    error: str | None = None

    @property
    def noted(self) -> dict[str, str]:
        """What a record says of it: what it is called, and which version or hash its code had."""
        called = Path(self.code.place).name if self.code.is_file else self.code.place
        return {called: ", ".join(part for part in (self.version, self.sha256) if part)}

    def load(self) -> None:
        """Run it.

        Raises:
            UsageError: if that fails; nothing of what it brings is known then. The text names its line.
        """
        from gfnet_bench.owncode import module_of, running  # not before there is a plug-in: every command starts by us

        _state.running.append(self)
        try:
            self.sha256 = self.code.sha256()
            with running(self.code):
                self.module = module = module_of(self.code)
            registered, attribute = self.thing
            if attribute and not any(name == registered for _, name in self.things):
                _state.registries[self.group].add(registered, getattr(module, attribute))
        except (GfnetBenchError, OSError, AttributeError, SyntaxError) as error:
            self.forget()
            self.error = f"plug-in {self.name}: {str(error).removeprefix(f'{self.code}: ')}"
            raise UsageError(self.error) from error
        finally:
            _state.running.pop()

    def forget(self) -> None:
        """Nothing of it is known any more."""
        for registry, name in self.things:
            registry.remove(name)
        self.things.clear()
        if self.module is not None:
            sys.modules.pop(self.module.__name__, None)


@dataclass
class _State:
    """What was named and loaded so far in this process."""

    files: dict[Path, Plugin] = field(default_factory=dict)
    waiting: list[Path] = field(default_factory=list)
    is_fresh: bool = True
    declared: dict[str, list[Plugin]] | None = None
    searched: set[str] = field(default_factory=set)
    running: list[Plugin] = field(default_factory=list)
    registries: dict[str, _Registry] = field(default_factory=dict)


_state = _State()


def load(*files: Path | str) -> None:
    """Load files, those that were loaded before and edited since once more.

    Raises:
        UsageError: if one cannot be; the text names its line.
    """
    from gfnet_bench.sourcecode import Code

    for file in files:
        code, place = Code(os.path.normpath(file)), resolved(file)
        if not code.is_file:
            raise UsageError(f"plug-in {file}: expected a file of Python code, NAME.py, found another name")
        before = _state.files.get(place)
        if before is not None and before.error is None and before.sha256 == code.sha256():
            continue
        if before is not None:
            before.forget()
        _state.files[place] = Plugin(place.name, code)
        _state.files[place].load()


def expect(files: Iterable[Path]) -> None:
    """Load these files as soon as they may be needed; a worker process knows those of its parent by this."""
    _state.waiting += files
    _state.is_fresh = True


def files() -> list[Path]:
    """Those that were loaded, for a process that is to know them too."""
    return [file for file, plugin in _state.files.items() if plugin.error is None]


def joins(group: str, registry: _Registry) -> None:
    """Say which registry the things of a group are entered into."""
    _state.registries[group] = registry


def at_work() -> Plugin | None:
    """The plug-in whose code is running; None within the package's own files, which it may be the first to import."""
    frame = sys._getframe() if _state.running else None
    while frame is not None and frame.f_code is not Plugin.load.__code__:
        if frame.f_code.co_name == "<module>" and frame.f_globals["__name__"].startswith(f"{__package__}."):
            return None
        frame = frame.f_back
    return _state.running[-1] if frame is not None else None


def enters(registry: _Registry, name: str) -> Plugin | None:
    """Note that a name is entered into a registry, and say which plug-in does it, if one does."""
    plugin = at_work()
    if plugin is not None:
        plugin.things.append((registry, name))
    return plugin


def behind(group: str, name: str) -> Iterator[Plugin]:
    """The plug-ins that brought a thing, and what it rests on: a data set's suite, and the set whose files it has."""
    registry = _state.registries.get(group)  # none, as long as nobody asked for any of its things
    if registry is None or name not in registry:
        return
    if (origin := registry.origin(name)) is not None:
        yield origin
    if group == "datasets":
        spec = registry[name]
        yield from behind("suites", spec.suite)
        yield from behind("datasets", spec.images_of) if spec.images_of else ()


def search(group: str) -> bool:
    """Load every plug-in that may bring things of a group; whether any was that had not been before.

    One that cannot be imported is told on stderr and left out.
    """
    if _state.running:  # it is one of them that asks
        return False
    if _state.is_fresh:
        _state.is_fresh = False
        named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
        waiting, _state.waiting = [*named, *_state.waiting], []
    else:
        waiting = []
    found = [file for file in waiting if resolved(file) not in _state.files]
    for file in found:
        with _told():
            load(file)
    if group in _state.searched:
        return bool(found)
    _state.searched.add(group)
    if _state.declared is None:
        _state.declared = _entry_points()
    here = _state.declared.get(group, [])
    for plugin in here:
        with _told():
            plugin.load()
    return bool(found or here)


def failures(group: str, name: str | None = None) -> list[str]:
    """Why plug-ins that may bring things of a group are left out; with a name, those that say that they bring it."""
    of_files = [] if name is not None else list(_state.files.values())
    declared = [p for p in (_state.declared or {}).get(group, []) if name in (None, p.thing[0])]
    return [plugin.error for plugin in (*of_files, *declared) if plugin.error is not None]


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """A block after which the plug-ins that were loaded in it are forgotten."""
    global _state
    before = _state
    _state = _State(registries=before.registries)
    try:
        yield
    finally:
        for plugin in (*_state.files.values(), *(p for those in (_state.declared or {}).values() for p in those)):
            plugin.forget()
        _state = before


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        print(one_line(f"left out: {error}"), file=sys.stderr)


def _entry_points() -> dict[str, list[Plugin]]:
    """What installed packages declare, by group; nothing of it is imported."""
    if not _is_any_declared():
        return {}
    from importlib import metadata

    from gfnet_bench.sourcecode import Code

    found: dict[str, list[Plugin]] = {}
    for group in GROUPS:
        for entry in metadata.entry_points(group=f"gfnet_bench.{group}"):
            dist, code = entry.dist, Code(entry.module)
            version = f"{dist.name} {dist.version}" if dist else None
            name = f"{entry.module} of {version}" if version else entry.module
            found.setdefault(group, []).append(Plugin(name, code, version, group, (entry.name, entry.attr)))
    return found


def _is_any_declared() -> bool:
    """Whether any package declares a plug-in: this takes a millisecond where `importlib.metadata` takes thirty."""
    for folder in sys.path:
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".egg-info")):
                    with contextlib.suppress(OSError), open(f"{entry.path}/entry_points.txt", "rb") as file:  # noqa: PTH123
                        if b"gfnet_bench." in file.read():
                            return True
    return False
