"""From recipes to finished run folders in three steps: prepare, fit, finish."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from normkd_explore.data import Dataset
from normkd_explore.training.evaluate import eval_batches
from normkd_explore.training.finish import finish
from normkd_explore.training.loop import fit
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.determinism import deterministic_algorithms
from normkd_explore.training.machine.threads import thread_count
from normkd_explore.training.material import Material, gather
from normkd_explore.training.nonfinite import files_named
from normkd_explore.training.prepare import Prepared, Student, open_runs, prepare
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.recipes.lockstep import check_lockstep
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.run import Run, Watcher
from normkd_explore.training.runs.board import check_log
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.folders import finished, held
from normkd_explore.training.settle import begun, settle
from normkd_explore.training.where import HERE, Where, default_folder


def train(
    recipe: Recipe,
    out: Path | str | None = None,
    where: Where = HERE,
    resume: bool = False,
    watch: Watcher | None = None,
    dataset: Dataset | None = None,
    teacher: nn.Module | None = None,
    student: nn.Module | None = None,
) -> dict[str, Any]:
    """Train one student as `recipe` says into the run folder `out` and return its summary (see `summarise`).

    Without `watch` a progress bar is shown. With `resume`, training continues from the newest checkpoint and ends with
    the weights that an uninterrupted run would have given, to the last bit on a CPU.
    """
    return compare([recipe], [out], where, resume, watch, dataset, teacher, student)[0]


@processes.lost_process_explained()
def compare(
    recipes: list[Recipe],
    outs: Sequence[Path | str | None] | None = None,
    where: Where = HERE,
    resume: bool = False,
    watch: Watcher | None = None,
    dataset: Dataset | None = None,
    teacher: nn.Module | None = None,
    student: nn.Module | None = None,
) -> list[dict[str, Any]]:
    """Train several students in lockstep on the same batches with one teacher, and return a summary for each.

    The recipes may differ in method and settings, and in their seeds where one `data_seed` gives all the same batches;
    each student ends as it would have ended alone. Without it every seed has batches of its own, and nothing but the
    cache of the teacher's logits could be shared between seeds, so they are trained one after the other. Under
    `torchrun` each batch is shared between the processes (see `processes`); the first one writes the folders. With
    `resume`, runs that finished before are left as they are, and the others train without them.

    What is handed over wins over the names in the recipes: `dataset` over the data set's, `teacher` and `student` (see
    `adapt` for what their forward may return) over the models'. The modules stay as they are: every run trains a copy
    of `student` from its weights, and `load_checkpoint(module, out / "student.safetensors")` brings the result back.
    """
    outs = outs or [None] * len(recipes)
    check_log(where.log)
    folders = [
        RunFolder(out or default_folder(recipe, where), where.log) for recipe, out in zip(recipes, outs, strict=True)
    ]
    recipes = settle(begun(recipes, where), folders, where.device, resume)
    check_lockstep(recipes)
    with deterministic_algorithms(where.deterministic), thread_count(where.threads):
        material = gather(recipes, where, dataset, teacher, student)
        recipes = material.recipes
        students = list(map(Student, recipes, folders, material.inputs))
        before = processes.share(lambda: finished(recipes, folders, material.inputs)) if resume else [None] * len(outs)
        left = [student for student, summary in zip(students, before, strict=True) if summary is None]
        new = iter(_train(left, material, resume, watch) if left else [])
        return [summary or next(new) for summary in before]


def _train(students: list[Student], material: Material, resume: bool, watch: Watcher | None) -> list[dict[str, Any]]:
    prepared = prepare(students, material)
    with held(prepared.folders):
        runs = open_runs(prepared, resume)
        _fit(runs, prepared, resume, watch)
        return finish(runs, prepared)


def _fit(runs: list[Run], prepared: Prepared, resume: bool, watch: Watcher | None) -> None:
    """Run the loop under `watch` or a progress bar; each epoch is measured on val, or on test where there is no val."""
    material, dataset = prepared.material, prepared.material.dataset
    chosen = "val" if dataset.val is not None else "test"
    measuring = eval_batches(dataset, chosen, material.fabric.device, material.where.workers)
    bar = nullcontext(watch) if watch else ProgressBar(disable=not processes.first())
    with bar as watcher, files_named(dataset):
        fit(runs, prepared.batches, measuring, chosen, prepared.guide, watcher, resume)
