"""What a data set is: splits of images and labels, class names and the constants that normalise them.

Letters: N images of a split, B images of a batch, H height, W width, C colour channels (always 3).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from normkd_explore.data.arrays import Colours, arrays_of, channel_statistics, labels_of, names_in, pixels_of
from normkd_explore.data.holdout import (
    HOLDOUT_CAP,
    HOLDOUT_FRACTION,
    TEST_FRACTION,
    balanced_holdout,
    check_protocol,
)
from normkd_explore.data.views import Views

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """Images that fit in memory: ``images_NHWC`` uint8 and ``labels_N`` int64 (class positions)."""

    images_NHWC: Tensor
    labels_N: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images_NHWC, self.labels_N
        H, W, C = images.shape[1:] if images.ndim == 4 else (0, 0, 0)
        if images.dtype != torch.uint8 or H != W or C != 3:
            raise ValueError(
                "images_NHWC must be uint8 of shape (N, S, S, 3), square and RGB, found "
                f"{images.dtype} of {tuple(images.shape)}"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels_N must be int64 of shape ({len(images)},), found {labels.dtype} of {tuple(labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def image_size(self) -> int:
        """Height (= width) in pixels."""
        return self.images_NHWC.shape[1]


@dataclass(frozen=True, eq=False)
class FileSplit:
    """Images read from disk each time they are used, delivered as ``image_size`` x ``image_size`` pixels."""

    folder: Path
    names_N: np.ndarray
    """File names below ``folder`` as bytes: one block of memory, which worker processes share instead of copying."""
    labels_N: Tensor
    image_size: int

    def __len__(self) -> int:
        return len(self.names_N)

    def path(self, position: int) -> Path:
        """Full path of one file."""
        return self.folder / os.fsdecode(self.names_N[position])

    @property
    def paths(self) -> list[Path]:
        """Full paths of all files."""
        return [self.path(position) for position in range(len(self))]


Split = ArraySplit | FileSplit


def _split_of(pair: tuple[Any, Any], key: str) -> ArraySplit:
    images_NHWC = pixels_of(pair[0], f"{key} images")
    return ArraySplit(images_NHWC, labels_of(pair[1], len(images_NHWC), f"{key} labels"))


def _hold_out(splits: dict[str, ArraySplit], protocol: str) -> list[str]:
    """Take the splits that are missing out of the training images; returns notes that say so."""
    notes = []
    wanted = [("test", TEST_FRACTION, None)] + [("val", HOLDOUT_FRACTION, HOLDOUT_CAP)] * (protocol == "holdout")
    for key, fraction, cap in wanted:
        if key not in splits:
            train = splits["train"]
            chosen = zip(("train", key), balanced_holdout(train.labels_N, fraction, cap), strict=True)
            splits |= {part: ArraySplit(train.images_NHWC[i], train.labels_N[i]) for part, i in chosen}
            notes.append(f"{key} is held out of the training images")
    return notes


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test images of one task.

    ``val`` is for choosing (epoch, learning rate, temperature), ``test`` for the last number of a run. ``val`` is None
    under ``protocol="paper"``, the practice of the published tables. ``mean`` and ``std`` are per colour channel in
    units of 0..1. ``notes`` are facts a reader of a result should know, such as how a split was made; ``account`` says
    line by line what was found in a user's folder, and what was left out and why.
    """

    name: str
    train: Split
    val: Split | None
    test: Split
    class_names: tuple[str, ...]
    mean: Colours
    std: Colours
    views: Views = field(default_factory=Views)
    notes: tuple[str, ...] = ()
    account: tuple[str, ...] = ()

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        class_names: Sequence[str] | None = None,
        test: tuple[Any, Any] | None = None,
        val: tuple[Any, Any] | None = None,
        *,
        name: str = "arrays",
        protocol: str = "holdout",
        mean: Colours | None = None,
        std: Colours | None = None,
        pad: int = 4,
        flip: bool = True,
    ) -> Dataset:
        """A data set of one's own images, with all that folders have: views, cached logits, digests, exact resume.

        Args:
            images: uint8 (N, S, S, 3), or grey (N, S, S); arrays or tensors.
            labels: class positions (N,).
            class_names: in the order of the positions; None takes "0", "1", ...
            test, val: (images, labels); without `test` a fifth of each class is held out for it, without `val` under
                protocol "holdout" a tenth of the training images (5,000 at most), the same ones every time.
            name: how reports and messages call the data set.
            mean, std: of the channels in units of 0..1; None takes the training images' own.
            pad, flip: which views augmentation may draw; flip=False where mirror images mean something else.

        Raises:
            TypeError, ValueError: arrays of another kind or shape, labels beyond the names, too few classes.
        """
        check_protocol(protocol)
        parts = {"train": (images, labels), "val": val, "test": test}
        splits = {key: _split_of(pair, key) for key, pair in parts.items() if pair is not None}
        notes = _hold_out(splits, protocol)
        highest = max(int(split.labels_N.max()) for split in splits.values())
        names = tuple(map(str, range(highest + 1) if class_names is None else class_names))
        if not 2 <= len(names) > highest:
            raise ValueError(
                f"class_names: found {len(names)} and the label {highest}, wanted at least 2 names, one each."
            )
        own_mean, own_std = channel_statistics(splits["train"].images_NHWC)
        return cls(
            name,
            splits["train"],
            splits.get("val") if protocol == "holdout" else None,
            splits["test"],
            names,
            own_mean if mean is None else (mean[0], mean[1], mean[2]),
            own_std if std is None else (std[0], std[1], std[2]),
            Views(pad, flip),
            tuple(notes),
        )

    @classmethod
    def from_torch(
        cls,
        train: Any,
        test: Any = None,
        val: Any = None,
        class_names: Sequence[str] | None = None,
        *,
        image_size: int | None = None,
        **options: Any,
    ) -> Dataset:
        """`from_arrays` of any torch data set: torchvision's, Hugging Face's with an image column, one's own.

        Args:
            train, test, val: give (image, label), or a mapping with both, by position; they must not augment or
                normalise, see `arrays_of`.
            class_names: None takes those that `train` knows.
            image_size: S to which pictures of other sizes are brought; None keeps them.
            options: as in `from_arrays`.
        """
        parts = {"train": train, "test": test, "val": val}
        pairs = {key: arrays_of(data, key, image_size) for key, data in parts.items() if data is not None}
        names = names_in(train) if class_names is None else class_names
        return cls.from_arrays(*pairs["train"], names, pairs.get("test"), pairs.get("val"), **options)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """Height (= width) of every image in pixels."""
        return self.train.image_size

    def split(self, name: str) -> Split:
        """Give the split called "train", "val" or "test".

        Raises:
            ValueError: for another name, or for "val" where the protocol keeps no validation images.
        """
        if name not in ("train", "val", "test"):
            raise ValueError(f'split must be "train", "val" or "test", found {name!r}')
        split = getattr(self, name)
        if split is None:
            raise ValueError(
                f'{self.name} was loaded with protocol="paper", which has no "val" split; load it with '
                'protocol="holdout" to choose on validation images, or evaluate on "test"'
            )
        return split

    def describe(self) -> str:
        """Say what the data set holds: one line, and for a user's folder a few more with what was found there."""
        parts = [
            f"{self.name}: {self.num_classes} classes, {self.image_size}x{self.image_size} pixels",
            f"{len(self.train):,} train / {len(self.val) if self.val else 0:,} val / {len(self.test):,} test",
            f"{self.views.count} views an image"
            if self.views.countable
            else "random resized crops, streamed from disk",
        ]
        return "\n  ".join(["; ".join([*parts, *self.notes]), *self.account])

    def normalize(self, images_NHWC: Tensor) -> Tensor:
        """Turn pixels into what a model reads: ``(pixel / 255 - mean) / std``.

        Args:
            images_NHWC: uint8 pixels (N, H, W, 3), as a split stores them.

        Returns:
            float32 (N, 3, H, W) on the same device, laid out channels_last.
        """
        if images_NHWC.dtype != torch.uint8 or images_NHWC.ndim != 4 or images_NHWC.shape[-1] != 3:
            raise ValueError(
                "normalize wants uint8 images of shape (N, H, W, 3), found "
                f"{images_NHWC.dtype} of {tuple(images_NHWC.shape)}"
            )
        return normalized(images_NHWC, *row_constants(self.mean, self.std, images_NHWC.shape[2], images_NHWC.device))

    def denormalize(self, images_BCHW: Tensor) -> Tensor:
        """Turn a model's input back into uint8 pixels (B, H, W, 3), for looking at it: inverse of :meth:`normalize`."""
        mean_C, std_C = images_BCHW.new_tensor(self.mean), images_BCHW.new_tensor(self.std)
        pixels_BHWC = images_BCHW.permute(0, 2, 3, 1) * std_C + mean_C
        return (pixels_BHWC * 255).round_().clamp_(0, 255).to(torch.uint8)


def row_constants(mean: Colours, std: Colours, width: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Give scale and offset for one row of pixels, so that ``pixel * scale + offset = (pixel / 255 - mean) / std``.

    They repeat the three channel values ``width`` times (shape R = W * C): arithmetic over a long contiguous row is
    several times faster on a CPU than broadcasting over a last axis of 3.
    """
    mean_C, std_C = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
    scale_C, offset_C = 1 / (255 * std_C), -mean_C / std_C
    scale_R, offset_R = (v.to(torch.float32).repeat(width).to(device) for v in (scale_C, offset_C))
    return scale_R, offset_R


def normalized(images_NHWC: Tensor, scale_R: Tensor, offset_R: Tensor) -> Tensor:
    """Normalise uint8 pixels (N, H, W, C) with `row_constants`: float32 (N, C, H, W), laid out channels_last."""
    images_NHWC = images_NHWC.contiguous()
    N, H, W, C = images_NHWC.shape
    pixels_NHR = images_NHWC.view(N, H, W * C).to(torch.float32)
    return torch.addcmul(offset_R, pixels_NHR, scale_R).view(N, H, W, C).permute(0, 3, 1, 2)
