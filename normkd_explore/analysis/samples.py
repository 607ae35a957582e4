"""Some samples of any data set, as pictures to look at and as what a model is shown of them.

A data set of this package says how its pixels are normalised. A torch data set's tensors are taken for what its models
are shown; where they can be turned back into pixels, a model that knows its training's normalisation is shown that.

Legend: N samples, C classes (of logits) or colours (of images), H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from normkd_explore.analysis.logits import as_seen, model_logits, pictures, run_model, spread_index
from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.data.arrays import arrays_of, names_in, parts_of
from normkd_explore.models.origin import class_order, origin_of

Colours = tuple[float, float, float]
PLAIN: tuple[Colours, Colours] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Samples:
    """What is looked at."""

    pictures_NHWC: Tensor
    """uint8."""
    labels_N: Tensor
    class_names: tuple[str, ...] | None
    """None where the data set does not know them."""
    dataset: Dataset | None = None
    """Gives the pixels to models; None where `tensors_NCHW` do."""
    tensors_NCHW: Tensor | None = None

    def logits(self, model: nn.Module, dtype: torch.dtype = torch.float64) -> Tensor:
        """A model's logits (N, C) on the CPU, see `model_logits`; float32 is enough to choose samples by."""
        if self.tensors_NCHW is not None:
            return self._in_order(run_model(model, self.tensors_NCHW, dtype), model)
        assert self.dataset is not None
        if self.class_names is None:
            return run_model(model, as_seen(self.dataset, model, self.pictures_NHWC), dtype)
        return model_logits(model, self.dataset, self.pictures_NHWC, dtype)

    def take(self, index_N: Tensor) -> Samples:
        """Those at some positions."""
        tensors_NCHW = None if self.tensors_NCHW is None else self.tensors_NCHW[index_N]
        pictures_NHWC, labels_N = self.pictures_NHWC[index_N], self.labels_N[index_N]
        return replace(self, pictures_NHWC=pictures_NHWC, labels_N=labels_N, tensors_NCHW=tensors_NCHW)

    def _in_order(self, logits_NC: Tensor, model: nn.Module) -> Tensor:
        order = class_order(origin_of(model), self.class_names, "the model") if self.class_names else None
        return logits_NC if order is None else logits_NC[:, order]


def some_samples(
    data: Any,
    count: int,
    models: Sequence[nn.Module] = (),
    mean: Colours | None = None,
    std: Colours | None = None,
    class_names: Sequence[str] | None = None,
) -> Samples:
    """`count` samples, evenly over a data set: the test split of one of this package, or any torch data set.

    Args:
        data: a `Dataset`; or anything with a length that gives (image, label), or a mapping with both, by position:
            torchvision's data sets, their subsets, a list; or a DataLoader of one.
        count: at most as many as there are.
        models: those that will be shown the samples.
        mean, std: what pixels are normalised by, of data that gives pictures and not normalised tensors.
        class_names: in the order of the logits; None takes those that the data set knows.

    Raises:
        TypeError: samples cannot be had by their position.
        ValueError: of pictures, nobody says how they are normalised; or a sample is of another form.
    """
    if isinstance(data, Dataset):
        index_N = spread_index(count, len(data.test))
        return Samples(pictures(data.test, index_N), data.test.labels_N[index_N], data.class_names, data)
    if not hasattr(data, "__getitem__") and hasattr(data, "dataset"):  # a DataLoader
        data = data.dataset
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise TypeError(
            f"dataset: found {type(data).__name__}, wanted a data set of `load_dataset`, or one that has a length and "
            "gives (image, label) by position. Of a stream, pass a list: list(itertools.islice(stream, 64))."
        )
    chosen = [parts_of(data[n], "dataset", n) for n in spread_index(count, len(data)).tolist()]
    names = next((found for part in _inside(data) if (found := names_in(part))), None)
    names = names if class_names is None else tuple(map(str, class_names))
    if all(isinstance(image, Tensor) and image.is_floating_point() for image, _ in chosen):
        return _of_tensors(chosen, _constants(data, mean, std), names)
    if (mean is None or std is None) and any(origin_of(model).mean is None for model in models or [nn.Identity()]):
        raise ValueError(
            "mean, std: the data set gives pictures, and nobody says how the models' training normalised them. Pass "
            "mean=(...), std=(...) in units of 0..1; or give the data set the transform of the models' evaluation "
            "(ToTensor and Normalize)."
        )
    return _of_pixels(*arrays_of(chosen, "dataset", None), (mean or PLAIN[0], std or PLAIN[1]), names)


def _of_tensors(
    chosen: list[tuple[Tensor, Any]], constants: tuple[Colours, Colours] | None, names: tuple[str, ...] | None
) -> Samples:
    if len({image.shape for image, _ in chosen}) > 1 or chosen[0][0].ndim != 3:
        shapes = sorted({tuple(image.shape) for image, _ in chosen})[:4]
        raise ValueError(
            f"dataset: found images of shapes {shapes}, wanted one (C, H, W): add Resize to its transform."
        )
    tensors_NCHW = torch.stack([image for image, _ in chosen]).detach().cpu()
    labels_N = torch.tensor([int(label) for _, label in chosen])
    mean, std = constants or PLAIN
    channels = tensors_NCHW.shape[1]
    mean_C11, std_C11 = (torch.tensor(values[:channels]).view(-1, 1, 1) for values in (mean, std))
    pixels_NCHW = (tensors_NCHW * std_C11 + mean_C11).double() if channels in (1, 3) else tensors_NCHW[:, :1].double()
    known = channels == 3 and -0.01 <= pixels_NCHW.min() <= pixels_NCHW.max() <= 1.01
    if not known:  # something to look at all the same
        low, high = pixels_NCHW.amin(), pixels_NCHW.amax()
        pixels_NCHW = (pixels_NCHW - low) / (high - low).clamp_min(1e-9)
    shown_NHWC = (255 * pixels_NCHW).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    if known and shown_NHWC.shape[1] == shown_NHWC.shape[2]:
        return _of_pixels(shown_NHWC, labels_N, (mean, std), names)
    return Samples(shown_NHWC, labels_N, names, tensors_NCHW=tensors_NCHW)


def _of_pixels(
    pixels_NHWC: Tensor, labels_N: Tensor, constants: tuple[Colours, Colours], names: tuple[str, ...] | None
) -> Samples:
    split = ArraySplit(pixels_NHWC, labels_N.to(torch.int64))
    dataset = Dataset("samples", split, None, split, names or ("?", "??"), *constants)
    return Samples(pixels_NHWC, split.labels_N, names, dataset)


def _constants(data: Any, mean: Colours | None, std: Colours | None) -> tuple[Colours, Colours] | None:
    """What tensors were normalised by: as given, or as a Normalize among the data set's transforms says."""
    if mean is not None and std is not None:
        return mean, std
    for part in _inside(data):
        transform = getattr(part, "transform", None)
        for step in getattr(transform, "transforms", [transform]):
            if getattr(step, "mean", None) is not None and getattr(step, "std", None) is not None:
                return _colours(step.mean), _colours(step.std)
    return None


def _colours(values: Any) -> Colours:
    red, green, blue = np.broadcast_to(np.asarray(values, dtype=float).ravel(), 3).tolist()
    return red, green, blue


def _inside(data: Any) -> Iterator[Any]:
    """A data set, and those that it is a part of."""
    while data is not None:
        yield data
        data = getattr(data, "dataset", None)
