"""Corruptions on a device never wait for it: on tensors that only claim to be on CUDA, a number asked for raises."""

import sys

import pytest
import torch

from gfnet_bench.catalog import CORRUPTIONS
from gfnet_bench.corruptions import corrupt, kernels
from gfnet_bench.errors import MissingError
from gfnet_bench.profiling.traffic import Traffic, kernels_counted, stand_ins


@pytest.fixture
def forgetful():
    """What was sent to a device that is none is kept for no other test."""
    yield
    for name, module in list(sys.modules.items()):
        if name.startswith("gfnet_bench.corruptions"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if not name.startswith("plugged")])
def test_no_corruption_waits_for_the_device_or_sends_it_anything_twice(name, monkeypatch, forgetful):
    pytest.importorskip("triton")
    traffic = Traffic()
    monkeypatch.setattr(kernels, "works", lambda *case: True)
    sent = []
    with stand_ins(), kernels_counted(traffic, kernels):
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


def test_a_corruption_that_waits_or_sends_is_seen():
    traffic = Traffic()
    with stand_ins(), traffic:
        images = torch.empty(3, 3, 64, 64, dtype=torch.uint8, device="cuda")
        with pytest.raises(Exception, match=r"data-dependent|local_scalar_dense"):
            bool(images.sum() > 0)
        assert traffic.copies == 0
        torch.ones(3, 1, 1, dtype=torch.uint8).to(images.device)
        assert traffic.copies == 1
