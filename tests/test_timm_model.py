"""GFNet and PVT as timm models like any other, and as programs that run elsewhere.

timm's own tests of all its models, pointed at our names, are met in substance here on small networks.
"""

from __future__ import annotations

import copy
import io
import tempfile
import warnings
from pathlib import Path

import pytest
import timm
import torch
from timm.models import get_notrace_functions, get_notrace_modules, group_parameters
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

import gfnet_bench.models  # noqa: F401  (registers them with timm)
from gfnet_bench.models.global_filter import WAYS, filter_way

SMALL = {
    "gfnet_ti": {"img_size": 64, "embed_dim": 32, "depth": 3},
    "gfnet_h_ti": {"img_size": 64, "embed_dim": (8, 8, 16, 16), "depth": (1, 1, 1, 1)},
    "pvt_tiny": {"img_size": 64, "embed_dim": (8, 16, 40, 64)},
}
every = pytest.mark.parametrize("name", SMALL)
filtering = pytest.mark.parametrize("name", ["gfnet_ti", "gfnet_h_ti"])


def build(name: str, **changes: object) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, **{**SMALL[name], "num_classes": 5, **changes}).eval()


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-4)


@every
def test_checkpointed_gradients_are_the_same(name: str) -> None:
    net, x = build(name), images()
    net(x).sum().backward()
    expected = {key: p.grad.clone() for key, p in net.named_parameters()}
    net.zero_grad()
    net.set_grad_checkpointing()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        output = net(x)
    output.sum().backward()
    for key, p in net.named_parameters():
        close(p.grad, expected[key])
    less, kept[:] = sum(kept), []
    net.set_grad_checkpointing(False)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        close(net(x), output)
    assert less < sum(kept) / 2


@every
def test_parameters_in_groups(name: str) -> None:
    net = build(name)
    names = {key for key, _ in net.named_parameters()}
    for coarse in (False, True):
        groups = group_parameters(net, net.group_matcher(coarse=coarse))
        assert sorted(n for group in groups.values() for n in group) == sorted(names)
        assert any("pos_embed" in n for n in groups[0]) and any("head" in n for n in groups[max(groups)])
    assert {n for n in names if n.startswith(("pos_embed", "cls_token"))} == net.no_weight_decay()
    groups = create_optimizer_v2(net, "sgd", lr=1.0, weight_decay=0.1, layer_decay=0.5).param_groups
    undecayed = {id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert {id(p) for n, p in net.named_parameters() if n in net.no_weight_decay()} <= undecayed
    assert {group["lr_scale"] for group in groups} >= {1.0, 0.5}


@every
def test_heads_and_pooling(name: str) -> None:
    net, x = build(name), images()
    features = net.forward_features(x)
    net.reset_classifier(0)
    assert torch.equal(net(x), net.forward_head(features, pre_logits=True))
    net.reset_classifier(0, "")
    assert torch.equal(net(x), features)
    assert build(name, num_classes=0, global_pool="")(x).shape == features.shape
    net.reset_classifier(3, "avg")
    means = features.mean((1, 2)) if features.ndim == 4 else features[:, 1:].mean(1)
    close(net(x), net.head(means))
    half = net.bfloat16()
    half.reset_classifier(7)
    assert half.head.weight.dtype == torch.bfloat16 and half(x.bfloat16()).shape == (2, 7)
    with pytest.raises(ValueError, match=r"expected global_pool .*found 'max'"):
        net.reset_classifier(5, "max")


@every
def test_another_size_by_every_road(name: str, tmp_path: Path) -> None:
    """Set, loaded, or named as a checkpoint: the same network, and the paper's tensors resampled once."""
    net = build(name)
    torch.save(net.state_dict(), tmp_path / "own.pth")
    torch.save({"model": net.state_dict()}, tmp_path / "official.pth")
    resized = copy.deepcopy(net)
    resized.set_input_size((96, 96))
    loaded = build(name, img_size=96)
    loaded.load_state_dict(net.state_dict())
    x = images(1, 96)
    expected = resized(x)
    assert torch.equal(loaded(x), expected)
    for file in ("own.pth", "official.pth"):
        assert torch.equal(build(name, img_size=96, checkpoint_path=str(tmp_path / file))(x), expected)
    resized.set_input_size((64, 128))
    assert resized(torch.randn(1, 3, 64, 128)).shape == (1, 5)
    resized.set_input_size((64, 64))
    assert resized.state_dict().keys() == net.state_dict().keys()
    with pytest.raises(ValueError, match="multiples of"):
        resized.set_input_size(50)
    with pytest.raises(ValueError, match="found patch_size=7"):
        resized.set_input_size(patch_size=7)


@every
def test_weights_for_one_channel(name: str, tmp_path: Path) -> None:
    three = build(name, num_classes=1000)
    torch.save(three.state_dict(), tmp_path / "three.pth")
    one = build(name, in_chans=1, pretrained=True, pretrained_cfg_overlay={"file": str(tmp_path / "three.pth")})
    first = one.pretrained_cfg["first_conv"] + ".weight"
    close(one.state_dict()[first], three.state_dict()[first].sum(1, keepdim=True))


@every
def test_intermediate_layers(name: str) -> None:
    net, x = build(name), images()
    features, maps = net.forward_intermediates(x)
    assert torch.equal(features, net.forward_features(x))
    tokens = net.get_intermediate_layers(x, n=2)
    assert all(torch.equal(t, m.flatten(2).mT) for t, m in zip(tokens, maps[-2:], strict=True))
    (first,) = net.get_intermediate_layers(x, n=[0], reshape=True)
    assert torch.equal(first, maps[0])
    with pytest.raises(ValueError, match="output_fmt"):
        net.forward_intermediates(x, output_fmt="CNHW")
    pruned = copy.deepcopy(net)
    assert pruned.prune_intermediate_layers([0]) == [0]
    assert torch.equal(pruned.forward_intermediates(x, [0], stop_early=True, intermediates_only=True)[0], maps[0])
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in net.parameters())
    assert pruned.num_classes == 0


@every
@pytest.mark.parametrize("feature_cls", ["getter", "hook", "fx"])
def test_features_in_every_form(name: str, feature_cls: str) -> None:
    net = timm.create_model(name, **SMALL[name], features_only=True, feature_cls=feature_cls, out_indices=(-2, -1))
    found = net.eval()(images())
    channels = net.feature_info.channels()
    assert len(found) == 2
    assert all(dim in m.shape for dim, m in zip(channels, found, strict=True))


@every
def test_a_graph_of_it_computes_the_same(name: str) -> None:
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    net, x = build(name), images()
    how = {"leaf_modules": get_notrace_modules(), "autowrap_functions": get_notrace_functions()}
    _, nodes = get_graph_node_names(net, tracer_kwargs=how)
    graph = create_feature_extractor(net, [nodes[-1]], tracer_kwargs=how)
    assert torch.equal(next(iter(graph(x).values())), net(x))


@every
def test_torchscript(name: str) -> None:
    net, x = build(name), images()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it is deprecated; people's deployments do not know
        scripted = torch.jit.script(net)
    close(scripted(x), net(x))
    with pytest.raises(Exception, match="built for images of 64 x 64"):
        scripted(images(1, 96))


def reloaded(net: nn.Module, x: Tensor) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        traced = torch.jit.trace(net, x)  # a TracerWarning would say that the batch has become part of it
        assert "gfnet_bench::" not in str(traced.inlined_graph)
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)


@every
def test_traces_hold_torchs_operations_alone(name: str) -> None:
    net = build(name)
    loaded = reloaded(net, images())
    close(loaded(images(3)), net(images(3)))


@every
def test_exported_programs_take_any_batch(name: str) -> None:
    net, batch = build(name), torch.export.Dim("batch")
    program = torch.export.export(net, (images(),), dynamic_shapes=({0: batch},))
    close(program.module()(images(5)), net(images(5)))
    assert "gfnet_bench" not in str(program.graph)


@every
def test_onnx(name: str) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    net, batch = build(name), torch.export.Dim("batch")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own code
        file = str(Path(folder, "net.onnx"))
        torch.onnx.export(net, (images(),), file, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
        session = runtime.InferenceSession(file)
    for count in (1, 3):
        (logits,) = session.run(None, {session.get_inputs()[0].name: images(count).numpy()})
        close(torch.from_numpy(logits), net(images(count)))


@filtering
@pytest.mark.parametrize("way", [way for way in WAYS if not way.startswith("triton")])
def test_transforms_of_torch_func(name: str, way: str) -> None:
    """vmap, jvp and gradients of each image, against plain calls and finite differences."""
    net, x = build(name), images()
    parameters = {key: p.detach() for key, p in net.named_parameters()}

    def logits(of: dict[str, Tensor], image: Tensor) -> Tensor:
        return torch.func.functional_call(net, of, (image[None],))[0]

    with filter_way(way):
        close(torch.func.vmap(lambda image: logits(parameters, image))(x), net(x))
        by_image = torch.func.vmap(torch.func.grad(lambda of, image: logits(of, image).sum()), (None, 0))(parameters, x)
        net(x[1:]).sum().backward()
        for key, p in net.named_parameters():
            close(by_image[key][1], p.grad)
        tangent = torch.ones_like(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch scripts some of its rules at first use
            _, along = torch.func.jvp(net, (x,), (tangent,))
    wide, step = copy.deepcopy(net).double(), 1e-5
    ahead, behind = (wide(x.double() + sign * step * tangent) for sign in (1, -1))
    torch.testing.assert_close(along.double(), (ahead - behind) / (2 * step), atol=1e-4, rtol=1e-3)


def test_built_where_and_as_wanted() -> None:
    net = build("gfnet_ti", device="meta", dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in net.parameters()} == {("meta", torch.bfloat16)}
