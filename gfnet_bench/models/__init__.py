"""The networks themselves; importing this registers GFNet, PVT and the mini suite with timm."""

from gfnet_bench.models import gfnet, gfnet_variants, mini, pvt
from gfnet_bench.models.asked import NOTHING, Asked
from gfnet_bench.models.base import load_model, local_weights_sha256
from gfnet_bench.models.heads import Head, head_of, names_of
from gfnet_bench.models.in_hand import hold
from gfnet_bench.models.model import Model
from gfnet_bench.models.own import check_unchanged, own_settings, wrap

__all__ = [
    "NOTHING",
    "Asked",
    "Head",
    "Model",
    "check_unchanged",
    "gfnet",
    "gfnet_variants",
    "head_of",
    "hold",
    "load_model",
    "local_weights_sha256",
    "mini",
    "names_of",
    "own_settings",
    "pvt",
    "wrap",
]
