"""Whether validation images are news to the teacher. If it has learned them, choosing on them favours its imitators.

Students never see these images, but a student that imitates a teacher carries the teacher's memory of them over: the
better it imitates, the more. So a method, a setting or an epoch chosen on such a split is chosen for imitation.

What is known is taken from the teacher's run folder. Of other weights it is measured: a teacher that reads its
validation images as well as its training images, and clearly better than the test split, has most likely learned them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.files.records import RecordError
from normkd_explore.training.machine import processes
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.inputs import Inputs, read_inputs
from normkd_explore.training.runs.report import DISTRUSTED
from normkd_explore.training.teacher.frozen import Teacher

IMAGES = 1_000  # of each split that are looked at: a standard error of at most 1.6 points
FEWEST = 200  # fewer validation images say nothing either way
SURE = 4.0  # standard errors between validation and test that count as clearly better
NEAR = 2.0  # standard errors between validation and training that count as alike

Trust = dict[str, Any]
"""{"verdict": "clean" | "learned" | "suspect" | "unknown", "why": a sentence, and what was measured}"""


def validation_trust(dataset: Dataset, teacher: Teacher | None, weights: Path | str, inputs: Inputs) -> Trust | None:
    """What is known of the teacher and the validation split; None where there is no such split or no teacher.

    Args:
        weights: where the teacher's weights are from, as `weights_place` says.
        inputs: digests of the data of this run (see `inputs`).
    """
    if dataset.val is None or teacher is None:
        return None
    return _recorded(weights, dataset, inputs) or _measured(dataset, teacher)


def warning(trust: Trust | None) -> str | None:
    """A line for the user where the split is not to be trusted, else None."""
    if trust is None or trust["verdict"] not in DISTRUSTED:
        return None
    return (
        f"val: {trust['why']} What is chosen on val (an epoch, a method, a setting) favours students that imitate this "
        "teacher most. Choose by the last epoch, or train a teacher with `normkd teacher`, which leaves val out."
    )


def _recorded(weights: Path | str, dataset: Dataset, inputs: Inputs) -> Trust | None:
    """What is known of where the weights are from, the teacher's own run folder above all."""
    if weights == "package":
        return {"verdict": "clean", "why": "The teacher that comes with this package never saw these images."}
    if weights == "torchvision":
        held = "val is held out of the training images" in dataset.notes
        why = "torchvision's weights were trained on all training images, and val is held out of them."
        return {"verdict": "learned", "why": why} if held else None
    weights = Path(weights)
    folder = RunFolder(weights if weights.is_dir() else weights.parent)
    if not (folder.path / "config.yaml").exists():
        return None
    try:
        same_data, protocol = read_inputs(folder.path).get("data") == inputs.get("data"), folder.recipe().protocol
    except RecordError:  # damaged, or another program's config.yaml: they say nothing
        return None
    if same_data and protocol == "holdout":
        return {"verdict": "clean", "why": "The teacher was trained here, on the same split, without these images."}
    if not same_data and protocol == "paper":
        return {"verdict": "learned", "why": "The teacher was trained with protocol paper, on these images too."}
    return None


def _measured(dataset: Dataset, teacher: Teacher) -> Trust:
    named = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    splits = {name: split for name, split in named.items() if isinstance(split, ArraySplit)}
    if len(splits) < len(named) or len(splits["val"]) < FEWEST:
        return {"verdict": "unknown", "why": "Nothing says what the teacher was trained on."}
    read = processes.share(lambda: {name: _top1(dataset, split, teacher) for name, split in splits.items()})
    top1, counts = {name: share for name, (share, _) in read.items()}, {name: n for name, (_, n) in read.items()}
    better = _standard_errors(top1["val"], counts["val"], top1["test"], counts["test"])
    apart = _standard_errors(top1["train"], counts["train"], top1["val"], counts["val"])
    found = {"top1": top1, "images": counts}
    if better > SURE and apart < NEAR:
        told = (
            f"the teacher reads {100 * top1['val']:.1f} % of the validation images, {100 * top1['train']:.1f} % of the "
            f"training images and {100 * top1['test']:.1f} % of the test split: it has most likely learned them."
        )
        return {"verdict": "suspect", "why": told, **found}
    return {"verdict": "unknown", "why": "Nothing says what the teacher was trained on; no sign of a leak.", **found}


@torch.no_grad()
def _top1(dataset: Dataset, images: ArraySplit, teacher: Teacher) -> tuple[float, int]:
    """Share of right answers among up to `IMAGES` images, evenly spaced and as they are, and their number."""
    chosen = torch.linspace(0, len(images) - 1, min(IMAGES, len(images))).long()
    device = teacher.fabric.device
    right = 0
    for part in chosen.split(256):
        pixels_BCHW = dataset.normalize(images.images_NHWC[part]).to(device)
        right += int((teacher.evaluate(pixels_BCHW).argmax(1).cpu() == images.labels_N[part]).sum())
    return right / len(chosen), len(chosen)


def _standard_errors(one: float, n_one: int, other: float, n_other: int) -> float:
    """How many standard errors of their difference `one` lies above `other`."""
    variance = one * (1 - one) / n_one + other * (1 - other) / n_other
    return (one - other) / math.sqrt(variance) if variance else math.copysign(math.inf, one - other) * (one != other)
