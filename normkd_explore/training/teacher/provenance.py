"""Weights and data held against each other: the same classes in the same order, the normalisation of the training.

What a file says of its training is an `Origin`. What does not fit is refused, what is only permuted is put in order,
and where nobody can know, that is said: once, on stderr.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from normkd_explore.data import Dataset
from normkd_explore.models import load_checkpoint
from normkd_explore.models.errors import ClassCountError
from normkd_explore.models.origin import Origin, class_order, origin_of, read_origin, remember_origin, reorder_classes
from normkd_explore.training.machine.processes import say_once

WAY_OUT = {
    "teacher": "A teacher has to know the student's classes: train one on these images with `normkd teacher PRESET` "
    "and the same --data-root, or give weights trained on them with --teacher-weights.",
    "student": "Leave --student-weights out to begin with fresh weights.",
    "model": "Name the data that it was trained on with --data-root (and --dataset), or weights for these classes.",
}


def origin_here(dataset: Dataset, digest: str | None) -> Origin:
    """What weights trained on a data set belong to."""
    return Origin(dataset.class_names, dataset.mean, dataset.std, dataset.image_size, digest)


def load_for(dataset: Dataset, name: str, path: Path, who: str, ema: bool | None = None) -> nn.Module:
    """The network `name` with weights for the classes of a data set, in their order.

    Args:
        dataset: says which classes.
        name: of the network.
        path: the weight file.
        who: what it is, "teacher" or "model", for messages.
        ema: see `load_checkpoint`.

    Raises:
        ValueError: other classes, or another number of them; or as `load_checkpoint`.
    """
    class_order(read_origin(path), dataset.class_names, f"{who}: {path}", WAY_OUT[who])
    try:
        model = load_checkpoint(name, path, num_classes=dataset.num_classes, ema=ema)
    except ClassCountError as error:
        raise ValueError(
            f"{who}: {path} knows {error.classes:,} classes, and {dataset.name} has {dataset.num_classes:,}. "
            f"{WAY_OUT[who]}"
        ) from error
    return settled(model, dataset, f"{who}: {path}")


def settled(model: nn.Module, dataset: Dataset, who: str) -> nn.Module:
    """The network, its outputs in the order of the data set's classes; says where nobody can know the order.

    Raises:
        ValueError: its weights know other classes.
    """
    origin = origin_of(model)
    order = class_order(origin, dataset.class_names, who, WAY_OUT[who.partition(":")[0]])
    if origin.class_names is None:
        say_once(
            f"{who} does not say what classes its outputs are (only weights trained here do): nobody can check. They "
            f"are taken for the {dataset.num_classes:,} of {dataset.name} in their order, with its normalisation."
        )
    elif order is not None:
        reorder_classes(model, order, dataset.image_size)
        remember_origin(model, replace(origin, class_names=dataset.class_names))
        say_once(f"{who} has the classes of {dataset.name} in another order; its outputs were put in this one.")
    return model


def tell_of_change(dataset: Dataset, model: nn.Module, who: str) -> None:
    """Say where a network that goes on learning sees pixels normalised otherwise than before."""
    origin = origin_of(model)
    if origin.mean is not None and (origin.mean, origin.std) != (dataset.mean, dataset.std):
        say_once(
            f"{who} was trained on pixels normalised by mean {origin.mean} and std {origin.std}; from here on it sees "
            f"those of {dataset.name} ({dataset.mean}, {dataset.std}) and has to get used to them."
        )


def as_trained(dataset: Dataset, model: nn.Module, who: str) -> Dataset:
    """The data set with pixels normalised as in the network's training, where that is known."""
    origin = origin_of(model)
    if origin.mean is None or origin.std is None or (origin.mean, origin.std) == (dataset.mean, dataset.std):
        return dataset
    say_once(
        f"{who} was trained on pixels normalised by mean {origin.mean} and std {origin.std}; they are used instead of "
        f"those of {dataset.name} here ({dataset.mean}, {dataset.std})."
    )
    return replace(dataset, mean=origin.mean, std=origin.std)
