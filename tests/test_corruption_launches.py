"""Corruptions on a device never wait for it: on tensors that only claim to be on CUDA, a number asked for raises."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gfnet_bench.catalog import CORRUPTIONS
from gfnet_bench.corruptions import corrupt, gaussian_blur, jpeg_compression, motion_blur, spatter, zoom_blur
from gfnet_bench.errors import MissingError
from gfnet_bench.profiling.traffic import Launched, Traffic, stand_ins


@pytest.fixture
def forgetful():
    """What was sent to a device that is none is kept for no other test."""
    yield
    for name, module in list(sys.modules.items()):
        if name.startswith("gfnet_bench.corruptions"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def with_kernels(monkeypatch, traffic: Traffic) -> None:
    """Corruptions take their kernels, which are counted in place of being launched."""
    from gfnet_bench.corruptions import kernels

    for module in (gaussian_blur, jpeg_compression, motion_blur, spatter, zoom_blur):
        monkeypatch.setattr(module, "works", lambda *case: True)
    for file in Path(kernels.__file__).parent.glob("[!_]*.py"):
        module = import_module(f"{kernels.__name__}.{file.stem}")
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            monkeypatch.setattr(module, name, Launched(traffic))


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if not name.startswith("plugged")])
def test_no_corruption_waits_for_the_device_or_sends_it_anything_twice(name, monkeypatch, forgetful):
    pytest.importorskip("triton")
    traffic = Traffic()
    with_kernels(monkeypatch, traffic)
    sent = []
    with stand_ins():
        images = torch.empty(3, 3, 64, 64, dtype=torch.uint8, device="cuda")
        seeds = torch.empty(3, dtype=torch.int64, device="cuda")
        for _ in range(2):
            before = traffic.copies
            try:
                with traffic:
                    out = corrupt(images, name, 3, seeds=seeds)
            except MissingError as error:
                pytest.skip(str(error))
            sent.append(traffic.copies - before)
    assert out.device.type == "cuda" and out.shape == images.shape
    assert sent[1] == 0


@pytest.mark.parametrize("wrong", ["waits", "sends"])
def test_a_corruption_that_waits_or_sends_is_seen(wrong, monkeypatch, forgetful):
    def bad(images: Tensor, constant: float, draws: object) -> Tensor:
        if wrong == "waits" and images.sum() > 0:
            return images
        return images + torch.ones(3, 1, 1, dtype=torch.uint8).to(images.device)

    traffic = Traffic()
    with stand_ins(), traffic:
        images = torch.empty(3, 3, 64, 64, dtype=torch.uint8, device="cuda")
        if wrong == "waits":
            with pytest.raises(Exception, match=r"data-dependent|local_scalar_dense"):
                bad(images, 1.0, None)
        else:
            bad(images, 1.0, None)
            assert traffic.copies == 1
