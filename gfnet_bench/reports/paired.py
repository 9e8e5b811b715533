"""Any two rows that differ in the model alone, compared image by image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gfnet_bench import metrics
from gfnet_bench.errors import MissingError
from gfnet_bench.reports.outcomes import Results
from gfnet_bench.reports.scores import Score, Setup
from gfnet_bench.reports.tables import RECORDS, Column, Row, Table
from gfnet_bench.suites import Suite

_COLUMNS = [
    Column("column", "Column"),
    Column("first", "First"),
    Column("second", "Second"),
    Column("images", "Images", align="right"),
    Column("difference_points", "Difference", "points", align="right"),
    Column("difference_points_low", "Low", align="right"),
    Column("difference_points_high", "High", align="right"),
    Column("only_first_images", "Only first", align="right"),
    Column("only_second_images", "Only second", align="right"),
    Column("p", "p", digits=4, align="right"),
]
_NOTE = (
    "Difference: first minus second, with its 95 % interval. Accuracies of one pass: McNemar mid-p test; means over "
    "several and mCE (where less is better, and whose reference is measured on the same images): normal approximation "
    "over images. p is not corrected for the number of comparisons."
)


def paired(suite: Suite, results: Results, setups: Sequence[Setup], titles: Mapping[Score, str]) -> Table:
    """Two models on the same images in the same order; pairs that are not are named.

    Args:
        suite: of the columns.
        results: the numbers.
        setups: rows.
        titles: columns, of which those are compared that are accuracies or mCE.
    """
    rows: list[Row] = []
    left_out: list[str] = []
    for score, title in titles.items():
        if score.metric not in ("top1", "top5", "real", "mce"):
            continue
        there = [setup for setup in setups if results.outcome(setup, score).value is not None]
        for first, second in itertools.combinations(there, 2):
            if first.of("") != second.of(""):
                continue
            a, b = results.by_image(first, score), results.by_image(second, score)
            if isinstance(a, MissingError) or isinstance(b, MissingError):
                left_out.append(
                    f"{title} of {first.label} and {second.label} ({a if isinstance(a, MissingError) else b})"
                )
            elif (a.ids_sha256, len(a.values)) != (b.ids_sha256, len(b.values)) or not results.same_images(
                first, second, score
            ):
                left_out.append(f"{title} of {first.label} and {second.label} (different images, or another order)")
            else:
                names = {"column": title, "first": first.label, "second": second.label, "images": len(a.values)}
                both = results.behind(first, score) + results.behind(second, score)
                behind = dict.fromkeys(("difference_points", "p"), both)
                scale = 1 if score.over_corruptions else 100
                rows.append({**names, **_difference(a.values, b.values, scale), RECORDS: behind})
    notes = [_NOTE] if rows else []
    notes += [f"Not compared: {', '.join(left_out)}."] if left_out else []
    title = f"Paired comparisons on the same images, {suite.title}"
    return Table(f"robustness_{suite.name}_paired", title, _COLUMNS, rows, notes)


def _difference(first: NDArray, second: NDArray, scale: float) -> dict[str, float | int | None]:
    """Entries of a row; `scale` makes points of what images add."""
    if first.dtype == bool:
        d = metrics.compare(first, second)
        ends = {"difference_points_low": scale * d.interval.low, "difference_points_high": scale * d.interval.high}
        counts = {"only_first_images": d.only_first, "only_second_images": d.only_second, "p": d.p}
        return {"difference_points": scale * d.difference, **ends, **counts}
    difference = scale * (first - second)
    interval, mean = metrics.mean_interval(difference), float(np.mean(difference))
    if interval is None or interval.high == interval.low != 0:  # one image, or all alike: nothing says how sure
        return {"difference_points": mean}
    error = (interval.high - interval.low) / (2 * metrics.Z)
    p = math.erfc(abs(mean) / error / math.sqrt(2)) if error > 0 else 1.0
    return {
        "difference_points": mean,
        "difference_points_low": interval.low,
        "difference_points_high": interval.high,
        "p": p,
    }
