"""Does our PGD cost more than the model passes it is made of?

Run:      pip install torchattacks foolbox torchattack adv-lib     (into an environment of its own, beside this package)
          python experiments/attack_speed.py     (about 15 minutes on one CPU core; what is missing is left out)
Result:   results/tables/attack_speed.md
Outcome:  2026-11-27, a quiet machine, medians of five rounds: 1.02 (ResNet-18), 1.01 (DeiT-Ti), 1.00 (GFNet-XS) times
          the minimal loop; adv-lib 0.99, 1.04, 1.07, torchattacks 1.01, 1.03, 1.07, torchattack 1.33 to 1.49, foolbox
          1.43 to 1.61. On a CNN adv-lib takes 3 % less. Peak memory: ours 0.88 to 1.02 of the minimal loop's, theirs
          1.22 to 1.78.

Five steps of PGD on random weights, whose cost is that of trained ones, in several ways:

- minimal loop: a gradient with respect to the pixels and a projection, parameters frozen, nothing checked;
- gfnet-bench: our PGD, which also draws a random start per image and checks the logits;
- torchattacks, foolbox, torchattack, adv-lib: their PGD at these settings, parameters trainable, as users call them;
- naive: `loss.backward()` with trainable parameters, which computes their gradients too and throws them away.

They take turns, so that a busy minute hits all of them, and each turn gives one ratio to its own minimal loop.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import _checkout  # noqa: F401  (the package of this checkout)
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gfnet_bench.models  # noqa: F401  (GFNet is known to timm with it)
from gfnet_bench.attacks.pgd import PGD
from gfnet_bench.evaluation import precision
from gfnet_bench.profiling.memory import peak_resident_bytes
from gfnet_bench.randomness import image_seeds

EPSILON, STEP, STEPS = 1 / 255, 0.5 / 255, 5
RESULT = Path(__file__).parents[1] / "results" / "tables" / "attack_speed.md"


def minimal(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The least that five steps can be."""
    net.requires_grad_(False)
    adversarial = images
    for _ in range(STEPS):
        adversarial = adversarial.detach().requires_grad_()
        loss = F.cross_entropy(net(adversarial), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, adversarial)
        adversarial = adversarial.detach() + STEP * gradient.sign()
        adversarial = (images + (adversarial - images).clamp(-EPSILON, EPSILON)).clamp(0, 1)
    return adversarial


def ours(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """gfnet-bench, parameters frozen as `load_model` leaves them."""
    net.requires_grad_(False)
    seeds = image_seeds([str(i) for i in range(len(images))]).to(images.device)
    return PGD(EPSILON, STEP / EPSILON, STEPS)(net, images, labels, seeds)


def theirs(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """As torchattacks is usually called."""
    import torchattacks

    net.requires_grad_(True)
    return torchattacks.PGD(net, eps=EPSILON, alpha=STEP, steps=STEPS)(images, labels)


def of_foolbox(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """foolbox, which also scores what it made."""
    import foolbox

    net.requires_grad_(True)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS)
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device=images.device)
    return attack(model, images, labels, epsilons=EPSILON)[1]


def of_torchattack(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """torchattack, which is not torchattacks."""
    import torchattack

    net.requires_grad_(True)
    return torchattack.PGD(net, eps=EPSILON, alpha=STEP, steps=STEPS, device=images.device)(images, labels)


def of_adv_lib(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """adv-lib, which looks at every iterate."""
    from adv_lib.attacks import pgd_linf

    net.requires_grad_(True)
    return pgd_linf(net, images, labels, EPSILON, steps=STEPS, absolute_step_size=STEP)


def naive(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The loop of many tutorials."""
    net.requires_grad_(True)
    adversarial = images
    for _ in range(STEPS):
        adversarial = adversarial.detach().requires_grad_()
        net.zero_grad()
        F.cross_entropy(net(adversarial), labels).backward()
        assert adversarial.grad is not None
        adversarial = adversarial.detach() + STEP * adversarial.grad.sign()
        adversarial = (images + (adversarial - images).clamp(-EPSILON, EPSILON)).clamp(0, 1)
    return adversarial


OTHERS = {
    "torchattacks": theirs,
    "foolbox": of_foolbox,
    "torchattack": of_torchattack,
    "adv_lib": of_adv_lib,
}
HERE = {f"{name} PGD": way for name, way in OTHERS.items() if importlib.util.find_spec(name)}
WAYS = {"minimal loop": minimal, "gfnet-bench PGD": ours, **HERE, "naive `backward()`": naive}
Way = Callable[[nn.Module, Tensor, Tensor], Tensor]


def seconds(way: Way, net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Of one call: processor time on a CPU, which other jobs disturb less; time on the clock on a GPU, once idle."""
    if not images.is_cuda:
        start = time.process_time()
        way(net, images, labels)
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    way(net, images, labels)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_mb(name: str, model: str, batch: int) -> float:
    """What one call adds to the memory of a process of its own, in MB, at its peak."""
    command = [sys.executable, __file__, "--peak-of", name, "--model", model, "--batch-size", str(batch)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _peak_of(name: str, model: str, batch: int) -> float:
    net = timm.create_model(model).eval()
    images, labels = torch.rand(batch, 3, 224, 224), torch.randint(1000, (batch,))
    with torch.no_grad():
        net(images[:1])  # what libraries set up once is no one's
    before = peak_resident_bytes()
    WAYS[name](net, images, labels)
    return (peak_resident_bytes() - before) / 2**20


def rows(model: str, batch: int, repeats: int, device: str) -> list[str]:
    """Markdown rows of one model."""
    torch.manual_seed(0)
    net = timm.create_model(model).eval().to(device)
    images = torch.rand(batch, 3, 224, 224, device=device)
    labels = torch.randint(1000, (batch,), device=device)
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for repeat in range(repeats + 1):
        for name, way in WAYS.items():
            taken = seconds(way, net, images, labels)
            if repeat:  # the first round warms up
                times[name].append(taken)
    base = times["minimal loop"]
    lines = []
    for name, found in times.items():
        ratio = statistics.median(x / y for x, y in zip(found, base, strict=True))
        memory = f"{peak_mb(name, model, batch):.0f}" if device == "cpu" else ""
        best = min(found) / min(base)
        lines.append(f"| {model} | {name} | {min(found):.3f} | {ratio:.3f} | {best:.3f} | {memory} |")
    return lines


def main() -> None:
    """Time every way on every model and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["resnet18", "deit_tiny_patch16_224", "gfnet_xs"], metavar="NAME")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak_of:
        print(_peak_of(arguments.peak_of, arguments.model[0], arguments.batch_size))
        return
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{platform.machine()} CPU, one thread"
    lines = [
        "# Cost of five steps of PGD",
        "",
        f"{where}; torch {torch.__version__}, float32, batch {arguments.batch_size}, 224 x 224, random weights, "
        f"{arguments.repeats} rounds taken in turns. Made by `experiments/attack_speed.py`.",
        "",
        "| model | way | best, s | ratio to the minimal loop, median of rounds | ratio of the bests | peak, MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    for model in arguments.model:
        with precision("float32", torch.device(arguments.device)):
            lines += rows(model, arguments.batch_size, arguments.repeats, arguments.device)
        RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
