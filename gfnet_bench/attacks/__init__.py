"""Attacks: perturbations that use the model's gradient. A new file in this folder is found by being here."""

import importlib
import pkgutil

from gfnet_bench.attacks.base import ATTACKS, Attack
from gfnet_bench.attacks.make import make_attack

__all__ = ["ATTACKS", "Attack", "make_attack"]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
