"""Glyphs-100: an image data set of CIFAR-100's shape that needs no download, drawn from fonts.

100 characters, 32x32 colour pictures, classes balanced. The faces that draw the test pictures are never seen in
training. Its mistakes can be read by eye, which makes a teacher's dark knowledge something a person can check.
"""

from __future__ import annotations

from dataclasses import asdict

import matplotlib
import numpy as np
import PIL
import torch
from torch import Tensor

from normkd_explore.data.cache import cached_tensors
from normkd_explore.data.dataset import ArraySplit, Dataset
from normkd_explore.data.glyphs.alphabet import CHARACTERS
from normkd_explore.data.glyphs.render import IMAGE_SIZE, LEVELS, Level, label_of, render_glyph
from normkd_explore.data.views import Views

GENERATOR_VERSION = 1  # raise it when drawing changes, so that old cached pictures are not reused


def load_glyphs(
    *,
    protocol: str = "holdout",
    train_size: int = 10_000,
    val_size: int = 1_000,
    test_size: int = 2_000,
    level: str = "standard",
    seed: int = 0,
) -> Dataset:
    """Load Glyphs-100, drawing it on the first call (a few seconds) and reading it from the cache later.

    Args:
        protocol: "holdout" draws validation pictures in faces of their own; "paper" has none.
        train_size, val_size, test_size: pictures in each split, at least one for each of the 100 classes.
        level: "standard" (a small network learns it in a minute), "hard" or "wild" (longer runs).
        seed: another seed gives other pictures of the same kind.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(map(repr, LEVELS))}, found {level!r}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, found {seed}")
    sizes = {"train": train_size, "val": val_size, "test": test_size}
    if protocol == "paper":
        del sizes["val"]
    for split, size in sizes.items():
        if size < len(CHARACTERS):
            raise ValueError(f"{split}_size must be at least {len(CHARACTERS)} (one picture a class), found {size}")
    splits = {split: glyph_split(split, size, LEVELS[level], seed) for split, size in sizes.items()}
    return Dataset(
        name="glyphs" if level == "standard" else f"glyphs-{level}",
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        class_names=CHARACTERS,
        mean=LEVELS[level].mean,
        std=LEVELS[level].std,
        views=Views(flip=False),
        notes=("test faces are not seen in training",),
    )


def glyph_split(split: str, size: int, level: Level, seed: int) -> ArraySplit:
    """Give ``size`` pictures of one split, from the cache where it has them."""
    settings = {
        "generator": GENERATOR_VERSION,
        "drawn with": [np.__version__, PIL.__version__, matplotlib.__version__],
        "split": split,
        "size": size,
        "level": asdict(level),
        "seed": seed,
    }
    tensors = cached_tensors(f"glyphs-{split}", settings, lambda: draw_split(split, size, level, seed))
    return ArraySplit(tensors["images"], tensors["labels"])


def draw_split(split: str, size: int, level: Level, seed: int) -> dict[str, Tensor]:
    """Draw every picture of a split."""
    images_NHWC = np.empty((size, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for index in range(size):
        images_NHWC[index] = render_glyph(index, split, level, seed)
    labels_N = torch.tensor([label_of(index) for index in range(size)])
    return {"images": torch.from_numpy(images_NHWC), "labels": labels_N}
