"""The paper's tables and figures: which cells are behind each, and which report shows it.

`ITEMS` is the paper's list of evidence. A plan is made without data, weights or a GPU; what cannot be measured on a
machine is told with the command that would fill it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gfnet_bench.catalog import MCE_NAMES, MODELS
from gfnet_bench.mixers import MIXERS
from gfnet_bench.perturbations import CLEAN, attacked
from gfnet_bench.published import rows
from gfnet_bench.records import Cell
from gfnet_bench.registry import Registry
from gfnet_bench.studies import complexity, filters, robustness
from gfnet_bench.studies.tokens import parse_tokens
from gfnet_bench.suites import DEFAULT, SUITES

WIDTH = 384
"""Features of the blocks of Figure 2."""


@dataclass(frozen=True)
class Wish:
    """What the evidence is wanted for.

    Attributes:
        suite: whose images and networks; any but the default stands in for the paper's.
        options: of everything that is scored on images.
        timing: how latency and memory are measured; None counts operations alone.
        tokens: sizes of Figure 2, as `--tokens` takes them.
    """

    suite: str = DEFAULT
    options: robustness.Options = filters.AS_USUAL
    timing: complexity.Options | None = None
    tokens: str = "paper"


class Item(NamedTuple):
    """A table or figure of the paper.

    Attributes:
        title: for people.
        report: the report that shows it.
        plan: the cells behind it.
        fill: the command that measures it, once data and weights are there.
        without: what any but the default suite leaves out of it.
    """

    title: str
    report: str
    plan: Callable[[Wish], list[Cell]]
    fill: str
    without: str = ""


def named_in(table: str, suite: str = DEFAULT) -> list[str]:
    """Our names of the models of a suite in a published table; rows of weights nobody has are left out."""
    titles = {MODELS[name].title: name for name in MODELS}
    timm = {MODELS[name].timm_name: name for name in MODELS}
    found = (
        titles.get(row.get("model") or row.get("backbone", "")) or timm.get(row.get("crosscheck_model", ""))
        for row in rows(table)
    )
    return [name for name in dict.fromkeys(found) if name is not None and MODELS[name].suite == suite]


def _table1(wish: Wish) -> list[Cell]:
    counted = complexity.count_cells(list(complexity.TABLE1), [196], WIDTH, [])
    return [cell for cell in counted if cell.settings["measure"] == "table1"]


def _table2(wish: Wish) -> list[Cell]:
    return complexity.segmentation_cells(named_in("table2_ade20k"))


def _table3(wish: Wish) -> list[Cell]:
    suite = SUITES[wish.suite]
    attacks = [p for name in ("fgsm", "pgd") for p in attacked(name, usual=suite.epsilon)]
    models = named_in("table3_robustness", wish.suite) or suite.models
    datasets = [(suite.main, [CLEAN, *attacks]), *((name, [CLEAN]) for name in suite.others)]
    return robustness.cells(models, datasets=datasets, corruptions=MCE_NAMES, options=wish.options)


def _figure2(wish: Wish) -> list[Cell]:
    tokens, blocks = parse_tokens(wish.tokens), list(MIXERS)
    counted = complexity.count_cells(blocks, sorted({*parse_tokens("paper"), *tokens}), WIDTH, [])
    counted = [cell for cell in counted if cell.settings["measure"] == "count"]
    return counted + (complexity.timed_cells(blocks, tokens, WIDTH, [], wish.timing) if wish.timing else [])


def _accuracy(table: str, finer: Sequence[str] = ()) -> Callable[[Wish], list[Cell]]:
    def plan(wish: Wish) -> list[Cell]:
        models = named_in(table)
        sizes = [complexity.Size(name, (224, 224)) for name in models]
        sizes += [complexity.Size(name, (384, 384)) for name in finer]
        counted = complexity.count_cells([], [], WIDTH, sizes)
        scored = named_in(table, wish.suite)  # costs are the same for everybody; accuracies need the suite's images
        clean = [(SUITES[wish.suite].main, [CLEAN])]
        return robustness.cells(scored, datasets=clean, corruptions=(), options=wish.options) + counted

    return plan


def _figure5(wish: Wish) -> list[Cell]:
    from gfnet_bench.models.surgery import depth

    suite, usual = SUITES[wish.suite], SUITES[wish.suite].filters
    networks = list(usual.models or suite.models)
    if not usual.whole:
        return filters.spectra_cells(networks, wish.options)
    pgd = attacked("pgd", usual=suite.epsilon)
    depths = {name: layers for name in networks if (layers := depth(name))}
    limited = replace(wish.options, limit=wish.options.limit or usual.surgery_limit)
    few = replace(wish.options, limit=wish.options.limit or usual.heatmap_limit)
    noise: dict[str, Any] = {"norm": usual.norm, "frequencies": usual.frequencies}
    return [
        *filters.spectra_cells(depths, wish.options),
        *filters.surgery_cells(depths, perturbations=filters.perturbations(suite.main, pgd), options=limited),
        *filters.heatmap_cells(networks, dataset=suite.main, **noise, options=few),
    ]


def _claims(wish: Wish) -> list[Cell]:
    """Everything that a claim is judged by: all but surgery, heat maps and Table 2."""
    measured = [_table3, _table1, _figure2, *(ITEMS[name].plan for name in ("figure3", "figure4"))]
    spectra = [cell for cell in _figure5(wish) if cell.settings["measure"] == "spectra"]
    return list(dict.fromkeys([*(cell for plan in measured for cell in plan(wish)), *spectra]))


_COSTS_ALONE = "costs alone, since accuracies need ImageNet: gfnet-bench paper figure3 figure4 --data-dir DATA"

ITEMS: Registry[Item] = Registry("item of the paper")
for _name, _item in {
    "table3": Item(
        "Table 3, robustness and generalisation", "robustness", _table3, "gfnet-bench paper table3 --data-dir DATA"
    ),
    "table1": Item("Table 1, complexity of operations", "complexity", _table1, "gfnet-bench paper table1"),
    "figure2": Item("Figure 2, cost against tokens", "complexity", _figure2, "gfnet-bench paper figure2 --device cuda"),
    "figure3": Item(
        "Figure 3, accuracy of transformer-style models",
        "accuracy",
        _accuracy("fig3_transformer_style", ("gfnet_xs", "gfnet_s", "gfnet_b")),
        "gfnet-bench paper figure3 --data-dir DATA",
        _COSTS_ALONE,
    ),
    "figure4": Item(
        "Figure 4, accuracy of hierarchical models",
        "accuracy",
        _accuracy("fig4_hierarchical"),
        "gfnet-bench paper figure4 --data-dir DATA",
        _COSTS_ALONE,
    ),
    "table2": Item("Table 2, semantic segmentation", "segmentation", _table2, "gfnet-bench paper table2"),
    "figure5": Item("Figure 5, learned filters", "filters", _figure5, "gfnet-bench paper figure5"),
    "claims": Item(
        "Claims, each with its verdict", "claims", _claims, "gfnet-bench paper claims --data-dir DATA", _COSTS_ALONE
    ),
    "ablation": Item("Ablation of the token mixer", "ablation", lambda wish: [], ""),
    "transfer": Item("Transfer learning", "transfer", lambda wish: [], ""),
}.items():
    ITEMS.add(_name, _item)
