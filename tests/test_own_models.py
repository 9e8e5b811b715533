"""Networks of one's own: code that builds them, what is asked of them, what they are called, and what they hide."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from gfnet_bench.catalog import ModelSpec, find_spec, paper_transform
from gfnet_bench.cli import main
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.evaluation import evaluate
from gfnet_bench.mini import weights_path
from gfnet_bench.models import Asked, Model, load_model, wrap
from gfnet_bench.sourcecode import factory_of

MINE = """\
import timm
from safetensors.torch import load_file
import gfnet_bench.models
from helper import WEIGHTS

def make():
    net = timm.create_model("gfnet_mini")
    net.load_state_dict(load_file(WEIGHTS))
    return net

def fails():
    return {}["weights"]

def nothing():
    pass

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file that builds gfnet_mini, and the neighbour it imports."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "helper.py").write_text(f"WEIGHTS = {str(weights_path('gfnet_mini'))!r}\n")
    return tmp_path


class Net(nn.Module):
    """Ten logits from the mean of each channel of 32 pixel images, returned in some form."""

    def __init__(self, channels: int = 3, form: Any = lambda logits: logits) -> None:
        super().__init__()
        self.img_size, self.form = 32, form
        self.head = nn.Linear(channels, 10)
        self.first = nn.Conv2d(channels, channels, 1)
        self.drop = nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Any:
        return self.form(self.head(self.drop(self.first(x).mean((2, 3)))))


def robustness(*words: str) -> list[dict[str, Any]]:
    """Records of the mini suite's main set, by a command that must succeed."""
    how = ["--dataset", "mini", "--limit", "20", "--attack", "clean", "fgsm", "--no-progress", "-j", "0"]
    assert main(["robustness", *words, *how]) == 0
    return [json.loads(path.read_text()) for path in sorted(Path("results").rglob("*.json"))]


def test_own_code_gives_the_numbers_of_the_same_network_from_the_catalogue(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robustness("-m", "./mine.py:make", "gfnet_mini")
    out, err = capsys.readouterr()
    assert "mine.py:make, limit 20" in out and "code" not in out
    assert err.count("images of 32 x 32 (its img_size), RGB, mean 0.5 0.5 0.5 (its pretrained_cfg)") == 1
    by_model: dict[str, list[dict[str, Any]]] = {}
    for record in robustness("-m", "mine.py:make"):
        by_model.setdefault(record["cell"]["model"], []).append(record)
    own, known = (sorted(by_model[name], key=str) for name in ("mine.py:make", "gfnet_mini"))
    assert [r["values"] for r in own] == [r["values"] for r in known] and len(own) == 2  # the second run added none
    assert {"code", "weights"} <= own[0]["cell"]["settings"].keys() - known[0]["cell"]["settings"].keys()


def test_edited_code_is_another_cell_and_no_two_networks_share_a_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robustness("-m", "mine.py:make", "--name", "first")
    (folder / "helper.py").write_text((folder / "helper.py").read_text() + "# edited\n")
    robustness("-m", "mine.py:make", "--name", "second")
    assert main(["report", "robustness"]) == 0
    assert all(f"{name}, limit 20 " in capsys.readouterr().out for name in ("first",))
    capsys.readouterr()
    assert len(robustness("-m", "mine.py:make", "--name", "first")) == 4  # renamed, not measured
    capsys.readouterr()
    assert main(["report", "robustness"]) == 0
    out = capsys.readouterr().out
    assert out.count("first (code ") >= 2 and "first, limit" not in out and "second" not in out
    robustness("-m", "gfnet_mini", "--checkpoint", str(weights_path("gfnet_mini")), "--name", "fine-tuned")
    assert "fine-tuned, limit 20 " in capsys.readouterr().out
    assert main(["report", "robustness", "-m", "fine-tuned"]) == 0
    out = capsys.readouterr().out
    assert "fine-tuned, limit 20 " in out and "first" not in out


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gone.py:make", "no such file"),
        ("mine.py:mkae", "expected mkae in mine.py, found fails, make"),
        ("mine.py:fails", "raised KeyError: 'weights' (mine.py, line 12)"),
        ("mine.py:nothing", "expected it to give an nn.Module, found None"),
        ("mine.py:number", "expected a callable that gives an nn.Module, found a int"),
        ("broken.py:make", "raised SyntaxError: '(' was never closed (broken.py, line 2)"),
        ("leaves.py:make", "raised SystemExit: 3 (leaves.py, line 1)"),
        ("no.such.module:make", "expected a module no.such.module, found none"),
        ("math:sqrt", "expected a module of Python code"),
        ("torch.nn:Linear", "raised TypeError"),
    ],
)
def test_what_is_wrong_with_own_code_is_a_sentence_that_names_the_line(
    model: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.py").write_text("def make():\n    return (\n")
    (folder / "leaves.py").write_text("raise SystemExit(3)\n")
    assert main(["robustness", "--suite", "mini", "-m", model]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and not out


def test_neighbours_of_two_files_are_not_mistaken_for_one_another(tmp_path: Path) -> None:
    nets, before = [], set(sys.modules) | {"helper"}
    for name, width in (("a", 3), ("b", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper.py").write_text(f"width = {width}\n")
        (tmp_path / name / "json.py").write_text(
            "from torch import nn\nfrom helper import width\n"
            "def make(): return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, width))\n"
        )
        nets.append(load_model(f"{tmp_path / name / 'json.py'}:make", Asked(img_size=32)))
    assert [net.num_classes for net in nets] == [3, 5]
    assert sys.modules["json"] is json and str(tmp_path / "a") not in sys.path
    assert not [name for name in set(sys.modules) - before if not name.startswith("gfnet_bench_own_")]


def test_the_hash_of_code_is_of_what_it_imports_nearby_and_of_nothing_else(tmp_path: Path) -> None:
    files = {"net.py": "def f():\n    import torch, near\n", "near.py": "from package import deep", "other.py": ""}
    files |= {"package/__init__.py": "from .deep import x", "package/deep.py": "x = 1"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    factory = factory_of(f"{tmp_path}/net.py:f")
    assert factory is not None
    hashes = [factory.sha256()]
    for name in (*files, "new.py"):
        (tmp_path / name).write_text(files.get(name, "") + "\n# edited, and longer\n" + name)
        hashes.append(factory.sha256())
    assert [a != b for a, b in itertools.pairwise(hashes)] == [True, True, False, True, True, False]


@pytest.mark.parametrize(
    "form",
    [
        lambda logits: (logits, torch.zeros(len(logits), 4)),
        lambda logits: {"features": logits[:, :3, None], "logits": logits},
        lambda logits: type("Output", (), {"logits": logits, "loss": None})(),
        lambda logits: [None, logits],
        lambda logits: logits.half(),
        lambda logits: logits.log_softmax(1),
    ],
)
def test_logits_are_found_in_what_a_network_returns(form: Any) -> None:
    torch.manual_seed(0)
    net = Net(form=form).train()
    model = wrap(net, mean=0.5, std=(0.1, 0.2, 0.3), num_classes=10)
    images = torch.rand(4, 3, 32, 32)
    plain = net.head(net.first((images - 0.5) / torch.tensor([0.1, 0.2, 0.3]).reshape(-1, 1, 1)).mean((2, 3)))
    found = model(images)
    assert torch.allclose(found.softmax(1), plain.softmax(1), atol=2e-3) and found.dtype == torch.float32
    assert (model.num_classes, model.transform.height, model.training) == (10, 32, False)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Net(form=lambda logits: logits.softmax(1)), "expected logits, found probabilities"),
        (Net(form=lambda logits: logits.argmax(1)), r"found shape \(2,\)"),
        (Net(form=lambda logits: logits.long()), "found torch.int64"),
        (Net(form=lambda logits: logits[:1]), r"found shape \(1, 10\)"),
        (Net(form=lambda logits: "cat"), "found a str"),
        (Net(channels=4), "found one that takes 4"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 10)), "say the size"),
    ],
)
def test_what_gives_no_logits_is_refused_in_a_sentence(net: nn.Module, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        wrap(net, name="mine")
    assert str(caught.value).startswith("mine: ") and "\n" not in str(caught.value)


def test_other_numbers_of_classes_are_refused_with_both(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"logits of 7 classes \(--num-classes\), found 10"):
        wrap(Net(), num_classes=7)
    for words in (["-m", "mine.py:make", "--num-classes", "7"], ["-m", "mine.py:make", "gfnet_mini", "--name", "one"]):
        assert main(["robustness", "--suite", "mini", *words]) == 2
    err = capsys.readouterr().err
    assert "7 classes" in err and "found 10" in err and "--name is what one model is called, but there are 2" in err


def test_probabilities_are_noticed_whoever_calls_the_network() -> None:
    images = torch.randint(0, 255, (4, 8, 8, 3), dtype=torch.uint8)
    ids = [str(i) for i in range(4)]
    with pytest.raises(GfnetBenchError, match="found probabilities"):
        evaluate(
            lambda x: torch.rand(len(x), 5).softmax(1), images, torch.zeros(4, dtype=torch.int64), ids, classes=None
        )


def test_a_grey_network_is_shown_the_luma_and_attacked_through_it() -> None:
    net = Net(channels=1)
    model = wrap(net, mean=0.2, std=0.5)
    grey = torch.rand(2, 1, 32, 32)
    assert torch.allclose(model(grey.expand(-1, 3, -1, -1)), net((grey - 0.2) / 0.5), atol=1e-5)
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(images)[:, 0].sum(), images)
    assert torch.allclose(gradient[:, 0] / 0.299, gradient[:, 1] / 0.587, rtol=1e-4)  # ITU-R 601
    assert torch.allclose(gradient[:, 2] / 0.114, gradient[:, 1] / 0.587, rtol=1e-4)


def test_a_spec_a_network_and_its_normalisation_make_a_model() -> None:
    spec = ModelSpec("mine", "Mine", "mine", "own", None, None)
    model = Model(spec, Net(), paper_transform(32, 32), mean=(0.1, 0.2, 0.3), std=0.5)
    assert model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3]) and model.num_classes == 10
    with pytest.raises(UsageError, match="expected one number or three as std, above 0, found 0"):
        Model(spec, Net(), paper_transform(32, 32), std=0)


def test_a_fine_tuned_gfnet_of_other_classes_channels_and_size_is_read_by_name_and_by_own_code(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = timm.create_model("gfnet_ti", num_classes=3, in_chans=1, img_size=96)
    torch.save({"model": net.state_dict(), "epoch": 1}, tmp_path / "weights.pth")
    (tmp_path / "net.py").write_text(
        "import timm\ndef f(): return timm.create_model('gfnet_ti', num_classes=3, in_chans=1, img_size=96)\n"
    )
    by_name = load_model("gfnet_ti", Asked(checkpoint=tmp_path / "weights.pth", img_size=96, mean=[0.4], std=[0.2]))
    by_code = load_model(f"{tmp_path}/net.py:f", Asked(checkpoint=tmp_path / "weights.pth", mean=[0.4], std=[0.2]))
    grey = torch.rand(1, 1, 96, 96)
    with torch.no_grad():
        expected = net.eval()((grey - 0.4) / 0.2)
        for model in (by_name, by_code):
            assert (model.num_classes, model.transform.height) == (3, 96)
            assert torch.allclose(model(grey.expand(-1, 3, -1, -1)), expected, atol=1e-4)
    told: list[int] = []
    load_model("gfnet_ti", Asked(checkpoint=tmp_path / "weights.pth", img_size=96), check=told.append)
    assert told == [3]


@pytest.mark.filterwarnings("ignore")
def test_a_classifier_of_transformers_is_cut_and_normalised_as_its_processor_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=32, num_labels=10
    )
    config.patch_size = 8
    net = transformers.ViTForImageClassification(config).eval()
    net.save_pretrained("tiny")
    size = {"size": {"height": 32, "width": 32}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.4, 0.3]}
    transformers.ViTImageProcessor(**size).save_pretrained("tiny")
    model = load_model("hf:./tiny", transform="model")
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(size[key]).reshape(-1, 1, 1) for key in ("image_mean", "image_std"))
    with torch.no_grad():
        assert torch.allclose(model(images), net((images - mean) / std).logits, atol=1e-5)
    cut = model.transform
    assert (cut.height, cut.resize, cut.mode, cut.interpolation) == (32, (32, 32), "squash", "bilinear")
    records = robustness("-m", "hf:./tiny", "--suite", "mini")
    assert len(records) == 2 and records[0]["provenance"]["weights_sha256"] == model.weights_sha256
    (tmp_path / "tiny" / "preprocessor_config.json").write_text(
        (tmp_path / "tiny" / "preprocessor_config.json").read_text().replace("0.1", "0.9")
    )
    robustness("-m", "hf:./tiny", "--suite", "mini")
    assert "measured again, on other weights" in capsys.readouterr().err
    assert main(["robustness", "--suite", "mini", "-m", "hf:./gone", "--output-dir", "gone", "-j", "0"]) == 1
    assert "hf:./gone: expected config.json and model.safetensors in ./gone" in capsys.readouterr().err


def test_own_names_are_never_taken_for_patterns_or_for_one_another(folder: Path) -> None:
    assert find_spec("./mine.py:make").name == find_spec("mine.py:make").name == "mine.py:make"
    assert find_spec("./mine.py:make").suite is None
    assert factory_of("hf-hub:owner/name") is None and factory_of("resnet50") is None
