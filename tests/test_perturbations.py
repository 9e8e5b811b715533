"""A perturbation says itself, reads itself and stores itself; an attack that is not ours goes all the way."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

from gfnet_bench.attacks.base import ATTACKS
from gfnet_bench.attacks.pgd import loss_gradient
from gfnet_bench.cli import main
from gfnet_bench.errors import UsageError
from gfnet_bench.perturbations import Attacked, Corruptions, attacked, corrupted, from_settings, parse
from gfnet_bench.reports.robustness import robustness
from gfnet_bench.store import Store

PGD = {"name": "pgd", "norm": "linf", "relative_step": 0.5, "steps": 5, "random_start": True}


@pytest.mark.parametrize(
    ("text", "settings", "spelling", "title"),
    [
        ("clean", {"name": "clean"}, "clean", "clean"),
        ("FGSM", {"name": "fgsm", "norm": "linf", "epsilon": 1 / 255}, "fgsm:epsilon=1/255", "FGSM"),
        ("pgd", {**PGD, "epsilon": 1 / 255}, "pgd:epsilon=1/255", "PGD"),
        ("pgd:epsilon=4/255", {**PGD, "epsilon": 4 / 255}, "pgd:epsilon=4/255", "PGD 4/255 x5"),
        (
            "pgd:steps=20, epsilon = 0.1 ,random_start=False",
            {**PGD, "epsilon": 0.1, "steps": 20, "random_start": False},
            "pgd:epsilon=0.1,random_start=false,steps=20",
            "PGD 0.1 x20 no random start",
        ),
        ("fog:severity=3", {"name": "fog", "severity": 3}, "fog:severity=3", "fog 3"),
        (
            "gaussian-noise:recipe=cifar_c,severity=1",
            {"name": "gaussian_noise", "severity": 1, "recipe": "cifar_c"},
            "gaussian_noise:severity=1,recipe=cifar_c",
            "gaussian_noise 1",
        ),
        (
            "fourier:norm=4",
            {"name": "fourier", "norm": 4.0, "frequencies": None},
            "fourier:norm=4",
            "Fourier noise of norm 4",
        ),
    ],
)
def test_it_is_read_stored_and_written(text, settings, spelling, title):
    found = parse(text)
    assert (found.settings, found.spelling, found.title) == (settings, spelling, title)
    assert parse(spelling) == from_settings(json.loads(json.dumps(settings))) == found
    assert found.salt == settings["name"]  # what every number so far was drawn with


@pytest.mark.parametrize("epsilon", ["0", "1/255", "0.5/255", "4/255", "64/255", "0.1", "0.0157", "1", "85/255"])
def test_a_radius_is_written_as_people_write_it_and_read_to_the_last_bit(epsilon):
    assert attacked(f"pgd:epsilon={epsilon}")[0].spelling == f"pgd:epsilon={epsilon}"
    odd = Attacked("pgd", json.dumps({**PGD, "epsilon": 0.1 + 0.2}))
    assert parse(odd.spelling).attack.epsilon == 0.1 + 0.2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgg", "unknown perturbation 'pgg'; did you mean pgd"),
        ("pgd:step=3", "pgd: expected fields among epsilon, relative_step, steps, random_start, norm"),
        ("pgd:steps", "expected pgd:FIELD=VALUE,FIELD=VALUE, each field once, found 'steps'"),
        ("pgd:", "found ''"),
        ("pgd:steps=1,steps=2", "each field once, found 'steps=2'"),
        ("pgd,steps=3", "expected fields behind a colon, pgd:FIELD=VALUE"),
        ("torchattacks:FAB,steps=3", "expected fields behind a colon, torchattacks:FAB:FIELD=VALUE"),
        ("pgd:steps=1.5", "pgd: steps: expected a whole number, found '1.5'"),
        ("pgd:random_start=1", "expected true or false, found '1'"),
        ("pgd:epsilon=nan", "expected a number such as 0.5 or 4/255, found 'nan'"),
        ("pgd:epsilon=8", "did you mean 8/255"),
        ("clean:epsilon=1/255", "clean: expected fields among no fields at all"),
        ("fog", "write fog:severity=3"),
        ("fog:severity=6", "expected a severity from 1 to 5, found 6"),
        ("fog:severity=1,recipe=none_such", "unknown recipe 'none_such'"),
        ("fourier:norm=0", "expected a norm above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(text, message):
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_options_fill_what_the_spelling_leaves_open_and_contradict_it_never():
    epsilons = ["1/255", "4/255", "1/255"]
    assert [p.spelling for p in attacked("pgd:relative_step=0.25", epsilons, 0.5, steps=9)] == [
        f"pgd:epsilon={epsilon},relative_step=0.25,steps=9" for epsilon in ("1/255", "4/255")
    ]
    assert [p.spelling for p in attacked("fgsm", [], 4 / 255, steps=9)] == ["fgsm:epsilon=4/255"]
    assert [p.spelling for p in attacked("fgsm:epsilon=8/255", None, 4 / 255)] == ["fgsm:epsilon=8/255"]
    for text, radii, options in (("pgd:epsilon=8/255", ["4/255"], {}), ("pgd:steps=3", None, {"steps": 3})):
        with pytest.raises(UsageError, match="once, found it here and as an option; leave one out"):
            attacked(text, radii, **options)
    assert [p.severity for p in corrupted("fog", [2, 4])] == [2, 4] and len(corrupted("fog")) == 5
    with pytest.raises(UsageError, match="expected severity once"):
        corrupted("fog:severity=3", [3])


def test_a_length_in_l2_is_no_number_of_grey_levels():
    old = {"name": "torchattacks:PGDL2", "version": "3.3.0", "eps": 0.25, "steps": 10}  # before the norm was stored
    for settings in (old, {**old, "norm": "l2"}):
        assert from_settings(settings).title.startswith("torchattacks:PGDL2 0.25 x10")
        assert from_settings(settings).spelling == "torchattacks:PGDL2:epsilon=0.25,steps=10"


def test_several_corruptions_say_which():
    mean = Corruptions("cifar_c").of([("snow", 2), ("fog", 4), ("fog", 2), ("snow", 4)])
    assert (mean.title, mean.words) == ("mean of fog, snow 2 4", "mean of fog, snow 2 4 recipe=cifar_c")
    assert from_settings(mean.settings) == mean and Corruptions().of([("fog", 2)]) == parse("fog:severity=2")


# An attack of somebody else's, in another norm, with a field of its own


@dataclass(frozen=True)
class Slide:
    """One step along the gradient, of length epsilon, if `power` says so."""

    name: ClassVar[str] = "slide"
    norm: ClassVar[str] = "l2"

    epsilon: float = 0.5
    power: float | None = 1.0
    back: bool = False

    def __call__(self, predict, images, labels, seeds):
        """See `Attack`."""
        gradient = loss_gradient(predict, images, labels) * (-1 if self.back else 1)
        length = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]
        return (images + self.epsilon * (self.power or 0) * gradient / length).clamp(0, 1)


@pytest.fixture
def slide(holding):
    holding(ATTACKS, "slide", Slide)
    return Slide


def test_a_plug_ins_attack_goes_all_the_way(slide, tmp_path, capsys, holding):
    words = ["clean", "slide", "slide:epsilon=1.5,back=true", "slide:power=none"]
    command = ["robustness", "-m", "gfnet_mini", "--dataset", "mini", "--limit", "20", "--attack", *words]
    command += ["--format", "json", "--output-dir", str(tmp_path), "--no-progress", "--device", "cpu"]
    spelt = ["clean", "slide:epsilon=0.5", "slide:epsilon=1.5,back=true", "slide:epsilon=0.5,power=none"]

    assert main([*command, "--dry-run"]) == 0
    assert [row["perturbation"] for row in json.loads(capsys.readouterr().out)] == spelt  # the suite's 4/255 is no L2
    assert main(command) == 0
    top1 = {r["column"]: r["ours_percent"] for r in json.loads(capsys.readouterr().out) if r["metric"] == "top1"}
    titles = ["Top-1", "SLIDE", "SLIDE 1.5 back=True", "SLIDE 0.5 power=None"]
    assert [title for title in titles if top1.get(title) is None] == []
    assert (
        top1["SLIDE"] < top1["Top-1"] <= top1["SLIDE 1.5 back=True"] and top1["SLIDE 0.5 power=None"] == top1["Top-1"]
    )

    stored = {r.cell.settings["perturbation"].get("epsilon"): r for r in Store(tmp_path)}
    assert stored[1.5].cell.settings["perturbation"] == {
        "name": "slide", "norm": "l2", "epsilon": 1.5, "power": 1.0, "back": True
    }  # fmt: skip
    assert from_settings(stored[1.5].cell.settings["perturbation"]).attack == Slide(1.5, back=True)
    assert main(["robustness", *command[1:], "--eps", "2"]) == 2
    assert "slide:epsilon=1.5,back=true: expected epsilon once" in capsys.readouterr().err
    assert main(["attack-check", "--attack", "slide:power=none", "--limit", "16", "--output-dir", str(tmp_path)]) == 1

    holding(ATTACKS, "slide", None)
    table = robustness(Store(tmp_path)).render("text")  # without the plug-in its records are read all the same
    assert "SLIDE 1.5 back=True norm=l2" in table
    with pytest.raises(UsageError, match="unknown attack 'slide'"):
        _ = from_settings(stored[1.5].cell.settings["perturbation"]).attack
