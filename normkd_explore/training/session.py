"""From a recipe to a finished run folder: data, teacher, student, loop, results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from normkd_explore.data import Batches, Dataset, FileSplit, load_dataset, make_batches
from normkd_explore.feature_losses.couple import introduce
from normkd_explore.methods import Settings, get_method
from normkd_explore.models import save_weights
from normkd_explore.training import processes
from normkd_explore.training.evaluate import evaluate
from normkd_explore.training.files import write_json
from normkd_explore.training.learner import Learner, NonFiniteError
from normkd_explore.training.loop import Run, Watcher, fit
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.recipe import Recipe
from normkd_explore.training.run_folder import RunFolder
from normkd_explore.training.teacher import Teacher, load_teacher, new_student
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
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device: found 'cuda', but this PyTorch sees no CUDA device. `normkd doctor` shows why; --device cpu works."
        )
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

    The recipes may differ in method and settings alone; each student ends as it would have ended alone. Under
    `torchrun` each batch is shared between the processes (see `processes`); the first one writes the folders.
    """
    _check_lockstep(recipes)
    lead = recipes[0]
    folders = [
        RunFolder(out or default_folder(recipe, where))
        for recipe, out in zip(recipes, outs or [None] * len(recipes), strict=True)
    ]
    fabric = make_fabric(where.device, lead.precision)
    finished = processes.share(lambda: _finished(recipes, folders)) if resume else None
    if finished:
        return finished
    processes.announce([recipe.method for recipe in recipes], lead.batch_size)
    dataset = dataset or processes.one_by_machine(lambda: open_dataset(lead, where.data_root))
    teacher = processes.one_by_machine(lambda: _open_teacher(recipes, dataset, where, fabric))
    train_batches = make_batches(
        dataset,
        "train",
        lead.batch_size,
        augment=True,
        seed=lead.seed,
        device=fabric.device,
        workers=where.workers,
        rank=processes.rank(),
        world_size=processes.size(),
    )
    guide, train_batches = _use_cache(recipes, teacher, dataset, train_batches, where)
    processes.share(lambda: [folder.start(r, resume) for r, folder in zip(recipes, folders, strict=True)])
    runs = [
        Run(
            _label(recipe),
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
    return [_finish(run, dataset, fabric, where) for run in runs]


def _finished(recipes: list[Recipe], folders: list[RunFolder]) -> list[dict[str, Any]] | None:
    """The summaries, if every folder holds a finished run of its recipe."""
    if not all(folder.finished for folder in folders):
        return None
    for recipe, folder in zip(recipes, folders, strict=True):
        folder.check_same(recipe)
    return [folder.summary() for folder in folders]


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


def _finish(run: Run, dataset: Dataset, fabric: Fabric, where: Where) -> dict[str, Any]:
    """Measure the test split once, then write the weights and the summary."""
    history = run.learner.history
    test = history[-1].get("test") or evaluate(
        run.learner.model, _eval_batches(dataset, "test", fabric, where).epoch(0), shared=True
    )
    summary = summarise(run.learner, test)
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
    save_weights(run.learner.module, run.folder.student, metadata=metadata)
    write_json(run.folder.path / "summary.json", summary)


def summarise(learner: Learner, test: dict[str, Any]) -> dict[str, Any]:
    """The last epoch, the best epoch, and what they cost.

    `test` is the last epoch's, the number to report. `best` was chosen by looking at `chosen_on`; where that is the
    test split itself (protocol "paper"), it is the field's customary number and it is optimistic.
    """
    recipe, history = learner.recipe, learner.history
    chosen_on = "val" if "val" in history[-1] else "test"
    best = max(history, key=lambda record: record[chosen_on]["top1"])
    seconds = sum(record["seconds"] for record in history)
    return {
        "preset": recipe.preset,
        "method": recipe.method,
        "student": recipe.student,
        "teacher": recipe.teacher,
        "settings": describe_settings(recipe.settings),
        "budget": recipe.budget(),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "test": test,
        "last": {"epoch": history[-1]["epoch"], **history[-1][chosen_on]},
        "best": {"epoch": best["epoch"], **best[chosen_on]},
        "chosen_on": chosen_on,
        "train_seconds": round(seconds, 1),
        "images_per_second": round(sum(r["images_per_second"] * r["seconds"] for r in history) / max(seconds, 1e-9), 1),
        "lockstep": history[-1]["lockstep"],
    }


def describe_settings(settings: Settings) -> str:
    """A method's settings in one line, e.g. "t_norm=2 CE x 0.1 KD x 0.9"."""
    values = [f"{name}={value:g}" for name, value in settings.loss.items()]
    return " ".join([*values, f"CE x {settings.ce_weight:g}", f"KD x {settings.kd_weight:g}"])


def _check_lockstep(recipes: list[Recipe]) -> None:
    free = {"preset", "student", "method", "settings", "teacher"}
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
    return Teacher(model, fabric)


def _use_cache(
    recipes: list[Recipe], teacher: Teacher | None, dataset: Dataset, batches: Batches, where: Where
) -> tuple[Teacher | None, Batches]:
    """The teacher and the batches of the loop, with cached logits where that was asked for."""
    if teacher is None or where.teacher_cache is None:
        return teacher, batches
    features = any(get_method(recipe.method).needs_features for recipe in recipes)
    return where.teacher_cache.attach(teacher, dataset, batches, recipes[0].precision, features)


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


def _label(recipe: Recipe) -> str:
    return recipe.method


def _title(recipes: list[Recipe]) -> str:
    return f"{recipes[0].student} {'+'.join(recipe.method for recipe in recipes)}"
