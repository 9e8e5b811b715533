"""Claims that one network does as well on images as another, or better: both on the same images, tested in pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gfnet_bench.catalog import MODELS
from gfnet_bench.errors import MissingError
from gfnet_bench.metrics import Interval
from gfnet_bench.reports.claims.base import CONTRADICTED, REPRODUCED, UNDECIDED, Evidence, Finding
from gfnet_bench.reports.reading.scores import Score, Setup, standard
from gfnet_bench.suites import DEFAULT, SUITES, Suite

_ALIKE = 0.8
"""What a network may have less of its rival's parameters and still be called of like cost."""

MARGIN = 1.0
"""Points by which a competitive network may be worse."""

Pair = tuple[str, str]


def better(column: str, *pairs: Pair) -> Callable[[Evidence], Finding]:
    """Whether the first network of a pair is better than the second at a like cost.

    Args:
        column: `clean`, an attack, or what a data set adds to the name of its suite: `c`, `a`, `v2`, `real`.
        pairs: the paper's networks, then what stands in for them where they are not measured.
    """
    return lambda evidence: _judge(evidence, column, pairs, 0.0, alike=True)


def competitive(column: str, *pairs: Pair) -> Callable[[Evidence], Finding]:
    """Whether the first network of a pair is not worse than the second by more than `MARGIN`."""
    return lambda evidence: _judge(evidence, column, pairs, MARGIN, alike=False)


def _judge(evidence: Evidence, column: str, pairs: Sequence[Pair], margin: float, *, alike: bool) -> Finding:
    reasons = []
    for ours, rival in pairs:
        suite = SUITES[MODELS[ours].suite or DEFAULT]
        if evidence.suite not in (None, suite.name):
            continue
        try:
            return _compare(evidence, _score(suite, column), ours, rival, margin, alike)
        except MissingError as error:
            reasons.append(str(error))
    small = f"the small networks of {evidence.suite} do not stand in for it"
    raise MissingError("; ".join(reasons) or (small if evidence.suite else "no such networks"))


def _score(suite: Suite, column: str) -> Score:
    for score in standard(suite):
        if score.dataset == f"{suite.name}_{column}":
            return score
        if (score.dataset, score.metric, score.perturbation.name) == (suite.main, "top1", column):
            return score
    raise MissingError(f"{suite.title} has no column {column}")


def _compare(evidence: Evidence, score: Score, ours: str, rival: str, margin: float, alike: bool) -> Finding:
    results, first, second = evidence.results, Setup.usual(ours), Setup.usual(rival)
    if why := score.suite.lacks.get(score.dataset):
        raise MissingError(why)
    for setup in (first, second):
        outcome = results.outcome(setup, score)
        if outcome.value is None:
            why = outcome.reason or outcome.status
            raise MissingError(f"needs {score.title} of {setup.model} ({score.suite.title}): {why}")
    a, b = results.by_image(first, score), results.by_image(second, score)
    for side in (a, b):
        if isinstance(side, MissingError):
            raise side
    assert not isinstance(a, MissingError) and not isinstance(b, MissingError)
    if a.ids_sha256 != b.ids_sha256 or not results.same_images(first, second, score):
        raise MissingError(f"{ours} and {rival} saw different images, or in another order")
    found = score.measure.paired(a.sample, b.sample)
    sign = 1 if score.measure.higher_is_better else -1
    ends = sorted(sign * end for end in found.interval) if found.interval else None
    interval = Interval(*ends) if ends else None
    stands_in = score.suite.name != DEFAULT
    sizes = _sizes(evidence, first, second)
    verdict = UNDECIDED
    if interval is not None and interval.low > -margin:
        verdict = REPRODUCED
    elif interval is not None and interval.high < -margin:
        verdict = CONTRADICTED
    if verdict == CONTRADICTED and alike and stands_in and sizes and sizes[0] < _ALIKE * sizes[1]:
        raise MissingError(
            f"the small networks are of unequal cost ({_in_thousands(sizes)}), and the smaller one does worse, by "
            f"{-sign * found.difference:.1f} points"
        )
    return Finding(
        verdict,
        sign * found.difference,
        interval,
        "points",
        subject=f"{_title(ours)} against {_title(rival)}, {score.title}, {a.images} images",
        stands_in=stands_in,
        reason=f"small networks of {_in_thousands(sizes)}" if stands_in and sizes else "",
        records=tuple(dict.fromkeys(results.behind(first, score) + results.behind(second, score))),
    )


def _title(name: str) -> str:
    return MODELS[name].title


def _sizes(evidence: Evidence, first: Setup, second: Setup) -> tuple[int, int] | None:
    """Parameters of both, where that was noted."""
    a, b = (evidence.results.noted(setup, "params") for setup in (first, second))
    return (a, b) if a and b else None


def _in_thousands(sizes: tuple[int, int]) -> str:
    return f"{sizes[0] / 1e3:.0f} and {sizes[1] / 1e3:.0f} thousand parameters"
