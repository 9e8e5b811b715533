"""Whatever a training script wrapped around a state dict: the weights are found, and which of several is said."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import gfnet_bench.models  # noqa: F401  (registers the mini networks with timm)
from gfnet_bench.errors import GfnetBenchError, UsageError
from gfnet_bench.mini import weights_path
from gfnet_bench.models.checkpoints import load_weights, read_checkpoint
from gfnet_bench.perturbations import CLEAN

WRAPPERS = ("model", "state_dict", "model_state_dict", "ema", "model_ema", "state_dict_ema", "module")
PREFIXES = ("module.", "_orig_mod.", "model.")


class Net(nn.Module):
    """A batch norm with its counter, and a matrix under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained_cfg = {"classifier": "head"}
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.head = nn.Linear(4, 4)
        self.block[1].weight = self.head.weight


@pytest.fixture
def source() -> Net:
    torch.manual_seed(1)
    net = Net()
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_()
    return net


def changed(state: dict[str, Tensor], by: float = 1.0) -> dict[str, Tensor]:
    return {name: value + by if value.is_floating_point() else value.clone() for name, value in state.items()}


def loaded(path: Path, content: object, key: str | None = None) -> tuple[Net, str | None]:
    torch.save(content, path)
    target = Net()
    return target, load_weights(target, path, "net", key)


def same(net: nn.Module, state: dict[str, Tensor]) -> bool:
    own = net.state_dict()
    return all(torch.equal(own[name], value) for name, value in state.items() if value.is_floating_point())


def nestings() -> list[tuple[tuple[str, ...], str]]:
    keys = [path for depth in range(3) for path in itertools.product(WRAPPERS, repeat=depth)]
    prefixes = ["".join(some) for count in range(3) for some in itertools.product(PREFIXES, repeat=count)]
    return [(path, prefix) for path in keys for prefix in prefixes if len(path) < 2 or prefix.count(".") < 2]


def test_every_nesting_under_every_prefix_is_read(source: Net, tmp_path: Path) -> None:
    state = source.state_dict()
    failed = []
    for path, prefix in nestings():
        content: Any = {prefix + name: value for name, value in state.items()}
        for key in reversed(path):
            content = {key: content, "epoch": 3}
        target, key = loaded(tmp_path / "weights.pth", content)
        if not same(target, state) or key != (".".join(path) or None):
            failed.append((path, prefix, key))
    assert not failed


@pytest.mark.parametrize("prefix", ["backbone.", "encoder.net.", "vit.", "x.y.z.", "_forward_module.module.", "m."])
def test_any_prefix_that_the_network_has_not_is_dropped(source: Net, tmp_path: Path, prefix: str) -> None:
    state = source.state_dict()
    assert same(loaded(tmp_path / "weights.pth", {prefix + name: value for name, value in state.items()})[0], state)


@pytest.mark.parametrize("part", ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_parts_of_a_network_may_be_wrapped(source: Net, tmp_path: Path, part: str) -> None:
    state = source.state_dict()
    wrapped = {name.replace("block.", f"block.{part}."): value for name, value in state.items()}
    wrapped = {name.replace("block", f"{part}.block"): value for name, value in wrapped.items()}
    assert same(loaded(tmp_path / "weights.pth", {"model": wrapped})[0], state)


def test_a_network_whose_own_names_look_wrapped(tmp_path: Path) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.ModuleDict({"model": nn.Linear(2, 2)})

    state = Wrapped().state_dict()
    for prefix in ("", "module.", "model.", "_orig_mod.module."):
        torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "weights.pth")
        target = Wrapped()
        load_weights(target, tmp_path / "weights.pth", "wrapped")
        assert same(target, state), prefix


def test_what_torchs_own_wrappers_save_is_read(source: Net, tmp_path: Path) -> None:
    def compiled(net: nn.Module) -> nn.Module:
        return torch.compile(net)  # type: ignore[return-value]

    def regional(net: nn.Module) -> nn.Module:
        net.block = torch.compile(net.block)  # type: ignore[assignment]
        return net

    wrappers = {
        "parallel": nn.DataParallel,
        "compiled": compiled,
        "averaged": torch.optim.swa_utils.AveragedModel,
    }
    state = {name: value.clone() for name, value in source.state_dict().items()}
    for order in itertools.chain.from_iterable(itertools.permutations(wrappers, count) for count in range(4)):
        for inner in (lambda net: net, regional):
            net = Net()
            net.load_state_dict(state)
            wrapped = inner(net)
            for name in order:
                wrapped = wrappers[name](wrapped)
            target, _ = loaded(tmp_path / "weights.pth", {"model": wrapped.state_dict()})
            assert same(target, state), order


class Phase(enum.Enum):
    FINE_TUNING = 1


@pytest.mark.parametrize("zipped", [True, False])
def test_what_stands_beside_the_weights_does_no_harm(source: Net, tmp_path: Path, zipped: bool) -> None:
    optimizer = torch.optim.AdamW(source.parameters())
    for parameter in source.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = source.state_dict()
    extras = {
        "epoch": 90,
        "optimizer": optimizer.state_dict(),
        "scaler": {},
        "rng_state": torch.get_rng_state(),
        "args": argparse.Namespace(lr=0.1, output=Path("out")),
        "best": np.float64(81.5),
        "count": np.int64(3),
        "array": np.arange(3),
        "when": datetime.datetime(2021, 7, 1, tzinfo=datetime.timezone.utc),
        "took": datetime.timedelta(hours=3),
        "size": torch.Size([3, 224, 224]),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "log": collections.defaultdict(list, train=[0.5]),
        "phase": Phase.FINE_TUNING,
        "labels": {1, 2},
        "bytes": b"abc",
        3: "a whole number as key",
    }
    if zipped:  # before zip files, torch kept the source of networks with them, and does not read those any more
        extras["criterion"] = nn.CrossEntropyLoss()
    path = tmp_path / "weights.pth"
    torch.save({**extras, "state_dict": state}, path, _use_new_zipfile_serialization=zipped)
    target = Net()
    assert load_weights(target, path, "net") == "state_dict"
    assert same(target, state)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_network_saved_whole_is_named_with_advice(source: Net, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "whole.pth"
    for content in (source, {"model": source, "epoch": 3}):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(GfnetBenchError, match=r"test_weight_sets\.Net.*; save (its|a) state[_ ]dict"):
            read_checkpoint(path)


def test_several_sets_are_told_and_a_key_chooses(
    source: Net, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = source.state_dict()
    averaged = changed(raw)
    content = {"model": raw, "model_ema": averaged, "nested": {"best": changed(raw, 2.0)}}
    target, key = loaded(tmp_path / "several.pth", content)
    assert key == "model" and same(target, raw)
    said = capsys.readouterr().err
    assert "3 sets of weights that fit; taken: model; --weights-key chooses (model, nested.best, model_ema)" in said
    for key, by in (("model_ema", 1.0), ("nested.best", 2.0), ("nested", 2.0)):
        target, where = loaded(tmp_path / "several.pth", content, key)
        assert same(target, changed(raw, by)) and where == {"nested": "nested.best"}.get(key, key)
    assert not capsys.readouterr().err
    for key in ("ema", "model_em", "model.x", ""):
        with pytest.raises(UsageError, match=f"--weights-key {key}: expected weights under .*model, model_ema"):
            loaded(tmp_path / "several.pth", content, key)


def test_a_key_means_what_is_right_there_before_what_is_inside(source: Net, tmp_path: Path) -> None:
    raw = source.state_dict()
    content = {"a_ema": {**changed(raw), "inner": changed(raw, 2.0)}}
    assert same(loaded(tmp_path / "a.pth", content, "a_ema")[0], changed(raw))
    assert same(loaded(tmp_path / "a.pth", content, "a_ema.inner")[0], changed(raw, 2.0))


def test_trained_weights_come_before_averages_wherever_they_stand(source: Net, tmp_path: Path) -> None:
    raw = source.state_dict()
    averages: dict[str, Any] = {key: changed(raw) for key in ("ema", "state_dict_ema", "swa_model", "model.ema.x")}
    averages["a"] = {"ema": changed(raw)}
    averages["net2"] = {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in changed(raw).items()}}
    for name, average in averages.items():
        for content in ({name: average, "weights": raw}, {"weights": raw, name: average}, {name: average, **raw}):
            assert same(loaded(tmp_path / "several.pth", content)[0], raw), name
        assert same(loaded(tmp_path / "one.pth", {name: average})[0], changed(raw)), name


def test_of_several_networks_the_one_that_fits_is_taken(source: Net, tmp_path: Path) -> None:
    raw = source.state_dict()
    teacher = {"encoder.weight": torch.zeros(9, 9), **{f"layer{i}": torch.zeros(1) for i in range(20)}}
    assert same(loaded(tmp_path / "a.pth", {"model": teacher, "student": raw})[0], raw)
    # Lightning keeps all networks of a training in one name space.
    together = {f"teacher.{k}": v for k, v in teacher.items()} | {f"model.{k}": v for k, v in raw.items()}
    together |= {f"model_ema.module.{k}": v for k, v in changed(raw).items()} | {"loss.weight": torch.zeros(3)}
    content = {"state_dict": together, "pytorch-lightning_version": "2.0"}
    target, key = loaded(tmp_path / "b.pth", content)
    assert same(target, raw) and key == "state_dict.model"
    assert same(loaded(tmp_path / "b.pth", content, "state_dict.model_ema")[0], changed(raw))


def test_batch_norm_counters_may_be_missing_or_of_any_kind(source: Net, tmp_path: Path) -> None:
    state = source.state_dict()
    without = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert len(without) == len(state) - 1
    for counter in ({}, {"norm.num_batches_tracked": torch.zeros(1)}, {"other.num_batches_tracked": torch.tensor(3)}):
        assert same(loaded(tmp_path / "weights.pth", without | counter)[0], state)


def test_weights_under_two_names_may_be_stored_once(source: Net, tmp_path: Path) -> None:
    state = source.state_dict()
    for name in ("head.weight", "block.1.weight"):
        assert same(loaded(tmp_path / "tied.pth", {k: v for k, v in state.items() if k != name})[0], state)
    del state["block.0.weight"]  # of the same size, but tied to none
    with pytest.raises(GfnetBenchError, match=r"1 missing \(block\.0\.weight\)"):
        loaded(tmp_path / "tied.pth", state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_cast(source: Net, tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: value.to(dtype) for name, value in source.state_dict().items()}
    target, _ = loaded(tmp_path / "weights.pth", state)
    assert same(target, {name: value.float() for name, value in state.items() if "tracked" not in name})
    assert target.head.weight.dtype == torch.float32


ODD = {
    "bool": lambda w: w > 0,
    "int64": lambda w: w.long(),
    "uint8": lambda w: w.to(torch.uint8),
    "complex64": lambda w: w.to(torch.complex64),
    "float8_e4m3fn": lambda w: w.to(torch.float8_e4m3fn),
    "quantized": lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
    "sparse_coo": lambda w: w.to_sparse(),
    "sparse_csr": lambda w: w.to_sparse_csr(),
    "meta": lambda w: w.to("meta"),
}


@pytest.mark.filterwarnings("ignore")  # torch calls some of these kinds a beta, others deprecated
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_that_cannot_be_weights_are_named(source: Net, tmp_path: Path, kind: str, zipped: bool) -> None:
    state = dict(source.state_dict())
    state["block.0.weight"] = ODD[kind](state["block.0.weight"])
    if kind.startswith("float8") and not zipped:
        pytest.skip("torch cannot read what it writes")
    path = tmp_path / "odd.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    target = Net()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(GfnetBenchError, match=r"1 of another kind \(block\.0\.weight: .*" + kind):
        load_weights(target, path, "net")
    assert same(target, before)


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("index", torch.zeros(3, dtype=torch.int64))

    torch.save({"index": torch.tensor([1, 2, 3], dtype=torch.int32)}, tmp_path / "index.pth")
    table = Table()
    load_weights(table, tmp_path / "index.pth", "table")
    assert table.index.tolist() == [1, 2, 3]  # type: ignore[operator]
    torch.save({"index": torch.tensor([1.5, 2, 3])}, tmp_path / "index.pth")
    with pytest.raises(GfnetBenchError, match="index: expected int64, found float32"):
        load_weights(table, tmp_path / "index.pth", "table")


def test_odd_keys_and_endless_contents_are_no_weights(source: Net, tmp_path: Path) -> None:
    endless: dict[str, Any] = {"a": {}}
    endless["a"]["b"] = endless
    wide: Any = {"a": torch.zeros(1)}
    for _ in range(30):
        wide = {"x": wide, "y": wide}
    cases: list[tuple[Any, str]] = [
        ({0: torch.zeros(1), 1: torch.zeros(2)}, "found the keys 0, 1"),
        ({None: torch.zeros(1), (1, "a"): torch.zeros(2)}, r"found the keys None, \(1, 'a'\)"),
        ({"a\x1b[2J\nb": 3}, r"found the keys 'a\\x1b\[2J\\nb'"),
        ({"k" * 10**6: 3}, r"found the keys .{0,90}\."),
        (endless, "found the keys a"),
        (wide, "found the keys x, y"),
        (torch.zeros(3), "found a Tensor"),
        (3, "found a int"),
        (None, "found a NoneType"),
        (np.float64(3), r"found a pickled numpy.*scalar; save its"),
    ]
    for content, message in cases:
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(GfnetBenchError, match=message) as caught:
            read_checkpoint(tmp_path / "odd.pth")
        assert len(str(caught.value)) < 400 and str(caught.value).isprintable()
    odd = {**{3: torch.zeros(1)}, **source.state_dict()}
    assert same(loaded(tmp_path / "odd.pth", odd)[0], source.state_dict())


def test_names_cannot_spoil_the_message(source: Net, tmp_path: Path) -> None:
    state = source.state_dict() | {"\x1b]0;evil\x07\n": torch.zeros(1), "x" * 5000: torch.zeros(())}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(GfnetBenchError, match=r"2 unexpected \('\\x1b\]0;evil\\x07\\n'") as caught:
        load_weights(Net(), tmp_path / "odd.pth", "net")
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


def test_a_scalar_for_a_classifier_is_of_another_shape(source: Net, tmp_path: Path) -> None:
    state = source.state_dict() | {"head.bias": torch.tensor(1.0)}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(GfnetBenchError, match=r"head\.bias: expected 4, found a scalar"):
        load_weights(Net(), tmp_path / "odd.pth", "net")


def vit(**options: Any) -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", depth=1, embed_dim=24, num_classes=3, **options)


@pytest.mark.parametrize("patch", [8, 32])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_for_another_patch_size_are_refused(tmp_path: Path, patch: int, prefix: str) -> None:
    other = {prefix + name: value for name, value in vit(patch_size=patch).state_dict().items()}
    torch.save({"model": other}, tmp_path / "patch.pth")
    pattern = rf"proj\.weight: expected 24 x 3 x 16 x 16, found 24 x 3 x {patch} x {patch}, .* another size"
    with pytest.raises(GfnetBenchError, match=pattern):
        load_weights(vit(), tmp_path / "patch.pth", "vit")


def as_openai_has_it(net: nn.Module) -> dict[str, Tensor]:
    """A CLIP image encoder of timm, its tensors called as OpenAI called them."""
    renamed = {
        "blocks.": "transformer.resblocks.",
        "norm_pre": "ln_pre",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "fc1": "c_fc",
    }
    renamed |= {"fc2": "c_proj", "qkv.": "in_proj_", "attn.proj": "attn.out_proj", "patch_embed.proj": "conv1"}
    renamed |= {"cls_token": "class_embedding", "pos_embed": "positional_embedding", "head.weight": "proj"}
    found = {}
    for name, value in net.state_dict().items():
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        name = f"ln_post.{name[5:]}" if name.startswith("norm.") else name
        found[f"visual.{name}"] = value.T if name == "proj" else value.squeeze()
    del found["visual.head.bias"]
    return found


def clip(**options: Any) -> nn.Module:
    return timm.create_model("vit_base_patch16_clip_224", depth=1, embed_dim=24, num_heads=3, num_classes=3, **options)


def test_what_timm_renames_is_read_and_another_patch_size_noticed(tmp_path: Path) -> None:
    source, target = clip(), clip()
    torch.save(as_openai_has_it(source), tmp_path / "clip.pth")
    load_weights(target, tmp_path / "clip.pth", "clip")
    assert torch.equal(target.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)
    torch.save(as_openai_has_it(clip(patch_size=32)), tmp_path / "clip.pth")
    with pytest.raises(GfnetBenchError, match=r"expected 24 x 3 x 16 x 16, found 24 x 3 x 32 x 32, .* another size"):
        load_weights(clip(), tmp_path / "clip.pth", "clip")


def test_weights_for_another_image_size_are_resampled(tmp_path: Path) -> None:
    larger, net = vit(img_size=256), vit()
    torch.save({"model": larger.state_dict()}, tmp_path / "size.pth")
    load_weights(net, tmp_path / "size.pth", "vit")
    assert torch.equal(net.patch_embed.proj.weight, larger.patch_embed.proj.weight)
    assert net.pos_embed.shape != larger.pos_embed.shape


def test_the_key_is_recorded_and_decides_the_cell_only_where_it_was_given(tmp_path: Path) -> None:
    from gfnet_bench.cli import main
    from gfnet_bench.store import Store
    from gfnet_bench.studies.robustness import Options

    weights = read_checkpoint(weights_path("gfnet_mini"))
    file = tmp_path / "training.pth"
    torch.save(
        {"model": weights, "model_ema": {name: torch.zeros_like(value) for name, value in weights.items()}}, file
    )
    words = "robustness -m gfnet_mini --dataset mini --attack clean --limit 20 --no-progress --device cpu".split()
    words += ["--checkpoint", str(file), "--output-dir", str(tmp_path)]
    assert main(words) == 0 and main([*words, "--weights-key", "model_ema"]) == 0
    given, left_open = sorted(Store(tmp_path), key=lambda record: "weights_key" not in record.cell.settings)
    assert given.cell.settings["weights_key"] == given.provenance["weights_key"] == "model_ema"
    assert left_open.provenance["weights_key"] == "model"
    assert given.values["top1"] < 0.5 < left_open.values["top1"]
    assert Options().settings("mini", CLEAN).keys() == left_open.cell.settings.keys()  # as before there was a key
    assert main([*words, "--weights-key", "ema"]) == 2


@pytest.mark.parametrize("command", ["robustness", "filters", "attack-check"])
def test_a_key_without_a_file_is_not_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from gfnet_bench.cli import main

    suite = ["--suite", "mini"] if command != "attack-check" else []
    assert main([command, *suite, "--weights-key", "model_ema"]) == 2
    assert "name it with --checkpoint FILE" in capsys.readouterr().err
