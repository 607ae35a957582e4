"""A data set of coloured squares that trains in milliseconds, and a teacher for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from normkd_explore.data import ArraySplit, Dataset, Views
from normkd_explore.models import create_model, save_weights
from normkd_explore.training import Recipe, Where, get_preset

CLASSES = 5
BATCH = 16
TRAIN = 56  # not a multiple of the batch: the last step of an epoch is a partial one


def toy_dataset(side: int = 12) -> Dataset:
    """Five classes that differ in colour, with noise; train 56, val 20, test 30 images."""
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    splits = [_split(count, side, seed) for seed, count in enumerate((TRAIN, 20, 30))]
    names = tuple("abcde")
    return Dataset("toy", *splits, class_names=names, mean=mean, std=std, views=Views(pad=2, flip=True))


def _split(count: int, side: int, seed: int) -> ArraySplit:
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(count) % CLASSES
    base_NHWC = (40 * labels_N)[:, None, None, None].expand(count, side, side, 3)
    noise_NHWC = torch.randint(0, 60, (count, side, side, 3), generator=generator)
    return ArraySplit((base_NHWC + noise_NHWC).to(torch.uint8), labels_N)


def toy_recipe(method: str, epochs: int = 2, seed: int = 0, **changes: object) -> Recipe:
    """The glyphs preset of `method`, shrunk to the toy data."""
    recipe = get_preset("glyphs/resnet8-resnet8", method, seed)
    return replace(recipe, epochs=epochs, batch_size=BATCH, **changes)


def toy_where(folder: Path) -> Where:
    """A place with random but fixed teacher weights."""
    torch.manual_seed(7)
    path = folder / "teacher.safetensors"
    save_weights(create_model("resnet8", num_classes=CLASSES), path, metadata={})
    return Where(teacher_weights=path, device="cpu")
