"""What `doctor --device` says of a device that is well, and of one that is not."""

import types

import pytest
import torch

from gfnet_bench.benches import device_check
from gfnet_bench.benches.device_check import KERNELS, examine_device
from gfnet_bench.cli import main
from gfnet_bench.errors import MissingError


def test_a_cpu_is_well(capsys):
    assert main(["doctor", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok") for line in lines if not line.startswith(" "))
    for said in ("threads, torch", "GB of memory are free", "GB/s", "float32 within", "repeats to the bit"):
        assert any(said in line for line in lines), said


def test_a_check_that_fails_is_a_finding_and_keeps_no_other_from_being_made(monkeypatch, capsys):
    def lost(*_, **__):
        raise RuntimeError("the device fell off the bus\nmore")

    monkeypatch.setattr(device_check, "measure", lost)
    assert main(["doctor", "--device", "cpu", "--format", "csv"]) == 1
    text = capsys.readouterr().out
    assert "A copy's bandwidth: failed: the device fell off the bus" in text and "repeats to the bit" in text


def test_gradients_that_do_not_repeat_are_an_error(monkeypatch):
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a: tuple(g + torch.rand(()) for g in grad(*a)))
    (finding,) = [f for f in examine_device("cpu") if f.severity == "error"]
    assert "does not repeat" in finding.text


def _in_half(x, w):
    return torch.conv2d(x, w) if x.dtype == torch.float64 else torch.conv2d(x.bfloat16(), w.bfloat16())


def test_products_that_are_not_float32_are_an_error(monkeypatch):
    monkeypatch.setattr(device_check.F, "conv2d", _in_half)
    errors = [text for severity, text in device_check._tf32(torch.device("cpu")) if severity == "error"]
    assert len(errors) == 1 and errors[0].startswith("convolutions in float32 are off by")


def test_each_kernel_is_told_apart(monkeypatch):
    pytest.importorskip("triton")
    by_triton = types.SimpleNamespace(works=lambda h, w, c, device: h != 28)
    monkeypatch.setattr(device_check, "kernels", lambda: by_triton)
    monkeypatch.setattr(device_check, "way_taken", lambda *_: "fft")
    _, *found = device_check._kernels(torch.device("cuda"))
    assert [severity for severity, _ in found] == ["ok", "warning", "ok"] and len(KERNELS) == 3
    assert "kernel lines at 28 x 28, width 384: does not build" in found[1][1] and "fft is taken" in found[1][1]

    def missing():
        raise MissingError("way triton: found Triton 3.5.1; install Triton 3.6 or later, or take way auto.")

    monkeypatch.setattr(device_check, "kernels", missing)
    ((severity, text),) = device_check._kernels(torch.device("cuda"))
    assert severity == "warning" and "found Triton 3.5.1" in text


@pytest.mark.gpu
def test_a_gpu_is_well():
    found = examine_device("cuda")
    assert not [finding for finding in found if finding.severity == "error"]
    assert sum("equals torch.fft, gradients too" in finding.text for finding in found) == len(KERNELS)
