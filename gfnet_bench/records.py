"""Cells and records: what was asked, and what came out. Standard library only."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gfnet_bench.errors import GfnetBenchError
from gfnet_bench.files import shown
from gfnet_bench.schemas import SCHEMA, check_record

PROTOCOLS = {"robustness": 3, "complexity": 1, "filters": 1, "attack_check": 1, "segmentation": 1}
"""Raise a study's number when a change alters its results: older records then drop out of reports by themselves."""

_NAMING = ("dataset", "perturbation", "measure", "tokens", "scenes", "corruption")
"""The settings a file is named after, as far as a cell has them."""


@dataclass(frozen=True, eq=False)
class Cell:
    """Everything that decides one number; equal cells are the same measurement.

    Attributes:
        study: `robustness`, `complexity`, `filters`, `attack_check` or `segmentation`.
        protocol: version of the way the study measures.
        model: the model's name.
        settings: anything JSON can hold, finite.
    """

    study: str
    protocol: int
    model: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        # A round trip makes tuples lists, as they will be when read back, and detaches the cell from the caller's dict.
        object.__setattr__(self, "settings", json.loads(canonical_json(self.settings)))

    def to_json(self) -> dict[str, Any]:
        """The four fields."""
        return {"study": self.study, "protocol": self.protocol, "model": self.model, "settings": self.settings}

    @property
    def sha256(self) -> str:
        """The cell's identity."""
        return hashlib.sha256(canonical_json(self.to_json()).encode()).hexdigest()

    @property
    def path(self) -> Path:
        """Where its record lies, relative to the results folder."""
        parts = []
        for key in _NAMING:
            value = self.settings.get(key)
            value = value.get("name") if isinstance(value, dict) else value
            parts += [] if value is None else [_slug(str(value), 56)]
        name = ".".join([*parts, self.sha256[:6]])
        return Path("records", _slug(self.study), _slug(self.model), f"{name}.json")

    @property
    def is_current(self) -> bool:
        """Whether it is measured as its study measures today."""
        return self.protocol == PROTOCOLS.get(self.study, self.protocol)

    def __str__(self) -> str:
        return f"{self.model} {self.path.stem}"

    def __repr__(self) -> str:
        return f"Cell {self}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


@dataclass(frozen=True)
class Record:
    """A cell, its values or its error, and where they came from.

    Attributes:
        cell: what was measured.
        values: results by name; fractions and SI units, finite.
        error: `<class of the error>: <its text>`, or None where the cell was measured.
        artifacts: files beside the record, filled in by `Store.save`.
        provenance: what does not decide the number: versions, device, times, hashes.

    Raises:
        GfnetBenchError: if a value is not finite.
    """

    cell: Cell
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    artifacts: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise GfnetBenchError(f"{self.cell.model}: {name} is {value}, expected a finite number.")

    def __repr__(self) -> str:
        numbers = {name: value for name, value in self.values.items() if isinstance(value, (int, float))}
        few = ", ".join(f"{name} {value:.4g}" for name, value in list(numbers.items())[:3])
        return f"Record {self.cell}: {few or shown(self.error or 'no numbers')}"

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "schema": SCHEMA,
            "cell": self.cell.to_json(),
            "values": dict(self.values),
            "error": self.error,
            "artifacts": list(self.artifacts),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, content: Any) -> Record:
        """The inverse of `to_json`.

        Raises:
            Unfit: if the content is no record.
        """
        check_record(content)
        cell = content["cell"]
        return cls(
            Cell(cell["study"], cell["protocol"], cell["model"], cell["settings"]),
            content["values"],
            content["error"],
            tuple(content["artifacts"]),
            content["provenance"],
        )


def canonical_json(content: Any) -> str:
    """The one spelling of `content` that is hashed: sorted keys, no spaces, finite numbers."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _slug(text: str, longest: int = 200) -> str:
    """A file name or a part of one: a timm name may hold `/` and `:`, and no file system takes more than 255 bytes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".-")[:longest] or "-"
