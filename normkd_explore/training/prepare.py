"""Before the first step: the batches, the cached logits, and a run with its learner for every student."""

from __future__ import annotations

from dataclasses import dataclass

from normkd_explore.data import Batches, make_batches
from normkd_explore.feature_losses.couple import introduce
from normkd_explore.methods import get_method
from normkd_explore.training.last_step import check_last_step
from normkd_explore.training.learner import Learner
from normkd_explore.training.machine import processes
from normkd_explore.training.material import Material
from normkd_explore.training.recipes.lockstep import label
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.run import Run
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.folders import start
from normkd_explore.training.runs.inputs import Inputs, read_inputs
from normkd_explore.training.teacher.frozen import Teacher
from normkd_explore.training.trial import check_methods, check_pictures


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
    check_methods(recipes, material)
    if not processes.share(lambda: all(map(_goes_on_the_same, students))):
        check_pictures(dataset)
    check_last_step(recipes, dataset, batches.schedule, material.new_student)
    guide, batches = _use_cache(recipes, material, batches)
    return Prepared(students, material, batches, guide)


def _goes_on_the_same(student: Student) -> bool:
    """Whether its run was begun with these very images."""
    return student.folder.started and read_inputs(student.folder.path).get("data") == student.inputs["data"]


def open_runs(prepared: Prepared, resume: bool) -> list[Run]:
    """Start the run folders, or check that they can go on, and make a learner for each."""
    recipes, folders, material = prepared.recipes, prepared.folders, prepared.material
    inputs = [student.inputs for student in prepared.students]
    processes.share(lambda: start(recipes, folders, resume, inputs, str(material.fabric.device)))
    steps = len(prepared.batches)
    return [
        Run(label(recipe, recipes), new_learner(recipe, material, steps), folder if processes.first() else None)
        for recipe, folder in zip(recipes, folders, strict=True)
    ]


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


def new_learner(recipe: Recipe, material: Material, steps: int) -> Learner:
    """The learner of a recipe at its first step; `steps` are those of an epoch."""
    dataset, teacher, couple = material.dataset, material.teacher, None
    student = material.new_student(recipe)
    if get_method(recipe.method).needs_features and teacher:
        couple = introduce(student, teacher.model, dataset.image_size, dataset.train.labels_N)
    return Learner(recipe, student, material.fabric, steps, couple, teacher.model if teacher else None)
