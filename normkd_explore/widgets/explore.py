"""From two models and a data set to the Softening Explorer in one call.

Legend: N samples, B a batch of them, H height, W width, C classes; `_s` student, `_t` teacher.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from normkd_explore.data import ArraySplit, Dataset, FileSplit
from normkd_explore.widgets.softening import SofteningExplorer

BATCH = 64


def explore(
    model_t: nn.Module,
    model_s: nn.Module,
    dataset: Dataset,
    count: int = 64,
    state: Mapping[str, Any] | None = None,
) -> SofteningExplorer:
    """Run teacher and student on test samples and open the Softening Explorer on them.

    The samples lie evenly over the test split. At first A is the sample whose teacher logits have the largest
    standard deviation and B the one with the smallest, where a common temperature fits worst.

    Args:
        model_t, model_s: networks that map (B, 3, H, W) to logits (B, C); run in eval mode on their own device.
        dataset: gives pictures, labels, class names and the pixel normalisation.
        count: number of samples, at most the size of the test split.
        state: replaces parts of the first view, see `SofteningExplorer`.
    Raises:
        ValueError: `count` is below 1, or the models do not return logits for the data set's classes.
    """
    if count < 1:
        raise ValueError(f"count is {count}, wanted at least 1 sample.")
    index_N = torch.from_numpy(np.linspace(0, len(dataset.test) - 1, min(count, len(dataset.test))).astype(np.int64))
    images_NHWC = _pictures(dataset.test, index_N)
    logits_t_NC, logits_s_NC = (_logits(model, dataset, images_NHWC) for model in (model_t, model_s))
    std_N = logits_t_NC.std(dim=1)
    extremes = {"sample": int(std_N.argmax()), "pinned": int(std_N.argmin())}
    return SofteningExplorer(
        logits_t_NC,
        logits_s_NC,
        images_NHWC,
        dataset.test.labels_N[index_N],
        dataset.class_names,
        state={**extremes, **(state or {})},
    )


def _pictures(split: ArraySplit | FileSplit, index_N: Tensor) -> Tensor:
    if isinstance(split, ArraySplit):
        return split.images_NHWC[index_N.to(split.images_NHWC.device)]
    side = (split.image_size, split.image_size)
    pictures = []
    for n in index_N.tolist():
        with Image.open(split.paths[n]) as file:
            pictures.append(np.asarray(ImageOps.fit(file.convert("RGB"), side)))
    return torch.from_numpy(np.stack(pictures))


def _logits(model: nn.Module, dataset: Dataset, images_NHWC: Tensor) -> Tensor:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            batches = [model(dataset.normalize(part.to(device))).float().cpu() for part in images_NHWC.split(BATCH)]
    finally:
        model.train(was_training)
    return torch.cat(batches)
