"""Whether every method can be computed and every image be read, asked before a folder is made.

Some losses need three classes, some networks hand out no features: that would end a run at its first step, after the
folders of all runs were begun. A damaged test image would end it after its last.
"""

from __future__ import annotations

from functools import partial

import torch

from normkd_explore.data import Dataset, FileSplit
from normkd_explore.data.images.readable import require_readable
from normkd_explore.feature_losses.couple import introduce
from normkd_explore.methods import get_method
from normkd_explore.training.machine import processes
from normkd_explore.training.material import Material
from normkd_explore.training.objective import Objective
from normkd_explore.training.recipes.recipe import Recipe

ROWS = 8
MANY = 2000  # images whose reading takes a while


def check_methods(recipes: list[Recipe], material: Material) -> None:
    """ValueError, naming the method, where its loss refuses these classes or these networks.

    Weights that students are to begin with are looked at too: they may be for other classes.
    """
    if material.where.student_weights is not None:
        material.new_student(recipes[0])
    for recipe in recipes:
        try:
            with torch.random.fork_rng(devices=[]):
                _try(recipe, material)
        except ValueError as error:
            raise ValueError(f"method {recipe.method} on {material.dataset.name}: {error}") from error


def check_pictures(dataset: Dataset) -> None:
    """ValueError, naming them, where validation or test images in files are damaged: each is read once."""
    found = {name: split for name in ("val", "test") if isinstance(split := getattr(dataset, name), FileSplit)}
    count = sum(map(len, found.values()))
    if count >= MANY:
        processes.say_once(f"reading the {count:,} {' and '.join(found)} images once, to see that none is damaged")
    for name, split in found.items():
        processes.share(partial(require_readable, split, name))


def _try(recipe: Recipe, material: Material) -> None:
    dataset, teacher = material.dataset, material.teacher
    if get_method(recipe.method).needs_features:
        if teacher is not None:
            introduce(material.new_student(recipe), teacher.model, dataset.image_size, dataset.train.labels_N)
        return
    shown = teacher.model if teacher is not None else None
    rows, classes = min(ROWS, max(1, recipe.batch_size // processes.size())), dataset.num_classes
    logits_s, logits_t = torch.randn(2, rows, classes)
    objective = Objective(recipe.method, recipe.settings, recipe.epochs, seed=recipe.seed, teacher=shown)
    objective(logits_s.requires_grad_(), logits_t, torch.arange(rows) % classes, epoch=1)
