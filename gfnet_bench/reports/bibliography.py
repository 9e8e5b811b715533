"""What the numbers rest on, as BibTeX: the models, data sets, attacks and tools that the records name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files

from gfnet_bench import __version__
from gfnet_bench.catalog import MODELS, ModelSpec
from gfnet_bench.records import Record
from gfnet_bench.reports.latex import tex

_FAMILIES = {
    "GFNet": "rao2021gfnet",
    "DeiT": "touvron2021deit",
    "Swin": "liu2021swin",
    "PVT": "wang2021pvt",
    "PVTv2": "wang2022pvt",
    "ResMLP": "touvron2021resmlp",
    "gMLP": "liu2021pay",
    "Mixer": "tolstikhin2021mixer",
    "ResNet": "he2016deep",
    "ResNeXt": "xie2017aggregated",
    "RegNetY": "radosavovic2020designing",
    "global_filter": "rao2021gfnet",
    "global_filter_fast": "rao2021gfnet",
    "self_attention": "dosovitskiy2021image",
    "self_attention_fused": "dosovitskiy2021image",
    "spatial_mlp": "touvron2021resmlp",
}
"""A family of the catalogue, or a mixer of the complexity study -> who made it known."""

_DATASETS = {
    "imagenet_c": ("hendrycks2019benchmarking", "krizhevsky2012alexnet"),
    "imagenet_a": ("hendrycks2021natural",),
    "imagenet_v2": ("recht2019imagenet",),
    "imagenet_real": ("beyer2020imagenet",),
    "imagenet_r": ("hendrycks2021many",),
    "imagenet_sketch": ("wang2019sketch",),
    "imagenet": ("russakovsky2015imagenet",),
    "mini_c": ("hendrycks2019benchmarking",),
    "mini": ("xiao2017fashion",),
}
"""The start of a data set's name -> where it comes from; all that fit count."""

_PERTURBATIONS = {
    "fgsm": "goodfellow2015explaining",
    "pgd": "madry2018towards",
    "torchattacks:": "kim2020torchattacks",
    "fourier": "yin2019fourier",
}


def bibtex(records: Iterable[Record]) -> str:
    """A `.bib` file with one entry for each thing that was used, this tool and the GFNet paper first."""
    records = list(records)
    used = {"rao2021gfnet", *(key for record in records for key in _keys(record))}
    entries = [_tool(records), *(entry for key, entry in references().items() if key in used)]
    return "\n\n".join(entries) + "\n"


@cache
def references() -> dict[str, str]:
    """Every entry there is, by its key."""
    text = files("gfnet_bench.reports").joinpath("references.bib").read_text(encoding="utf-8")
    entries = text.strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def _keys(record: Record) -> Iterator[str]:
    settings, model = record.cell.settings, record.cell.model
    spec = _spec(model)
    family = spec.family if spec else model
    if family in _FAMILIES:
        yield "dosovitskiy2021image" if model == "vit_mini" else _FAMILIES[family]
    if "semantic_fpn" in model or "semantic_fpn" in str(settings.get("subject")):
        yield "kirillov2019panoptic"
    if "timm" in record.provenance and not (spec and spec.suite == "mini"):
        yield "wightman2019timm"
    dataset = str(settings.get("dataset") or "")
    for start, keys in _DATASETS.items():
        if dataset.startswith(start):
            yield from keys
    perturbation = settings.get("perturbation") or {}
    name = str(perturbation.get("name", "")) if isinstance(perturbation, dict) else str(perturbation)
    for start, key in _PERTURBATIONS.items():
        if name.startswith(start):
            yield key
    if settings.get("measure") == "heatmap":
        yield "yin2019fourier"
    if isinstance(perturbation, dict) and "severity" in perturbation:
        yield "hendrycks2019benchmarking"
        if perturbation.get("recipe") == "imagecorruptions":
            yield "michaelis2019benchmarking"


def _spec(model: str) -> ModelSpec | None:
    if model in MODELS:
        return MODELS[model]
    return next((spec for name in MODELS if (spec := MODELS[name]).timm_name == model), None)


def _tool(records: Iterable[Record]) -> str:
    """This program, with the versions and commits that measured."""
    versions = {str(r.provenance["gfnet_bench"]) for r in records if "gfnet_bench" in r.provenance} or {__version__}
    commits = sorted({str(r.provenance["commit"]) for r in records if "commit" in r.provenance})
    note = f"  note = {{Commit {tex(', '.join(commits))}}},\n" if commits else ""
    version = tex(", ".join(sorted(versions)))
    title = "{gfnet-bench}: how robust, how general and how costly image classifiers are"
    return f"@misc{{gfnet_bench,\n  title = {{{title}}},\n{note}  version = {{{version}}}\n}}"
