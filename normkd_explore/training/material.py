"""What students learn from: the device, the data, the teacher, the digests of both, and the network they begin as."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from normkd_explore.data import Dataset, load_dataset
from normkd_explore.models import adapt
from normkd_explore.models.origin import origin_of
from normkd_explore.notices import notice
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.compiling import require_compiler
from normkd_explore.training.machine.fabric import make_fabric
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.runs.inputs import Inputs, describe_inputs
from normkd_explore.training.runs.leak import Trust, validation_trust, warning
from normkd_explore.training.teacher.frozen import Teacher
from normkd_explore.training.teacher.provenance import load_for, settled, tell_of_change
from normkd_explore.training.teacher.sources import load_teacher, new_student, weights_file, weights_place
from normkd_explore.training.where import Where, teacher_folder
from normkd_explore.training.worth_compiling import choose_compile

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Material:
    """What students learn from, and what computes."""

    recipes: list[Recipe]
    """What is to be trained, with nothing left open."""
    fabric: Fabric
    where: Where
    dataset: Dataset
    teacher: Teacher | None
    """None where no recipe has one."""
    inputs: list[Inputs]
    """Digests of data and teacher, one for each recipe; a recipe without teacher has none of it."""
    trust: Trust | None = None
    """Whether the teacher has learned the validation images; None without such images or without a teacher."""
    student: nn.Module | None = None
    """The network that every student begins as; None where the recipes name theirs."""

    def new_student(self, recipe: Recipe) -> nn.Module:
        """A student at its first step: a copy of the one handed over, given weights, or fresh ones from the seed."""
        return _new_student(recipe, self.dataset, self.where, self.student)


def _new_student(recipe: Recipe, dataset: Dataset, where: Where, given: nn.Module | None) -> nn.Module:
    if given is not None:
        return adapt(copy.deepcopy(given)).requires_grad_(True)
    if where.student_weights is not None:
        path = weights_file(where.student_weights)
        model = load_for(dataset, recipe.student, path, "student")
        tell_of_change(dataset, model, f"student: {path}")
        return model
    return new_student(recipe.student, dataset.num_classes, recipe.seed)


def open_dataset(recipe: Recipe, root: Path | None = None) -> Dataset:
    """The data set of a recipe, in `root` or in its usual place."""
    options = dict(recipe.data_options)
    if recipe.image_size:
        options["image_size"] = recipe.image_size
    return load_dataset(recipe.dataset, root=root, protocol=recipe.protocol, **options)


def _opened(recipe: Recipe, where: Where) -> Dataset:
    """The data set of a recipe; what was found on the disk, and what of it is left out, is said before training."""
    dataset = processes.one_by_machine(lambda: open_dataset(recipe, where.data_root))
    if dataset.account:
        processes.say_once(dataset.describe())
    return dataset


def gather(
    recipes: list[Recipe],
    where: Where,
    dataset: Dataset | None = None,
    teacher: nn.Module | None = None,
    student: nn.Module | None = None,
) -> Material:
    """Open the device, the data and the teacher, and describe what was found; what is given wins over names."""
    lead = recipes[0]
    fabric = make_fabric(where.device, lead.precision)
    if lead.compile is True:
        require_compiler(fabric.device)
    processes.announce([recipe.method for recipe in recipes], lead.batch_size)
    data = dataset or _opened(lead, where)
    if lead.compile == "auto":
        chosen = choose_compile(recipes, data, fabric, lambda recipe: _new_student(recipe, data, where, student))
        recipes = [replace(recipe, compile=chosen) for recipe in recipes]
    frozen = processes.one_by_machine(lambda: _open_teacher(recipes, data, where, fabric, teacher))
    inputs = processes.share(lambda: _inputs(recipes, data, frozen))
    trust = _trust(recipes, data, frozen, where, inputs[0], teacher is not None)
    return Material(recipes, fabric, where, data, frozen, inputs, trust, student)


def _open_teacher(
    recipes: list[Recipe], dataset: Dataset, where: Where, fabric: Fabric, given: nn.Module | None
) -> Teacher | None:
    recipe = next((recipe for recipe in recipes if recipe.teacher), None)
    if recipe is None or recipe.teacher is None:
        return None
    if given is None:
        places = (where.teacher_weights, teacher_folder(recipe, where))
        model = load_teacher(recipe.teacher, dataset, *places, where.teacher_ema)
    else:
        model = adapt(copy.deepcopy(given))
        if origin_of(model).class_names is not None:
            settled(model, dataset, "teacher: the network that was handed over")
    _tell_of_size(model, dataset)
    return Teacher(model, fabric, recipe.compile is True, (dataset.mean, dataset.std))


def _tell_of_size(model: nn.Module, dataset: Dataset) -> None:
    known = origin_of(model).image_size
    if known not in (None, dataset.image_size):
        processes.say_once(
            f"teacher: trained on pictures of {known}x{known} pixels, and is shown {dataset.image_size}x"
            f"{dataset.image_size} here: it may answer worse."
        )


def _trust(
    recipes: list[Recipe], dataset: Dataset, teacher: Teacher | None, where: Where, inputs: Inputs, given: bool
) -> Trust | None:
    """Ask, and say before training what is wrong with choosing on the validation images."""
    recipe = next((recipe for recipe in recipes if recipe.teacher), None)
    if recipe is None or recipe.teacher is None or teacher is None:
        return None
    places = (where.teacher_weights, teacher_folder(recipe, where))
    weights = "handed over" if given else weights_place(recipe.teacher, dataset, *places)
    trust = validation_trust(dataset, teacher, weights, inputs)
    if (text := warning(trust)) and processes.first():
        notice(text)
    return trust


def _inputs(recipes: list[Recipe], dataset: Dataset, teacher: Teacher | None) -> list[Inputs]:
    """Each recipe's, without the teacher where it needs none."""
    inputs = describe_inputs(dataset, teacher)
    return [inputs if recipe.teacher else {**inputs, "teacher": None} for recipe in recipes]
