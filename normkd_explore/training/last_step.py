"""Batch normalisation and a step of one image: a map of one pixel then has one value a channel, and no variance.

An epoch's last step has what is left of the images, so this would end a run after hours. It is looked for before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from normkd_explore.data import Dataset
from normkd_explore.data.batches import Schedule
from normkd_explore.training.recipes.recipe import Recipe

ONE_VALUE = "Expected more than 1 value per channel"  # how torch's batch norm begins


def check_last_step(
    recipes: list[Recipe], dataset: Dataset, schedule: Schedule, make_student: Callable[[Recipe], nn.Module]
) -> None:
    """ValueError if an epoch's last step leaves a process one image and a student cannot be trained on one."""
    if _last_share(schedule.num_used, schedule.batch_size, schedule.world_size) != 1:
        return
    image_BCHW = torch.zeros(1, 3, dataset.image_size, dataset.image_size)
    for recipe in recipes:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), explained(recipe.student, _remedy(schedule)):
            make_student(recipe).train()(image_BCHW)


@contextmanager
def explained(who: str, remedy: str = "Take another batch_size.") -> Iterator[None]:
    """Say what to do where batch normalisation refuses a batch of one image."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(ONE_VALUE):
            raise
        raise ValueError(
            f"batch_size: {who} cannot be trained on a step of one image, since batch normalisation of a map of one "
            f"pixel needs two or more, and the last step of an epoch has what the others leave. {remedy}"
        ) from error


def _last_share(images: int, batch_size: int, world_size: int) -> int:
    """Images of the last step for each process."""
    return (images % batch_size or batch_size) // world_size


def _remedy(schedule: Schedule) -> str:
    images, batch_size, world_size = schedule.num_used, schedule.batch_size, schedule.world_size
    smaller, larger = range(batch_size - world_size, world_size, -world_size), range(batch_size, images + 1, world_size)
    fitting = (size for size in (*smaller, *larger) if _last_share(images, size, world_size) > 1)
    other = next(fitting, None)
    advice = f"take batch_size {other}, for instance" if other else "add images"
    return f"Found {images:,} images and batch_size {batch_size}; {advice}."
