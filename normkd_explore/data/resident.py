"""Batches of images that live on the device: cropping, flipping and normalising in a few batched operations.

Letters: N images of the split, B of a batch, H height, W width, C channels, R = W * C values of a row, S = 2 pad + 1
crop offsets along an axis.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from normkd_explore.data.batches import Batch, Schedule, check_start, plan_epoch
from normkd_explore.data.dataset import ArraySplit, Dataset, row_constants


class ResidentBatches:
    """Batches of an :class:`ArraySplit`, made on the device without workers and without waiting for it.

    Padding is with zeros and happens on pixels, before normalisation: the border is black, as in
    ``RandomCrop(32, padding=4)`` followed by ``Normalize``.
    """

    def __init__(
        self, dataset: Dataset, split: ArraySplit, schedule: Schedule, augment: bool, seed: int, device: torch.device
    ) -> None:
        self.schedule, self.augment, self.seed, self.device = schedule, augment, seed, device
        self.views = dataset.views
        self.labels_N = split.labels_N.to(device)
        pad = self.views.pad if augment else 0
        images_NHWC = split.images_NHWC.to(device)
        self.windows_NSSHR = crop_windows(images_NHWC, pad)
        self.columns_2R = row_columns(images_NHWC.shape[2]).to(device)
        self.scale_R, self.offset_R = row_constants(dataset.mean, dataset.std, split.image_size, device)

    @property
    def num_samples(self) -> int:
        """Images of one epoch, over all processes."""
        return self.schedule.num_used

    def __len__(self) -> int:
        return self.schedule.steps

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Give the batches of one epoch from ``start_step`` on."""
        check_start(start_step, len(self))
        plan = plan_epoch(self.schedule.num_images, self.views, self.augment, self.seed, epoch)
        order_N = plan.order_N.to(self.device, non_blocking=True)
        view_N = plan.view_N.to(self.device, non_blocking=True)
        for step in range(start_step, len(self)):
            yield self.batch(self.schedule.share(order_N, step), self.schedule.share(view_N, step))

    def batch(self, index_B: Tensor, view_B: Tensor) -> Batch:
        """Make the batch of chosen images in chosen views."""
        if self.augment:
            dy_B, dx_B, flip_B = self.views.decode(view_B)
        else:
            dy_B = dx_B = flip_B = torch.zeros_like(index_B)
        pixels_BHR = self.windows_NSSHR[index_B, dy_B, dx_B]
        B, H, R = pixels_BHR.shape
        if self.augment and self.views.flip:
            columns_BHR = self.columns_2R[flip_B].unsqueeze(1).expand(B, H, R)
            pixels_BHR = pixels_BHR.gather(2, columns_BHR)
        values_BHR = torch.addcmul(self.offset_R, pixels_BHR.to(torch.float32), self.scale_R)
        images_BCHW = values_BHR.view(B, H, R // 3, 3).permute(0, 3, 1, 2)
        return Batch(images_BCHW, self.labels_N[index_B], index_B, view_B)


def crop_windows(images_NHWC: Tensor, pad: int) -> Tensor:
    """Pad images with zeros and give every crop of the old size as a view of the same memory: (N, S, S, H, R)."""
    N, H, W, C = images_NHWC.shape
    padded = F.pad(images_NHWC, (0, 0, pad, pad, pad, pad)).contiguous()
    row = (W + 2 * pad) * C
    image = row * (H + 2 * pad)
    side = 2 * pad + 1
    return padded.as_strided((N, side, side, H, W * C), (image, row, C, row, 1))


def row_columns(width: int) -> Tensor:
    """Give where each value of a row comes from: row 0 as it is, row 1 mirrored with the colours in order (2, R)."""
    columns_WC = torch.arange(width * 3).view(width, 3)
    return torch.stack([columns_WC, columns_WC.flip(0)]).view(2, width * 3)
