"""Where every number comes from: an entry for each record, and lists for the numbers that several records make."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gfnet_bench.perturbations import Corrupted
from gfnet_bench.records import Record, canonical_json
from gfnet_bench.reports.page.html import anchor, definitions, esc, tag
from gfnet_bench.reports.reading.coverage import parts_of_sets
from gfnet_bench.reports.reading.describe import describe, done_of
from gfnet_bench.reports.reading.differences import departures

_OF_A_RUN = (
    "gfnet_bench torch torchvision timm numpy pillow simplejpeg torchattacks imagecorruptions triton cuda python "
    "machine commit dirty device gpu driver"
).split()
"""Provenance that many records share; it is told once."""

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
        """All entries; call it when every number has been linked."""
        groups: dict[tuple[str, str], list[str]] = {}
        for key, record in self._records.items():
            groups.setdefault((record.cell.study, record.cell.model), []).append(key)
        shown = []
        for (study, model), keys in groups.items():
            count = f"{len(keys)} record{'s' * (len(keys) != 1)}"
            head = tag("summary", f"{esc(model)} <span>{esc(study)}, {count}</span>")
            shown.append(tag("details", head + "".join(map(self._entry, keys)), class_="group"))
        runs = [
            tag(
                "div",
                tag("h3", f"Environment {number}") + definitions(json.loads(run)),
                id=f"environment-{number}",
                class_="entry",
            )
            for run, number in self._runs.items()
        ]
        lists = [self._list(name, keys) for name, keys in sorted(self._lists.items())]
        together = tag("summary", f"Numbers made of several records <span>{len(lists)}</span>") + "".join(lists)
        shown += [tag("details", together, class_="group")] if lists else []
        return "\n".join([*shown, *runs])

    def _entry(self, key: str) -> str:
        record = self._records[key]
        cell, seen = record.cell, dict(record.provenance)
        run = canonical_json({name: seen.pop(name) for name in _OF_A_RUN if name in seen})
        number = self._runs.setdefault(run, len(self._runs) + 1)
        parts = [tag("p", esc(record.error), class_="error")] if record.error else []
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
        head = tag("summary", f"{esc(_of(key) + describe(record))} <span>{esc(headline(record))}</span>")
        return f"<details>{head}<div class=entry id={_id(key)} tabindex=-1>{title}{''.join(parts)}</div></details>\n"

    def _list(self, name: str, keys: Sequence[str]) -> str:
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
        title = tag("h3", f"Made of {len(keys)} records")
        return f"<div class=entry id={name} tabindex=-1>{title}<ul>{items}</ul></div>\n"


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
