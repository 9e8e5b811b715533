"""The embedded suite: a sample of Fashion-MNIST and the weights of small networks, shipped with the package."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def weights_path(model: str) -> Path:
    """The packaged weights of a mini network, safetensors."""
    return FOLDER / "weights" / f"{model}.safetensors"


def images_path() -> Path:
    """The packaged images: see README.md beside them."""
    return FOLDER / "images.npz"
