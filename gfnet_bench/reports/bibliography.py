"""What the numbers rest on, as BibTeX: the models, data sets, attacks and tools that the records name, each exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files

from gfnet_bench import __version__
from gfnet_bench.catalog import MODELS, ModelSpec
from gfnet_bench.datasets import DATASETS
from gfnet_bench.families import FAMILIES
from gfnet_bench.mini.pyramids import MINI
from gfnet_bench.mixers import MIXERS
from gfnet_bench.perturbations import from_settings
from gfnet_bench.records import Record
from gfnet_bench.reports.drawing.latex import tex
from gfnet_bench.scene_sets import SCENE_SETS


def bibtex(records: Iterable[Record]) -> str:
    """A `.bib` file with one entry for each thing that was used, this tool and the GFNet paper first."""
    records = list(records)
    cited = ["rao2021gfnet", *(cite for record in records if record.error is None for cite in _cites(record))]
    whole = dict.fromkeys(cite.strip() for cite in cited if cite.lstrip().startswith("@"))
    entries = [_tool(records), *(entry for key, entry in references().items() if key in cited), *whole]
    return "\n\n".join(entries) + "\n"


@cache
def references() -> dict[str, str]:
    """Every entry there is, by its key."""
    text = files("gfnet_bench.reports").joinpath("references.bib").read_text(encoding="utf-8")
    entries = text.strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def _cites(record: Record) -> Iterator[str]:
    """Keys of `references.bib`, or whole entries of what brings its own."""
    settings, model = record.cell.settings, record.cell.model
    subject, dataset, perturbation = (settings.get(key) for key in ("subject", "dataset", "perturbation"))
    spec = _spec(model)
    yield from _of_model(spec) if spec else MIXERS[model].cites if model in MIXERS else ()
    if subject == "semantic_fpn" or record.cell.study == "segmentation":
        yield "kirillov2019panoptic"
    if model in MINI:
        yield from _of_model(MODELS[MINI[model].backbone])
    if settings.get("scenes", "") in SCENE_SETS:
        yield from SCENE_SETS[settings["scenes"]].cites
    embedded = spec is not None and spec.weights is not None and not spec.weights.urls
    if "timm" in record.provenance and subject not in ("block", "mixer") and not embedded:
        yield "wightman2019timm"
    yield from DATASETS[str(dataset)].cites if str(dataset) in DATASETS else ()
    if isinstance(perturbation, dict):
        yield from from_settings(perturbation).cites
    if settings.get("corruption") is not None:
        yield "hendrycks2019benchmarking"


def _of_model(spec: ModelSpec) -> tuple[str, ...]:
    return spec.cites or (FAMILIES[spec.family].cites if spec.family in FAMILIES else ())


def _spec(model: str) -> ModelSpec | None:
    if model in MODELS:
        return MODELS[model]
    return next((spec for name in MODELS if (spec := MODELS[name]).timm_name == model), None)


def commits(records: Iterable[Record]) -> dict[str, int]:
    """What measured, and how many of these records: `4098a19`, or `4098a19 with changes` where the tree was changed."""
    found: Counter[str] = Counter()
    for record in records:
        commit = record.provenance.get("commit")
        changes = " with changes" if record.provenance.get("dirty") else ""
        found[f"{commit}{changes}" if commit else ""] += 1
    return dict(sorted(found.items()))


def _tool(records: Iterable[Record]) -> str:
    """This program, with the versions and commits that measured."""
    versions = {str(r.provenance["gfnet_bench"]) for r in records if "gfnet_bench" in r.provenance} or {__version__}
    noted = [commit for commit in commits(records) if commit]
    note = f"  note = {{Commit {tex(', '.join(noted))}}},\n" if noted else ""
    version = tex(", ".join(sorted(versions)))
    title = "{gfnet-bench}: how robust, how general and how costly image classifiers are"
    return f"@misc{{gfnet_bench,\n  title = {{{title}}},\n{note}  version = {{{version}}}\n}}"
