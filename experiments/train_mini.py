"""Do four kinds of small network of equal cost reach 90 % on Fashion-MNIST in a CPU hour each? Makes the mini weights.

Run:      python experiments/train_mini.py gfnet_mini --data FOLDER     (10 to 35 minutes on one core, each)
          resnet_mini likewise; vit_mini and resmlp_mini learn more slowly and go on in further cycles, each from the
          weights of the one before (--start, with a --log of its own):
            vit_mini     --epochs 12 --learning-rate 7e-4 --seed 1, then --epochs 5 --learning-rate 5e-4 --seed 2
            resmlp_mini  --epochs 4 --learning-rate 7e-4 --seed 1
          gfnet_mini_at and resnet_mini_at are trained on images attacked by PGD (Madry et al. 2018), and start from the
          weights of gfnet_mini and resnet_mini: --start gfnet_bench/mini/weights/gfnet_mini.safetensors --epochs 3
          (resnet_mini_at: 5 epochs)
Data:     the four .gz files of Fashion-MNIST; Debian's package dataset-fashion-mnist holds them.
Then:     python experiments/make_mini_images.py
Outcome:  (2026-11-22) yes: see gfnet_bench/mini/README.md; a row an epoch in results/mini/.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import math
import sys
import time
from pathlib import Path

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np
import timm
import timm.layers
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from timm.models.convmixer import ConvMixer
from torch import Tensor, nn

import gfnet_bench.models.mini  # noqa: F401  (registers the networks with timm)
from gfnet_bench.mini import weights_path

BATCH = 64
# The networks differ in what an epoch costs and in how fast they learn.
EPOCHS = {"gfnet_mini": 10, "vit_mini": 12, "resmlp_mini": 14, "resnet_mini": 8, "reference": 4}
EPOCHS |= {"gfnet_mini_at": 5, "resnet_mini_at": 5}
LEARNING_RATE = {"gfnet_mini": 2e-3, "vit_mini": 1e-3, "resmlp_mini": 1.5e-3, "resnet_mini": 2e-3, "reference": 2e-3}
LEARNING_RATE |= {"gfnet_mini_at": 1e-3, "resnet_mini_at": 1e-3}

# What `_at` networks are trained against: L-infinity, pixels in [0, 1], a random start.
EPSILON, STEP, STEPS = 8 / 255, 4 / 255, 3


def read_idx(path: Path) -> NDArray[np.uint8]:
    """One gzipped file in the MNIST format."""
    data = gzip.decompress(path.read_bytes())
    dims = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(shape)


def load(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images as (n, 1, 32, 32) uint8, padded with black, and (n,) labels; `split` is "train" or "t10k"."""
    images = torch.tensor(read_idx(folder / f"{split}-images-idx3-ubyte.gz"))
    labels = torch.tensor(read_idx(folder / f"{split}-labels-idx1-ubyte.gz")).long()
    return F.pad(images, (2, 2, 2, 2))[:, None], labels


def build(name: str) -> nn.Module:
    """A mini network, or the separate reference network that chooses the adversarially filtered images."""
    if name == "reference":
        return ConvMixer(dim=64, depth=4, kernel_size=5, patch_size=4, num_classes=10)
    return timm.create_model(name)


def normalise(images: Tensor) -> Tensor:
    """Grey uint8 to three channels in [-1, 1]."""
    return (images.float() / 127.5 - 1).expand(-1, 3, -1, -1)


def attacked(network: nn.Module, inputs: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Inputs (b, 3, h, w) in [-1, 1] after PGD on the network as it is in use, whose statistics stay as they are."""
    network.eval()
    low, high = (inputs - 2 * EPSILON).clamp_(min=-1), (inputs + 2 * EPSILON).clamp_(max=1)
    moved = low + (high - low) * torch.rand(inputs.shape, generator=generator)
    for _ in range(STEPS):
        moved.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(network(moved).float(), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = (moved.detach() + 2 * STEP * gradient.sign()).clamp(low, high)
    network.train()
    return moved


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mirrored; the photographs are centred already, so they are not shifted."""
    flip = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None], images.flip(-1), images)


@torch.inference_mode()
def logits(network: nn.Module, images: Tensor) -> Tensor:
    """(n, 10) float32 logits, evaluation mode."""
    network.eval()
    return torch.cat([network(normalise(batch)) for batch in images.split(500)])


def train(name: str, folder: Path, seed: int, log: Path, start: Path | None, epochs: int, rate: float) -> nn.Module:
    """The recipe: AdamW, one cosine cycle, label smoothing 0.1, bfloat16 autocast; `_at` on attacked images alone.

    Args:
        name: see `build`.
        folder: of the data.
        seed: of weights, order and mirroring.
        log: CSV file, a row an epoch.
        start: weights to start from; None for fresh ones.
        epochs: length of the cycle.
        rate: highest learning rate.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels = load(folder, "train")
    test_images, test_labels = load(folder, "t10k")
    network = build(name)
    if start is not None:
        network.load_state_dict(load_file(start))
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=rate
    )
    steps = epochs * (len(images) // BATCH)
    warm_up = steps // 20

    def factor(step: int) -> float:
        progress = max(0, step - warm_up) / (steps - warm_up)
        return min(1.0, (step + 1) / warm_up) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["epoch", "train_loss", "test_top1", "seconds"])
        clock = time.monotonic()
        for epoch in range(epochs):
            network.train()
            total = 0.0
            order = torch.randperm(len(images), generator=generator)
            batches = order[: len(order) // BATCH * BATCH].split(BATCH)
            for batch in batches:
                inputs = normalise(augment(images[batch], generator))
                if name.endswith("_at"):
                    inputs = attacked(network, inputs, labels[batch], generator)
                with torch.autocast("cpu", torch.bfloat16):
                    loss = F.cross_entropy(network(inputs).float(), labels[batch], label_smoothing=0.1)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                total += loss.item()
            top1 = (logits(network, test_images).argmax(1) == test_labels).double().mean().item()
            row = [epoch + 1, f"{total / len(batches):.4f}", f"{top1:.4f}", round(time.monotonic() - clock)]
            rows.writerow(row)
            file.flush()
            print(name, *row, file=sys.stderr, flush=True)
    return network


def main() -> None:
    """Train one network and save it where the package looks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(EPOCHS))
    parser.add_argument("--data", type=Path, required=True, help="folder of the four Fashion-MNIST files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights to go on from, with a cycle of their own")
    parser.add_argument("--epochs", type=int, help="default: the network's, see EPOCHS")
    parser.add_argument("--learning-rate", type=float, help="default: the network's, see LEARNING_RATE")
    parser.add_argument("--log", type=Path, help="default: results/mini/train_<name>.csv")
    parser.add_argument("--output", type=Path, help="default: the package's own folder")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    timm.layers.set_fused_attn(False)  # on a CPU the fused kernel is slower than the products it stands for
    log = args.log or Path("results/mini", f"train_{args.name}.csv")
    epochs, rate = args.epochs or EPOCHS[args.name], args.learning_rate or LEARNING_RATE[args.name]
    network = train(args.name, args.data, args.seed, log, args.start, epochs, rate)
    output = args.output or weights_path(args.name)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in network.eval().state_dict().items()}, output)
    print(hashlib.sha256(output.read_bytes()).hexdigest(), output.name)


if __name__ == "__main__":
    main()
