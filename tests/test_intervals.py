"""± where both ends are as far away, both ends where they are not."""

from __future__ import annotations

import re

import pytest

from gfnet_bench.metrics import Interval, wilson_interval
from gfnet_bench.reports.drawing.intervals import with_interval


@pytest.mark.parametrize(
    ("right", "n", "text"),
    [
        (50, 50, "100.0 [92.9–100.0]"),
        (0, 50, "0.0 [0.0–7.1]"),
        (882, 1000, "88.2 ±2.0"),
        (996, 1000, "99.6 [99.0–99.8]"),
        (1, 40, "2.5 [0.4–12.9]"),
        (20, 40, "50.0 ±14.8"),
        (40_000, 50_000, "80.0 ±0.4"),
    ],
)
def test_accuracies(right, n, text):
    low, high = wilson_interval(right, n)
    assert with_interval(100 * right / n, Interval(100 * low, 100 * high)) == text


def test_no_accuracy_promises_less_than_nothing_or_more_than_everything():
    """For every share of up to 120 images, the ends that are read are those of Wilson to a seventh of the length."""
    both = 0
    for n in range(1, 121):
        for right in range(n + 1):
            low, high = (100 * end for end in wilson_interval(right, n))
            text = with_interval(100 * right / n, Interval(low, high))
            if found := re.fullmatch(r"[\d.]+ \[([\d.]+)–([\d.]+)\]", text):
                both += 1
                assert (float(found[1]), float(found[2])) == pytest.approx((low, high), abs=0.051)
            else:
                value, half = map(float, text.split(" ±"))
                assert value - half > -0.1 and value + half < 100.1, text
                assert abs(value - half - low) < 0.1 + (high - low) / 7
    assert 1000 < both < 6000


def test_other_numbers():
    assert with_interval(100.0, None) == "100.0"
    assert with_interval(0.401, Interval(0.35, 0.45), 2) == "0.40 ±0.05"
    assert with_interval(102.7, Interval(96.8, 109.0)) == "102.7 ±6.1"
    assert with_interval(3.0, Interval(3.0, 3.0)) == "3.0 ±0.0"
