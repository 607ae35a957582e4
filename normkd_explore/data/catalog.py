"""The data sets by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

from normkd_explore.data.cifar import load_cifar
from normkd_explore.data.dataset import Dataset
from normkd_explore.data.folder import load_folder
from normkd_explore.data.glyphs import load_glyphs
from normkd_explore.data.holdout import check_protocol

LOADERS: dict[str, Callable[..., Dataset]] = {
    "glyphs": load_glyphs,
    "cifar100": partial(load_cifar, "cifar100"),
    "cifar10": partial(load_cifar, "cifar10"),
    "imagefolder": load_folder,
    "imagenet": partial(load_folder, name="imagenet"),
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
        options: further arguments of the loader: see :func:`load_glyphs`, :func:`load_cifar`, :func:`load_folder`.

    Raises:
        ValueError: for an unknown name, protocol or value, or damaged data.
        TypeError: for an option that this data set does not have.
        FileNotFoundError: when there is nothing at ``root``.
    """
    if name not in LOADERS:
        raise ValueError(f"there is no data set {name!r}; choose one of {', '.join(LOADERS)}")
    check_protocol(protocol)
    check_options(name, options)
    if name in FIXED_SIZE:
        if image_size not in (None, FIXED_SIZE[name]):
            raise ValueError(
                f"{name} has images of {FIXED_SIZE[name]} pixels, found image_size={image_size}; leave it out"
            )
        where = {} if name == "glyphs" else {"root": root}
        return LOADERS[name](**where, protocol=protocol, **options)
    if image_size is not None and image_size < 8:
        raise ValueError(f"image_size must be 8 pixels or more, found {image_size}")
    return LOADERS[name](root, protocol=protocol, image_size=image_size, **options)


def check_options(name: str, options: dict[str, object]) -> None:
    """Raise TypeError for options that the loader of a data set does not take."""
    known = set(inspect.signature(LOADERS[name]).parameters) - {"root", "name", "protocol", "image_size"}
    if unknown := sorted(set(options) - known):
        raise TypeError(f"{name} has no option {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
