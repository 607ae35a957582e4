"""Finding image files in class folders.

Letters: N files.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from normkd_explore.data.dataset import FileSplit
from normkd_explore.data.read import SUFFIXES

OWN_FILES = ({"config.yaml", "environment.json"}, {"cache.json", "checks.i32"})
"""Files that, side by side, mark a run folder and a folder of a teacher's logits."""


@dataclass(frozen=True, eq=False)
class Listing:
    """Image files below a folder: names relative to it, and their class."""

    folder: Path
    names_N: np.ndarray
    labels_N: Tensor
    class_names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """What else is there and why it is not read, one text for each reason."""

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


@dataclass
class Found:
    """What is in a class folder and below it."""

    images: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """How many files have each ending that is not read."""
    own: bool = False
    """Whether this package's own runs or logits are among it."""


def list_class_folders(folder: Path, allow_empty: bool = False) -> Listing:
    """List ``folder/CLASS/**/*.jpg`` (or png, webp, bmp, ...); the sorted class folders are classes 0, 1, ...

    Names are compared and given in Unicode's composed form (NFC), in which equal texts are equal. Other files are left
    out and counted, everything whose name begins with a dot is ignored, and folders of this package's own runs are no
    classes.

    Args:
        folder: holds the class folders.
        allow_empty: whether a class may have no image, as in a validation split.

    Raises:
        ValueError: for fewer than two classes, a class without images, or two names that look the same.
    """
    with os.scandir(folder) as entries:
        names = sorted((e.name for e in entries if not e.name.startswith(".") and is_folder(e)), key=composed)
    found = {name: find_images(folder, name) for name in names}
    own = [name for name in names if found[name].own]
    names = [name for name in names if name not in own]
    class_names = tuple(map(composed, names))
    if len(class_names) < (1 if allow_empty else 2):
        raise ValueError(_too_few_classes(folder, class_names))
    if same := sorted({name for name in class_names if class_names.count(name) > 1}):
        raise ValueError(
            f"{folder} has two folders for each of these classes, whose names look the same and are spelled with other "
            f"characters (composed and decomposed Unicode): {some_of(same)}; move their images into one folder"
        )
    empty = [name for name in names if not found[name].images]
    if empty and (not allow_empty or len(empty) == len(names)):
        raise ValueError(_empty_classes(folder, {name: found[name] for name in empty}))
    labels = np.repeat(np.arange(len(names)), [len(found[name].images) for name in names])
    encoded = np.array([os.fsencode(image) for name in names for image in found[name].images])
    return Listing(folder, encoded, torch.from_numpy(labels), class_names, _left_out(found, own, empty))


def composed(name: str) -> str:
    """A name in the one form in which texts that look the same are the same."""
    return unicodedata.normalize("NFC", name)


def _left_out(found: dict[str, Found], own: list[str], empty: list[str]) -> tuple[str, ...]:
    others = sum((what.others for name, what in found.items() if name not in own), Counter())
    left_out = [f"files of another kind: {_counted(others)}"] if others else []
    left_out += [f"folders of this package's own training runs: {some_of(own)}"] if own else []
    return (*left_out, *([f"classes without an image: {some_of(empty)}"] if empty else []))


def _counted(endings: Counter[str]) -> str:
    return some_of([f"{count:,} {ending}" for ending, count in sorted(endings.items(), key=lambda e: (-e[1], e[0]))])


def _empty_classes(folder: Path, empty: dict[str, Found]) -> str:
    others = sum((what.others for what in empty.values()), Counter())
    text = f"no images ({', '.join(SUFFIXES)}) in these class folders of {folder}: {some_of(list(empty))}; "
    if not others:
        return f"{text}add images or remove the folders"
    kinds = _counted(others)
    return f"{text}they hold other files ({kinds}): save them as images of these kinds, or move the folders elsewhere"


def _too_few_classes(folder: Path, class_names: tuple[str, ...]) -> str:
    found = f"only {class_names[0]!r}" if class_names else "none"
    text = f"{folder} should hold two or more class folders with images (CLASS/*.jpg), found {found}"
    loose = sorted(name for name in os.listdir(folder) if name[0] != "." and name.lower().endswith(SUFFIXES))
    if not loose:
        return text
    return (
        f"{text}, and {len(loose):,} images directly in it ({some_of(loose, 1)}). An image's class is the folder it is "
        "in: make a folder for each class, with the training classes' names, and move each image into its own. "
        "ImageNet's validation archive unpacks without class folders; the ground truth of the ILSVRC development kit "
        "says which class each file has (scripts called valprep move the files so)"
    )


def find_images(folder: Path, below: str) -> Found:
    """List image files in ``folder/below`` and its sub-folders, relative to ``folder``, sorted.

    Symbolic links are followed, but no folder is entered twice, so a loop of links ends.
    """
    result, entered, waiting = Found(), set(), [below]
    while waiting:
        current = waiting.pop()
        status = os.stat(folder / current)
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder / current) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
        files = [entry.name for entry in shown if not is_folder(entry)]
        waiting += [f"{current}/{entry.name}" for entry in shown if is_folder(entry)]
        images = [name for name in files if name.lower().endswith(SUFFIXES)]
        result.images += [f"{current}/{name}" for name in images]
        result.others.update(_ending(name) for name in set(files).difference(images))
        result.own |= any(marks.issubset(files) for marks in OWN_FILES)
    result.images.sort()
    return result


def _ending(name: str) -> str:
    return Path(name).suffix.lower() or "without an ending"


def is_folder(entry: os.DirEntry) -> bool:
    """Whether this is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that points at itself
        return False


def some_of(names: list[str], shown: int = 5) -> str:
    """Write the first few names and how many more there are."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")
