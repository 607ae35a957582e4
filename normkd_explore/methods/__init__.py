"""The methods by name: every module of this package registers some, so a new file is a new method.

See CONTRIBUTING.md for how one is added.
"""

import importlib
import pkgutil

from normkd_explore.methods.registry import (
    CIFAR100_PAIRS,
    IMAGENET_PAIRS,
    METHODS,
    NORMKD_PAIRS,
    Method,
    Pair,
    Settings,
    get_method,
    register,
    settings_for,
)

__all__ = [
    "CIFAR100_PAIRS",
    "IMAGENET_PAIRS",
    "METHODS",
    "NORMKD_PAIRS",
    "Method",
    "Pair",
    "Settings",
    "get_method",
    "register",
    "settings_for",
]


def _load_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


_load_all()
