"""Networks whose gradient lies, and honest ones that look as if it did: put before, behind or into a network in hand.

A network takes (b, 3, h, w) images in [-1, 1] to (b, k) logits.
"""

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn


class Around(nn.Module):
    """A network with something before it and something behind it."""

    def __init__(self, net, before=lambda images: images, behind=lambda logits: logits):
        super().__init__()
        self.net, self.before, self.behind = net, before, behind

    def forward(self, images):
        return self.behind(self.net(self.before(images)))


def quantised(net):
    return Around(net, lambda images: ((images + 1) * 7).round() / 7 - 1)


def of_whole_grey_levels(net):
    return Around(net, lambda images: ((images + 1) * 127.5).round() / 127.5 - 1)


def thousandfold(net):
    return Around(net, behind=lambda logits: 1000 * logits)


def with_saturated_log_softmax(net):
    return Around(net, behind=lambda logits: F.log_softmax(1000 * logits, 1))


def randomly_resized(net):
    def resized(images):
        side = images.shape[-1]
        small = F.interpolate(images, size=int(torch.randint(side - 6, side - 1, ())), mode="bilinear")
        gap = side - small.shape[-1]
        left, top = (int(torch.randint(0, gap + 1, ())) for _ in range(2))
        return F.pad(small, (left, gap - left, top, gap - top))

    return Around(net, resized)


def with_noise_inside(net):
    net.blocks[1].register_forward_hook(lambda module, args, found: found + 0.1 * torch.randn_like(found))
    return net


def with_jpeg_inside(net):
    def jpeg(images):
        files = []
        for image in ((images.detach() + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).byte().numpy():
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=50)
            files.append(np.asarray(Image.open(file)))
        decoded = torch.from_numpy(np.stack(files)).permute(0, 3, 1, 2).to(images.dtype) / 127.5 - 1
        return images + (decoded - images).detach()  # an image's gradient is taken for that of its file

    return Around(net, jpeg)


def with_a_branch_detached(net):
    for block in net.blocks:
        block.linear_tokens.register_forward_hook(lambda module, args, found: found.detach())
    return net


def _partly_detached(net, seen):
    return Around(net, lambda images: torch.where(seen(images), images, images.detach()))


def with_pixels_detached(net):
    generator = torch.Generator().manual_seed(0)
    seen = torch.rand(32, 32, generator=generator) >= 0.4
    return _partly_detached(net, lambda images: seen)


def with_columns_detached(net):
    return _partly_detached(net, lambda images: torch.arange(images.shape[-1]) >= 16)


def with_a_gradient_that_is_no_number(net):
    return Around(net, lambda images: images + (images - images.detach()).square().sqrt())


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


def with_the_gradient_turned(net):
    return Around(net, _Turned.apply)


def all_detached(net):
    return Around(net, lambda images: images.detach())


MASKED = (
    quantised,
    of_whole_grey_levels,
    thousandfold,
    with_saturated_log_softmax,
    randomly_resized,
    with_noise_inside,
    with_jpeg_inside,
    with_a_branch_detached,
    with_pixels_detached,
    with_columns_detached,
    with_a_gradient_that_is_no_number,
    with_the_gradient_turned,
    all_detached,
)


def cropper(net):
    """Sees the middle alone."""
    return Around(net, lambda images: F.pad(images[..., 2:-2, 2:-2], (2, 2, 2, 2)))


def subsampler(net):
    """Sees every other pixel a side."""
    return Around(net, lambda images: F.interpolate(images[..., ::2, ::2], scale_factor=2, mode="nearest"))


def maximum(net):
    """Sees the brightest of each four pixels."""
    return Around(net, lambda images: F.interpolate(F.max_pool2d(images, 2), scale_factor=2, mode="nearest"))


def as_it_is(net):
    return net


HONEST = (as_it_is, cropper, subsampler, maximum)
