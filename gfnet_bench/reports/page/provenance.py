"""Where every number comes from: an entry for each record, and lists for the numbers that several records make."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gfnet_bench.perturbations import Corrupted
from gfnet_bench.records import Record, canonical_json
from gfnet_bench.reports.page.html import anchor, definitions, esc, packed_script, tag
from gfnet_bench.reports.reading.coverage import parts_of_sets
from gfnet_bench.reports.reading.describe import describe, done_of
from gfnet_bench.reports.reading.differences import departures
from gfnet_bench.reports.reading.reproduce import reproduction

_OF_A_RUN = (
    "gfnet_bench torch torchvision timm numpy pillow simplejpeg torchattacks imagecorruptions triton cuda python "
    "machine commit dirty device gpu driver"
).split()
"""Provenance that many records share; it is told once."""

_WITHOUT_SCRIPT = "<noscript><p>Records are shown by the script of this page, which is switched off.</p></noscript>"


class _Entry(NamedTuple):
    """One thing that a link leads to: its identifier, its line in the list, and what it holds, both as HTML."""

    id: str
    head: str
    body: str


class _Group(NamedTuple):
    """Entries that stand together in the list."""

    head: str
    entries: Sequence[_Entry]


_HEADLINES = ("real", "top1", "macs", "latency_s", "peak_bytes")


class Provenance:
    """The records of a page, and which of them its numbers were linked to.

    Args:
        records: by key; what tables call them.
    """

    def __init__(self, records: Mapping[str, Record]) -> None:
        self._records = dict(sorted(records.items(), key=_order))
        self._place = {key: i for i, key in enumerate(self._records)}
        self._lists: dict[str, tuple[str, ...]] = {}
        self._runs: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._records)

    def link(self, keys: Sequence[str]) -> str | None:
        """The address, within the page, of what a number rests on; None if it is not among the records."""
        known = sorted({key for key in keys if key in self._records}, key=self._place.__getitem__)
        if not known:
            return None
        if len(known) == 1:
            return f"#{_id(known[0])}"
        name = "from-" + hashlib.sha256(" ".join(known).encode()).hexdigest()[:12]
        self._lists[name] = tuple(known)
        return f"#{name}"

    def html(self) -> str:
        """All entries, packed: the page draws one when it is opened. Call it when every number has been linked."""
        groups: dict[tuple[str, str], list[str]] = {}
        for key, record in self._records.items():
            groups.setdefault((record.cell.study, record.cell.model), []).append(key)
        shown = []
        for (study, model), keys in groups.items():
            count = f"{len(keys)} record{'s' * (len(keys) != 1)}"
            shown.append(_Group(f"{esc(model)} <span>{esc(study)}, {count}</span>", list(map(self._entry, keys))))
        lists = [self._list(name, keys) for name, keys in sorted(self._lists.items())]
        shown += [_Group(f"Numbers made of several records <span>{len(lists)}</span>", lists)] if lists else []
        runs = [_environment(run, number) for run, number in self._runs.items()]
        shown += [_Group(f"Environments <span>{len(runs)}</span>", runs)] if runs else []
        return packed_script(shown, id="records-packed") + _WITHOUT_SCRIPT

    def _entry(self, key: str) -> _Entry:
        record = self._records[key]
        cell, seen = record.cell, dict(record.provenance)
        run = canonical_json({name: seen.pop(name) for name in _OF_A_RUN if name in seen})
        number = self._runs.setdefault(run, len(self._runs) + 1)
        parts = [tag("p", esc(record.error), class_="error")] if record.error else []
        parts += _again(record)
        parts += [tag("h4", "Values") + definitions(dict(record.values))] if record.values else []
        parts += [tag("h4", "Settings") + definitions({"protocol": cell.protocol, **cell.settings})]
        if differs := departures(cell.settings):
            parts.append(tag("p", f"Not as in the paper: {esc('; '.join(reason.sentence for reason in differs))}."))
        parts += [tag("p", esc(f"{sentence}.")) for sentence in parts_of_sets([record])]
        about = {"record": f"{cell.path.as_posix()}", "cell sha256": cell.sha256}
        about |= {"arrays": ", ".join(record.artifacts)} if record.artifacts else {}
        environment = tag("p", f'<a href="#environment-{number}">Environment {number}</a>: versions, machine, commit')
        parts += [tag("h4", "Provenance") + definitions({**about, **seen}) + environment]
        title = tag("h3", esc(f"{_of(key)}{cell.model}: {describe(record)}"))
        head = f"{esc(_of(key) + describe(record))} <span>{esc(headline(record))}</span>"
        return _Entry(_id(key), head, title + "".join(parts))

    def _list(self, name: str, keys: Sequence[str]) -> _Entry:
        """Links in one line per model, data set and kind of perturbation."""
        lines: dict[tuple[str, str], list[str]] = {}
        for key in keys:
            record = self._records[key]
            done = done_of(record)
            of, text = describe(record), "record"
            if isinstance(done, Corrupted):
                of, text = describe(record, severity=False), str(done.severity)
            line = lines.setdefault((_of(key) + record.cell.model, of), [])
            line.append(f"<a href=#{_id(key)}>{esc(text)}</a>")
        items = "".join(f"<li>{esc(model)}, {esc(of)}: {' '.join(links)}" for (model, of), links in lines.items())
        title = f"Made of {len(keys)} records"
        models = ", ".join(dict.fromkeys(model for model, _ in lines))
        return _Entry(name, f"{title} <span>{esc(models)}</span>", f"{tag('h3', title)}<ul>{items}</ul>")


def _again(record: Record) -> list[str]:
    """The command that measures a record again, to be copied."""
    found = reproduction(record.cell)
    if found is None:
        return []
    command = f"<code class=command>{esc(found.line)}</code>"
    copy = '<button type=button class=button data-copies="">Copy</button><output aria-live=polite></output>'
    needs = "".join(tag("p", esc(f"{need}."), class_="hint") for need in found.needs)
    return [tag("h4", "Measure it again"), f"<p class=again>{command}{copy}</p>", needs]


def _environment(run: str, number: int) -> _Entry:
    title = f"Environment {number}"
    return _Entry(f"environment-{number}", title, tag("h3", title) + definitions(json.loads(run)))


def headline(record: Record) -> str:
    """The first value a reader asks for; of a failure that it is one."""
    if record.error:
        return "failed"
    name = next((name for name in _HEADLINES if name in record.values), None)
    return f"{name} {record.values[name]:.4g}" if name else ""


def _of(key: str) -> str:
    """Which of several runs a record belongs to, as keys of the form `run:sha256` say."""
    run = key.rpartition(":")[0]
    return f"{run}: " if run else ""


def _id(key: str) -> str:
    run, _, sha256 = key.rpartition(":")
    return f"record-{anchor(run) + '-' if run else ''}{sha256[:12]}"


def _order(item: tuple[str, Record]) -> tuple[Any, ...]:
    """By study, model and what was measured; numbers in a text by their size."""
    key, record = item
    words = re.split(r"(\d+)", describe(record))
    natural = [(int(word), "") if word.isdecimal() else (-1, word) for word in words]
    return record.cell.study, record.cell.model, natural, key
