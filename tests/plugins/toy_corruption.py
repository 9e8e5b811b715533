"""A corruption that one recipe alone has constants for."""

from gfnet_bench.corruptions.base import corruption


@corruption("haze", group="toys", cifar_c=(0.1, 0.2, 0.4, 0.6, 0.8))
def haze(images, share, draws):
    """Everything drawn towards grey, by a share that varies a little from image to image."""
    share = share * draws.uniform(0.9, 1.1, (1, 1, 1))
    return (images * (1 - share) + 128 * share).round().clamp(0, 255).to(images.dtype)
