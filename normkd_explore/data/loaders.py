"""Which of the two kinds of batches a split gets: from memory, or streamed from files."""

from __future__ import annotations

import torch

from normkd_explore.data.batches import Batches, make_schedule
from normkd_explore.data.dataset import ArraySplit, Dataset
from normkd_explore.data.resident import ResidentBatches


def make_batches(
    dataset: Dataset,
    split: str,
    batch_size: int,
    *,
    augment: bool,
    seed: int = 0,
    device: torch.device | str = "cpu",
    workers: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool = False,
) -> Batches:
    """Make the batches of a split.

    Args:
        dataset: as :func:`load_dataset` gives it.
        split: "train", "val" or "test".
        batch_size: images of a step over all processes; the last step of an epoch may have fewer.
        augment: True shuffles and draws views; False gives every image once, in order, as it is.
        seed: with the epoch, decides order and views.
        device: where batches live.
        workers: processes that read image files (None: one a core, at most 8); unused for images in memory.
        rank, world_size: this process and the number of processes; together they see each global batch once. With
            ``augment`` an epoch leaves out up to ``world_size - 1`` images so that shares are equal; without it, the
            last step may give some processes fewer images, or none.
        drop_last: leave out an incomplete last step.

    Raises:
        ValueError: for an unknown split or numbers that do not fit together.
    """
    images = dataset.split(split)
    schedule = make_schedule(len(images), batch_size, rank, world_size, drop_last=drop_last, equal_shares=augment)
    device = torch.device(device)
    if isinstance(images, ArraySplit):
        return ResidentBatches(dataset, images, schedule, augment, seed, device)
    # Imported here because it needs torchvision, which takes seconds to import.
    from normkd_explore.data.images.streaming import StreamingBatches

    return StreamingBatches(dataset, images, schedule, augment, seed, device, workers)
