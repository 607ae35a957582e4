"""Batches: which images a step sees, in which view, as a function of (seed, epoch, step) alone.

A whole epoch's order and views are drawn at once from a generator of their own and then sliced. So a run that stops
at any step can go on exactly where it was, and several processes agree on every batch without talking.

Letters: N images of the split, B images of a batch (of this process), C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from normkd_explore.data.views import Views


class Batch(NamedTuple):
    """One step's images. Teacher and student are shown the same ``images_BCHW``, hence the same view."""

    images_BCHW: Tensor
    """float32, normalised, channels_last."""
    labels_B: Tensor
    """int64 class positions."""
    index_B: Tensor
    """int64 positions of the images in their split."""
    view_B: Tensor
    """int64 view ids, see :class:`Views`; -1 where views cannot be counted."""


class Batches(Protocol):
    """Batches of one split, epoch by epoch."""

    schedule: Schedule

    @property
    def num_samples(self) -> int:
        """Images of one epoch, over all processes."""

    def __len__(self) -> int:
        """Steps in an epoch."""

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Give the batches of one epoch from ``start_step`` on."""


class EpochPlan(NamedTuple):
    """The order of an epoch and the view of each image, CPU tensors."""

    order_N: Tensor
    view_N: Tensor
    """View of the image at the same place of ``order_N``."""


def mixed_seed(*key: int) -> int:
    """Mix integers into one 63-bit seed; keys that differ anywhere give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def plan_epoch(num_images: int, views: Views, augment: bool, seed: int, epoch: int) -> EpochPlan:
    """Draw the order and views of an epoch: a uniform permutation and independent uniform views.

    Without ``augment`` images come in order, each as it is.
    """
    if not augment:
        return EpochPlan(torch.arange(num_images), torch.full((num_images,), views.identity))
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
    order_N = torch.randperm(num_images, generator=generator)
    if not views.countable:
        return EpochPlan(order_N, torch.full((num_images,), -1))
    return EpochPlan(order_N, torch.randint(views.count, (num_images,), generator=generator))


class Schedule(NamedTuple):
    """How an epoch is cut into steps and shared between processes."""

    num_images: int
    num_used: int
    """Images that an epoch shows, over all processes."""
    batch_size: int
    """Images of one step, over all processes."""
    rank: int
    world_size: int

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return -(-self.num_used // self.batch_size)

    def share(self, values_N: Tensor, step: int) -> Tensor:
        """Give this process's part of the values of one step: every ``world_size``-th, from ``rank`` on."""
        stop = min((step + 1) * self.batch_size, self.num_used)
        return values_N[step * self.batch_size + self.rank : stop : self.world_size]


def make_schedule(
    num_images: int, batch_size: int, rank: int, world_size: int, *, drop_last: bool, equal_shares: bool
) -> Schedule:
    """Check the numbers and give the schedule.

    ``equal_shares`` leaves out up to ``world_size - 1`` images so that every process has as many in every step:
    training averages gradients over processes and may not wait for one that has no image.

    Raises:
        ValueError: when the batch cannot be shared evenly, or an epoch would have no step.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, found {batch_size}")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be in 0 .. world_size - 1, found rank {rank} with world_size {world_size}")
    if batch_size % world_size:
        raise ValueError(
            f"batch_size counts the images of all processes: {batch_size} cannot be shared evenly by {world_size}; "
            f"take {batch_size // world_size * world_size or world_size} or another multiple of {world_size}"
        )
    unit = batch_size if drop_last else world_size if equal_shares else 1
    num_used = num_images - num_images % unit
    if num_used == 0:
        raise ValueError(f"an epoch has no step: {_why_no_step(num_images, batch_size, world_size, drop_last)}")
    return Schedule(num_images, num_used, batch_size, rank, world_size)


def _why_no_step(num_images: int, batch_size: int, world_size: int, drop_last: bool) -> str:
    if num_images == 0:
        return "the split has no images"
    if drop_last:
        return f"{num_images} images cannot fill one step of {batch_size}; use a smaller batch, or drop_last=False"
    return (
        f"found {num_images} training images for {world_size} processes, wanted at least one for each; start fewer "
        "processes, or add images"
    )


def check_start(start_step: int, steps: int) -> None:
    """Raise ValueError unless an epoch of ``steps`` steps can be started at ``start_step`` (``steps``: its end)."""
    if not 0 <= start_step <= steps:
        raise ValueError(f"start_step must be in 0 .. {steps}, found {start_step}")
