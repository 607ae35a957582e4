"""A user's own images, and ImageNet: a folder with one sub-folder for each class.

Letters: N images, H height, W width, C = 3 colours.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from normkd_explore.data.dataset import IMAGENET_MEAN, IMAGENET_STD, ArraySplit, Dataset, FileSplit
from normkd_explore.data.holdout import HOLDOUT_CAP, HOLDOUT_FRACTION, balanced_holdout
from normkd_explore.data.images.decode import SMALL, decode_listing, fits_in_memory, small_image_size
from normkd_explore.data.images.files import Listing, list_class_folders, some_of
from normkd_explore.data.views import Views

STREAMED_SIZE = 224
TEST_FRACTION = 0.2
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

    Small images (shorter side at most 96 pixels, in all at most 2 GiB) are decoded once and kept in memory, with crops
    and flips that can be counted; larger ones are read from disk each epoch with random resized crops.

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
    sources, parts, notes = find_splits(check_root(root, name), protocol)
    check_none_empty(sources, parts)
    listings = list(sources.values())
    if name == "imagenet" and image_size is None:
        image_size = STREAMED_SIZE
    size = image_size or small_image_size(listings) or STREAMED_SIZE
    if size <= SMALL and fits_in_memory(listings, size):
        splits = decoded_splits(sources, parts, size)
        mean, std = channel_statistics(splits["train"].images_NHWC)
        views = Views(pad, flip)
        notes.append("decoded into memory, normalised by the training images")
    else:
        splits = {split: file_split(sources, part, size) for split, part in parts.items()}
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
    )


def check_root(root: str | Path | None, name: str) -> Path:
    """Give the folder, or raise an error that says what it should hold."""
    layout = "train/CLASS/*.jpg and val/CLASS/*.jpg (or test/), or CLASS/*.jpg"
    if root is None:
        raise ValueError(f"{name} needs root (--data-root on the command line): a folder with {layout}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {folder}; root should be a folder with {layout}")
    return folder


def find_splits(root: Path, protocol: str) -> tuple[dict[str, Listing], dict[str, Part], list[str]]:
    """Find the folders of images and say which split takes which images of which folder."""
    notes: list[str] = []
    if (root / "train").is_dir():
        sources = {name: list_class_folders(root / name) for name in ("train", "val", "test") if (root / name).is_dir()}
    else:
        sources = {"train": list_class_folders(root)}
    check_same_classes(sources)
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
    return {name: listing for name, listing in sources.items() if name in used}, parts, notes


def check_same_classes(sources: dict[str, Listing]) -> None:
    """Raise ValueError when a split lacks a class or has one more than the training images."""
    train = sources["train"]
    for listing in sources.values():
        for here, there in ((train, listing), (listing, train)):
            if only := sorted(set(here.class_names) - set(there.class_names)):
                raise ValueError(
                    f"{train.folder} and {listing.folder} should hold the same classes: only {here.folder} has "
                    f"{some_of(only)}; add the missing class folders or remove these"
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


def decoded_splits(sources: dict[str, Listing], parts: dict[str, Part], size: int) -> dict[str, ArraySplit]:
    """Decode each folder once and give every split its images."""
    whole = {name: decode_listing(listing, size) for name, listing in sources.items()}
    return {
        split: whole[source]
        if positions is None
        else ArraySplit(whole[source].images_NHWC[positions], whole[source].labels_N[positions])
        for split, (source, positions) in parts.items()
    }


def file_split(sources: dict[str, Listing], part: Part, size: int) -> FileSplit:
    """Give the split that streams the images of a part."""
    source, positions = part
    listing = sources[source] if positions is None else sources[source].select(positions)
    return listing.as_split(size)


def channel_statistics(images_NHWC: Tensor, chunk: int = 4096) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and standard deviation of each colour channel over all pixels, in units of 0..1."""
    total = torch.zeros(2, 3, dtype=torch.float64)
    for images_BHWC in images_NHWC.split(chunk):
        values_PC = images_BHWC.reshape(-1, 3).to(torch.float64) / 255
        total += torch.stack([values_PC.sum(0), values_PC.square().sum(0)])
    mean_C, square_C = total / (images_NHWC.numel() // 3)
    std_C = (square_C - mean_C.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
    return tuple(round(v, 4) for v in mean_C.tolist()), tuple(round(v, 4) for v in std_C.tolist())
