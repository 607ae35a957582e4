"""A user's own images, and ImageNet: a folder with one sub-folder for each class.

Letters: N images, H height, W width, C = 3 colours.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from normkd_explore.data.arrays import channel_statistics
from normkd_explore.data.dataset import IMAGENET_MEAN, IMAGENET_STD, ArraySplit, Dataset, FileSplit, Split
from normkd_explore.data.holdout import HOLDOUT_CAP, HOLDOUT_FRACTION, TEST_FRACTION, balanced_holdout
from normkd_explore.data.images.decode import SMALL, decode_and_look, fits_in_memory, small_image_size, some_paths
from normkd_explore.data.images.files import Listing, list_class_folders, some_of
from normkd_explore.data.read import DARK, Oddity, describe_oddities, oddity_of
from normkd_explore.data.split_folders import find_split_folders
from normkd_explore.data.views import Views

STREAMED_SIZE = 224
Part = tuple[str, Tensor | None]  # a source and the positions taken from it (None: all)


def load_folder(
    root: str | Path | None,
    *,
    name: str = "imagefolder",
    protocol: str = "holdout",
    image_size: int | None = None,
    pad: int = 4,
    flip: bool = True,
) -> Dataset:
    """Load images from ``root/train/CLASS/*`` with ``root/val`` or ``root/test`` or both, or from ``root/CLASS/*``.

    Common names of splits are understood whatever their case (Training, valid, test_set; see `split_folders`).

    JPEG, PNG, BMP, PPM, PGM, TIFF and WebP files are read, by their first picture and in 8 bits a colour; what else
    there is, is left out, and `Dataset.describe` says so. Small images (shorter side at most 96 pixels, in all at most
    2 GiB) are decoded once and kept in memory, with crops and flips that can be counted; larger ones are read from disk
    each epoch with random resized crops.

    Args:
        root: the folder.
        name: "imagefolder", or "imagenet" for ImageNet's size and normalisation whatever the images are.
        protocol: "holdout" takes ``val`` from ``root/val`` where ``root/test`` exists too, else from the training
            images (10 % of each class, at most 5,000 in all); "paper" has none.
        image_size: pixels; None keeps the size of small images and takes 224 for others.
        pad, flip: which views augmentation may draw (``pad`` only for images in memory).

    Raises:
        FileNotFoundError: when there is no such folder.
        ValueError: when classes are too few, empty or different between splits, or an image is damaged.
    """
    folder = check_root(root, name)
    sources, left_out = find_sources(folder)
    sources, parts, notes = share_out(sources, protocol)
    check_none_empty(sources, parts)
    listings = list(sources.values())
    size = image_size or (STREAMED_SIZE if name == "imagenet" else usual_size(listings))
    splits: Mapping[str, Split]
    if size <= SMALL and fits_in_memory(listings, size):
        splits, odd = decoded_splits(sources, parts, size)
        mean, std = channel_statistics(splits["train"].images_NHWC)
        views = Views(pad, flip)
        notes.append("decoded into memory, normalised by the training images")
    else:
        splits = {split: file_split(sources, part, size) for split, part in parts.items()}
        odd = look_at_some(listings)
        mean, std, views = IMAGENET_MEAN, IMAGENET_STD, Views(pad=0, flip=flip, countable=False)
    if name == "imagenet":
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    return Dataset(
        name=name,
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        class_names=listings[0].class_names,
        mean=mean,
        std=std,
        views=views,
        notes=tuple(notes),
        account=(*account_of(splits, sources, parts), *odd, *(f"left out: {what}" for what in left_out)),
    )


def usual_size(listings: list[Listing]) -> int:
    """The size that small images have in common, else 224."""
    return small_image_size(listings) or STREAMED_SIZE


def check_root(root: str | Path | None, name: str) -> Path:
    """Give the folder, or raise an error that says what it should hold."""
    layout = "train/CLASS/*.jpg and val/CLASS/*.jpg (or test/), or CLASS/*.jpg"
    if root is None:
        raise ValueError(f"{name} needs root (--data-root on the command line): a folder with {layout}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {folder}; root should be a folder with {layout}")
    return folder


def find_sources(root: Path) -> tuple[dict[str, Listing], list[str]]:
    """List the images of each split that has a folder, or of ``root`` as "train"; and say what is left out."""
    folders, beside = find_split_folders(root)
    sources: dict[str, Listing] = {
        split: list_class_folders(folders[split], allow_empty=split != "train")
        for split in ("train", "val", "test")
        if split in folders
    } or {"train": list_class_folders(root)}
    check_same_classes(sources)
    inside = [
        f"{what}{f' (in {listing.folder.name})' if folders else ''}"
        for listing in sources.values()
        for what in listing.left_out
    ]
    return sources, [*beside, *inside]


def share_out(sources: dict[str, Listing], protocol: str) -> tuple[dict[str, Listing], dict[str, Part], list[str]]:
    """Say which split takes which images of which folder; folders that none takes from are gone from the first."""
    notes: list[str] = []
    parts: dict[str, Part] = {"train": ("train", None)}
    labels_N = sources["train"].labels_N
    kept = torch.arange(len(labels_N))
    if len(sources) == 1:
        kept, tested = balanced_holdout(labels_N, TEST_FRACTION)
        parts |= {"train": ("train", kept), "test": ("train", tested)}
        notes.append(f"no test folder: {TEST_FRACTION:.0%} of each class is the test split")
    else:
        parts["test"] = ("test" if "test" in sources else "val", None)
    if protocol == "holdout" and len(sources) == 3:
        parts["val"] = ("val", None)
    elif protocol == "holdout":
        train, val = balanced_holdout(labels_N[kept], HOLDOUT_FRACTION, HOLDOUT_CAP)
        parts |= {"train": ("train", kept[train]), "val": ("train", kept[val])}
        notes.append("val is held out of the training images")
    used = {source for source, _ in parts.values()}
    if unused := [str(listing.folder.name) for name, listing in sources.items() if name not in used]:
        notes.append(f'{", ".join(unused)} is not used: protocol="{protocol}" has no validation images')
    return {name: listing for name, listing in sources.items() if name in used}, parts, notes


def check_same_classes(sources: dict[str, Listing]) -> None:
    """Raise ValueError when a split lacks a class or has one more than the training images."""
    train = sources["train"]
    for listing in sources.values():
        for here, there, remedy in (
            (train, listing, "add the missing class folders, or, if it has no image of a class, add an empty folder"),
            (listing, train, "add images of these classes to train, or move the folders elsewhere"),
        ):
            if only := sorted(set(here.class_names) - set(there.class_names)):
                raise ValueError(
                    f"{train.folder} and {listing.folder} should hold the same classes: only {here.folder} has "
                    f"{some_of(only)}; {remedy}"
                )


def check_none_empty(sources: dict[str, Listing], parts: dict[str, Part]) -> None:
    """Raise ValueError when a split taken from the images of another has none: every class had only one image."""
    for split, (source, positions) in parts.items():
        if positions is not None and not len(positions):
            other = ', or load with protocol="paper", which needs no val images' if split == "val" else ""
            raise ValueError(
                f'the "{split}" split has no images: it takes some of each class of {sources[source].folder}, and '
                "every class there has a single one left, which training keeps; add images, or a folder "
                f"{split}/CLASS/ beside train/CLASS/{other}"
            )


def decoded_splits(
    sources: dict[str, Listing], parts: dict[str, Part], size: int
) -> tuple[dict[str, ArraySplit], list[str]]:
    """Decode each folder once and give every split its images; and say what is odd about these."""
    whole, oddities = {}, []
    for name, listing in sources.items():
        whole[name], found = decode_and_look(listing, size)
        oddities += found
    splits = {
        split: whole[source]
        if positions is None
        else ArraySplit(whole[source].images_NHWC[positions], whole[source].labels_N[positions])
        for split, (source, positions) in parts.items()
    }
    warn_of_dim_images(oddities)
    return splits, describe_oddities(oddities, f"of {len(oddities):,} images")


def file_split(sources: dict[str, Listing], part: Part, size: int) -> FileSplit:
    """Give the split that streams the images of a part."""
    source, positions = part
    listing = sources[source] if positions is None else sources[source].select(positions)
    return listing.as_split(size)


def look_at_some(listings: list[Listing]) -> list[str]:
    """Say what is odd about some 200 of the files, which are not all decoded at the start."""
    oddities = [oddity_of(path) for path in some_paths(listings)]
    warn_of_dim_images(oddities)
    return describe_oddities(oddities, f"of {len(oddities):,} images looked at")


def warn_of_dim_images(oddities: list[Oddity]) -> None:
    """Warn where most images of more than 8 bits use next to nothing of their range."""
    wide, dim = (sum(bool(kind & found) for found in oddities) for kind in (Oddity.WIDE, Oddity.DIM))
    if 2 * dim > wide:
        warnings.warn(
            f"{dim:,} of the {wide:,} images with more than 8 bits a value hold none above a {DARK}th of their range: "
            "scaled to 8 bits they look black. Their true range is smaller: multiply the values, or save them as 8 "
            "bits",
            stacklevel=4,
        )


def account_of(splits: Mapping[str, Split], sources: dict[str, Listing], parts: dict[str, Part]) -> list[str]:
    """Say which classes there are, and how many images of each every split has and from where."""
    class_names = sources["train"].class_names
    lines = [f"classes: {some_of(list(class_names))}"]
    for name in [split for split in ("train", "val", "test") if split in splits]:
        split = splits[name]
        counts = torch.bincount(split.labels_N, minlength=len(class_names))
        low, high = int(counts.min()), int(counts.max())
        few, many = class_names[int(counts.argmin())], class_names[int(counts.argmax())]
        each = f"{low:,} of each class" if low == high else f"from {low:,} ({few}) to {high:,} ({many}) of a class"
        lines.append(f"{name}: {len(split):,} images of {sources[parts[name][0]].folder.name}/, {each}")
    return lines
