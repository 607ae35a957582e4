"""Presets: DATASET/TEACHER-STUDENT names the published recipe of that pair, ready to run."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any

from normkd_explore.methods import CIFAR100_PAIRS, IMAGENET_PAIRS, Settings, get_method, settings_for
from normkd_explore.models import list_models
from normkd_explore.training.recipes.recipe import Recipe

DEFAULT_PRESET = "glyphs/resnet20-resnet8"
SLOW_STUDENTS = (
    "MobileNetV2",
    "ShuffleV1",
    "ShuffleV2",
)  # trained with a fifth of the learning rate, as published

_GLYPHS: dict[str, Any] = {"dataset": "glyphs", "epochs": 5, "batch_size": 64, "lr": 0.1, "schedule": "one_cycle"}
_CIFAR: dict[str, Any] = {"epochs": 240, "batch_size": 64, "lr": 0.05, "milestones": (150, 180, 210)}
_IMAGENET: dict[str, Any] = {
    "dataset": "imagenet",
    "epochs": 100,
    "batch_size": 512,
    "lr": 0.2,
    "milestones": (30, 60, 90),
    "weight_decay": 1e-4,
}
_FOLDER: dict[str, Any] = {
    "dataset": "imagefolder",
    "epochs": 30,
    "batch_size": 64,
    "lr": 0.05,
    "schedule": "one_cycle",
}

LESSON_EPOCHS = 3
LESSON_BATCH = 32  # more updates in the same time: at this length they decide
LESSON_DATA = {"train_size": 2400, "val_size": 400, "test_size": 1000}


def list_presets() -> list[str]:
    """All named presets; folder/TEACHER-STUDENT takes any two models besides."""
    cifar = [f"cifar100/{teacher}-{student}" for teacher, student in CIFAR100_PAIRS]
    imagenet = [f"imagenet/{teacher}-{student}" for teacher, student in IMAGENET_PAIRS]
    return [DEFAULT_PRESET, *cifar, *imagenet]


def get_preset(name: str, method: str = "normkd", seed: int = 0) -> Recipe:
    """The recipe of preset `name` with `method`.

    `name` is DATASET/TEACHER-STUDENT. Data sets: glyphs, cifar100 and cifar10 (the CIFAR recipe of the
    RepDistiller/mdistiller family: 240 epochs, batch 64), imagenet (100 epochs, batch 512), folder (the user's own
    images). Any two models are accepted; `list_presets` gives the pairs whose settings were published.
    """
    dataset, teacher, student = parse_preset(name)
    base = {"glyphs": _GLYPHS, "imagenet": _IMAGENET, "folder": _FOLDER}.get(dataset, {"dataset": dataset, **_CIFAR})
    recipe = Recipe(
        preset=name,
        student=student,
        teacher=teacher if get_method(method).needs_teacher else None,
        method=method,
        settings=settings_for(method, dataset, teacher, student),
        seed=seed,
        **base,
    )
    slow = student in SLOW_STUDENTS and recipe.schedule == "step"
    return replace(recipe, lr=0.01) if slow else recipe


def teacher_recipe(name: str, seed: int = 0) -> Recipe:
    """The recipe that trains the teacher of preset `name`: the same solver, cross-entropy alone."""
    dataset, teacher, _ = parse_preset(name)
    recipe = get_preset(f"{dataset}/{teacher}-{teacher}", method="ce", seed=seed)
    source = "the same recipe without a teacher"
    return replace(recipe, preset=name, settings=Settings(kd_weight=0.0, source=source))


def lesson(recipe: Recipe) -> Recipe:
    """The recipe cut to what two CPU cores do in some fifteen seconds a student; only glyphs recipes are cut.

    A lesson is for seeing an effect, not for measuring it: the published tables need the whole recipe.
    """
    if recipe.dataset != "glyphs":
        return recipe
    options = {**recipe.data_options, **LESSON_DATA}
    return replace(recipe.with_epochs(LESSON_EPOCHS), batch_size=LESSON_BATCH, data_options=options)


def parse_preset(name: str) -> tuple[str, str, str]:
    """Split DATASET/TEACHER-STUDENT; a ValueError says what does not fit and what comes close."""
    dataset, slash, pair = name.partition("/")
    if dataset not in ("glyphs", "cifar10", "cifar100", "imagenet", "folder") or not slash:
        close = difflib.get_close_matches(name, list_presets(), n=3, cutoff=0.4)
        hint = f" Close to it: {', '.join(close)}." if close else ""
        raise ValueError(
            f"preset: found {name!r}, wanted DATASET/TEACHER-STUDENT with glyphs, cifar10, cifar100, imagenet or "
            f"folder as DATASET, e.g. {DEFAULT_PRESET}.{hint} `normkd presets` lists them."
        )
    return dataset, *_split_pair(name, pair)


def _split_pair(name: str, pair: str) -> tuple[str, str]:
    """Split TEACHER-STUDENT at the one hyphen that leaves two known models (timm names may hold hyphens too)."""
    parts = pair.split("-")
    splits = [("-".join(parts[:i]), "-".join(parts[i:])) for i in range(1, len(parts))]
    known = set(list_models())
    for teacher, student in splits:
        if all(model in known or model.startswith("timm:") for model in (teacher, student)):
            return teacher, student
    unknown = [part for part in parts if part not in known]
    close = [match for part in unknown for match in difflib.get_close_matches(part, known, n=2)]
    hint = f" Close to it: {', '.join(dict.fromkeys(close))}." if close else ""
    raise ValueError(f"preset: {name!r} does not name two known models as TEACHER-STUDENT.{hint}")
