"""What tables call a network that is not the published one: what `--name` said, told apart where need be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from gfnet_bench.records import Record
from gfnet_bench.reports.reading.scores import OF_THE_NETWORK, Setup, setting_words


def labelled(records: Iterable[Record], row: Callable[[Record], Setup]) -> dict[Setup, Setup]:
    """The rows of these records, each with the name that its network has in tables.

    Networks that were given a name have the one that was given last, code of one's own has that of its factory. Two
    networks never hide under one name: what differs between them is told in brackets.

    Args:
        records: in any order.
        row: the row of one.
    """
    given: dict[Setup, str | None] = {}
    for record in sorted(records, key=lambda r: r.provenance.get("started", "")):
        setup = row(record)
        given[setup] = record.provenance.get("label") or given.get(setup)
    alike: dict[str, list[Setup]] = {}
    for setup, label in given.items():
        alike.setdefault(label or setup.model, []).append(setup)
    return {
        setup: replace(setup, name=_told_apart(name, setup, those))
        if given[setup] or "code" in setup.settings
        else setup
        for name, those in alike.items()
        for setup in those
    }


def _told_apart(name: str, setup: Setup, alike: Iterable[Setup]) -> str:
    """A name, and in brackets what this network has that another of the same name has not."""
    networks = [_network(other) for other in alike]
    words = [
        value if key == "model" else setting_words(key, value)
        for key, value in _network(setup).items()
        if value is not None and any(other[key] != value for other in networks)
    ]
    return f"{name} ({', '.join(words)})" if words else name


def _network(setup: Setup) -> dict[str, Any]:
    return {"model": setup.model, **{key: setup.settings.get(key) for key in OF_THE_NETWORK}}
