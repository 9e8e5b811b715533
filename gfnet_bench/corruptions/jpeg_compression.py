"""JPEG compression: what saving as a JPEG file and reading it again does to an image, to the byte.

On a CPU the file is written, by Pillow, and read, by simplejpeg, which gives Pillow's bytes in less time. Elsewhere its
arithmetic is done without it: by kernels on CUDA, by tensors on other devices.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from gfnet_bench.corruptions.base import Draws, corruption, picture
from gfnet_bench.corruptions.jpeg_tensors import jpeg_of_tensors
from gfnet_bench.corruptions.kernels import kernel


@corruption(
    "jpeg_compression",
    imagenet_c=(25, 18, 15, 10, 7),
    imagecorruptions=(25, 18, 15, 10, 7),
    cifar_c=(80, 65, 58, 50, 40),
    tiny_imagenet_c=(65, 58, 50, 40, 25),
)
def jpeg_compression(images: Tensor, quality: int, draws: Draws) -> Tensor:
    """Saved as a JPEG file of this quality."""
    return jpeg(images, quality)


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Images after a JPEG file: baseline, chroma at half the width and height (4:2:0), as Pillow saves by default.

    Args:
        images: (b, 3, h, w) uint8 RGB, on any device.
        quality: 1 to 100, as libjpeg and Pillow count it.

    Returns:
        (b, 3, h, w) uint8: byte for byte what Pillow reads from the file it saved.
    """
    if images.device.type != "cpu":
        made = kernel("jpeg", images.device, images.shape[3] % 16 == 0)
        return (made.jpeg if made else jpeg_of_tensors)(images, quality)
    import simplejpeg  # which a GPU does without

    b, c, h, w = images.shape
    out = np.empty((b, h, w, c), dtype=np.uint8)
    for i, image in enumerate(images):
        file = io.BytesIO()
        picture(image).save(file, "JPEG", quality=quality)
        out[i] = simplejpeg.decode_jpeg(file.getvalue())
    return torch.from_numpy(out).permute(0, 3, 1, 2)
