"""CIFAR-100 and CIFAR-10: as torchvision downloads and reads them, or as folders of classes.

Letters: N images, C colour channels, H = W = 32.
"""

from __future__ import annotations

import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import calculate_md5, check_integrity, download_url

from normkd_explore.data.cache import cache_folder
from normkd_explore.data.cifar_folder import is_class_folders, read_class_folders
from normkd_explore.data.dataset import ArraySplit, Dataset
from normkd_explore.data.holdout import HOLDOUT_CAP, HOLDOUT_FRACTION, balanced_holdout
from normkd_explore.data.safe_pickle import UnsafePickleError, read_pickle
from normkd_explore.data.views import Views
from normkd_explore.files.locks import one_at_a_time
from normkd_explore.files.writing import remove_leftovers, replacing

PIXELS = 3 * 32 * 32
LARGEST_FILE = 2**28  # bytes; the largest true one has 155 million


@dataclass(frozen=True)
class Layout:
    """Where a CIFAR is on disk (file names and MD5 sums are torchvision's) and what normalises it."""

    name: str
    published: type[CIFAR10]
    label_key: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def meta(self) -> tuple[str, str]:
        """File with the class names, and its MD5."""
        return self.published.meta["filename"], self.published.meta["md5"]

    @property
    def files(self) -> list[str]:
        """Names of all files."""
        return [file for file, _ in [*self.published.train_list, *self.published.test_list, self.meta]]


LAYOUTS = {
    "cifar100": Layout("cifar100", CIFAR100, "fine_labels", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "cifar10": Layout("cifar10", CIFAR10, "labels", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


def load_cifar(
    name: str,
    root: str | Path | None = None,
    *,
    protocol: str = "holdout",
    download: bool = True,
    check_md5: bool = True,
    pad: int = 4,
    flip: bool = True,
) -> Dataset:
    """Load "cifar100" or "cifar10".

    Args:
        root: folder that holds ``cifar-100-python`` / ``cifar-10-batches-py`` or their archive, or
            ``train/CLASS/*.png`` and ``test/CLASS/*.png`` (None: the folder ``datasets`` in the cache folder).
        protocol: "holdout" keeps 5,000 training images as ``val``, as many of each class; "paper" trains on all.
        download: fetch the archive when it is not there.
        check_md5: compare every file with the published MD5 sum.
        pad, flip: which views augmentation may draw.

    Raises:
        FileNotFoundError: when files are missing and cannot be fetched.
        ValueError: when a file is damaged, altered or not a CIFAR file.
    """
    layout = LAYOUTS[name]
    root = cache_folder() / "datasets" if root is None else Path(root).expanduser()
    if root.name == layout.published.base_folder:
        root = root.parent
    if is_class_folders(root):
        splits, class_names, notes = read_class_folders(name, root)
    else:
        splits, class_names, notes = _read_archive(layout, root, download, check_md5)
    train, test = splits["train"], splits["test"]
    val = None
    if protocol == "holdout":
        kept, held_out = balanced_holdout(train.labels_N, HOLDOUT_FRACTION, HOLDOUT_CAP)
        train, val = (ArraySplit(train.images_NHWC[i], train.labels_N[i]) for i in (kept, held_out))
    return Dataset(name, train, val, test, class_names, layout.mean, layout.std, Views(pad, flip), notes)


def _read_archive(
    layout: Layout, root: Path, download: bool, check_md5: bool
) -> tuple[dict[str, ArraySplit], tuple[str, ...], tuple[str, ...]]:
    """Both splits, the class names, and what was found, from torchvision's files."""
    provide_files(layout, root, download, check_md5)
    folder = root / layout.published.base_folder
    class_names = read_class_names(layout, folder, check_md5)
    parts = {"train": layout.published.train_list, "test": layout.published.test_list}
    splits = {split: read_split(layout, folder, files, len(class_names), check_md5) for split, files in parts.items()}
    checked = "their MD5 sums are the published ones" if check_md5 else "their MD5 sums were not compared"
    return splits, class_names, (f"torchvision's files in {folder.name}, {checked}",)


def provide_files(layout: Layout, root: Path, download: bool, check_md5: bool) -> None:
    """Make sure that all files are on disk: found, taken from a local archive, or downloaded.

    Raises:
        FileNotFoundError: when that fails; the message says where they were looked for and what to put there.
    """
    published = layout.published
    folder, archive = root / published.base_folder, root / published.filename
    missing = [file for file in layout.files if not (folder / file).is_file()]
    if not missing:
        return
    md5 = published.tgz_md5 if check_md5 else None
    reason = "and download=False"
    if download:
        try:
            root.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(root / f"{published.filename}.lock"):  # several jobs may begin at the same moment
                download_url(published.url, root, filename=published.filename, md5=md5)
        except (OSError, RuntimeError) as problem:  # URLError is an OSError; a wrong MD5 is a RuntimeError
            reason = f"and the download failed ({problem})"
    if not check_integrity(archive, md5):
        state = "is damaged (its MD5 is not the published one)" if archive.exists() else "is not there either"
        raise FileNotFoundError(
            f"{layout.name}: no {', '.join(missing)} in {folder}; the archive {archive} {state}, {reason}. "
            f"Put the folder {published.base_folder} or the file {published.filename} (from {published.url}) into "
            f"{root}, or name with root (--data-root on the command line) the folder that holds it, or one with "
            "train/CLASS/*.png and test/CLASS/*.png"
        )
    extract(archive, folder, missing)


def extract(archive: Path, folder: Path, files: list[str]) -> None:
    """Take the named files, and nothing else, out of an archive; each appears complete or not at all.

    Raises:
        ValueError: when the archive is damaged, lacks a file, or has something strange under its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with one_at_a_time(folder / "lock"), tarfile.open(archive) as tar:
            remove_leftovers(folder)
            for file in files:
                member = tar.getmember(f"{folder.name}/{file}")
                if not member.isreg() or member.size > LARGEST_FILE:
                    raise ValueError(f"{member.name} is not a plain file of at most {LARGEST_FILE:,} bytes")
                content = tar.extractfile(member)
                assert content is not None  # a plain file has one
                with replacing(folder / file) as temporary:
                    temporary.write_bytes(content.read())
    except (tarfile.TarError, EOFError, KeyError, ValueError) as problem:
        raise ValueError(
            f"cannot take {', '.join(files)} out of {archive}: {problem}; delete it and get it again"
        ) from problem


def read_split(layout: Layout, folder: Path, files: list, num_classes: int, check_md5: bool) -> ArraySplit:
    """Read the images and labels of a split from its files."""
    parts = [
        read_batch(folder / file, md5 if check_md5 else None, layout.label_key, num_classes) for file, md5 in files
    ]
    images_N3HW = np.concatenate([images for images, _ in parts]).reshape(-1, 3, 32, 32)
    labels_N = torch.from_numpy(np.concatenate([labels for _, labels in parts]))
    return ArraySplit(_to_NHWC(images_N3HW), labels_N)


def _to_NHWC(images_NCHW: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images_NCHW.transpose(0, 2, 3, 1)))


def read_batch(path: Path, md5: str | None, label_key: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Read one file: uint8 pixels (N, 3072) and int64 labels (N,), checked."""
    contents = read_contents(path, md5)
    data, labels = contents.get("data"), contents.get(label_key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PIXELS:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise _bad_file(path, f'"data" should be uint8 pixels (N, {PIXELS}), found {found}')
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise _bad_file(path, f'"{label_key}" should be a list of integers')
    if len(labels) != len(data):
        raise _bad_file(path, f"it has {len(data)} images and {len(labels)} labels")
    if labels and not 0 <= min(labels) <= max(labels) < num_classes:
        raise _bad_file(path, f"labels should be in 0 .. {num_classes - 1}, found {min(labels)} .. {max(labels)}")
    return data, np.array(labels, dtype=np.int64)


def read_class_names(layout: Layout, folder: Path, check_md5: bool) -> tuple[str, ...]:
    """Read the class names."""
    file, md5 = layout.meta
    key = layout.published.meta["key"]
    names = read_contents(folder / file, md5 if check_md5 else None).get(key)
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise _bad_file(folder / file, f'"{key}" should be a list of class names')
    return tuple(names)


def read_contents(path: Path, md5: str | None) -> dict[str, Any]:
    """Read a CIFAR file's dictionary, after comparing its MD5 where one is given."""
    if md5 is not None and (found := calculate_md5(path)) != md5:
        raise _bad_file(
            path, f"its MD5 is {found}, the published one {md5} (check_md5=False accepts a file you altered yourself)"
        )
    try:
        contents = read_pickle(path)
    except UnsafePickleError as problem:
        raise _bad_file(path, f"{problem}, which a CIFAR file never does; nothing of it was run") from problem
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
        raise _bad_file(path, f"it cannot be read ({problem})") from problem
    if not isinstance(contents, dict):
        raise _bad_file(path, f"it should hold a dictionary, found {type(contents).__name__}")
    return contents


def _bad_file(path: Path, fault: str) -> ValueError:
    return ValueError(f"{path} is damaged or not a CIFAR file: {fault}. Delete it and get the data set again")
