"""The networks themselves; importing this registers GFNet, PVT and the mini suite with timm."""

from gfnet_bench.models import gfnet, gfnet_variants, mini, pvt
from gfnet_bench.models.base import Model, load_model, local_weights_sha256

__all__ = ["Model", "gfnet", "gfnet_variants", "load_model", "local_weights_sha256", "mini", "pvt"]
