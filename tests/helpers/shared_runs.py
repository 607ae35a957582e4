"""Data sets and a student for runs that several processes share."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from normkd_explore.data import ArraySplit, Dataset, FileSplit, Views
from normkd_explore.training import Where
from normkd_explore.training.machine import processes
from tests.helpers.toy import toy_dataset, toy_recipe

TRAIN_FILES = 18
METHODS_HERE = ("normkd", "ctkd")  # ctkd learns its temperature: a parameter that is not the model's


def plain_student(name: str, num_classes: int, seed: int) -> nn.Module:
    """A student without BatchNorm: what it computes for an image does not depend on the process's other images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, num_classes),
        )


def recipe_of(method: str, **changes):
    """The toy recipe with a learning rate at which the plain student moves."""
    return toy_recipe(method, lr=0.5, **changes)


def odd_dataset():
    """The toy data with 21 validation and 31 test images: two processes cannot share them evenly."""
    whole, more = toy_dataset(), toy_dataset().train
    return replace(whole, val=first_of(more, 21), test=first_of(more, 31))


def streamed(folder: Path, train_images: int = TRAIN_FILES) -> Dataset:
    """Files with one validation and one test image, too few for two processes; 18 training images make steps of 16, 2.

    Every process writes files of its own, so that none reads one that another is writing.
    """
    whole = toy_dataset()
    parts = {name: (getattr(whole, name), count) for name, count in (("train", train_images), ("val", 1), ("test", 1))}
    own = folder / f"files{processes.rank()}"
    splits = {name: file_split(own / name, images, count) for name, (images, count) in parts.items()}
    return replace(whole, **splits, views=Views(pad=0, countable=False))


def file_split(folder: Path, images: ArraySplit, count: int) -> FileSplit:
    """Write the first `count` images as files and give their split."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number}.png" for number in range(count)]
    for name, pixels_SSC in zip(names, images.images_NHWC, strict=False):
        Image.fromarray(pixels_SSC.numpy()).save(folder / name)
    return FileSplit(folder, np.array([os.fsencode(name) for name in names]), images.labels_N[:count], 12)


def one_each(folder: Path) -> Dataset:
    """The same numbers of images as `streamed`, in memory."""
    whole = toy_dataset()
    cut = {name: first_of(getattr(whole, name), n) for name, n in (("train", TRAIN_FILES), ("val", 1), ("test", 1))}
    return replace(whole, **cut)


def first_of(images: ArraySplit, count: int) -> ArraySplit:
    """The first `count` images."""
    return replace(images, images_NHWC=images.images_NHWC[:count], labels_N=images.labels_N[:count])


def toy_where_there(folder: Path):
    """The teacher that the test put there."""
    return replace(toy_where_empty(), teacher_weights=folder / "teacher.safetensors")


def toy_where_empty():
    """The CPU, nothing else."""
    return Where(device="cpu")


def assert_close(first: Path, second: Path, **tolerance: float) -> None:
    ours, theirs = load_file(first), load_file(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")
