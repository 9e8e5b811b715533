"""Name -> thing, one `Registry` per extension point; an unknown name suggests near ones."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import re
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gfnet_bench import plugins
from gfnet_bench.errors import UsageError
from gfnet_bench.plugins import Plugin

T = TypeVar("T")

FEW = 12
"""So many names are listed when none is near; for more there is a command."""


class Registry(Generic[T]):
    """An ordered table of named things that forgives `-` for `_` and capital letters.

    Args:
        noun: what a thing is, for people.
        group: one of `plugins.GROUPS`, of which plug-ins may bring more. They are loaded when the table is listed or
            asked for a name that it does not have.
    """

    def __init__(self, noun: str, group: str | None = None) -> None:
        self.noun = noun
        self._group = group
        self._things: dict[str, T] = {}
        self._origins: dict[str, Plugin] = {}
        self._derived: list[Callable[[str], T | None]] = []
        if group is not None:
            plugins.joins(group, self)

    def add(self, name: str, thing: T) -> T:
        """Enter `thing` under `name`.

        Raises:
            ValueError: if the name is taken, which is a mistake in the code, not of the user; a UsageError where a
                plug-in wants it.
        """
        taken = next((known for known in self._things if _folded(known) == _folded(name)), None)
        origin = plugins.enters(self, name) if taken is None else plugins.at_work()
        if taken is not None:
            first = self._origins.get(taken)
            if origin is None and first is None:
                raise ValueError(f"{self.noun} {name!r} is registered twice")
            raise UsageError(
                f"{self.noun} {name!r}: expected a name of its own, found one that {_called(first)} has; "
                f"rename that of {_called(origin)}"
            )
        if origin is not None:
            self._origins[name] = origin
        self._things[name] = thing
        return thing

    def remove(self, name: str) -> None:
        """Forget a thing."""
        del self._things[name]
        self._origins.pop(name, None)

    def origin(self, name: str) -> Plugin | None:
        """The plug-in that brought a thing; None for one of the package's own, and for one that there is not."""
        found = self.canonical(name)
        return None if found is None else self._origins.get(found)

    @contextlib.contextmanager
    def holding(self, name: str, thing: T | None) -> Iterator[None]:
        """A block in which `name` stands for `thing`, or for nothing; what it stood for before comes back."""
        before = dict(self._things)
        self._things = {**before, name: thing} if thing is not None else {n: before[n] for n in before if n != name}
        try:
            yield
        finally:
            after = {**before, **self._things, **({name: before[name]} if name in before else {})}
            self._things = {n: after[n] for n in after if n in before or n != name}

    def register(self, name: str) -> Callable[[T], T]:
        """`add` as a decorator."""
        return lambda thing: self.add(name, thing)

    def derive(self, make: Callable[[str], T | None]) -> None:
        """Also know the things that a name alone tells, `make` of it, None for other names; they are listed nowhere."""
        self._derived.append(make)

    def canonical(self, name: str) -> str | None:
        """The registered spelling of `name` (`GFNet-S` is `gfnet_s`), or None if there is none."""
        found = self._known(name)
        return self._known(name) if found is None and self._searched() else found

    def _known(self, name: str) -> str | None:
        if name in self._things or self._made(name) is not None:
            return name
        return _folded(name) if _folded(name) in self._things else None

    def _searched(self) -> bool:
        """Whether plug-ins were loaded just now, all that there are."""
        return self._group is not None and plugins.search(self._group)

    def _made(self, name: str) -> T | None:
        return next((thing for make in self._derived if (thing := make(name)) is not None), None)

    def match(self, pattern: str) -> list[str]:
        """The registered names a shell pattern such as `gfnet_*` stands for, in order of registration."""
        folded = re.sub(r"\[[^]]*\]|-", lambda part: "_" if part[0] == "-" else part[0], pattern.lower())
        return fnmatch.filter(self, folded)

    def __getitem__(self, name: str) -> T:
        """The thing called `name`.

        Raises:
            UsageError: if there is none; the text names the nearest registered names.
        """
        found = self.canonical(name)
        if self._group is not None and (wrong := plugins.failures(self._group, found or name)):
            raise UsageError(wrong[0])
        thing = None if found is None else self._things.get(found, self._made(found))
        if thing is None:
            raise UsageError(f"unknown {self.noun} {name!r}; {self.suggestion(name)}")
        return thing

    def suggestion(self, name: str) -> str:
        """The end of an error message: near names, else all of them if they are few, or how to see them."""
        if self._group is not None and (wrong := plugins.failures(self._group)):
            return "; ".join(wrong)  # it may be what one of these would bring
        near = difflib.get_close_matches(_folded(name), self, n=3, cutoff=0.6)
        if near:
            return f"did you mean {' or '.join(near)}?"
        if len(self) <= FEW:
            return f"expected one of {', '.join(self)}."
        return f"`gfnet-bench list` shows the {self.noun}s there are."

    def __contains__(self, name: str) -> bool:
        return self.canonical(name) is not None

    def __iter__(self) -> Iterator[str]:
        self._searched()
        return iter(self._things)

    def __len__(self) -> int:
        self._searched()
        return len(self._things)


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _called(plugin: Plugin | None) -> str:
    return "gfnet-bench itself" if plugin is None else plugin.name
