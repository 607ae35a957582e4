"""Where networks come from: the teacher's weights by name, file or run folder, and a student's first weights."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from torch import nn

from normkd_explore.data import Dataset
from normkd_explore.files.records import read_json, unsealed
from normkd_explore.files.tensors import checksum_of
from normkd_explore.models import create_model, load_checkpoint, pretrained_imagenet
from normkd_explore.models.pretrained import WITH_WEIGHTS
from normkd_explore.training.machine.processes import say_once
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.teacher.provenance import load_for

SHIPPED = {("glyphs", "resnet20"): "glyphs_resnet20.safetensors"}
"""Teachers inside the package, by data set and model; MODEL_CARD.md beside them says how they were made."""
EXAMPLES = {("glyphs", "resnet8"): "glyphs_resnet8_ce.safetensors"}
"""Students after a short training with cross-entropy: something to look at before one has trained."""
IMAGENET_CLASSES = 1000


class NamingWeights(TypedDict):
    """What is asked of the summary beside weights."""

    weights: NotRequired[dict[str, str]]


WORDNET = re.compile(r"n\d{8}")


def load_teacher(
    name: str,
    dataset: Dataset,
    weights: str | Path | None = None,
    trained: Path | None = None,
    ema: bool | None = None,
) -> nn.Module:
    """The teacher `name` with weights for `dataset`.

    `weights` is a checkpoint file or a run folder; without it the shipped teacher (glyphs), torchvision's weights
    (ImageNet with its 1,000 classes) or the run folder `trained` that `normkd teacher` left are taken, in this order.
    FileNotFoundError says how to get one. A ValueError says where the weights are for other classes; the same classes
    in another order are put in this one (see `provenance`). `ema` chooses between the weights of a file and their
    moving average (see `load_checkpoint`).
    """
    if weights is not None:
        return load_for(dataset, name, weights_file(Path(weights)), "teacher", ema)
    shipped = SHIPPED.get((dataset.name, name))
    if shipped:
        return load_checkpoint(name, _asset(shipped), num_classes=dataset.num_classes)
    pretrained = dataset.name == "imagenet" and name in WITH_WEIGHTS
    if pretrained and dataset.num_classes == IMAGENET_CLASSES:
        _check_wordnet(dataset)
        return pretrained_imagenet(name)
    if trained is not None and (trained / "student.safetensors").exists():
        return load_for(dataset, name, trained / "student.safetensors", "teacher")
    note = f"; torchvision's are for {IMAGENET_CLASSES:,} classes, this folder has {dataset.num_classes}"
    raise FileNotFoundError(
        f"teacher: found no weights of {name} for {dataset.name} (looked in {trained}{note * pretrained}). Train one "
        "with `normkd teacher PRESET`, or give a checkpoint with --teacher-weights FILE (RepDistiller and mdistiller "
        "files are read as they are)."
    )


def _check_wordnet(dataset: Dataset) -> None:
    """Say so where torchvision's order of classes, that of the sorted WordNet numbers, may be another than here."""
    if not all(WORDNET.fullmatch(name) for name in dataset.class_names):
        say_once(
            "teacher: torchvision's weights have their classes in the order of the sorted WordNet numbers (n01440764, "
            f"...), and the folders here are called otherwise ({', '.join(dataset.class_names[:3])}, ...): if their "
            "sorted names are in another order, the teacher's answers are wrong."
        )


def weights_place(name: str, dataset: Dataset, weights: str | Path | None, trained: Path | None = None) -> Path | str:
    """Where `load_teacher` takes the weights from: a path, or "package" or "torchvision"."""
    if weights is not None:
        return Path(weights)
    if (dataset.name, name) in SHIPPED:
        return "package"
    pretrained = dataset.name == "imagenet" and name in WITH_WEIGHTS and dataset.num_classes == IMAGENET_CLASSES
    return "torchvision" if pretrained or trained is None else trained


def load_example_student(recipe: Recipe, dataset: Dataset) -> nn.Module:
    """A student of the recipe's kind to look at before training: half-trained for glyphs, else with fresh weights."""
    shipped = EXAMPLES.get((dataset.name, recipe.student))
    if shipped:
        return load_checkpoint(recipe.student, _asset(shipped), num_classes=dataset.num_classes)
    return new_student(recipe.student, dataset.num_classes, recipe.seed)


def _asset(name: str) -> Path:
    return Path(str(files("normkd_explore") / "assets" / name))


def weights_file(path: Path) -> Path:
    """The weights inside a run folder, or the file itself.

    ValueError where a run folder holds other weights than its summary names; what is inside a file, its reader checks.
    """
    if path.is_dir():
        inside = path / "student.safetensors"
        if not inside.exists():
            raise FileNotFoundError(
                f"{path} has no student.safetensors: the run did not finish. Continue it with --resume, "
                "or name another run."
            )
        _check_named(inside)
        return inside
    if not path.exists():
        raise FileNotFoundError(f"weights: {path} does not exist; wanted a checkpoint file or a run folder.")
    return path


def _check_named(weights: Path) -> None:
    """ValueError unless these are the weights that the summary beside them names, or it is too old to name any."""
    path = weights.with_name("summary.json")
    if not path.exists():
        return  # killed between the two, or copied without it
    remedy = f"Delete it if {weights.name} alone matters, or let --resume of that run write both again."
    summary = unsealed(read_json(path, NamingWeights, remedy), path, remedy)
    wanted, found = summary.get("weights", {}).get(weights.name), checksum_of(weights)
    if wanted and found != wanted:
        problem = f"holds other weights than {path} names: it was put there later" if found else "is damaged or cut off"
        raise ValueError(f"{weights} {problem}. Take it from a copy, or let --resume of that run write its own again.")


def new_student(name: str, num_classes: int, seed: int) -> nn.Module:
    """A student with fresh weights that depend on `seed` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(name, num_classes=num_classes)
