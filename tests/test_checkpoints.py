"""Checkpoint files: every form that publishers use is read, everything else is named for what it is."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import gfnet_bench.models  # noqa: F401  (registers the mini networks with timm)
from gfnet_bench.errors import GfnetBenchError, MissingError
from gfnet_bench.models.checkpoints import load_weights, read_checkpoint


class Tiny(nn.Module):
    def __init__(self, width: int = 4, classes: int = 5) -> None:
        super().__init__()
        self.pretrained_cfg = {"classifier": "head"}
        self.stem = nn.Linear(3, width)
        self.head = nn.Linear(width, classes)


def tensors(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def save_bare(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path)


def save_under_model(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"epoch": 3, "args": argparse.Namespace(lr=0.1), "model": state}, path)


def save_under_state_dict(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"state_dict": state, "arch": "tiny"}, path)


def save_data_parallel(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)


def save_before_zip(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def save_safetensors(state: dict[str, Tensor], path: Path) -> None:
    save_file(state, path)


def save_half(state: dict[str, Tensor], path: Path) -> None:
    save_file({name: value.half() for name, value in state.items()}, path)


FORMS = [save_bare, save_under_model, save_under_state_dict, save_data_parallel, save_before_zip, save_safetensors]


@pytest.mark.parametrize("save", FORMS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_each_form_is_read_whatever_the_file_is_called(tmp_path: Path, save, suffix: str) -> None:
    source, target = Tiny(), Tiny()
    path = tmp_path / f"weights{suffix}"
    save(tensors(source), path)
    load_weights(target, path, "tiny")
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_half_precision_files_give_float32_networks(tmp_path: Path) -> None:
    source, target = Tiny(), Tiny()
    save_half(tensors(source), tmp_path / "half.safetensors")
    load_weights(target, tmp_path / "half.safetensors", "tiny")
    assert target.stem.weight.dtype == torch.float32
    assert torch.equal(target.stem.weight, source.stem.weight.half().float())


def test_only_a_prefix_of_all_names_is_dropped(tmp_path: Path) -> None:
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "mixed.pth")
    assert set(read_checkpoint(tmp_path / "mixed.pth")) == {"module.a", "b"}


class Opener:
    """What a malicious checkpoint does: unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"model": Opener(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(GfnetBenchError, match="would have to run code"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "found a web page"),
        (b"\n\n<html lang=en>Sign in</html>", "found a web page"),
        (b"PK\x03\x04 cut short", "cut short"),
        (b"\x80\x02 cut short", "a Python pickle that neither torch.save nor safetensors wrote"),
        (b'\x40\x00\x00\x00\x00\x00\x00\x00{"stem', "cut short"),
        (pickle.dumps([1, 2], protocol=2), "a Python pickle"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(GfnetBenchError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="check the path"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"optimizer": {"lr": 0.1}, "epoch": 3}, "the keys optimizer, epoch"),
        ([torch.zeros(2)], "a list"),
        ({}, "a dict"),
    ],
)
def test_a_file_without_tensors_by_name(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(GfnetBenchError, match=f"found {found}"):
        read_checkpoint(tmp_path / "other.pth")


def test_another_number_of_classes_is_named(tmp_path: Path) -> None:
    save_bare(tensors(Tiny(classes=7)), tmp_path / "seven.pth")
    with pytest.raises(
        GfnetBenchError, match=r"tiny: .*seven.pth does not fit: it was trained for 7 classes, expected 5"
    ):
        load_weights(Tiny(classes=5), tmp_path / "seven.pth", "tiny")


def test_another_architecture_is_told_by_its_tensors(tmp_path: Path) -> None:
    other = tensors(Tiny(width=6)) | {f"layers.{i}.weight": torch.zeros(1) for i in range(5)}
    del other["stem.bias"]
    save_bare(other, tmp_path / "other.pth")
    net = Tiny(width=4)
    before = tensors(net)
    with pytest.raises(GfnetBenchError) as caught:
        load_weights(net, tmp_path / "other.pth", "tiny")
    text = str(caught.value)
    assert "1 missing (stem.bias)" in text
    assert "5 unexpected (layers.0.weight, layers.1.weight, layers.2.weight, ...)" in text
    assert "2 of another shape (stem.weight: expected 4 x 3, found 6 x 3" in text
    assert "\n" not in text
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()), "half a checkpoint loaded"


def test_tensors_that_upset_the_conversion_are_named_all_the_same(tmp_path: Path) -> None:
    # timm reshapes position embeddings before it looks at anything else; these are of no square grid.
    other = {"pos_embed": torch.zeros(1, 12, 64), "head.weight": torch.zeros(10, 64)}
    save_bare(other, tmp_path / "other.pth")
    with pytest.raises(
        GfnetBenchError, match=r"of another shape \(pos_embed: expected 1 x 64 x 64, found 1 x 12 x 64\)"
    ):
        load_weights(timm.create_model("vit_mini"), tmp_path / "other.pth", "vit_mini")


@pytest.mark.parametrize("name", ["gfnet_h_ti", "pvt_tiny"])
def test_weights_are_resampled_to_another_image_size(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    small = {"embed_dim": (16, 32, 80, 128)}
    learned = timm.create_model(name, img_size=64, **small)
    save_bare(tensors(learned), tmp_path / "weights.pth")
    larger = timm.create_model(name, img_size=96, **small)
    load_weights(larger, tmp_path / "weights.pth", name)
    same = timm.create_model(name, img_size=64, **small)
    load_weights(same, tmp_path / "weights.pth", name)
    changed = {key for key, value in same.state_dict().items() if value.shape != larger.state_dict()[key].shape}
    assert changed and all("pos_embed" in key or "complex_weight" in key for key in changed)
    for key, value in learned.state_dict().items():
        assert torch.equal(same.state_dict()[key], value)
        assert key in changed or torch.equal(larger.state_dict()[key], value)
