"""From a recipe to a finished run folder: data, teacher, student, loop, results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from normkd_explore.data import Batches, Dataset, FileSplit, load_dataset, make_batches
from normkd_explore.feature_losses.couple import introduce
from normkd_explore.methods import get_method
from normkd_explore.models import save_weights
from normkd_explore.training.evaluate import evaluate
from normkd_explore.training.last_step import check_last_step
from normkd_explore.training.learner import Learner, NonFiniteError
from normkd_explore.training.loop import fit
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.allocator import keep_freed_memory
from normkd_explore.training.machine.compiling import require_compiler
from normkd_explore.training.machine.determinism import deterministic_algorithms
from normkd_explore.training.machine.files import explained, write_json
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.run import Run, Watcher
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.folders import finished, held, start
from normkd_explore.training.runs.inputs import Inputs, describe_inputs, read_inputs
from normkd_explore.training.summary import summarise
from normkd_explore.training.teacher.frozen import Teacher
from normkd_explore.training.teacher.sources import load_teacher, new_student
from normkd_explore.training.where import HERE, Where, default_folder, teacher_folder

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(device: str = "auto", precision: str = "32-true") -> Fabric:
    """Lightning Fabric for one device, or one process of many under torchrun."""
    kind, _, index = device.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise ValueError(f"device: found {device!r}, wanted auto, cpu, cuda, cuda:N or mps.")
    if precision in ("16-mixed", "16"):
        # Its gradient scaler takes the guard's place: skipped steps, norms times the scale, a state nobody saves.
        raise ValueError(
            f"precision: found {precision!r}, which scales the gradients; the check for NaN and the checkpoints do not "
            "know of that scale. Take bf16-mixed: as small, with float32's range, and needing no scale."
        )
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device: found 'cuda', but this PyTorch sees no CUDA device. `normkd doctor` shows why; --device cpu works."
        )
    if kind == "cpu":
        keep_freed_memory()
    from lightning_fabric import Fabric  # takes seconds to import, and only training needs it

    fabric = Fabric(accelerator=kind, precision=precision, **processes.fabric_options(kind, index))
    fabric.launch()
    return fabric


def open_dataset(recipe: Recipe, root: Path | None) -> Dataset:
    """The data set of a recipe."""
    options = dict(recipe.data_options)
    if recipe.image_size:
        options["image_size"] = recipe.image_size
    return load_dataset(recipe.dataset, root=root, protocol=recipe.protocol, **options)


def train(
    recipe: Recipe,
    out: Path | str | None = None,
    where: Where = HERE,
    resume: bool = False,
    watch: Watcher | None = None,
    dataset: Dataset | None = None,
) -> dict[str, Any]:
    """Train one student as `recipe` says into the run folder `out` and return its summary (see `summarise`).

    Without `watch` a progress bar is shown. With `resume`, training continues from the newest checkpoint and ends with
    the weights that an uninterrupted run would have given, to the last bit on a CPU.
    """
    return compare([recipe], [out], where, resume, watch, dataset)[0]


@processes.lost_process_explained()
def compare(
    recipes: list[Recipe],
    outs: list[Path | str | None] | None = None,
    where: Where = HERE,
    resume: bool = False,
    watch: Watcher | None = None,
    dataset: Dataset | None = None,
) -> list[dict[str, Any]]:
    """Train several students in lockstep on the same batches with one teacher, and return a summary for each.

    The recipes may differ in method and settings, and in their seeds where one `data_seed` gives all the same batches;
    each student ends as it would have ended alone. Without it every seed has batches of its own, and nothing but the
    cache of the teacher's logits could be shared between seeds, so they are trained one after the other. Under
    `torchrun` each batch is shared between the processes (see `processes`); the first one writes the folders. With
    `resume`, runs that finished before are left as they are, and the others train without them.
    """
    _check_lockstep(recipes)
    outs = outs or [None] * len(recipes)
    with deterministic_algorithms(where.deterministic):
        return _compare(recipes, outs, where, resume, watch, dataset)


def _compare(
    recipes: list[Recipe],
    outs: list[Path | str | None],
    where: Where,
    resume: bool,
    watch: Watcher | None,
    dataset: Dataset | None,
) -> list[dict[str, Any]]:
    lead = recipes[0]
    folders = [RunFolder(out or default_folder(recipe, where)) for recipe, out in zip(recipes, outs, strict=True)]
    fabric = make_fabric(where.device, lead.precision)
    if lead.compile:
        require_compiler(fabric.device)
    processes.announce([recipe.method for recipe in recipes], lead.batch_size)
    dataset = dataset or processes.one_by_machine(lambda: open_dataset(lead, where.data_root))
    teacher = processes.one_by_machine(lambda: _open_teacher(recipes, dataset, where, fabric))
    inputs = processes.share(lambda: _inputs(recipes, dataset, teacher))
    before = processes.share(lambda: finished(recipes, folders, inputs)) if resume else [None] * len(recipes)
    left = [i for i, summary in enumerate(before) if summary is None]
    work = [(recipes[i], folders[i], inputs[i]) for i in left]
    new = iter(_train(work, fabric, where, resume, watch, dataset, teacher) if work else [])
    return [summary or next(new) for summary in before]


def _train(
    work: list[tuple[Recipe, RunFolder, Inputs]],
    fabric: Fabric,
    where: Where,
    resume: bool,
    watch: Watcher | None,
    dataset: Dataset,
    teacher: Teacher | None,
) -> list[dict[str, Any]]:
    """Train those that are left, and return their summaries."""
    recipes, folders, inputs = map(list, zip(*work, strict=True))
    lead = recipes[0]
    teacher = teacher if any(recipe.teacher for recipe in recipes) else None
    train_batches = make_batches(
        dataset,
        "train",
        lead.batch_size,
        augment=True,
        seed=lead.batch_seed,
        device=fabric.device,
        workers=where.workers,
        rank=processes.rank(),
        world_size=processes.size(),
    )
    check_last_step(recipes, dataset, train_batches.schedule)
    guide, train_batches = _use_cache(recipes, teacher, dataset, train_batches, where)
    with held(folders):
        processes.share(lambda: start(recipes, folders, resume, inputs, str(fabric.device)))
        runs = [
            Run(
                _label(recipe, recipes),
                _learner(recipe, dataset, fabric, len(train_batches), teacher),
                folder if processes.first() else None,
            )
            for recipe, folder in zip(recipes, folders, strict=True)
        ]
        chosen = "val" if dataset.val is not None else "test"
        bar = nullcontext(watch) if watch else ProgressBar(_title(recipes), disable=not processes.first())
        with bar as watcher, _files_named(dataset):
            fit(
                runs,
                train_batches,
                _eval_batches(dataset, chosen, fabric, where),
                chosen,
                guide,
                watcher,
                resume,
            )
        # An older version may have started a folder: then nobody knows what that part had.
        kept = processes.share(lambda: [read_inputs(folder.path) for folder in folders])
        return [_finish(run, dataset, fabric, where, own) for run, own in zip(runs, kept, strict=True)]


def _inputs(recipes: list[Recipe], dataset: Dataset, teacher: Teacher | None) -> list[Inputs]:
    """Each recipe's, without the teacher where it needs none."""
    inputs = describe_inputs(dataset, teacher)
    return [inputs if recipe.teacher else {**inputs, "teacher": None} for recipe in recipes]


@contextmanager
def _files_named(dataset: Dataset) -> Iterator[None]:
    """Add the images' file names to a NonFiniteError, where they come from files."""
    try:
        yield
    except NonFiniteError as error:
        if not error.images or not isinstance(dataset.train, FileSplit):
            raise
        names = ", ".join(str(dataset.train.path(image)) for image in error.images)
        raise NonFiniteError(f"{error} Their files: {names}.", error.images) from error


def _finish(run: Run, dataset: Dataset, fabric: Fabric, where: Where, inputs: Inputs) -> dict[str, Any]:
    """Measure the test split once, then write the weights and the summary."""
    history = run.learner.history
    test = history[-1].get("test") or evaluate(
        run.learner.model, _eval_batches(dataset, "test", fabric, where).epoch(0), shared=True
    )
    summary = {**summarise(run.learner, test), "inputs": inputs}
    if run.folder:
        _write_results(run, dataset, summary)
    return summary


def _write_results(run: Run, dataset: Dataset, summary: dict[str, Any]) -> None:
    recipe = run.learner.recipe
    metadata = {
        "model": recipe.student,
        "dataset": dataset.name,
        "num_classes": str(dataset.num_classes),
        "method": recipe.method,
    }
    with explained(run.folder.student):
        save_weights(run.learner.module, run.folder.student, metadata=metadata)
    write_json(run.folder.path / "summary.json", summary)


def _check_lockstep(recipes: list[Recipe]) -> None:
    seeds = {recipe.batch_seed for recipe in recipes}
    if len(seeds) > 1:
        raise ValueError(
            f"recipes: the seeds {sorted(seeds)} decide other batches; in lockstep all must see the same. Train them "
            "seed by seed, or give all one data_seed (--data-seed), so that seed varies all but the batches."
        )
    free = {"preset", "student", "method", "settings", "teacher", "seed", "data_seed"}
    for name, value in vars(recipes[0]).items():
        for other in recipes[1:]:
            if name not in free and getattr(other, name) != value:
                raise ValueError(
                    f"recipes: {name} is {value!r} and {getattr(other, name)!r}; in lockstep all must have the same."
                )
    if len({recipe.teacher for recipe in recipes} - {None}) > 1:
        raise ValueError("recipes: found several teachers; students in lockstep share one.")


def _open_teacher(recipes: list[Recipe], dataset: Dataset, where: Where, fabric: Fabric) -> Teacher | None:
    recipe = next((recipe for recipe in recipes if recipe.teacher), None)
    if recipe is None:
        return None
    model = load_teacher(recipe.teacher, dataset, where.teacher_weights, teacher_folder(recipe, where))
    return Teacher(model, fabric, recipe.compile)


def _use_cache(
    recipes: list[Recipe], teacher: Teacher | None, dataset: Dataset, batches: Batches, where: Where
) -> tuple[Teacher | None, Batches]:
    """The teacher and the batches of the loop, with cached logits where that was asked for."""
    if teacher is None or where.teacher_cache is None:
        return teacher, batches
    features = any(get_method(recipe.method).needs_features for recipe in recipes)
    # Compiled code rounds differently, so a table says which it is from; on a CPU the teacher is never compiled.
    compiled = recipes[0].compile and teacher.fabric.device.type != "cpu"
    precision = recipes[0].precision + (", compiled" if compiled else "")
    return where.teacher_cache.attach(teacher, dataset, batches, precision, features)


def _learner(recipe: Recipe, dataset: Dataset, fabric: Fabric, steps: int, teacher: Teacher | None) -> Learner:
    student = new_student(recipe.student, dataset.num_classes, recipe.seed)
    couple = None
    if get_method(recipe.method).needs_features:
        couple = introduce(student, teacher.model, dataset.image_size, dataset.train.labels_N)
    return Learner(recipe, student, fabric, steps, couple)


def _eval_batches(dataset: Dataset, split: str, fabric: Fabric, where: Where) -> Any:
    return make_batches(
        dataset,
        split,
        _eval_size(len(dataset.split(split)), processes.size()),
        augment=False,
        device=fabric.device,
        workers=where.workers,
        rank=processes.rank(),
        world_size=processes.size(),
    )


def _eval_size(images: int, size: int) -> int:
    """Images of an evaluation step: 256 a process, or a few less where the last step would leave a process none."""
    fitting = (step for step in range(256 * size, 0, -size) if images % step == 0 or images % step >= size)
    return next(fitting, 256 * size)


def _label(recipe: Recipe, recipes: list[Recipe]) -> str:
    several = len({other.seed for other in recipes}) > 1
    return f"{recipe.method} seed {recipe.seed}" if several else recipe.method


def _title(recipes: list[Recipe]) -> str:
    return f"{recipes[0].student} {'+'.join(dict.fromkeys(recipe.method for recipe in recipes))}"
