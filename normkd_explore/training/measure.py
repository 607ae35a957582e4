"""Accuracy of a finished run, or of any checkpoint file, on a split of a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from normkd_explore.data import Dataset, load_dataset, make_batches
from normkd_explore.data.catalog import FIXED_SIZE
from normkd_explore.models.origin import read_origin
from normkd_explore.training.evaluate import evaluate
from normkd_explore.training.machine.fabric import make_fabric
from normkd_explore.training.machine.processes import say_once
from normkd_explore.training.material import open_dataset
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.inputs import data_digest
from normkd_explore.training.teacher.provenance import as_trained, load_for
from normkd_explore.training.teacher.sources import weights_file


def measure(
    run: Path,
    model: str | None = None,
    dataset: str | None = None,
    data_root: Path | None = None,
    split: str = "test",
    device: str = "auto",
    image_size: int | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Loss, top-1, top-5 and n of a run folder (which knows its model and data) or of a checkpoint file.

    A checkpoint file needs `model` and `dataset`. A ValueError says which one is missing.
    """
    fabric = make_fabric(device)
    name, network, data = open_trained(run, model, dataset, data_root, image_size, tell=True)
    network = network.to(fabric.device).to(memory_format=torch.channels_last)
    batches = make_batches(data, split, 256, augment=False, device=fabric.device, workers=workers)
    return {"model": name, "dataset": data.name, **evaluate(network, batches.epoch(0))}


def open_trained(
    run: Path,
    model: str | None = None,
    dataset: str | None = None,
    data_root: Path | None = None,
    image_size: int | None = None,
    tell: bool = False,
) -> tuple[str, nn.Module, Dataset]:
    """The name and the network of a run folder or checkpoint file, and data for it: see `measure`.

    The classes are in the order of the network's outputs, pixels are normalised and pictures sized as in its training,
    whatever the folder of the data would say by itself.

    Args:
        tell: whether to say where the data is not that of the training; its digest takes a while.

    Raises:
        ValueError: the network knows other classes than the data has, or an argument is missing.
    """
    recipe = RunFolder(run).recipe() if run.is_dir() else None
    weights = weights_file(run)
    if recipe is None:
        name, data_name = _named(run, "--model", model), _named(run, "--dataset", dataset)
    else:
        name, data_name = model or recipe.student, dataset or recipe.dataset
    origin = read_origin(weights)
    size = image_size or (None if data_name in FIXED_SIZE else origin.image_size)
    if recipe is None or dataset:
        data = load_dataset(data_name, root=data_root, image_size=size)
    else:
        data = open_dataset(replace(recipe, image_size=size or recipe.image_size), data_root)
    network = load_for(data, name, weights, "model")
    if tell and origin.data and data_digest(data) != origin.data:
        say_once(f"model: {weights} was trained with other data (images, splits, sizes or classes are not the same).")
    return name, network, as_trained(data, network, f"model: {weights}")


def _named(run: Path, option: str, name: str | None) -> str:
    if name is None:
        raise ValueError(
            f"{option}: found nothing, wanted a name: {run} is a file, and a file does not say what it belongs to."
        )
    return name
