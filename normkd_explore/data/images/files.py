"""Finding image files in class folders and reading one of them.

Letters: N files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from normkd_explore.data.dataset import FileSplit


@dataclass(frozen=True, eq=False)
class Listing:
    """Image files below a folder: names relative to it, and their class."""

    folder: Path
    names_N: np.ndarray
    labels_N: Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names_N)

    def select(self, positions: Tensor) -> Listing:
        """Keep only the files at some positions."""
        return Listing(self.folder, self.names_N[positions.numpy()], self.labels_N[positions], self.class_names)

    def path(self, position: int) -> Path:
        """Full path of one file."""
        return self.folder / os.fsdecode(self.names_N[position])

    def as_split(self, image_size: int) -> FileSplit:
        """Give the split that streams these files."""
        return FileSplit(self.folder, self.names_N, self.labels_N, image_size)


def list_class_folders(folder: Path) -> Listing:
    """List ``folder/CLASS/**/*.jpg`` (or png, webp, bmp, ...); the sorted class folders are classes 0, 1, ...

    Other files are ignored, and so is everything whose name begins with a dot.

    Raises:
        ValueError: for fewer than two classes, or a class without images.
    """
    with os.scandir(folder) as entries:
        class_names = tuple(sorted(e.name for e in entries if not e.name.startswith(".") and _is_folder(e)))
    if len(class_names) < 2:
        raise ValueError(_too_few_classes(folder, class_names))
    names = [find_images(folder, name) for name in class_names]
    if empty := [name for name, found in zip(class_names, names, strict=True) if not found]:
        raise ValueError(
            f"no images ({', '.join(IMG_EXTENSIONS)}) in these class folders of {folder}: {some_of(empty)}; "
            "add images or remove the folders"
        )
    labels = np.repeat(np.arange(len(names)), [len(found) for found in names])
    encoded = np.array([os.fsencode(name) for found in names for name in found])
    return Listing(folder, encoded, torch.from_numpy(labels), class_names)


def _too_few_classes(folder: Path, class_names: tuple[str, ...]) -> str:
    found = f"only {class_names[0]!r}" if class_names else "none"
    text = f"{folder} should hold two or more class folders with images (CLASS/*.jpg), found {found}"
    loose = sorted(name for name in os.listdir(folder) if name[0] != "." and name.lower().endswith(IMG_EXTENSIONS))
    if not loose:
        return text
    return (
        f"{text}, and {len(loose):,} images directly in it ({some_of(loose, 1)}). An image's class is the folder it is "
        "in: make a folder for each class, with the training classes' names, and move each image into its own. "
        "ImageNet's validation archive unpacks without class folders; the ground truth of the ILSVRC development kit "
        "says which class each file has (scripts called valprep move the files so)"
    )


def find_images(folder: Path, below: str) -> list[str]:
    """List image files in ``folder/below`` and its sub-folders, relative to ``folder``, sorted.

    Symbolic links are followed, but no folder is entered twice, so a loop of links ends.
    """
    found, entered, waiting = [], set(), [below]
    while waiting:
        current = waiting.pop()
        status = os.stat(folder / current)
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder / current) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    waiting.append(f"{current}/{entry.name}")
                elif entry.name.lower().endswith(IMG_EXTENSIONS):
                    found.append(f"{current}/{entry.name}")
    return sorted(found)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points at itself
        return False


def read_rgb(path: Path) -> Image.Image:
    """Read an image file as RGB.

    Raises:
        ValueError: when it is damaged, truncated or no image; the message names it and says what to do.
        FileNotFoundError: when it has gone.
    """
    try:
        with Image.open(path) as image:
            # Pillow warns when transparency is lost straight from a palette; we do want the colours alone.
            opaque = image.convert("RGBA") if "transparency" in image.info else image
            return opaque.convert("RGB")
    except FileNotFoundError as problem:
        raise FileNotFoundError(
            f"{path} was listed but is gone (or is a broken link); load the data set again"
        ) from problem
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise ValueError(f"{path} cannot be read as an image ({problem}); replace or remove it") from problem


def some_of(names: list[str], shown: int = 5) -> str:
    """Write the first few names and how many more there are."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")
