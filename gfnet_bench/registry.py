"""Name -> thing, one `Registry` per extension point; an unknown name suggests near ones."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gfnet_bench.errors import UsageError

T = TypeVar("T")

FEW = 12
"""So many names are listed when none is near; for more there is a command."""


class Registry(Generic[T]):
    """An ordered table of named things that forgives `-` for `_` and capital letters."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._things: dict[str, T] = {}
        self._derived: list[Callable[[str], T | None]] = []

    def add(self, name: str, thing: T) -> T:
        """Enter `thing` under `name`.

        Raises:
            ValueError: if the name is taken, which is a mistake in the code, not of the user.
        """
        if name in self._things:
            raise ValueError(f"{self.noun} {name!r} is registered twice")
        self._things[name] = thing
        return thing

    def register(self, name: str) -> Callable[[T], T]:
        """`add` as a decorator."""
        return lambda thing: self.add(name, thing)

    def derive(self, make: Callable[[str], T | None]) -> None:
        """Also know the things that a name alone tells, `make` of it, None for other names; they are listed nowhere."""
        self._derived.append(make)

    def canonical(self, name: str) -> str | None:
        """The registered spelling of `name` (`GFNet-S` is `gfnet_s`), or None if there is none."""
        if name in self._things or self._made(name) is not None:
            return name
        folded = name.lower().replace("-", "_")
        return folded if folded in self._things else None

    def _made(self, name: str) -> T | None:
        return next((thing for make in self._derived if (thing := make(name)) is not None), None)

    def match(self, pattern: str) -> list[str]:
        """The registered names a shell pattern such as `gfnet_*` stands for, in order of registration."""
        folded = re.sub(r"\[[^]]*\]|-", lambda part: "_" if part[0] == "-" else part[0], pattern.lower())
        return fnmatch.filter(self._things, folded)

    def __getitem__(self, name: str) -> T:
        """The thing called `name`.

        Raises:
            UsageError: if there is none; the text names the nearest registered names.
        """
        found = self.canonical(name)
        thing = None if found is None else self._things.get(found, self._made(found))
        if thing is None:
            raise UsageError(f"unknown {self.noun} {name!r}; {self.suggestion(name)}")
        return thing

    def suggestion(self, name: str) -> str:
        """The end of an error message: near names, else all of them if they are few, or how to see them."""
        near = difflib.get_close_matches(name.lower().replace("-", "_"), self._things, n=3, cutoff=0.6)
        if near:
            return f"did you mean {' or '.join(near)}?"
        if len(self._things) <= FEW:
            return f"expected one of {', '.join(self._things)}."
        return f"`gfnet-bench list` shows the {self.noun}s there are."

    def __contains__(self, name: str) -> bool:
        return self.canonical(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
