"""What weights belong to: classes and their order, the normalisation of pixels, the data. It travels in their file.

A network's output c means the class that it was trained to call c, on pixels normalised as they were then. Neither is
to be seen in the tensors: the same count of classes in another order fits, and is wrong in silence.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normkd_explore.files.regular import require_regular
from normkd_explore.files.tensors import read_metadata

from .errors import CheckpointError
from .wrapped import bare

Triple = tuple[float, float, float]
SHOWN = 5


@dataclass(frozen=True)
class Origin:
    """What is known of the training that made some weights; None for what the file does not say."""

    class_names: tuple[str, ...] | None = None
    """In the order of the outputs."""
    mean: Triple | None = None
    """With `std`, in units of 0..1: the network was shown (pixel / 255 - mean) / std."""
    std: Triple | None = None
    image_size: int | None = None
    data: str | None = None
    """Digest of the data set (see `normkd_explore.training.runs.inputs`)."""

    def texts(self) -> dict[str, str]:
        """As a file's header holds it."""
        return {name: json.dumps(value) for name, value in vars(self).items() if value is not None}


UNKNOWN = Origin()


def read_origin(path: str | Path) -> Origin:
    """What a weight file says of its training; `UNKNOWN` for one that was not written by this package.

    Raises:
        CheckpointError: it says something that makes no sense.
    """
    try:
        require_regular(path)
        with open(path, "rb") as file:
            safetensors = file.read(9)[8:] == b"{"
        texts = read_metadata(Path(path)) if safetensors else {}
    except OSError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} is a truncated or corrupt safetensors file ({error}). Fetch it or write it again."
        ) from error
    try:
        return _checked({name: json.loads(texts[name]) for name in vars(UNKNOWN) if name in texts})
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} has a header that makes no sense ({error}): it was damaged or changed. Fetch it or write it again."
        ) from error


def _checked(values: Mapping[str, Any]) -> Origin:
    names = values.get("class_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise TypeError("class_names should be a list of names")
    if names is not None and len(set(names)) != len(names):
        raise ValueError("class_names holds a name twice")
    triples: dict[str, Triple] = {}
    for key in ("mean", "std"):
        triple = values.get(key)
        if triple is not None:
            numbers = [float(value) for value in triple]
            if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
                raise ValueError(f"{key} should be three numbers")
            triples[key] = (numbers[0], numbers[1], numbers[2])
    if len(triples) == 1 or min(triples.get("std", (1.0,))) <= 0:
        raise ValueError("mean and std should be there together, std above 0")
    size = values.get("image_size")
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError("image_size should be a number of pixels")
    data = None if values.get("data") is None else str(values["data"])
    return Origin(None if names is None else tuple(names), triples.get("mean"), triples.get("std"), size, data)


def origin_of(model: nn.Module) -> Origin:
    """What is known of the weights that `load_checkpoint` put into a network."""
    return getattr(bare(model), "_origin", UNKNOWN)


def remember_origin(model: nn.Module, origin: Origin) -> None:
    """Let a network know what its weights belong to."""
    vars(bare(model))["_origin"] = origin


def class_order(origin: Origin, class_names: Sequence[str], who: str, way_out: str = "") -> list[int] | None:
    """Where the outputs for `class_names` are among those of the weights; None where they are in place, or unknown.

    Args:
        class_names: the classes of the data, in their order.
        who, way_out: what the weights are and what to do, for the message.

    Raises:
        ValueError: the weights know other classes.
    """
    known = origin.class_names
    if known is None or known == tuple(class_names):
        return None
    here, there = set(class_names), set(known)
    if here != there:
        only = [("only the data has", sorted(here - there)), ("only the weights know", sorted(there - here))]
        told = "; ".join(f"{whose} {_some(names)}" for whose, names in only if names)
        raise ValueError(f"{who} was trained on other classes: {told}. {way_out}".rstrip())
    place = {name: i for i, name in enumerate(known)}
    return [place[name] for name in class_names]


@torch.no_grad()
def reorder_classes(model: nn.Module, order: Sequence[int], image_size: int) -> None:
    """Permute a network's last layer, so that output c is what output ``order[c]`` was.

    Args:
        model: the network.
        order: a permutation of its outputs.
        image_size: pixels of a picture that it can be shown: whether the outputs are permuted is measured on noise.

    Raises:
        ValueError: no layer was found whose rows are the outputs; the network is left as it was.
    """
    model = bare(model)
    image_BCHW = _noise(model, image_size)
    was_training = model.training
    before_BC = model.eval()(image_BCHW)[:, list(order)]
    for parameters in _heads(model, len(order)):
        saved = [parameter.clone() for parameter in parameters]
        for parameter in parameters:
            parameter.copy_(parameter[list(order)])
        if torch.allclose(model(image_BCHW), before_BC, rtol=1e-4, atol=1e-5):
            model.train(was_training)
            return
        for parameter, value in zip(parameters, saved, strict=True):
            parameter.copy_(value)
    model.train(was_training)
    raise ValueError(
        f"{type(model).__name__}: found no last layer whose rows are the classes, to put these in another order."
    )


def _heads(model: nn.Module, classes: int) -> list[list[nn.Parameter]]:
    """Parameters of the layers with a row for each class, the last layer first."""
    layers = [list(module.parameters(recurse=False)) for module in model.modules()]
    return [own for own in reversed(layers) if own and all(value.ndim and len(value) == classes for value in own)]


def _noise(model: nn.Module, image_size: int) -> Tensor:
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, image_size, image_size, generator=generator).to(parameter.device, parameter.dtype)


def _some(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
