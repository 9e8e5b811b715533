"""Every way to compute the global filter, against torch.fft in float64."""

import copy
import os
import subprocess
import sys
import types

import pytest
import torch
from interpreter import interpreted

from gfnet_bench.errors import UsageError
from gfnet_bench.models import global_filter as module
from gfnet_bench.models.gfnet import GFNet, GlobalFilter, ways_taken
from gfnet_bench.models.global_filter import WAYS, current_way, filter_way, global_filter, way_taken
from gfnet_bench.profiling import machine_code

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
    assert torch.autograd.gradgradcheck(lambda x, weight: global_filter(x, weight, way), (x, weight))


@pytest.mark.parametrize("way", STRICT)
def test_weights_may_lie_anywhere_in_memory(way):
    x, weight = inputs((6, 4))
    expected = global_filter(x, weight, way)
    strided = weight.to(memory_format=torch.channels_last)
    shifted = torch.cat((torch.zeros(1), weight.flatten()))[1:].view(weight.shape)
    assert not strided.is_contiguous() and shifted.storage_offset() == 1
    for same in (strided,) if way == "reference" else (strided, shifted):
        y = global_filter(x.requires_grad_(), same, way)
        torch.testing.assert_close(y, expected)
        torch.autograd.grad(y.sum(), x)


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
    with torch.profiler.profile(acc_events=True) as profile:
        assert global_filter(x, weight).shape == x.shape
    assert any("fft_r2c" in event.key for event in profile.key_averages())


def test_the_way_taken_is_told():
    cpu = torch.device("cpu")
    assert [way_taken(grid, 8, cpu) for grid in ((48, 48), (48, 49), (56, 8))] == ["dense", "fft", "fft"]
    assert way_taken((14, 14), 8, torch.device("meta")) == "reference"
    with filter_way("fft"):
        assert current_way() == way_taken((14, 14), 8, cpu) == "fft"
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
    with pytest.raises(ValueError, match="do not fit a filter"):
        global_filter(x.transpose(1, 2), weight)
    with pytest.raises(ValueError, match="do not fit a filter"):
        global_filter(x[..., :3], weight)
    with pytest.raises(ValueError, match=r"expected floats \(b, h, w, c\)"):
        global_filter(x, weight[..., 0])
    with pytest.raises(ValueError, match=r"torch\.int64 tokens"):
        global_filter(x.long(), weight)
    with pytest.raises(UsageError, match=r"expected one of auto, .* found 'fastest'"):
        global_filter(x, weight, "fastest")
    with filter_way("fastest"), pytest.raises(UsageError):
        global_filter(x, weight)
    pytest.importorskip("triton")
    with pytest.raises(UsageError, match="CUDA device"):
        global_filter(x, weight, "triton")


UNROLLED_GRIDS = [(7, 7), (8, 8), (14, 14), (13, 9), (1, 1), (1, 6), (2, 1), (4, 4), (10, 6), (15, 12), (16, 5)]
LINE_GRIDS = [(1, 1), (1, 6), (2, 1), (4, 3), (5, 4), (7, 9)]
SHARED_GRIDS = [(6, 6), (10, 5), (5, 14)]
INTERPRET = """
from gfnet_bench.models.global_filter import by_triton, global_filter, lines, unrolled
from test_global_filter import LINE_GRIDS, SHARED_GRIDS, UNROLLED_GRIDS, error, inputs, true_gradients, truth

def errors(grid, tokens=64):
    lines.TOKENS = tokens
    small = max(grid) < 5  # two tiles of channels, and two parts of a sum over images
    x, weight = inputs(grid, channels=35 if small else 5, images=4 if small else 1)
    grad = torch.randn(x.shape)
    true_x, true_weight = true_gradients(x, weight, grad)
    found = lines.global_filter(x, weight), lines.weight_gradient(x, grad)
    return [error(*pair) for pair in zip(found, (truth(x, weight), true_weight))]

def unrolled_error(grid):
    x, weight = inputs(grid, channels=39)
    return error(unrolled.global_filter(x, weight), truth(x, weight))

x, weight = (t.requires_grad_() for t in inputs((2, 18), channels=3, images=1))
y = global_filter(x, weight, "triton")
expected = true_gradients(x, weight, y)
gradients = torch.autograd.grad(y, (x, weight), y.detach())
print(json.dumps({
    "unrolled": {str(grid): unrolled_error(grid) for grid in UNROLLED_GRIDS},
    "lines": {str(grid): errors(grid) for grid in LINE_GRIDS},
    "shared": {str(grid): errors(grid, tokens=4) for grid in SHARED_GRIDS},
    "gradients": [error(*pair) for pair in zip(gradients, expected)],
    "works": [by_triton.works(*maps, torch.device("cpu")) for maps in ((4, 4, 32), (1, 18, 16), (1, 67, 16))],
}))
"""


@pytest.fixture(scope="module", name="interpreted")
def _interpreted():
    """Errors of the kernels in Triton's interpreter."""
    return interpreted(INTERPRET)


@pytest.mark.parametrize("grid", UNROLLED_GRIDS)
def test_unrolled_kernel_in_the_interpreter(grid, interpreted):
    assert interpreted["unrolled"][str(grid)] <= 5e-7


@pytest.mark.parametrize("grid", LINE_GRIDS)
def test_kernels_of_lines_in_the_interpreter(grid, interpreted):
    assert max(interpreted["lines"][str(grid)]) <= 5e-7


@pytest.mark.parametrize("grid", SHARED_GRIDS)
def test_kernels_of_lines_that_two_threads_share_in_the_interpreter(grid, interpreted):
    assert max(interpreted["shared"][str(grid)]) <= 5e-7


def test_gradients_of_the_kernels_reach_input_and_weight(interpreted):
    assert max(interpreted["gradients"]) <= 1e-6


def test_kernels_pass_their_own_check(interpreted):
    assert interpreted["works"] == [True, True, False]  # 67 is a prime number: no kernel takes it


def built(kernel, side):
    """A kernel for maps of side x side tokens and 384 channels."""
    threads = 1 if side <= 64 else 2
    sizes = {"c": 384, "h": side, "w": side, "T": threads, "BC": 32, "HP": 16, "VP": 8, "N": 512}
    types = dict.fromkeys(("c", "images", "part"), "i32") | {"weight": "*i64"}
    return machine_code.compiled(kernel, sizes, types, warps=1 if kernel.__module__.endswith("lines") else 4)


def kernels_of(kernels):
    return {name.strip("_"): value for name, value in vars(kernels).items() if name.endswith("_kernel")}


LINE_KERNELS = ["rows_kernel", "rows_back_kernel", "columns_kernel", "spectrum_kernel", "products_kernel"]


@pytest.mark.parametrize(("name", "side"), [("filter_kernel", 14), *((name, 27) for name in LINE_KERNELS)])
def test_kernels_compile_without_a_gpu(name, side):
    pytest.importorskip("triton")
    from gfnet_bench.models.global_filter import lines, unrolled

    assert [*kernels_of(unrolled), *kernels_of(lines)] == ["filter_kernel", *LINE_KERNELS]
    code = machine_code.read(built({**kernels_of(unrolled), **kernels_of(lines)}[name], side))
    assert code.instructions > 0 and code.stack == 0 and code.registers <= 255 and code.shared <= 227 * 1024


def test_two_threads_of_a_line_exchange_numbers_within_their_warp():
    lines = pytest.importorskip("gfnet_bench.models.global_filter.lines")
    kernel = built(lines._rows_kernel, 66)
    assert kernel.metadata.shared == 0 and "bar.sync" not in kernel.asm["ptx"]
    assert kernel.asm["ptx"].count("shfl.sync") == 66  # of 33 complex numbers each


def test_lines_without_large_primes_have_kernels():
    lines = pytest.importorskip("gfnet_bench.models.global_filter.lines")
    for side in range(1, 300):
        largest = max((p for p in range(2, side + 1) if side % p == 0 and all(p % q for q in range(2, p))), default=1)
        long = side <= (91 if side % 2 else 182) and largest <= 31
        assert lines.threads(side) == ((1 if side <= 64 or side % 2 else 2) if side <= 64 or long else None), side
    assert all(lines.fits(side, side) for side in range(14, 183, 14))  # the grids of Figure 2


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 12, 13, 14, 18, 25, 56, 91])
def test_straight_line_transforms_are_the_definition(n, monkeypatch):
    """The same source as plain Python, on numbers of float64."""
    codelets = pytest.importorskip("gfnet_bench.models.global_filter.codelets")
    plain = {name: value.fn for name, value in vars(codelets).items() if isinstance(value, codelets.triton.JITFunction)}
    assert len(plain) == 6
    for name, function in plain.items():
        monkeypatch.setattr(codelets, name, function)
    monkeypatch.setattr(codelets, "gl", types.SimpleNamespace(static_range=range))
    x = torch.randn(2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    found = torch.complex(*(torch.stack(part) for part in codelets.transform(*(tuple(part) for part in x), n)))
    k = torch.arange(n, dtype=torch.float64)
    waves = torch.polar(torch.ones(n, n, dtype=torch.float64), -2 * torch.pi / n * (torch.outer(k, k) % n))
    torch.testing.assert_close(found, waves @ torch.complex(*x), rtol=0, atol=1e-12)


OLD_TRITON = """
import sys, types
triton, language = types.ModuleType("triton"), types.ModuleType("triton.language")
triton.jit, triton.language, triton.__version__, language.constexpr = (lambda f: f), language, "3.5.1", object
import torch
from gfnet_bench.errors import MissingError
from gfnet_bench.models import global_filter as module
sys.modules |= {"triton": triton, "triton.language": language}
try:
    module.global_filter(torch.ones(1, 2, 2, 1), torch.ones(2, 2, 1, 2), "triton")
except MissingError as error:
    print(error)
class OnCuda:
    shape, is_cuda, dtype, device = (1, 2, 2, 1), True, torch.float32, None
print(module._resolved("auto", OnCuda))
"""


def test_an_old_triton_is_named_and_left_out():
    done = subprocess.run([sys.executable, "-c", OLD_TRITON], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "way triton: found Triton 3.5.1; install Triton 3.6 or later, or take way auto.",
        "fft",
    ], done.stderr


def test_a_kernel_that_cannot_run_is_said_and_left_out():
    by_triton = pytest.importorskip("gfnet_bench.models.global_filter.by_triton")
    by_triton.works.cache_clear()
    with pytest.warns(UserWarning, match=r"does not run on cpu.*using torch.fft"):
        assert by_triton.works(6, 6, 16, torch.device("cpu")) is False


@pytest.mark.parametrize("grid", [(14, 14), (28, 28), (70, 70)])
def test_the_kernels_are_checked_at_the_width_that_is_used(grid, monkeypatch):
    by_triton = pytest.importorskip("gfnet_bench.models.global_filter.by_triton")
    seen = []

    def exactly(x, weight, way=None):
        seen.append((x.shape[3], weight.shape[2]))
        return truth(x, weight).float()

    def gradient(x, grad, way=None):
        seen.append((x.shape[3], grad.shape[3]))
        return true_gradients(x, torch.zeros(grid[0], grid[1] // 2 + 1, x.shape[3], 2), grad)[1].float()

    monkeypatch.setattr(by_triton, "global_filter", exactly)
    monkeypatch.setattr(by_triton, "weight_gradient", gradient)
    by_triton.works.cache_clear()
    for channels in (64, 70):
        assert by_triton.works(*grid, channels, torch.device("cpu"))
    by_triton.works.cache_clear()
    assert seen == [(64, 64)] * 3 + [(70, 70)] * 3  # forward, for the input's gradient, for the weight's


def test_auto_asks_for_the_kernels_of_its_width(monkeypatch):
    by_triton, asked = types.SimpleNamespace(works=lambda *maps: asked.append(maps) or True), []
    monkeypatch.setattr(module, "_import", lambda: (by_triton, ""))
    on_cuda = types.SimpleNamespace(shape=(2, 14, 10, 384), is_cuda=True, dtype=torch.float32, device="cuda")
    assert module._resolved("auto", on_cuda) == "triton" and asked == [(14, 10, 384, "cuda")]


def test_one_machine_code_serves_every_batch():
    """Triton compiles a kernel for each of 1, multiples of 16 and others, of every number that is not left out."""
    pytest.importorskip("triton")
    from gfnet_bench.models.global_filter import lines, unrolled

    for kernel in (*kernels_of(unrolled).values(), *kernels_of(lines).values()):
        numbers = {p.name: p.do_not_specialize for p in kernel.params if p.name in "c images part".split()}
        assert {name for name, left_out in numbers.items() if not left_out} == {"c"}
        # Triton 3.6 refuses to run a kernel that names a constant there.
        assert not any(p.do_not_specialize for p in kernel.params if p.is_constexpr)


@pytest.mark.gpu
@pytest.mark.parametrize("grid", [*GRIDS, (48, 48), (64, 64), (67, 3), (112, 112), (182, 70), (6, 126)])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("channels", [384, 70])
def test_on_a_gpu(grid, way, channels):
    compared_on_a_gpu(grid, way, channels, images=9 if max(grid) <= 64 else 2)


@pytest.mark.gpu
@pytest.mark.parametrize(("side", "channels"), [(56, 64), (28, 128), (14, 256), (7, 512), (182, 64)])
def test_on_a_gpu_at_other_widths_of_the_models(side, channels):
    compared_on_a_gpu((side, side), "auto", channels, images=9 if side <= 64 else 2)


def compared_on_a_gpu(grid, way, channels, images):
    if way == "triton" and grid == (67, 3):
        with pytest.raises(UsageError, match="expected sides to 64"):
            global_filter(*inputs(grid, device="cuda"), way)
        return
    x, weight = inputs(grid, channels=channels, images=images, device="cuda")
    x.requires_grad_(), weight.requires_grad_()
    y = global_filter(x, weight, way)
    grad = torch.randn_like(y)
    assert error(y, truth(x, weight)) <= 1e-6
    found = torch.autograd.grad(y, (x, weight), grad)
    for one, expected in zip(found, true_gradients(x, weight, grad), strict=True):
        assert error(one, expected) <= 2e-6


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [64, 384, 512])
@pytest.mark.parametrize("side", [7, 14, 24, 28, 56, 70, 112, 182])
def test_the_kernels_are_trusted_on_this_gpu(side, channels):
    from gfnet_bench.models.global_filter.by_triton import works

    assert works(side, side, channels, torch.device("cuda", torch.cuda.current_device()))


@pytest.mark.gpu
@pytest.mark.parametrize("grid", [(14, 14), (56, 56), (70, 112)])
def test_an_image_has_one_result_whatever_its_batch_on_a_gpu(grid):
    x, weight = inputs(grid, channels=384, images=9, device="cuda")
    whole = global_filter(x, weight)
    assert torch.equal(whole[:1], global_filter(x[:1], weight))
    assert torch.equal(whole[3:8], global_filter(x[3:8], weight))


@pytest.mark.gpu
@pytest.mark.parametrize("grid", [(14, 14), (112, 112)])
def test_captured_in_a_cuda_graph(grid):
    x, weight = inputs(grid, channels=64, device="cuda")
    expected = global_filter(x, weight)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = global_filter(x, weight)
    graph.replay()
    assert torch.equal(y, expected)
