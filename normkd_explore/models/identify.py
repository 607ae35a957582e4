"""Recognising networks of the zoo by the names and shapes of their tensors."""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from .respelling import respelled
from .zoo import create_model, list_models

Shapes = dict[str, tuple[int, ...]]


def guess_model(state: Mapping[str, Tensor]) -> tuple[str, int] | None:
    """Name and number of classes of the network of list_models() whose tensors these are; None if there is none.

    Every name and shape must agree; only the number of classes is free, and the batch counters of batch norm
    may be missing, as in very old files.
    """
    found = {key: tuple(value.shape) for key, value in state.items()}
    for name in list_models():
        wanted, heads = signature(name)
        names = respelled(found, wanted)
        shapes = {names[key]: shape for key, shape in found.items()}
        classes = {shapes[key][0] for key in heads if shapes.get(key)}
        if len(classes) == 1 and _agree(shapes, wanted, heads):
            return name, classes.pop()
    return None


def closest_model(state: Mapping[str, Tensor]) -> str | None:
    """Name of the network of list_models() that shares most tensors with these, if it shares more than half."""
    shapes = {(key, tuple(value.shape)) for key, value in state.items()}

    def overlap(name: str) -> float:
        wanted = set(signature(name)[0].items())
        return len(shapes & wanted) / len(shapes | wanted)

    best = max(list_models(), key=overlap)
    return best if overlap(best) > 0.5 else None


@cache
def signature(name: str) -> tuple[Shapes, tuple[str, ...]]:
    """Shapes of all tensors for two classes, and the names of those tensors that grow with the number of classes."""
    two, three = _shapes(name, 2), _shapes(name, 3)
    return two, tuple(key for key in two if two[key] != three[key])


def _shapes(name: str, num_classes: int) -> Shapes:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in create_model(name, num_classes).state_dict().items()}


def _agree(shapes: Shapes, wanted: Shapes, heads: tuple[str, ...]) -> bool:
    if shapes.keys() - wanted.keys() or not counters_only(wanted.keys() - shapes.keys()):
        return False
    return all(shape[1:] == wanted[key][1:] if key in heads else shape == wanted[key] for key, shape in shapes.items())


def counters_only(keys: set[str]) -> bool:
    """Whether these are all batch counters, which do not enter what a network computes."""
    return all(key.endswith("num_batches_tracked") for key in keys)
