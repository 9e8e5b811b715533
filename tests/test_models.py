"""The catalog and the wrapper: right names, right networks, right pixels in, right weights found, no network needed."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from timm.models import _hub as hub

from gfnet_bench.catalog import MODELS, expand, find_spec, paper_transform
from gfnet_bench.errors import GfnetBenchError, MissingError, UsageError
from gfnet_bench.models import Asked, Model, base, load_model
from gfnet_bench.models import baselines as hosting

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

# Millions of parameters: exact counts of the GFNet code, two digits of timm's results table, one of PVT's model table.
PUBLISHED = {
    "gfnet_ti": "7.511784",
    "gfnet_xs": "15.985768",
    "gfnet_s": "24.869608",
    "gfnet_b": "43.120616",
    "gfnet_h_ti": "15.085096",
    "gfnet_h_s": "32.162632",
    "gfnet_h_b": "53.744200",
    "resnet18": "11.69",
    "resnet50": "25.56",
    "resnet101": "44.55",
    "resnext50": "25.03",
    "resnext50_tv": "25.03",
    "regnety_016": "11.20",
    "regnety_040": "20.65",
    "regnety_080": "39.18",
    "deit_tiny": "5.72",
    "deit_small": "22.05",
    "deit_base": "86.57",
    "swin_tiny": "28.29",
    "swin_small": "49.61",
    "pvt_tiny": "13.2",
    "pvt_small": "24.5",
    "pvt_medium": "44.2",
    "pvt_large": "61.4",
    "pvt_v2_b1": "14.01",
    "pvt_v2_b2": "25.36",
    "resmlp_12": "15.35",
    "resmlp_24": "30.02",
    "resmlp_36": "44.69",
    "gmlp_s": "19.42",
    "mixer_b16": "59.88",
}
FIRST_OF_FAMILY = {(MODELS[name].family, MODELS[name].suite): name for name in reversed(list(MODELS))}


def shell(name: str, img_size: int | tuple[int, int] | None = None, **kwargs: Any) -> Model:
    """A model without storage: names, shapes and settings only."""
    with torch.device("meta"):
        return load_model(name, Asked(img_size), pretrained=False, device="meta", **kwargs)


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("GFNET_BENCH_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_catalog_needs_no_heavy_import() -> None:
    code = (
        "import sys; from gfnet_bench.catalog import MODELS, expand; "
        "print(*expand(['gfnet_h_*', 'DeiT-Small'])); "
        "sys.exit(' '.join({'torch', 'timm', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["gfnet_h_ti", "gfnet_h_s", "gfnet_h_b", "deit_small"]


def test_every_published_count_is_checked() -> None:
    assert set(PUBLISHED) == {name for name in MODELS if MODELS[name].suite == "imagenet"}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_catalog_builds(name: str) -> None:
    spec, model = MODELS[name], shell(name)
    if spec.suite == "mini":
        assert (model.num_classes, model.transform.resize, model.transform.height) == (10, None, 32)
        assert model.params < 1_000_000
    else:
        digits = len(PUBLISHED[name].partition(".")[2])
        assert f"{model.params / 1e6:.{digits}f}" == PUBLISHED[name]
        assert (model.num_classes, model.transform) == (1000, paper_transform(224, 224))
    cfg = timm.get_pretrained_cfg(spec.timm_name)
    assert (cfg.mean, cfg.std) == (HALF if spec.suite == "mini" or name in ("gmlp_s", "mixer_b16") else IMAGENET)
    assert (model.name, model.title) == (name, spec.title)


@pytest.mark.parametrize("name", [*FIRST_OF_FAMILY.values(), "gfnet_h_ti"])
def test_every_family_takes_another_size(name: str) -> None:
    side = 64 if MODELS[name].suite == "mini" else 256
    model = shell(name, img_size=side)
    assert model.transform.height == model.transform.width == side
    assert model(torch.empty(2, 3, side, side, device="meta")).shape == (2, model.num_classes)


def test_titles_and_weights_are_those_of_the_paper() -> None:
    assert [MODELS[name].title for name in ("gfnet_h_ti", "resnext50", "pvt_medium", "gmlp_s")] == [
        "GFNet-H-Ti",
        "ResNeXt-50",
        "PVT-M",
        "gMLP-S",
    ]
    weights = MODELS["gfnet_xs"].weights
    assert weights is not None
    assert (weights.file, weights.top1) == ("gfnet-xs.pth", 0.786)
    assert weights.urls[0] == "https://cloud.tsinghua.edu.cn/f/e0ab5b1583954a1fa9b2/?dl=1"
    assert "1paf9gQWdsLXrG58R77yJ3U0FiNINg9xN" in weights.urls[1]
    files = [spec.weights.file for spec in (MODELS[name] for name in MODELS) if spec.weights]
    urls = [url for spec in (MODELS[name] for name in MODELS) if spec.weights for url in spec.weights.urls]
    assert len(set(files)) == len(files) == 7 + 4 + 6
    assert len(set(urls)) == len(urls) == 2 * 7 + 4


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["GFNet-S"], ["gfnet_s"]),
        (["resmlp_*", "resmlp_12"], ["resmlp_12", "resmlp_24", "resmlp_36", "resmlp_mini"]),
        (["deit_small_patch16_224", "resnet50.a1_in1k"], ["deit_small_patch16_224", "resnet50.a1_in1k"]),
        (["test_resnet.*"], ["test_resnet.r160_in1k"]),
    ],
)
def test_words_of_a_command_line(words: list[str], names: list[str]) -> None:
    assert expand(words) == names


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gfnet_small", "unknown model 'gfnet_small'; did you mean"),
        ("resnet50.no_such_tag", "unknown model 'resnet50.no_such_tag'"),
        ("nothing_*", "no model is called like 'nothing_\\*'"),
    ],
)
def test_unknown_names_are_refused(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        expand([word])


@pytest.mark.parametrize(
    ("name", "own", "size", "expected"),
    [
        ("deit_small", False, None, (224, 224, 256, "bicubic")),
        ("deit_small", True, None, (224, 224, 248, "bicubic")),  # floor(224 / 0.9)
        ("resnet50", True, None, (224, 224, 256, "bilinear")),
        ("gfnet_s", True, None, (224, 224, 256, "bicubic")),
        ("deit_small", False, 384, (384, 384, 438, "bicubic")),  # int(256 / 224 * 384)
        ("deit_small", True, 384, (384, 384, 426, "bicubic")),
        ("resnet50", False, (192, 384), (192, 384, 438, "bicubic")),
        ("gfnet_mini", True, None, (32, 32, None, "bicubic")),
    ],
)
def test_transforms(name: str, own: bool, size: int | tuple[int, int] | None, expected: tuple) -> None:
    transform = shell(name, transform="model" if own else "paper", img_size=size).transform
    assert (transform.height, transform.width, transform.resize, transform.interpolation) == expected
    assert transform.to_json()["name"] == ("model" if own else "paper")


def test_every_model_of_a_thousand_classes_has_its_own_transform() -> None:
    """The folder of its crop is timm's crop mode; `squash` is what 73 of them were evaluated with."""
    modes = {}
    for name in timm.list_pretrained():
        cfg = timm.get_pretrained_cfg(name)
        if cfg.num_classes == 1000:
            modes[name] = cfg.crop_mode
            transform = base.own_transform(find_spec(name), cfg, cfg.input_size[1:], "model")
            assert transform.mode == cfg.crop_mode
    assert "squash" in modes.values()


@pytest.mark.parametrize("side", [230, (224, 230)])
@pytest.mark.parametrize("name", ["deit_tiny", "resmlp_12", "swin_tiny", "pvt_tiny", "gfnet_ti", "gfnet_h_ti"])
def test_sizes_a_model_cannot_take(name: str, side: int | tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=rf"{name}: cannot be built for images of \d+ x 230: .*multiples of"):
        shell(name, img_size=side)


@pytest.mark.parametrize(
    ("name", "side"),
    [("hrnet_w18_small", 200), ("crossvit_9_240", 256), ("efficientformer_l1", 256), ("coatnet_0_224", 200)],
)
def test_sizes_that_a_network_would_only_refuse_when_it_is_shown_an_image(name: str, side: int) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: cannot be built for images of {side} x {side}: shown one"):
        shell(name, img_size=side)


def test_a_size_that_suits_a_network_of_any_size_is_taken() -> None:
    assert shell("resnet18", img_size=(200, 333)).transform.width == 333


@pytest.mark.parametrize(("name", "mean", "std"), [("test_resnet", *HALF), ("pvt_v2_b0", *IMAGENET)])
def test_pixels_are_normalised_inside(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    model = load_model(name, pretrained=False)
    images = torch.rand(2, 3, 64, 64)
    normalised = torch.stack([(images[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    with torch.no_grad():
        logits = model(images)
        torch.testing.assert_close(logits, model.net(normalised))
    assert logits.std() > 0


def test_parameters_are_frozen_and_images_are_not() -> None:
    model = load_model("gfnet_mini", pretrained=False)
    assert not model.training
    assert not any(module.training for module in model.modules())
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    model(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_logits_are_float32_under_autocast() -> None:
    model = load_model("vit_mini", pretrained=False)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(torch.rand(1, 3, 32, 32)).dtype == torch.float32


def test_fresh_weights_have_no_source() -> None:
    model = load_model("resnet_mini", pretrained=False)
    assert (model.weights_sha256, model.weights_source) == (None, None)


def test_a_checkpoint_of_the_user(tmp_path: Path) -> None:
    source = timm.create_model("vit_mini")
    path = tmp_path / "mine.pth"
    torch.save({"model": source.state_dict()}, path)
    model = load_model("vit-mini", Asked(checkpoint=path))
    assert torch.equal(model.net.head.weight, source.head.weight)
    assert model.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.weights_source == "mine.pth"


def test_weights_tied_to_their_size_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(timm.create_model("resmlp_mini").state_dict(), path)
    with pytest.raises(GfnetBenchError, match=r"linear_tokens.weight: expected 256 x 256, found 64 x 64"):
        load_model("resmlp_mini", Asked(checkpoint=path, img_size=64))


def test_published_weights_are_found_in_the_cache(empty_caches: Path, no_network: None) -> None:
    source = timm.create_model("gfnet_ti")
    path = empty_caches / "own" / "checkpoints" / "gfnet-ti.pth"
    path.parent.mkdir(parents=True)
    torch.save({"model": source.state_dict()}, path)
    model = load_model("gfnet_ti")
    assert torch.equal(model.net.head.weight, source.head.weight)
    assert model.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.weights_source == "raoyongming/GFNet, official release"


def fill_hub_cache(folder: Path, repo: str, net: torch.nn.Module) -> Path:
    home = folder / f"models--{repo.replace('/', '--')}"
    path = home / "snapshots" / "0123abcd" / "model.safetensors"
    path.parent.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0123abcd")
    save_file(net.state_dict(), path)
    return path


def test_timm_weights_are_found_in_the_hub_cache(empty_caches: Path, no_network: None) -> None:
    source = timm.create_model("test_resnet")
    path = fill_hub_cache(empty_caches / "hub", "timm/test_resnet.r160_in1k", source)
    model = load_model("test_resnet")
    assert torch.equal(model.net.fc.weight, source.fc.weight)
    assert model.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.weights_source == "timm test_resnet"


@pytest.mark.parametrize("name", ["timm/{}", "hf-hub:timm/{}", "hf_hub:timm/{}", "hf-hub:{}"])
def test_the_hubs_spelling_of_a_timm_name_is_the_same_model(name: str) -> None:
    assert find_spec(name.format("resnet50.a1_in1k")) == find_spec("resnet50.a1_in1k")


@pytest.mark.parametrize("name", ["timm/no_such_net", "hf-hub:", "local-dir:", "ftp:timm/resnet18", "owner/resnet18"])
def test_names_that_only_look_like_a_source_are_unknown(name: str) -> None:
    with pytest.raises(UsageError, match="unknown model"):
        find_spec(name)


def model_folder(folder: Path, **changes: object) -> torch.nn.Module:
    """A folder as timm writes it for the hub: a network of two classes for images of 96 x 96."""
    net = timm.create_model("vit_tiny_patch16_224", img_size=96, depth=1, num_classes=2)
    cfg = {"num_classes": 2, "input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "fixed_input_size": True}
    cfg |= {"crop_pct": 1.0, "crop_mode": "squash", "first_conv": "patch_embed.proj", "classifier": "head"}
    content = {"architecture": "vit_tiny_patch16_224", "num_classes": 2, "pretrained_cfg": cfg}
    content |= {"model_args": {"img_size": 96, "depth": 1}, **changes}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(content))
    save_file(net.state_dict(), folder / "model.safetensors")
    return net


def test_a_model_folder_of_timm(tmp_path: Path) -> None:
    net = model_folder(tmp_path / "mine")
    model = load_model(f"local-dir:{tmp_path / 'mine'}", transform="model")
    assert (model.num_classes, model.transform.mode, model.transform.resize) == (2, "squash", (96, 96))
    assert model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert torch.equal(model.net.head.weight, net.head.weight) and len(model.net.blocks) == 1
    weights = (tmp_path / "mine" / "model.safetensors").read_bytes()
    assert model.weights_sha256 == hashlib.sha256(weights).hexdigest()


def test_a_model_of_timm_on_the_hub(empty_caches: Path, no_network: None, monkeypatch: pytest.MonkeyPatch) -> None:
    net = model_folder(empty_caches / "mine")
    path = fill_hub_cache(empty_caches / "hub", "someone/theirs", net)
    (path.parent / "config.json").write_bytes((empty_caches / "mine" / "config.json").read_bytes())
    cached = partial(hub.hf_hub_download, cache_dir=empty_caches / "hub", local_files_only=True)
    monkeypatch.setattr(hub, "hf_hub_download", lambda *args, cache_dir, **kwargs: cached(*args, **kwargs))
    model = load_model("hf-hub:someone/theirs")
    assert torch.equal(model.net.head.weight, net.head.weight)
    with pytest.raises(MissingError, match=r"^hf-hub:someone/else: expected a config.json of timm, found none: "):
        load_model("hf-hub:someone/else")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, MissingError, "expected a config.json of timm, found none"),
        ("{", GfnetBenchError, "not one that timm writes"),
        ("[]", GfnetBenchError, "not one that timm writes"),
        ('{"pretrained_cfg": {}}', GfnetBenchError, "not one that timm writes"),
        ('{"architecture": "nope", "pretrained_cfg": {}}', GfnetBenchError, "'nope', an architecture timm lacks"),
        ('{"architecture": "resnet18", "pretrained_cfg": {"x": 1}}', GfnetBenchError, "not one that timm writes"),
        (
            '{"architecture": "resnet18", "pretrained_cfg": {}, "model_args": {"wings": 2}}',
            UsageError,
            "cannot be built .*wings",
        ),
        ('{"architecture": "resnet18", "pretrained_cfg": {}}', MissingError, "expected model.safetensors or pytorch_"),
    ],
)
def test_a_broken_model_folder_is_one_sentence(
    tmp_path: Path, content: str | None, error: type[Exception], message: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(error, match=message) as caught:
        load_model(f"local-dir:{tmp_path}", pretrained="wings" not in (content or ""))
    assert "\n" not in str(caught.value)


def test_timm_weights_are_found_where_torch_keeps_them(empty_caches: Path, no_network: None) -> None:
    source = timm.create_model("mobilenetv3_small_050")
    name = timm.get_pretrained_cfg("mobilenetv3_small_050").url.rpartition("/")[2]
    path = empty_caches / "torch" / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True)
    torch.save(source.state_dict(), path)
    model = load_model("mobilenetv3_small_050")
    assert torch.equal(model.net.classifier.weight, source.classifier.weight)
    assert model.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("broken", [False, True])
def test_hosted_weights_that_do_not_fit_are_one_sentence(empty_caches: Path, no_network: None, broken: bool) -> None:
    other = timm.create_model("test_resnet", num_classes=7)
    path = fill_hub_cache(empty_caches / "hub", "timm/test_resnet.r160_in1k", other)
    if broken:
        path.write_bytes(path.read_bytes()[:1000])
    message = "a file that neither reads" if broken else r"with the weights in .*size mismatch for fc\.weight"
    with pytest.raises(GfnetBenchError, match=message) as caught:
        load_model("test_resnet")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("offline", "resnet50", "regnety"),
    [
        (True, "not on this machine and HF_HUB_OFFLINE is set; put ", "HF_HUB_OFFLINE is set; fill the cache at "),
        (False, "no connection", "https://huggingface.co does not answer; fill the cache at "),
    ],
)
def test_weights_out_of_reach_are_one_sentence(
    empty_caches: Path, no_network: None, monkeypatch: pytest.MonkeyPatch, offline: bool, resnet50: str, regnety: str
) -> None:
    def retries(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("huggingface_hub would try for most of a minute")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")
    monkeypatch.setattr(hosting, "hf_hub_download", retries)
    with pytest.raises(MissingError) as caught:
        load_model("resnet50")
    text = str(caught.value)
    assert text.startswith("resnet50: ")
    assert resnet50 in text
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in text
    assert str(empty_caches / "torch" / "hub" / "checkpoints" / "resnet50-0676ba61.pth") in text
    with pytest.raises(MissingError) as caught:
        load_model("regnety_016")
    assert f"{regnety}{empty_caches / 'hub'} from https://huggingface.co/timm/regnety_016.pycls" in str(caught.value)
    assert "--checkpoint PATH" in str(caught.value)


def test_a_hub_without_the_file_is_quoted(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: object, **kwargs: object) -> NoReturn:
        raise LocalEntryNotFoundError("404: no such file\nRequest ID: 17")

    monkeypatch.setattr(hosting, "_answers", lambda address: True)
    monkeypatch.setattr(hosting, "hf_hub_download", absent)
    with pytest.raises(MissingError, match=r"regnety_016: .* and 404: no such file; fill the cache at"):
        load_model("regnety_016")


def test_a_network_without_published_weights(empty_caches: Path) -> None:
    with pytest.raises(MissingError, match="gmlp_ti16_224: timm has no weights for it"):
        load_model("gmlp_ti16_224")


def test_a_short_name_wins_over_timm() -> None:
    assert find_spec("resnet50") is MODELS["resnet50"]
    assert find_spec("resnet50").timm_name == "resnet50.tv_in1k"  # timm's own default are other weights
    assert find_spec("resnet50d").suite == "imagenet"


@pytest.mark.data
def test_a_real_model_on_real_photographs() -> None:
    folder = os.environ.get("GFNET_BENCH_TEST_DATA")
    if not folder:
        pytest.skip("GFNET_BENCH_TEST_DATA is not set")
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as vision

    weights = Path(folder, "weights", "vit_tiny_patch16_224.safetensors")
    model = load_model("vit_tiny_patch16_224", Asked(checkpoint=weights), transform="model")
    cut = model.transform
    with Path(folder, "photos.csv").open() as file:
        rows = list(csv.DictReader(file))[:100]
    images = []
    for row in rows:
        photo = Image.open(Path(folder, "photos", row["file"])).convert("RGB")
        photo = vision.resize(photo, cut.resize, InterpolationMode.BICUBIC)
        images.append(vision.to_tensor(vision.center_crop(photo, [cut.height, cut.width])))
    with torch.no_grad():
        top5 = model(torch.stack(images)).topk(5).indices
    right = top5 == torch.tensor([int(row["imagenet_class"]) for row in rows])[:, None]
    # All 500 give the 88.2 % and 97.4 % measured with timm alone; the first hundred give these.
    assert abs(int(right[:, 0].sum()) - 88) <= 1
    assert abs(int(right.sum()) - 97) <= 1
