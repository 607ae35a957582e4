"""Accuracy of a finished run, or of any checkpoint file, on a split of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from normkd_explore.data import Dataset, load_dataset, make_batches
from normkd_explore.models import load_checkpoint
from normkd_explore.training.evaluate import evaluate
from normkd_explore.training.machine.fabric import make_fabric
from normkd_explore.training.prepare import open_dataset
from normkd_explore.training.runs.folder import RunFolder
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
    fabric, weights = make_fabric(device), weights_file(run)
    name, data = _subject(run, model, dataset, data_root, image_size)
    network = load_checkpoint(name, weights, num_classes=data.num_classes)
    network = network.to(fabric.device, memory_format=torch.channels_last)
    batches = make_batches(data, split, 256, augment=False, device=fabric.device, workers=workers)
    return {"model": name, "dataset": data.name, **evaluate(network, batches.epoch(0))}


def _subject(
    run: Path, model: str | None, dataset: str | None, root: Path | None, image_size: int | None
) -> tuple[str, Dataset]:
    if run.is_dir():
        recipe = RunFolder(run).recipe()
        data = load_dataset(dataset, root=root, image_size=image_size) if dataset else open_dataset(recipe, root)
        return model or recipe.student, data
    for option, value in (("--model", model), ("--dataset", dataset)):
        if value is None:
            raise ValueError(
                f"{option}: found nothing, wanted a name: {run} is a file, and a file does not say what it belongs to."
            )
    return model, load_dataset(dataset, root=root, image_size=image_size)
