"""The kernels that make corruptions on CUDA give the bytes of tensors and Pillow, and are not trusted unseen."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interpreter import interpreted
from test_corruptions_digital import noisy, pillow_jpeg, smooth, tensor

from gfnet_bench.corruptions import corrupt, kernels
from gfnet_bench.corruptions.jpeg_compression import jpeg
from gfnet_bench.corruptions.kernels import works

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


@pytest.mark.parametrize("kernel", ["smear", "grow", "blur", "zoom"])
def test_kernels_of_pixels_compile_without_a_gpu(kernel):
    pytest.importorskip("triton")
    from importlib import import_module

    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    function = getattr(import_module(f"gfnet_bench.corruptions.kernels.{kernel}"), f"{kernel}_kernel")
    types = {"values": "*u8", "total": "*i32", "down": "*i64", "right": "*i64", "weights": "*i64"}
    types |= {"edges": "*u8", "thin": "*u8", "images": "*u8", "across": "*i32", "PIXELS": "constexpr"}
    types |= {"down_weights": "*fp32", "across_weights": "*fp32", "out": "*u8"}
    if kernel == "blur":
        types |= dict.fromkeys(("x", "weights", "out"), "*fp64")
    if kernel == "zoom":
        types["down"] = "*i32"
    signature = {name: types.get(name, "i32") for name in function.arg_names}
    source, options = ASTSource(function, signature, {"PIXELS": 1024}), {"num_warps": 4, "enable_fp_fusion": False}
    built = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert built.asm["cubin"] and ("bar.sync" in built.asm["ptx"]) == (kernel == "grow")


@pytest.mark.parametrize(("name", "wide"), [("chroma_kernel", True), ("colour_kernel", False)])
def test_kernels_compile_without_a_gpu(name, wide):
    pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from gfnet_bench.corruptions.kernels import jpeg as kernels_of_jpeg

    kernel = getattr(kernels_of_jpeg, name)
    constants = {"WIDE": wide, "BLOCKS": kernels_of_jpeg.BLOCKS}
    pointers = dict.fromkeys(("images", "out"), "*i64" if wide else "*u8") | {"dividers": "*i32"}
    pointers["chroma"] = "*i64" if name == "chroma_kernel" else "*u8"
    signature = {name: "constexpr" if name in constants else pointers.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    built = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8, "enable_fp_fusion": True})
    assert built.asm["cubin"] and built.metadata.shared <= 227 * 1024


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
