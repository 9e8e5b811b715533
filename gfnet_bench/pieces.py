"""A cell cut by ranges of its images, so that several workers measure it, and put together again to the same bytes.

A piece is a cell of a study of its own, `piece`, whose record keeps what the pass left of each image. Cuts lie between
batches, so that every batch holds what it would hold in one piece.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnet_bench.evaluation import Evaluation
from gfnet_bench.metrics import Predictions
from gfnet_bench.records import Cell
from gfnet_bench.store import Store

STUDY, PIECE = "piece", "piece"
_NOTED = "noted: "


def cut(cells: Sequence[Cell], count: int) -> list[Cell]:
    """So many pieces of each of these cells; those of one range stand together."""
    return [
        dataclasses.replace(cell, study=STUDY, settings={**cell.settings, PIECE: [number, count], "of": cell.study})
        for number in range(count)
        for cell in cells
    ]


def whole(piece: Cell) -> Cell:
    """The cell that a piece is of."""
    settings = {key: value for key, value in piece.settings.items() if key not in (PIECE, "of")}
    return dataclasses.replace(piece, study=piece.settings["of"], settings=settings)


def number(piece: Cell) -> tuple[int, int]:
    """Which piece it is, and of how many."""
    first, count = piece.settings[PIECE]
    return first, count


def rows(images: int, batch_size: int, piece: tuple[int, int]) -> range:
    """The positions of a piece's images; none where there are fewer batches than pieces."""
    which, count = piece
    batches = -(-images // batch_size)
    first, last = (batches * n // count * batch_size for n in (which, which + 1))
    return range(min(first, images), min(last, images))


def to_arrays(found: Evaluation) -> dict[str, NDArray[Any]]:
    """What a pass left of each image, to the bit."""
    predictions = {name: value for name, value in found.predictions._asdict().items() if name != "ids"}
    noted = {_NOTED + name: value for name, value in found.noted.items()}
    return {**predictions, **noted, "ids": np.array(found.predictions.ids), "batch_size": np.array(found.batch_size)}


def put_together(cell: Cell, count: int, store: Store) -> Evaluation | None:
    """The pass over all images of a cell; None unless all of its pieces are there.

    Args:
        cell: in one piece.
        count: of its pieces.
        store: their records.
    """
    records = [store.find(piece) for piece in cut([cell], count)]
    if any(record is None or record.error is not None for record in records):
        return None
    parts = [arrays for record in records if record is not None and (arrays := store.arrays(record))]
    columns = {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}
    batch_size, ids = int(columns.pop("batch_size").max()), tuple(map(str, columns.pop("ids")))
    noted = {name.removeprefix(_NOTED): columns.pop(name) for name in list(columns) if name.startswith(_NOTED)}
    return Evaluation(Predictions(ids=ids, **columns), batch_size, noted)
