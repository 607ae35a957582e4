"""CIFAR as it is passed around: ``train/CLASS/*.png`` and ``test/CLASS/*.png``, and whether it is CIFAR.

A copy's file names and order are whoever made it's, so it is known by its contents: the SHA-256 of the sorted SHA-256
sums of (class name, pixels) is the same for every order of the files.

Letters: N images, S = 32 pixels.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

from normkd_explore.data.dataset import ArraySplit
from normkd_explore.data.images.decode import decode_listing, size_of
from normkd_explore.data.images.files import Listing, list_class_folders

SIZE = 32
CLASSES = {"cifar100": 100, "cifar10": 10}
COUNTS = {"cifar100": {"train": 500, "test": 100}, "cifar10": {"train": 5_000, "test": 1_000}}
"""Images of each class."""
DIGESTS = {
    "cifar100": {
        "train": "f801a830274dfc2b3ad16a481a1d57b121c10109412c844a8578df5222a2509c",
        "test": "96df7f67e8664b73f7e2820ab71721d6695ac902c3ee486b04d4007eddb10a4c",
    }
}
"""`content_digest` of the true splits. Of CIFAR-10 no lossless copy was at hand, so its copies are only counted."""


def is_class_folders(root: Path) -> bool:
    """Whether `root` holds the two folders of this form."""
    return (root / "train").is_dir() and (root / "test").is_dir()


def read_class_folders(name: str, root: Path) -> tuple[dict[str, ArraySplit], tuple[str, ...], tuple[str, ...]]:
    """Read both splits, decoded once and then cached.

    Returns:
        The splits, the class names (sorted, which is CIFAR's own order), and notes on what was found.

    Raises:
        ValueError: when images are damaged or not 32 x 32, or the two splits have other classes.
    """
    listings = {split: list_class_folders(root / split) for split in ("train", "test")}
    class_names = listings["train"].class_names
    if listings["test"].class_names != class_names:
        odd = sorted(set(class_names) ^ set(listings["test"].class_names))
        raise ValueError(f"{name}: {root} has other classes in train/ than in test/: {', '.join(odd[:5])}")
    for listing in listings.values():
        _check_size(name, listing)
    splits = {split: decode_listing(listing, SIZE) for split, listing in listings.items()}
    return splits, class_names, _recognise(name, root, splits, class_names)


def content_digest(split: ArraySplit, class_names: tuple[str, ...]) -> str:
    """SHA-256 of the sorted SHA-256 sums of (class name, 0, pixels as (32, 32, 3) bytes): the same in any order."""
    prefixes = [name.encode() + b"\0" for name in class_names]
    labels, images_NSSC = split.labels_N.tolist(), split.images_NHWC.numpy()
    sums = (hashlib.sha256(prefixes[y] + x.tobytes()).digest() for y, x in zip(labels, images_NSSC, strict=True))
    return hashlib.sha256(b"".join(sorted(sums))).hexdigest()


def _check_size(name: str, listing: Listing) -> None:
    for position in range(0, len(listing), max(1, len(listing) // 50)):
        if (size := size_of(listing, position)) != (SIZE, SIZE):
            raise ValueError(
                f"{name}: {listing.path(position)} has {size[0]} x {size[1]} pixels, wanted {SIZE} x {SIZE}. "
                f"For images of another size use a folder/... preset."
            )


def _recognise(name: str, root: Path, splits: dict[str, ArraySplit], class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Notes that say what was found; a warning where it is not what is published."""
    classes = CLASSES[name]
    wanted = {split: classes * count for split, count in COUNTS[name].items()}
    found = {split: len(images) for split, images in splits.items()}
    odd = [] if len(class_names) == classes else [f"{len(class_names)} classes instead of {classes}"]
    odd += [f"{found[s]:,} {s} images instead of {wanted[s]:,}" for s in wanted if found[s] != wanted[s]]
    if not odd and name in DIGESTS:
        digests = {split: content_digest(images, class_names) for split, images in splits.items()}
        odd = [f"pixels or classes of {s}/ are others" for s in digests if digests[s] != DIGESTS[name][s]]
    counts = f"{found['train']:,} + {found['test']:,} images in {len(class_names)} class folders"
    if odd:
        warnings.warn(
            f"{root} is not {name} as published: {'; '.join(odd)}. It is used as it is, with {name}'s normalisation; "
            "its numbers cannot be compared with published ones.",
            stacklevel=3,
        )
        return (f"{counts}, NOT {name} as published ({'; '.join(odd)})",)
    known = "its published pixels" if name in DIGESTS else "its counts fit; its pixels cannot be checked"
    return (f"{counts}: {name}, {known}",)
