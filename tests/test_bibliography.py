"""Every data set, attack and family cites its own source, and a name that nobody knows cites no neighbour."""

from __future__ import annotations

import re

import pytest

from gfnet_bench.attacks import ATTACKS
from gfnet_bench.catalog import MODELS
from gfnet_bench.datasets import DATASETS, DatasetSpec
from gfnet_bench.families import FAMILIES
from gfnet_bench.mixers import MIXERS
from gfnet_bench.records import PROTOCOLS, Cell, Record
from gfnet_bench.reports.bibliography import bibtex, references
from gfnet_bench.reports.reading.scores import CLEAN, Score
from gfnet_bench.scene_sets import SCENE_SETS

ALWAYS = {"gfnet_bench", "rao2021gfnet"}

# By hand, from the sets' own papers; all of ImageNet's relatives also rest on ImageNet.
SOURCES = {
    "imagenet": set(),
    "imagenet_real": {"beyer2020imagenet"},
    "imagenet_c": {"hendrycks2019benchmarking", "krizhevsky2012alexnet"},
    "imagenet_c_generated": {"hendrycks2019benchmarking", "krizhevsky2012alexnet"},
    "imagenet_a": {"hendrycks2021natural"},
    "imagenet_a_control": {"hendrycks2021natural"},
    "imagenet_v2": {"recht2019imagenet"},
    "imagenet_v2_threshold": {"recht2019imagenet"},
    "imagenet_v2_top": {"recht2019imagenet"},
    "imagenet_r": {"hendrycks2021many"},
    "imagenet_r_control": {"hendrycks2021many"},
    "imagenet_sketch": {"wang2019sketch"},
    "mini": {"xiao2017fashion"},
    "mini_a": {"xiao2017fashion"},
    "mini_v2": {"xiao2017fashion"},
    "mini_c": {"xiao2017fashion", "hendrycks2019benchmarking"},
    "cifar10": {"krizhevsky2009learning"},
    "cifar10_c": {"krizhevsky2009learning", "hendrycks2019benchmarking"},
    "cifar10_c_generated": {"krizhevsky2009learning", "hendrycks2019benchmarking"},
    "tiny_imagenet": {"le2015tiny"},
    "tiny_imagenet_c": {"le2015tiny", "hendrycks2019benchmarking"},
    "tiny_imagenet_c_generated": {"le2015tiny", "hendrycks2019benchmarking"},
}


def cited(model: str = "nobody", error: str | None = None, timm: bool = False, **settings) -> set[str]:
    cell = Cell("robustness", PROTOCOLS["robustness"], model, settings)
    text = bibtex([Record(cell, error=error, provenance={"timm": "1.0"} if timm else {})])
    return set(re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)) - ALWAYS


@pytest.mark.parametrize("dataset", SOURCES)
def test_a_data_set_cites_its_own_source(dataset):
    expected = SOURCES[dataset] | ({"russakovsky2015imagenet"} if dataset.startswith("imagenet") else set())
    assert cited(dataset=dataset, perturbation={"name": "clean"}) == expected


ATTACKS_SOURCES = {
    "fgsm": "goodfellow2015explaining",
    "pgd": "madry2018towards",
    "fourier": "yin2019fourier",
    **dict.fromkeys(("torchattacks:PGD", "torchattacks:FGSM"), "kim2020torchattacks"),
}


@pytest.mark.parametrize("attack", ATTACKS_SOURCES)
def test_an_attack_cites_its_own_source(attack):
    assert cited(perturbation={"name": attack}) == {ATTACKS_SOURCES[attack]}


def test_every_model_of_the_catalogue_cites_its_family():
    for name in MODELS:
        found = cited(name)
        assert found == set(MODELS[name].cites or FAMILIES[MODELS[name].family].cites) - ALWAYS
        assert cited(MODELS[name].timm_name) == found or MODELS[name].suite == "mini"
    assert cited("vit_mini") == {"dosovitskiy2021image"}


def test_names_near_a_known_one_cite_no_neighbour():
    tried = 0
    for names, settings in (
        (DATASETS, lambda name: {"dataset": name}),
        (["fgsm", "pgd", "fourier"], lambda name: {"perturbation": {"name": name}}),
        ([*MIXERS, "vit_mini"], lambda name: {"model": name}),
    ):
        for name in names:
            near = {name + "x", f"{name}_2", f"x{name}", name[:-1], name.upper() + "_", f"semantic_fpn_{name}"}
            for other in near - set(names):
                assert cited(**settings(other)) == set(), other
                tried += 1
    assert tried > 100


def test_a_data_set_that_is_added_brings_heading_place_and_citation(holding):
    entry = "@article{me2026own,\n  title = {Own}\n}"
    spec = DatasetSpec("own", "My own", 10, "Ask me.", short="Own", place=2, cites=("wang2019sketch", entry))
    own, known = Score("own", CLEAN, "top1"), [Score(name, CLEAN, "top1") for name in ("imagenet_a", "imagenet_v2")]
    assert (own.title, cited(dataset="own")) == ("own", set())  # as of a plug-in that is not installed
    assert sorted([own, *known], key=lambda score: score.order)[-1] == own
    holding(DATASETS, "own", spec)
    assert (own.title, cited(dataset="own")) == ("Own", {"wang2019sketch", "me2026own"})
    assert sorted([own, *known], key=lambda score: score.order)[1] == own


def test_every_key_has_an_entry_and_every_entry_a_use():
    used = {
        *(key for name in MIXERS for key in MIXERS[name].cites),
        *(key for name in FAMILIES for key in FAMILIES[name].cites),
        *(key for name in MODELS for key in MODELS[name].cites),
        *(key for name in ATTACKS for key in ATTACKS[name].cites),
        *(key for name in DATASETS for key in DATASETS[name].cites),
        *(key for name in SCENE_SETS for key in SCENE_SETS[name].cites),
    }
    others = {
        "kim2020torchattacks",
        "yin2019fourier",
        "kirillov2019panoptic",
        "wightman2019timm",
        "michaelis2019benchmarking",
    }
    keys = {key for key in used if not key.startswith("@")}  # the others bring their entry
    assert keys | others == set(references())


def test_recipes_subjects_and_libraries():
    corrupted = {"name": "fog", "severity": 1}
    assert cited(perturbation={**corrupted, "recipe": "cifar_c"}) == {"hendrycks2019benchmarking"}
    both = {"hendrycks2019benchmarking", "michaelis2019benchmarking"}
    assert cited(perturbation={**corrupted, "recipe": "imagecorruptions"}) == both
    assert cited("resnet50", subject="semantic_fpn") == {"he2016deep", "kirillov2019panoptic"}
    assert cited("resnet50.a1_in1k", timm=True) == {"wightman2019timm"}
    assert cited("self_attention", timm=True, subject="block") == {"dosovitskiy2021image"}  # no network of timm
    assert cited("vit_mini", timm=True) == {"dosovitskiy2021image"}


def test_what_could_not_be_measured_is_behind_no_number():
    assert cited("resnet50", "MissingError: no", dataset="imagenet_a", perturbation={"name": "pgd"}) == set()
