"""From two models and a data set to the Softening Explorer in one call.

Legend: N samples, C classes; `_s` student, `_t` teacher.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normkd_explore.analysis.logits import spread_index
from normkd_explore.analysis.samples import Colours, some_samples
from normkd_explore.analysis.softness import MOST_SCANNED, extreme_pair
from normkd_explore.widgets.softening import SofteningExplorer

# Of larger pictures fewer are scanned, so that opening an explorer never takes minutes.
MOST_SCANNED_PIXELS = MOST_SCANNED * 64 * 64


def explore(
    model_t: nn.Module,
    model_s: nn.Module,
    dataset: Any,
    count: int = 64,
    state: Mapping[str, Any] | str | None = None,
    *,
    mean: Colours | None = None,
    std: Colours | None = None,
    class_names: Sequence[str] | None = None,
    name: str = "explorer",
) -> SofteningExplorer:
    """Run teacher and student on test samples and open the Softening Explorer on them.

    The teacher looks at the whole test split (of a large one, or of large pictures, at samples that lie evenly over
    it). Of those that it gets right, A is at first the one whose logits have the largest standard deviation and B the
    one with the smallest: there a common temperature fits worst. The other samples lie evenly over the split. KD's
    first T leaves the median sample as soft as NormKD's first T_norm does.

    Args:
        model_t, model_s: networks that map (B, 3, H, W) to logits (B, C), or to a tuple, mapping or object that holds
            them; run as float64 copies in eval mode. Those trained here see pixels normalised as in their training.
        dataset: of `load_dataset`, or any torch data set (torchvision's, a subset, a DataLoader, a list of pairs), best
            with the transform of the models' evaluation; see `some_samples`.
        count: number of samples, at most the size of the test split.
        state: replaces parts of the first view, see `SofteningExplorer`.
        mean, std, class_names: what a torch data set may not know: how its pictures are normalised in units of 0..1,
            and its classes in the order of the logits.
        name: what the view is called in a link; explorers on one page need different names.
    Raises:
        TypeError: a model is no module or returns no logits, or samples cannot be had by their position.
        ValueError: `count` is below 1, the models do not return logits for the data set's classes, or nobody says how
            pictures are normalised.
    """
    _check_models(model_t=model_t, model_s=model_s)
    models, told = (model_t, model_s), (mean, std, class_names)
    scanned = some_samples(dataset, count, models, *told)
    height, width = scanned.pictures_NHWC.shape[1:3]
    most = min(MOST_SCANNED, MOST_SCANNED_PIXELS // (height * width))
    if most > count:
        scanned = some_samples(dataset, most, models, *told)
    scanned_NC = scanned.logits(model_t, torch.float32)
    pair = extreme_pair(scanned_NC, scanned.labels_N)
    index_N = _with_pair(spread_index(count, len(scanned_NC)), pair)
    shown = scanned.take(index_N)
    explorer = SofteningExplorer(
        shown.logits(model_t),
        shown.logits(model_s),
        shown.pictures_NHWC,
        shown.labels_N,
        shown.class_names or tuple(map(str, range(scanned_NC.shape[1]))),
        reference=scanned_NC,
        name=name,
    )
    a, b = (index_N.tolist().index(n) for n in pair)
    explorer.state = {"sample": a, "pinned": b if b != a else None, "T": explorer.matched_t()}
    explorer.state = state or {}  # type: ignore[assignment]  # the trait takes a link's text too
    return explorer


def _check_models(**models: nn.Module) -> None:
    for argument, model in models.items():
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"{argument}: found {type(model).__name__}, wanted a torch.nn.Module; wrap a function in one."
            )


def _with_pair(index_N: Tensor, pair: tuple[int, int]) -> Tensor:
    """The positions with the pair among them, as many as before where that can be; in rising order."""
    wanted = list(dict.fromkeys(pair))
    kept = [n for n in index_N.tolist() if n not in wanted]
    count = max(len(index_N), len(wanted))
    return torch.tensor(sorted([*wanted, *kept[: count - len(wanted)]]))
