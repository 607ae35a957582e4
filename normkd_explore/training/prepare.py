"""Before the first step: the data, the teacher and their digests, then batches, cached logits and fresh students."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from normkd_explore.data import Batches, Dataset, load_dataset, make_batches
from normkd_explore.feature_losses.couple import introduce
from normkd_explore.methods import get_method
from normkd_explore.models import adapt
from normkd_explore.models.origin import origin_of
from normkd_explore.training.last_step import check_last_step
from normkd_explore.training.leak import Trust, validation_trust, warning
from normkd_explore.training.learner import Learner
from normkd_explore.training.lockstep import label
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.compiling import require_compiler
from normkd_explore.training.machine.fabric import make_fabric
from normkd_explore.training.provenance import settled
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.run import Run
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.folders import start
from normkd_explore.training.runs.inputs import Inputs, describe_inputs
from normkd_explore.training.teacher.frozen import Teacher
from normkd_explore.training.teacher.sources import load_teacher, new_student, weights_place
from normkd_explore.training.where import Where, teacher_folder

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Material:
    """What students learn from, and what computes."""

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
        """A student at its first step: a copy of the one handed over, or fresh weights from the recipe's seed."""
        if self.student is None:
            return new_student(recipe.student, self.dataset.num_classes, recipe.seed)
        return adapt(copy.deepcopy(self.student)).requires_grad_(True)


@dataclass(frozen=True)
class Student:
    """One student that is to be trained."""

    recipe: Recipe
    folder: RunFolder
    inputs: Inputs


@dataclass(frozen=True)
class Prepared:
    """Everything that the loop needs but the learners."""

    students: list[Student]
    material: Material
    batches: Batches
    guide: Teacher | None
    """Whom the loop asks about each batch: the teacher, or one that reads its logits from the cache."""

    @property
    def recipes(self) -> list[Recipe]:
        return [student.recipe for student in self.students]

    @property
    def folders(self) -> list[RunFolder]:
        return [student.folder for student in self.students]


def open_dataset(recipe: Recipe, root: Path | None) -> Dataset:
    """The data set of a recipe."""
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
    if lead.compile:
        require_compiler(fabric.device)
    processes.announce([recipe.method for recipe in recipes], lead.batch_size)
    data = dataset or _opened(lead, where)
    frozen = processes.one_by_machine(lambda: _open_teacher(recipes, data, where, fabric, teacher))
    inputs = processes.share(lambda: _inputs(recipes, data, frozen))
    trust = _trust(recipes, data, frozen, where, inputs[0], teacher is not None)
    return Material(fabric, where, data, frozen, inputs, trust, student)


def prepare(students: list[Student], material: Material) -> Prepared:
    """The training batches and the teacher of these students, with cached logits where that was asked for."""
    recipes = [student.recipe for student in students]
    lead, dataset = recipes[0], material.dataset
    batches = make_batches(
        dataset,
        "train",
        lead.batch_size,
        augment=True,
        seed=lead.batch_seed,
        device=material.fabric.device,
        workers=material.where.workers,
        rank=processes.rank(),
        world_size=processes.size(),
    )
    check_last_step(recipes, dataset, batches.schedule, material.new_student)
    guide, batches = _use_cache(recipes, material, batches)
    return Prepared(students, material, batches, guide)


def open_runs(prepared: Prepared, resume: bool) -> list[Run]:
    """Start the run folders, or check that they can go on, and make a learner for each."""
    recipes, folders, material = prepared.recipes, prepared.folders, prepared.material
    inputs = [student.inputs for student in prepared.students]
    processes.share(lambda: start(recipes, folders, resume, inputs, str(material.fabric.device)))
    steps = len(prepared.batches)
    return [
        Run(label(recipe, recipes), _learner(recipe, material, steps), folder if processes.first() else None)
        for recipe, folder in zip(recipes, folders, strict=True)
    ]


def _open_teacher(
    recipes: list[Recipe], dataset: Dataset, where: Where, fabric: Fabric, given: nn.Module | None
) -> Teacher | None:
    recipe = next((recipe for recipe in recipes if recipe.teacher), None)
    if recipe is None:
        return None
    if given is None:
        model = load_teacher(recipe.teacher, dataset, where.teacher_weights, teacher_folder(recipe, where))
    else:
        model = adapt(copy.deepcopy(given))
        if origin_of(model).class_names is not None:
            settled(model, dataset, "teacher: the network that was handed over")
    _tell_of_size(model, dataset)
    return Teacher(model, fabric, recipe.compile, (dataset.mean, dataset.std))


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
    recipe = next((recipe for recipe in recipes if recipe.teacher), recipes[0])
    places = (where.teacher_weights, teacher_folder(recipe, where))
    weights = "handed over" if given else weights_place(recipe.teacher, dataset, *places)
    trust = validation_trust(dataset, teacher, weights, inputs) if teacher else None
    if (text := warning(trust)) and processes.first():
        print(text, file=sys.stderr, flush=True)
    return trust


def _inputs(recipes: list[Recipe], dataset: Dataset, teacher: Teacher | None) -> list[Inputs]:
    """Each recipe's, without the teacher where it needs none."""
    inputs = describe_inputs(dataset, teacher)
    return [inputs if recipe.teacher else {**inputs, "teacher": None} for recipe in recipes]


def _use_cache(recipes: list[Recipe], material: Material, batches: Batches) -> tuple[Teacher | None, Batches]:
    """The teacher and the batches of the loop; no teacher where none of these recipes has one."""
    teacher, cache = material.teacher, material.where.teacher_cache
    if teacher is None or not any(recipe.teacher for recipe in recipes):
        return None, batches
    if cache is None:
        return teacher, batches
    features = any(get_method(recipe.method).needs_features for recipe in recipes)
    # Compiled code rounds differently, so a table says which it is from; on a CPU the teacher is never compiled.
    compiled = recipes[0].compile and teacher.fabric.device.type != "cpu"
    precision = recipes[0].precision + (", compiled" if compiled else "")
    return cache.attach(teacher, material.dataset, batches, precision, features)


def _learner(recipe: Recipe, material: Material, steps: int) -> Learner:
    dataset, couple = material.dataset, None
    student = material.new_student(recipe)
    if get_method(recipe.method).needs_features:
        couple = introduce(student, material.teacher.model, dataset.image_size, dataset.train.labels_N)
    return Learner(recipe, student, material.fabric, steps, couple)
