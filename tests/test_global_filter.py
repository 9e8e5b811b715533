"""Every way to compute the global filter, against torch.fft in float64."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gfnet_bench.errors import UsageError
from gfnet_bench.models.gfnet import GFNet, GlobalFilter, ways_taken
from gfnet_bench.models.global_filter import WAYS, current_way, filter_way, global_filter, way_taken

GRIDS = [(7, 7), (8, 8), (14, 14), (13, 9), (14, 10), (5, 8), (28, 28), (56, 56), (53, 3), (1, 1), (1, 6), (2, 1)]
STRICT = ["auto", "reference", "fft", "dense"]
SMALL = {"img_size": 32, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_classes": 5}


def inputs(grid, channels=5, images=3, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    h, w = grid
    x = torch.randn(images, h, w, channels, generator=generator)
    weight = torch.randn(h, w // 2 + 1, channels, 2, generator=generator)
    return x.to(**kwargs), weight.to(**kwargs)


def truth(x, weight):
    """The formula of the paper, in float64."""
    x, weight = x.double().cpu(), weight.double().cpu()
    spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(weight)
    return torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho")


def true_gradients(x, weight, grad):
    x, weight = (t.detach().double().cpu().requires_grad_() for t in (x, weight))
    return torch.autograd.grad(truth(x, weight), (x, weight), grad.double().cpu())


def error(found, expected):
    """Largest difference over the largest value."""
    return float((found.detach().double().cpu() - expected.detach()).abs().max() / expected.detach().abs().max())


@pytest.mark.parametrize("way", STRICT)
@pytest.mark.parametrize("grid", GRIDS)
def test_result_and_gradients_are_those_of_float64(grid, way):
    x, weight = inputs(grid)
    x.requires_grad_(), weight.requires_grad_()
    y = global_filter(x, weight, way)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    assert error(y, truth(x, weight)) <= 1e-6
    found = torch.autograd.grad(y, (x, weight), grad)
    for one, expected in zip(found, true_gradients(x, weight, grad), strict=True):
        assert error(one, expected) <= 1e-6


@pytest.mark.parametrize("way", ["fft", "dense"])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (4, 3), (1, 2)])
def test_gradcheck(grid, way):
    x, weight = (t.requires_grad_() for t in inputs(grid, channels=2, images=2, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x, weight: global_filter(x, weight, way), (x, weight))


def test_only_wanted_gradients_are_computed():
    x, weight = inputs((4, 4))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.shape) or t, lambda t: t):
        y = global_filter(x.requires_grad_(), weight, "dense")
    assert saved == [weight.shape]  # an attack need not keep the input of every layer
    y.sum().backward()
    assert x.grad is not None and weight.grad is None
    global_filter(x.detach(), weight.requires_grad_(), "dense").sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("way", STRICT)
def test_tokens_in_a_row_and_strided_input(way):
    x, weight = inputs((6, 4))
    expected = global_filter(x, weight, way)
    assert torch.equal(global_filter(x.flatten(1, 2), weight, way), expected.flatten(1, 2))
    strided = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not strided.is_contiguous() and torch.equal(global_filter(strided, weight, way), expected)
    assert global_filter(x[:0], weight, way).shape == (0, 6, 4, 5)


@pytest.mark.parametrize("way", ["fft", "dense"])
@pytest.mark.parametrize(("grid", "channels"), [((8, 8), 64), ((14, 14), 96), ((16, 16), 48)])
def test_an_image_has_one_result_whatever_its_batch(grid, channels, way):
    x, weight = inputs(grid, channels, images=30)
    whole = global_filter(x, weight, way)
    assert torch.equal(whole[:1], global_filter(x[:1], weight, way))
    assert torch.equal(whole[7:24], global_filter(x[7:24], weight, way))


@pytest.mark.parametrize("way", STRICT)
def test_autocast_computes_in_float32(way):
    layer = GlobalFilter(5, (14, 14))
    x, _ = inputs((14, 14))
    expected = truth(x, layer.complex_weight)
    with torch.autocast("cpu", torch.bfloat16), filter_way(way):
        assert error(layer(x), expected) <= 1e-6
        half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert error(half, truth(x.bfloat16(), layer.complex_weight)) <= 2**-8


def test_matrices_made_in_inference_mode_serve_training_too():
    x, weight = inputs((11, 11))
    with torch.inference_mode():
        expected = global_filter(x, weight, "dense")
    y = global_filter(x.requires_grad_(), weight, "dense")
    y.sum().backward()
    assert torch.equal(y, expected)


@pytest.mark.parametrize("way", STRICT)
def test_network_gives_the_same_logits(way):
    torch.manual_seed(0)
    model = GFNet(**SMALL).eval()
    images = torch.rand(3, 3, 32, 32)
    with filter_way("reference"):
        expected = copy.deepcopy(model).double()(images.double())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with filter_way(way):
        torch.testing.assert_close(model(images).double(), expected, atol=1e-5, rtol=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_compile_leaves_the_operator_whole():
    layer = GlobalFilter(3, (4, 4))
    x, _ = inputs((4, 4), channels=3)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    grad = torch.autograd.grad(compiled(x).square().sum(), layer.complex_weight)[0]
    torch.testing.assert_close(compiled(x), layer(x))
    torch.testing.assert_close(grad, torch.autograd.grad(layer(x).square().sum(), layer.complex_weight)[0])


def test_on_the_meta_device_it_is_torch_fft():
    x, weight = (t.to("meta") for t in inputs((4, 4)))
    with torch.profiler.profile() as profile:
        assert global_filter(x, weight).shape == x.shape
    assert any("fft_r2c" in event.key for event in profile.key_averages())


def test_the_way_taken_is_told():
    cpu = torch.device("cpu")
    assert [way_taken(grid, cpu) for grid in ((48, 48), (48, 49), (56, 8))] == ["dense", "fft", "fft"]
    assert way_taken((14, 14), torch.device("meta")) == "reference"
    with filter_way("fft"):
        assert current_way() == way_taken((14, 14), cpu) == "fft"
    assert current_way() == "auto"
    assert ways_taken(GFNet(**SMALL), cpu) == ["dense"] and ways_taken(torch.nn.Linear(1, 1), cpu) == []


def test_processes_that_are_started_meanwhile_take_the_same_way():
    code = "from gfnet_bench.models.global_filter import current_way; print(current_way())"

    def elsewhere():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    with filter_way("fft"):
        assert elsewhere() == "fft"
    assert os.environ["GFNET_BENCH_FILTER"] == "auto"


def test_what_does_not_fit_is_refused():
    x, weight = inputs((4, 6))
    with pytest.raises(ValueError, match="does not fit"):
        global_filter(x.transpose(1, 2), weight)
    with pytest.raises(ValueError, match="does not fit"):
        global_filter(x[..., :3], weight)
    with pytest.raises(UsageError, match=r"expected one of auto, .* found 'fastest'"):
        global_filter(x, weight, "fastest")
    with filter_way("fastest"), pytest.raises(UsageError):
        global_filter(x, weight)
    pytest.importorskip("triton")
    with pytest.raises(UsageError, match="CUDA device"):
        global_filter(x, weight, "triton")


INTERPRETED_GRIDS = [(7, 7), (8, 8), (14, 14), (13, 9), (28, 28), (16, 33), (1, 6)]
INTERPRET = """
import json, sys
import torch
from gfnet_bench.models.global_filter import global_filter
from gfnet_bench.models.global_filter import by_triton, fused
fused.IMAGES = 2  # so that three images are two parts of a sum
sys.path.insert(0, sys.argv[1])
from test_global_filter import INTERPRETED_GRIDS, error, inputs, true_gradients, truth
errors = {}
for grid in INTERPRETED_GRIDS:
    x, weight = inputs(grid, channels=19)
    x.requires_grad_(), weight.requires_grad_()
    y = global_filter(x, weight, "triton")
    grad = torch.randn(y.shape)
    gradients = torch.autograd.grad(y, (x, weight), grad)
    expected = (truth(x, weight), *true_gradients(x, weight, grad))
    errors[str(grid)] = [error(*pair) for pair in zip((y, *gradients), expected)]
print(json.dumps({"errors": errors, "works": by_triton.works(14, 14, torch.device("cpu"))}))
"""


@pytest.fixture(scope="module")
def interpreted():
    """Errors of the fused kernel in Triton's interpreter, which must be chosen before Triton is imported."""
    pytest.importorskip("triton")
    here = str(Path(__file__).parent)
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", INTERPRET, here]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("grid", INTERPRETED_GRIDS)
def test_fused_kernel_in_the_interpreter(grid, interpreted):
    assert max(interpreted["errors"][str(grid)]) <= 1e-6


def test_fused_kernel_passes_its_own_check(interpreted):
    assert interpreted["works"] is True


def test_a_kernel_that_cannot_run_is_said_and_left_out():
    triton_ways = pytest.importorskip("gfnet_bench.models.global_filter.by_triton")
    triton_ways.works.cache_clear()
    with pytest.warns(UserWarning, match=r"does not run on cpu.*using torch.fft"):
        assert triton_ways.works(6, 6, torch.device("cpu")) is False


@pytest.mark.gpu
@pytest.mark.parametrize("grid", [*GRIDS, (48, 48), (64, 64), (112, 112)])
@pytest.mark.parametrize("way", WAYS)
def test_on_a_gpu(grid, way):
    if way.startswith("triton") and max(grid) > 64:
        pytest.skip("the kernel takes sides to 64")
    tolerance = {"triton_tf32": 5e-3, "triton_bf16": 5e-2}.get(way, 1e-6)
    x, weight = inputs(grid, channels=70, images=9, device="cuda")
    x.requires_grad_(), weight.requires_grad_()
    y = global_filter(x, weight, way)
    grad = torch.randn_like(y)
    assert error(y, truth(x, weight)) <= tolerance
    found = torch.autograd.grad(y, (x, weight), grad)
    for one, expected in zip(found, true_gradients(x, weight, grad), strict=True):
        assert error(one, expected) <= 2 * tolerance


@pytest.mark.gpu
@pytest.mark.parametrize("side", [7, 14, 24, 28, 56])
def test_the_fused_kernel_is_trusted_on_this_gpu(side):
    from gfnet_bench.models.global_filter.by_triton import works

    assert works(side, side, torch.device("cuda", torch.cuda.current_device()))


@pytest.mark.gpu
def test_captured_in_a_cuda_graph():
    x, weight = inputs((14, 14), channels=64, device="cuda")
    expected = global_filter(x, weight)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = global_filter(x, weight)
    graph.replay()
    assert torch.equal(y, expected)
