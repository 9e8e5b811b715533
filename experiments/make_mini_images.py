"""Which 2,000 Fashion-MNIST test images make the mini suite? Draws its three disjoint sets.

    mini      1,000, a hundred of each class: stands for the ImageNet validation set (and, corrupted, for ImageNet-C)
    mini_v2     700, seventy of each class, drawn the same way from the rest: stands for ImageNet-V2
    mini_a      300, the most confident errors of a separate reference network among the rest, at most sixty of a
                class: made as ImageNet-A was, which kept what a ResNet-50 got wrong

Run:      python experiments/train_mini.py reference --seed 1 --data FOLDER --output reference.safetensors
          python experiments/make_mini_images.py --data FOLDER --reference reference.safetensors      (a minute)
Outcome:  gfnet_bench/mini/images.npz; its sha256 is in gfnet_bench/mini/README.md.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import _checkout  # noqa: F401  (the package of this checkout)
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from train_mini import build, load, logits

from gfnet_bench.mini import images_path

CLASSES = 10
SEED = 0


def stratified(pool: NDArray[np.int64], labels: NDArray[np.int64], each: int) -> NDArray[np.int64]:
    """The first `each` images of every class, in the order of the pool."""
    return np.sort(np.concatenate([pool[labels[pool] == k][:each] for k in range(CLASSES)]))


def confident_errors(
    pool: NDArray[np.int64], labels: NDArray[np.int64], probabilities: NDArray[np.float32], most: int, total: int
) -> NDArray[np.int64]:
    """The images of the pool that are wrong with the highest confidence, at most `most` of a class."""
    wrong = pool[probabilities[pool].argmax(1) != labels[pool]]
    wrong = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")]
    kept = np.concatenate([wrong[labels[wrong] == k][:most] for k in range(CLASSES)])
    kept = kept[np.argsort(-probabilities[kept].max(1), kind="stable")][:total]
    return np.sort(kept)


def main() -> None:
    """Draw the sets and save them where the package looks for them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four Fashion-MNIST files")
    parser.add_argument("--reference", type=Path, required=True, help="weights of the reference network")
    parser.add_argument("--output", type=Path, default=images_path())
    args = parser.parse_args()
    images, labels_tensor = load(args.data, "t10k")
    labels = labels_tensor.numpy()
    network = build("reference")
    network.load_state_dict(load_file(args.reference))
    scores = logits(network, images)
    probabilities = torch.softmax(scores, 1).numpy()
    print(f"reference network: top-1 {(probabilities.argmax(1) == labels).mean():.4f} on the 10,000 test images")

    pool = np.random.default_rng(SEED).permutation(len(labels))
    sets = {"mini": stratified(pool, labels, 100)}
    pool = pool[~np.isin(pool, sets["mini"])]
    sets["mini_v2"] = stratified(pool, labels, 70)
    pool = pool[~np.isin(pool, sets["mini_v2"])]
    sets["mini_a"] = confident_errors(pool, labels, probabilities, most=60, total=300)

    index = np.concatenate(list(sets.values()))
    subset = np.concatenate([np.full(len(rows), name) for name, rows in sets.items()])
    cropped = images[:, 0, 2:-2, 2:-2].numpy()  # as published, 28 x 28
    args.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        args.output,
        images=cropped[index],
        labels=labels[index].astype(np.uint8),
        index=index.astype(np.int16),
        subset=subset,
    )
    for name, rows in sets.items():
        print(name, len(rows), "images, by class:", np.bincount(labels[rows], minlength=CLASSES).tolist())
    print(hashlib.sha256(args.output.read_bytes()).hexdigest(), args.output.name)


if __name__ == "__main__":
    main()
