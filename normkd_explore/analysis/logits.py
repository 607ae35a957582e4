"""A model's logits on the samples of a data set: where every analysis starts.

Legend: N samples, B a batch of them, H height, W width, C classes.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from normkd_explore.data import ArraySplit, Dataset, FileSplit
from normkd_explore.models.origin import class_order, origin_of
from normkd_explore.models.own import logits_of

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


def model_logits(model: nn.Module, dataset: Dataset, images_NHWC: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Logits (N, C) of a model on the CPU, from pictures as `pictures` gives them.

    The model is copied and evaluated in double precision: some 10^-15 instead of 10^-6 of rounding, so the numbers that
    a notebook prints are the same on every processor. With float32 it takes a fifth of the time. The model itself is
    left as it was. Of weights that say so (see `normkd_explore.models.origin`), pixels are normalised as in their
    training, and the logits are in the order of the data set's classes.

    Args:
        model: its forward returns logits, or a tuple, mapping or object that holds them (see `logits_of`).

    Raises:
        TypeError: the model returns something else.
        ValueError: the logits are not those of the data set's classes.
    """
    logits_NC = run_model(model, as_seen(dataset, model, images_NHWC), dtype)
    if logits_NC.shape != (len(images_NHWC), dataset.num_classes):
        raise ValueError(
            f"the model returned {tuple(logits_NC.shape)} for {len(images_NHWC)} images, wanted "
            f"{(len(images_NHWC), dataset.num_classes)}: one logit for each class of {dataset.name}."
        )
    return in_order(logits_NC, model, dataset)


@torch.no_grad()
def run_model(model: nn.Module, inputs_NCHW: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """What a copy of a model in eval mode answers, some images at a time, on the CPU; see `model_logits`."""
    own = copy.deepcopy(model).to(dtype).eval()
    device = next((parameter.device for parameter in own.parameters()), torch.device("cpu"))
    return torch.cat([logits_of(own(batch.to(device).to(dtype))).cpu() for batch in inputs_NCHW.split(BATCH)])


def as_seen(dataset: Dataset, model: nn.Module, images_NHWC: Tensor) -> Tensor:
    """The pictures as the model's training normalised them, where that is known, else as the data set does."""
    origin = origin_of(model)
    if origin.mean is not None and origin.std is not None:
        dataset = replace(dataset, mean=origin.mean, std=origin.std)
    return dataset.normalize(images_NHWC)


def in_order(logits_NC: Tensor, model: nn.Module, dataset: Dataset) -> Tensor:
    """The logits in the order of the data set's classes; a ValueError where the model knows other ones."""
    order = class_order(origin_of(model), dataset.class_names, "the model")
    return logits_NC if order is None else logits_NC[:, order]
