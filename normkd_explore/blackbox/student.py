"""Step two as a run: the usual loop on the pictures that were asked about, with the answers in the teacher's place."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from normkd_explore.blackbox.emulate import Distance, Emulation, ImageAlignment
from normkd_explore.blackbox.folder import KIND, BlackBoxFolder
from normkd_explore.blackbox.networks import Generator
from normkd_explore.blackbox.pictures import Answered, KeptAnswers, lesson_of
from normkd_explore.blackbox.recipe import BlackBoxRecipe
from normkd_explore.blackbox.recover import Remedy
from normkd_explore.data import Batches, make_batches
from normkd_explore.files.writing import write_json
from normkd_explore.models import save_weights
from normkd_explore.training.evaluate import eval_batches, evaluate
from normkd_explore.training.learner import Learner
from normkd_explore.training.loop import fit
from normkd_explore.training.material import Material
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.run import Run, Watcher
from normkd_explore.training.runs.checkpoint import list_checkpoints
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.summary import summarise
from normkd_explore.training.teacher.provenance import origin_here


def new_run(
    recipe: BlackBoxRecipe,
    material: Material,
    answered: Answered,
    generator: Generator | None = None,
    folder: RunFolder | None = None,
) -> tuple[Run, Batches]:
    """A student before its first step, and its batches: of `epochs` passes over as many pictures as the split has."""
    dataset = material.dataset
    taught = lesson_of(dataset, answered)
    epochs = max(1, round(recipe.epochs * len(dataset.train) / len(taught.train)))
    plain = recipe.plain().with_epochs(epochs)
    device = material.fabric.device
    batches = make_batches(taught, "train", plain.batch_size, augment=True, seed=plain.batch_seed, device=device)
    learner = Learner(plain, material.new_student(plain), material.fabric, len(batches))
    if recipe.image_weight and generator is not None:
        distance: Distance = "l2" if recipe.image_distance == "l2" else "l1"
        alignment = ImageAlignment(generator, recipe.image_temperature, distance)
        learner.objective = Emulation(learner.objective, alignment, recipe.image_weight)
    return Run(recipe.label, learner, folder), batches


def train_student(
    run: Run,
    batches: Batches,
    material: Material,
    answered: Answered,
    recipe: BlackBoxRecipe,
    resume: bool = False,
    watch: Watcher | None = None,
) -> None:
    """Train to the end of the recipe; nobody is asked any more."""
    assert material.teacher is not None
    dataset, device = material.dataset, material.fabric.device
    remedy: Remedy = recipe.remedy  # type: ignore[assignment]  # the recipe checked it
    guide = KeptAnswers(answered.logits(dataset.num_classes, remedy, recipe.digits), material.teacher)
    chosen = "val" if dataset.val is not None else "test"
    measuring = eval_batches(dataset, chosen, device, material.where.workers)
    begun = resume and run.folder is not None and bool(list_checkpoints(run.folder.checkpoints))
    with nullcontext(watch) if watch else ProgressBar() as watcher:
        fit([run], batches, measuring, chosen, guide, watcher, begun)


def finish(
    run: Run, material: Material, recipe: BlackBoxRecipe, answered: Answered, queries: dict[str, int]
) -> dict[str, Any]:
    """Measure the test split once, write weights and summary where there is a folder, and return the summary."""
    dataset, inputs = material.dataset, material.inputs[0]
    test = eval_batches(dataset, "test", material.fabric.device, material.where.workers)
    summary = {
        "kind": KIND,
        **summarise(run.learner, evaluate(run.learner.model, test.epoch(0))),
        "method": recipe.label,
        "settings": recipe.describe(),
        "budget": recipe.budget(),
        **{name: getattr(recipe, name) for name in ("pictures", "answers", "digits")},
        "queries": {**queries, "budget": recipe.queries},
        "classes_covered": answered.covered(),
        "inputs": inputs,
    }
    if material.trust:
        summary["validation"] = material.trust
    if isinstance(run.folder, BlackBoxFolder):
        texts = origin_here(dataset, inputs["data"]).texts()
        metadata = {"model": recipe.student, "dataset": dataset.name, "num_classes": str(dataset.num_classes)}
        save_weights(run.learner.module, run.folder.student, metadata={**metadata, "method": recipe.label, **texts})
        write_json(run.folder.path / "summary.json", summary)
    return summary
