"""From two models and a data set to the Softening Explorer in one call.

Legend: N samples, C classes; `_s` student, `_t` teacher.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from normkd_explore.analysis.logits import model_logits, pictures, spread_index
from normkd_explore.data import Dataset
from normkd_explore.widgets.softening import SofteningExplorer


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
        model_t, model_s: networks that map (B, 3, H, W) to logits (B, C); run as float64 copies in eval mode.
        dataset: gives pictures, labels, class names and the pixel normalisation.
        count: number of samples, at most the size of the test split.
        state: replaces parts of the first view, see `SofteningExplorer`.
    Raises:
        ValueError: `count` is below 1, or the models do not return logits for the data set's classes.
    """
    index_N = spread_index(count, len(dataset.test))
    images_NHWC = pictures(dataset.test, index_N)
    logits_t_NC, logits_s_NC = (model_logits(model, dataset, images_NHWC) for model in (model_t, model_s))
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
