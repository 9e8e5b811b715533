"""The kernels that make corruptions on CUDA give the bytes of tensors and Pillow, and are not trusted unseen."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interpreter import interpreted
from test_corruptions_digital import noisy, pillow_jpeg, smooth, tensor

from gfnet_bench.corruptions import corrupt, kernels
from gfnet_bench.corruptions.jpeg_compression import jpeg
from gfnet_bench.corruptions.kernels import works
from gfnet_bench.profiling import machine_code

QUALITIES = (7, 10, 15, 18, 25, 40, 50, 58, 65, 80, 85)  # all that recipes use, first and last of them at every size
SIZES = ((32, 48), (33, 47), (41, 64), (50, 49), (63, 34))
SMEARED = ((torch.uint8, torch.int32), (torch.int64, torch.int64))  # motion blur, snow before it is rounded

INTERPRET = """
from gfnet_bench.corruptions.kernels import jpeg, works
from test_corruption_kernels import QUALITIES, SIZES, SMEARED, jpeg_images, pillow, tensor

jpeg.BLOCKS = 128  # each program takes some tenths of a second

def wrong(h, w, quality):
    images = jpeg_images(h, w)
    return int((jpeg.jpeg(tensor(images), quality) != pillow(images, quality)).sum())

print(json.dumps({
    "qualities": {quality: wrong(*SIZES[0], quality) for quality in QUALITIES},
    "sizes": {str(size): [wrong(*size, QUALITIES[0]), wrong(*size, QUALITIES[-1])] for size in SIZES},
    "works": [
        *(works("jpeg", torch.device("cpu"), wide) for wide in (True, False)),
        *(works("smear", torch.device("cpu"), *types) for types in SMEARED),
        *(works(kernel, torch.device("cpu")) for kernel in ("grow", "blur", "zoom")),
    ],
}))
"""


def jpeg_images(h, w):
    """Noise, clouds, and black and white dots of every colour, whose rounded transforms leave 0 to 255."""
    return np.concatenate([noisy(h, w), smooth(h, w), noisy(h, w, n=1) // 128 * 255])


def pillow(images, quality):
    return tensor(np.stack([pillow_jpeg(image, quality) for image in images]))


@pytest.fixture(scope="module", name="interpreted")
def _interpreted():
    """What kernels give in Triton's interpreter."""
    return interpreted(INTERPRET)


def test_jpeg_of_kernels_is_pillows(interpreted):
    assert interpreted["qualities"] == dict.fromkeys(map(str, QUALITIES), 0)
    assert interpreted["sizes"] == {str(size): [0, 0] for size in SIZES}


def test_kernels_pass_their_own_check(interpreted):
    assert interpreted["works"] == [True] * 7


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(224, 224), (299, 213)], ids=str)
def test_jpeg_of_a_gpu_is_pillows(size):
    images = jpeg_images(*size)
    assert works("jpeg", torch.device("cuda", 0), size[1] % 16 == 0)
    for quality in QUALITIES:
        assert torch.equal(jpeg(tensor(images).cuda(), quality).cpu(), pillow(images, quality))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["motion_blur", "snow", "spatter", "glass_blur", "zoom_blur"])
def test_kernels_of_a_gpu_give_the_bytes_of_a_cpu(name):
    for kernel, *case in (("smear", *SMEARED[0]), ("smear", *SMEARED[1]), ("grow",), ("blur",), ("zoom",)):
        assert works(kernel, torch.device("cuda", 0), *case)
    images, seeds = tensor(smooth(224, 224)), torch.arange(2)
    for recipe in ("imagenet_c", "imagecorruptions"):
        expected = corrupt(images, name, 3, recipe=recipe, seeds=seeds)
        found = corrupt(images.cuda(), name, 3, recipe=recipe, seeds=seeds.cuda()).cpu()
        assert (found != expected).float().mean() < 1e-4  # a draw may differ in its last bit


BYTES, NUMBERS, DOUBLES = ("*u8", "*i64", "*fp64")
TYPES = {
    "smear": {"values": BYTES, "total": "*i32", "down": NUMBERS, "right": NUMBERS, "weights": NUMBERS},
    "grow": {"edges": BYTES, "thin": BYTES},
    "blur": {"x": DOUBLES, "weights": DOUBLES, "out": DOUBLES},
    "zoom": {"images": BYTES, "out": BYTES, "down": "*i32", "across": "*i32"},
    "chroma": {"images": NUMBERS, "chroma": NUMBERS, "dividers": "*i32"},
    "colour": {"images": BYTES, "out": BYTES, "chroma": BYTES, "dividers": "*i32"},
}


@pytest.mark.parametrize("name", TYPES)
def test_kernels_compile_without_a_gpu(name):
    pytest.importorskip("triton")
    file = import_module(f"gfnet_bench.corruptions.kernels.{'jpeg' if name in ('chroma', 'colour') else name}")
    types = dict.fromkeys(("c", "h", "w", "steps", "count", "size", "stride", "radius", "factors"), "i32") | TYPES[name]
    sizes = {"PIXELS": 512, "BLOCKS": 32, "WIDE": name == "chroma"}
    built = machine_code.compiled(
        getattr(file, f"{name}_kernel"), sizes, types, warps=8, fusion=name not in "blur zoom"
    )
    code = machine_code.read(built)
    assert code.instructions > 0 and code.stack == 0 and code.shared <= 227 * 1024
    assert ("bar.sync" in built.asm["ptx"]) == (name in ("grow", "chroma", "colour"))


def agree():
    return True


def differ():
    return False


def break_down():
    raise ValueError("no such instruction")


def run_out():
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("check", [agree, differ, break_down])
def test_a_kernel_that_fails_its_check_costs_a_warning_and_no_byte(check, monkeypatch, recwarn):
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    monkeypatch.setattr(kernels, "import_module", lambda name: SimpleNamespace(agrees=lambda device: check()))
    works.cache_clear()
    cpu = torch.device("cpu")
    assert [works("jpeg", cpu), works("jpeg", cpu)] == [check is agree] * 2
    said = {agree: [], differ: ["gives wrong numbers on cpu"], break_down: ["does not run on cpu: no such instruction"]}
    assert [str(warning.message).split("; using")[0].split("() ")[-1] for warning in recwarn] == said[check]
    works.cache_clear()


def test_full_memory_is_no_verdict_on_a_kernel(monkeypatch):
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    monkeypatch.setattr(kernels, "import_module", lambda name: SimpleNamespace(agrees=lambda device: run_out()))
    works.cache_clear()
    with pytest.raises(torch.OutOfMemoryError):
        works("jpeg", torch.device("cpu"))


def test_no_kernel_is_taken_where_there_is_no_cuda():
    assert not works("jpeg", torch.device("cpu"), True)
