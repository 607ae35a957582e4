"""Decoding a folder of small images once into memory, and keeping the result on disk.

Letters: N images, S = image size in pixels, C = 3 colours.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median_low

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from normkd_explore.data import read
from normkd_explore.data.cache import cached_tensors
from normkd_explore.data.dataset import ArraySplit
from normkd_explore.data.images.files import Listing, some_of

SMALL = 96  # pixels: images whose shorter side is larger are streamed
MEMORY_LIMIT = 2**31  # bytes of pixels that may be kept in memory
INSPECTED = 200
DECODER_VERSION = 2  # 1 did not scale values of more than 8 bits
EVALUATION_MARGIN = 256 / 224  # resize to 256, keep the central 224: how ImageNet models are evaluated


def small_image_size(listings: list[Listing]) -> int | None:
    """Look at some files and give the size they have in common: the median of their shorter sides, None if large."""
    shorter = [min(read.size_of(path)) for path in some_paths(listings)]
    return median_low(shorter) if max(shorter) <= SMALL else None


def some_paths(listings: list[Listing]) -> list[Path]:
    """Some 200 files, evenly over all."""
    paths = []
    for listing in listings:
        step = max(1, len(listing) * len(listings) // INSPECTED)
        paths += [listing.path(position) for position in range(0, len(listing), step)]
    return paths


def size_of(listing: Listing, position: int) -> tuple[int, int]:
    """Width and height of one image, from its header."""
    return read.size_of(listing.path(position))


def fits_in_memory(listings: list[Listing], image_size: int) -> bool:
    """Tell whether all images may be kept in memory at this size."""
    return sum(map(len, listings)) * 3 * image_size**2 <= MEMORY_LIMIT


def square_picture(image: Image.Image, image_size: int, enlarge: float = 1.0) -> np.ndarray:
    """Resize the shorter side to ``enlarge * image_size`` and crop the centre: uint8 (S, S, 3).

    ``enlarge = 256 / 224`` is the usual evaluation of ImageNet models; 1 keeps the whole shorter side.
    """
    resized = round(image_size * enlarge)
    if min(image.size) != resized:
        image = TF.resize(image, [resized], interpolation=v2.InterpolationMode.BILINEAR, antialias=True)
    if image.size != (image_size, image_size):
        image = TF.center_crop(image, [image_size, image_size])
    return np.asarray(image)


def evaluation_picture(path: Path, image_size: int) -> np.ndarray:
    """What a model is shown of a streamed file when it is evaluated: uint8 (S, S, 3)."""
    return square_picture(read.read_rgb(path), image_size, EVALUATION_MARGIN)


def decode_listing(listing: Listing, image_size: int) -> ArraySplit:
    """Read all files of a listing at one size, from the cache where nothing has changed since.

    Raises:
        ValueError: when files are damaged; the message names them.
    """
    return decode_and_look(listing, image_size)[0]


def decode_and_look(listing: Listing, image_size: int) -> tuple[ArraySplit, list[read.Oddity]]:
    """What `decode_listing` gives, and the `Oddity` of each image."""
    settings = {
        "decoder": DECODER_VERSION,
        "pillow": PIL.__version__,
        "size": image_size,
        "folder": str(listing.folder.resolve()),
        "files": fingerprint(listing),
    }
    tensors = cached_tensors("images", settings, lambda: decode_all(listing, image_size))
    return ArraySplit(tensors["images"], listing.labels_N), list(map(read.Oddity, tensors["oddities"].tolist()))


def fingerprint(listing: Listing) -> str:
    """Summarise names, sizes and times of change of all files: another value means that a file has changed."""
    digest = hashlib.sha256()
    for position, name in enumerate(listing.names_N):
        status = os.stat(listing.path(position))
        digest.update(name + f" {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def decode_all(listing: Listing, image_size: int) -> dict[str, Tensor]:
    """Decode every file in threads: "images" uint8 (N, S, S, 3) and "oddities" uint8 (N,)."""
    images_NSSC = np.empty((len(listing), image_size, image_size, 3), dtype=np.uint8)
    oddities_N = np.empty(len(listing), dtype=np.uint8)
    damaged: list[str] = []

    def decode(position: int) -> None:
        try:
            image, oddities_N[position] = read.read_picture(listing.path(position))
            images_NSSC[position] = square_picture(image, image_size)
        except ValueError as problem:
            damaged.append(str(problem))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, range(len(listing))):
            pass
    if damaged:
        raise ValueError(f"{len(damaged):,} of {len(listing):,} images are damaged: {some_of(sorted(damaged))}")
    return {"images": torch.from_numpy(images_NSSC), "oddities": torch.from_numpy(oddities_N)}
