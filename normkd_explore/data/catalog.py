"""The data sets by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from normkd_explore.data.dataset import Dataset
from normkd_explore.data.holdout import check_protocol

# name -> module of the loader, its function, its fixed arguments. A module is imported when it is used: those that
# read files need torchvision, which takes seconds to import.
LOADERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "glyphs": ("glyphs.dataset", "load_glyphs", {}),
    "cifar100": ("cifar", "load_cifar", {"name": "cifar100"}),
    "cifar10": ("cifar", "load_cifar", {"name": "cifar10"}),
    "imagefolder": ("folder", "load_folder", {}),
    "imagenet": ("folder", "load_folder", {"name": "imagenet"}),
}
FIXED_SIZE = {"glyphs": 32, "cifar100": 32, "cifar10": 32}


def load_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    protocol: str = "holdout",
    image_size: int | None = None,
    **options: object,
) -> Dataset:
    """Load a data set by name.

    Args:
        name: "glyphs", "cifar100", "cifar10", "imagefolder" or "imagenet".
        root: folder of the data; glyphs are drawn and need none, CIFAR has a default.
        protocol: "holdout" keeps validation images for choosing and the test split for the end; "paper" has no
            validation images and tests after each epoch, as published tables do.
        image_size: pixels, for folders; None chooses by the images.
        options: further arguments of the loader: see ``load_glyphs`` in glyphs/dataset.py,
            ``load_cifar`` in cifar.py, ``load_folder`` in folder.py.

    Raises:
        ValueError: for an unknown name, protocol or value, or damaged data.
        TypeError: for an option that this data set does not have.
        FileNotFoundError: when there is nothing at ``root``.
    """
    if name not in LOADERS:
        raise ValueError(f"there is no data set {name!r}; choose one of {', '.join(LOADERS)}")
    check_protocol(protocol)
    load = find_loader(name)
    check_options(name, load, options)
    if name in FIXED_SIZE:
        if image_size not in (None, FIXED_SIZE[name]):
            raise ValueError(
                f"{name} has images of {FIXED_SIZE[name]} pixels, found image_size={image_size}; leave it out"
            )
        where = {} if name == "glyphs" else {"root": root}
        return load(**where, protocol=protocol, **options)
    if image_size is not None and image_size < 8:
        raise ValueError(f"image_size must be 8 pixels or more, found {image_size}")
    return load(root=root, protocol=protocol, image_size=image_size, **options)


def find_loader(name: str) -> Callable[..., Dataset]:
    """Import and give the function that loads a data set."""
    module, function, fixed = LOADERS[name]
    return partial(getattr(import_module(f"normkd_explore.data.{module}"), function), **fixed)


def check_options(name: str, load: Callable[..., Dataset], options: dict[str, object]) -> None:
    """Raise TypeError for options that the loader of a data set does not take."""
    known = set(inspect.signature(load).parameters) - {"root", "name", "protocol", "image_size"}
    if unknown := sorted(set(options) - known):
        raise TypeError(f"{name} has no option {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
