"""Batches of image files too large or too many for memory, read by worker processes.

Letters: N images of the split, B images of a batch, S = image size in pixels, C = 3 colours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from normkd_explore.data.batches import Batch, Schedule, check_start, mixed_seed, plan_epoch
from normkd_explore.data.dataset import Dataset, FileSplit
from normkd_explore.data.decode import square_picture
from normkd_explore.data.image_files import read_rgb

EVALUATION_MARGIN = 256 / 224  # resize to 256, keep the central 224: how ImageNet models are evaluated
MOST_WORKERS = 8
Item = tuple[int, int]  # position in the split, seed of its crop


class StreamingBatches:
    """Batches of a :class:`FileSplit`.

    Training shows a random resized crop (8..100 % of the area, aspect 3/4..4/3) and a random flip, both drawn from
    a generator keyed by (seed, epoch, image); evaluation the centre of the image. The number of workers therefore
    changes the speed and nothing else.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: FileSplit,
        schedule: Schedule,
        augment: bool,
        seed: int,
        device: torch.device,
        workers: int | None,
    ) -> None:
        self.dataset, self.schedule, self.augment, self.seed, self.device = dataset, schedule, augment, seed, device
        self.labels_N = split.labels_N
        workers = default_workers() if workers is None else workers
        self._plan = EpochItems(schedule)
        self._loader = DataLoader(
            PictureFiles(split, augment, dataset.views.flip),
            batch_sampler=self._plan,
            num_workers=workers,
            collate_fn=torch.stack,
            generator=torch.Generator(),  # else every epoch would draw from torch's global generator
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )

    @property
    def num_samples(self) -> int:
        """Images of one epoch, over all processes."""
        return self.schedule.num_used

    def __len__(self) -> int:
        return self.schedule.steps

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Give the batches of one epoch from ``start_step`` on."""
        check_start(start_step, len(self))
        order_N, view_N = plan_epoch(self.schedule.num_images, self.dataset.views, self.augment, self.seed, epoch)
        self._plan.set(order_N, start_step, (self.seed, epoch))
        for step, pixels_BSSC in enumerate(self._loader, start_step):
            index_B = self.schedule.share(order_N, step)
            view_B = self.schedule.share(view_N, step)
            pixels_BSSC, labels_B, index_B, view_B = (
                tensor.to(self.device, non_blocking=True)
                for tensor in (pixels_BSSC, self.labels_N[index_B], index_B, view_B)
            )
            yield Batch(self.dataset.normalize(pixels_BSSC), labels_B, index_B, view_B)


class EpochItems:
    """The batches of the coming epoch as lists of items: what a DataLoader asks of its batch sampler."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.set(torch.arange(schedule.num_images), 0, (0, 0))

    def set(self, order_N: Tensor, start_step: int, key: tuple[int, int]) -> None:
        """Choose order, first step and key of the epoch that the next iteration gives."""
        self.order_N, self.start_step, self.key = order_N, start_step, key

    def __len__(self) -> int:
        return self.schedule.steps - self.start_step

    def __iter__(self) -> Iterator[list[Item]]:
        order_N, start_step, key = self.order_N, self.start_step, self.key
        for step in range(start_step, self.schedule.steps):
            yield [(index, mixed_seed(*key, index)) for index in self.schedule.share(order_N, step).tolist()]


class PictureFiles:
    """Reads one file and cuts out what the model sees: uint8 (S, S, C). Runs in worker processes."""

    def __init__(self, split: FileSplit, augment: bool, flip: bool) -> None:
        self.split, self.augment = split, augment
        crop = v2.RandomResizedCrop(split.image_size, antialias=True)
        self.transform = v2.Compose([crop, v2.RandomHorizontalFlip()]) if flip else crop

    def __getitem__(self, item: Item) -> Tensor:
        index, seed = item
        image = read_rgb(self.split.path(index))
        if not self.augment:
            return torch.from_numpy(np.array(square_picture(image, self.split.image_size, EVALUATION_MARGIN)))
        # torchvision draws from torch's global generator: lend it our seed and give the generator back unchanged.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return torch.from_numpy(np.array(self.transform(image)))

    def __len__(self) -> int:
        return len(self.split)


def default_workers() -> int:
    """One worker for each core this process may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)
