"""From two models and a data set to the Softening Explorer in one call.

Legend: N samples, C classes; `_s` student, `_t` teacher.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from normkd_explore.analysis.samples import Colours, some_samples
from normkd_explore.widgets.softening import SofteningExplorer


def explore(
    model_t: nn.Module,
    model_s: nn.Module,
    dataset: Any,
    count: int = 64,
    state: Mapping[str, Any] | None = None,
    *,
    mean: Colours | None = None,
    std: Colours | None = None,
    class_names: Sequence[str] | None = None,
) -> SofteningExplorer:
    """Run teacher and student on test samples and open the Softening Explorer on them.

    The samples lie evenly over the test split. At first A is the sample whose teacher logits have the largest
    standard deviation and B the one with the smallest, where a common temperature fits worst.

    Args:
        model_t, model_s: networks that map (B, 3, H, W) to logits (B, C), or to a tuple, mapping or object that holds
            them; run as float64 copies in eval mode. Those trained here see pixels normalised as in their training.
        dataset: of `load_dataset`, or any torch data set (torchvision's, a subset, a DataLoader, a list of pairs), best
            with the transform of the models' evaluation; see `some_samples`.
        count: number of samples, at most the size of the test split.
        state: replaces parts of the first view, see `SofteningExplorer`.
        mean, std, class_names: what a torch data set may not know: how its pictures are normalised in units of 0..1,
            and its classes in the order of the logits.
    Raises:
        TypeError: a model returns no logits, or samples cannot be had by their position.
        ValueError: `count` is below 1, the models do not return logits for the data set's classes, or nobody says how
            pictures are normalised.
    """
    samples = some_samples(dataset, count, (model_t, model_s), mean, std, class_names)
    logits_t_NC, logits_s_NC = (samples.logits(model) for model in (model_t, model_s))
    std_N = logits_t_NC.std(dim=1)
    extremes = {"sample": int(std_N.argmax()), "pinned": int(std_N.argmin())}
    return SofteningExplorer(
        logits_t_NC,
        logits_s_NC,
        samples.pictures_NHWC,
        samples.labels_N,
        samples.class_names or tuple(map(str, range(logits_t_NC.shape[1]))),
        state={**extremes, **(state or {})},
    )
