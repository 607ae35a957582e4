"""A model's logits on the samples of a data set: where every analysis starts.

Legend: N samples, B a batch of them, H height, W width, C classes.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from normkd_explore.data import ArraySplit, Dataset, FileSplit

BATCH = 64


def spread_index(count: int, available: int) -> Tensor:
    """Positions (int64) of `count` samples that lie evenly over `available` ones; all of them where there are fewer.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}, wanted at least 1 sample.")
    return torch.from_numpy(np.linspace(0, available - 1, min(count, available)).astype(np.int64))


def pictures(split: ArraySplit | FileSplit, index_N: Tensor) -> Tensor:
    """The uint8 pictures (N, H, W, 3) of some samples of a split: those that an evaluation shows a model."""
    if isinstance(split, ArraySplit):
        return split.images_NHWC[index_N.to(split.images_NHWC.device)]
    # Imported here because it needs torchvision, which takes seconds to import.
    from normkd_explore.data.images.decode import evaluation_picture

    loaded = [evaluation_picture(split.path(n), split.image_size) for n in index_N.tolist()]
    return torch.from_numpy(np.stack(loaded))


@torch.no_grad()
def model_logits(model: nn.Module, dataset: Dataset, images_NHWC: Tensor) -> Tensor:
    """Logits (N, C) of a model in float64 on the CPU, from pictures as `pictures` gives them.

    The model is copied and evaluated in double precision: some 10^-15 instead of 10^-6 of rounding, so the numbers that
    a notebook prints are the same on every processor. The model itself is left as it was.

    Raises:
        ValueError: the model does not return logits for the data set's classes.
    """
    exact = copy.deepcopy(model).double().eval()
    device = next((parameter.device for parameter in exact.parameters()), torch.device("cpu"))
    batches = images_NHWC.split(BATCH)
    logits_NC = torch.cat([exact(dataset.normalize(batch.to(device)).double()).cpu() for batch in batches])
    if logits_NC.shape != (len(images_NHWC), dataset.num_classes):
        raise ValueError(
            f"the model returned {tuple(logits_NC.shape)} for {len(images_NHWC)} images, wanted "
            f"{(len(images_NHWC), dataset.num_classes)}: one logit for each class of {dataset.name}."
        )
    return logits_NC
