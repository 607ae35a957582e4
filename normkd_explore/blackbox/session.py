"""From a recipe to a finished run folder: step one, the answers, the student; each goes on exactly after a stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normkd_explore.blackbox.api import BlackBox
from normkd_explore.blackbox.folder import BlackBoxFolder, empty_answers, generator_digest, load_generator
from normkd_explore.blackbox.networks import PUBLISHED_CHANNELS, Generator
from normkd_explore.blackbox.pictures import Answered, check_size, generated, local, random_noise
from normkd_explore.blackbox.progress import StepOneBar
from normkd_explore.blackbox.recipe import BlackBoxRecipe, settled_channels
from normkd_explore.blackbox.step_one import StepOne, run_step_one
from normkd_explore.blackbox.step_one import Watcher as StepOneWatcher
from normkd_explore.blackbox.student import finish, new_run, train_student
from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.notices import notice
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.determinism import deterministic_algorithms
from normkd_explore.training.machine.interrupt import Interrupted, StopRequest
from normkd_explore.training.material import Material, gather
from normkd_explore.training.run import Watcher
from normkd_explore.training.runs.lock import locked
from normkd_explore.training.where import HERE, Where

SAVE_SECONDS = 20.0
"""Answers cost money: of those that a process killed by force had got, no more than these seconds' are asked again."""


def distil_black_box(
    recipe: BlackBoxRecipe,
    out: Path | str | None = None,
    where: Where = HERE,
    resume: bool = False,
    watch: Watcher | None = None,
    watch_generator: StepOneWatcher | None = None,
    dataset: Dataset | None = None,
    teacher: nn.Module | None = None,
    generator: Path | str | None = None,
) -> dict[str, Any]:
    """Learn from a black box as `recipe` says into the run folder `out` and return the summary.

    The recipe's teacher stands behind the answers; it is asked no more than `queries` pictures, step one included.
    `generator`, a run folder or its generator.safetensors, takes the place of step one; the queries that it took count.
    Without watchers progress bars are shown. With `resume` the run goes on from where it stopped, in step one, between
    two answers or in the student's training, and ends with the weights that an uninterrupted run would have given, to
    the last bit on a CPU.

    Raises:
        ValueError, FileExistsError: the recipe does not fit the data or the generator, or the folder holds another run.
        Interrupted: Ctrl-C or SIGTERM, with everything saved.
        NonFiniteError: a loss or gradient was not finite.
    """
    if processes.launched():
        raise ValueError("torchrun: a black box is asked by one process. Start it without torchrun.")
    folder = BlackBoxFolder(out or BlackBoxFolder.default(recipe, where))
    with deterministic_algorithms(where.deterministic):
        material = gather([recipe], where, dataset, teacher)
        if not isinstance(material.dataset.train, ArraySplit):
            raise ValueError(f"dataset: the images of {material.dataset.name} are on disk, wanted in memory.")
        check_size(material.dataset, recipe.queries)
        recipe = _settled(recipe, material, folder, resume, generator)
        if resume and folder.finished:
            folder.check_same(recipe, material.inputs[0])
            return folder.summary()
        with locked(folder.path):
            folder.start(recipe, resume, str(material.fabric.device), material.inputs[0])
            return _train(recipe, material, folder, resume, (watch, watch_generator), generator)


def _settled(
    recipe: BlackBoxRecipe, material: Material, folder: BlackBoxFolder, resume: bool, generator: Path | str | None
) -> BlackBoxRecipe:
    """The recipe with the generator's size, and with the digest of one that was handed over."""
    if recipe.pictures != "generated":
        if generator is not None:
            raise ValueError(f"generator: found {generator} for {recipe.pictures} pictures, which need none.")
        return settled_channels(recipe, "cpu")
    if generator is not None:
        return replace(recipe, channels=load_generator(generator)[0].channels, generator=generator_digest(generator))
    if recipe.channels is None and resume and folder.started:
        return replace(recipe, channels=folder.recipe().channels)
    settled = settled_channels(recipe, material.fabric.device.type)
    if recipe.channels is None and settled.channels != PUBLISHED_CHANNELS:
        notice(
            f"generator: {settled.channels} channels on a CPU, a quarter of the published {PUBLISHED_CHANNELS}; "
            f"--channels {PUBLISHED_CHANNELS} takes all."
        )
    return settled


def _train(
    recipe: BlackBoxRecipe,
    material: Material,
    folder: BlackBoxFolder,
    resume: bool,
    watchers: tuple[Watcher | None, StepOneWatcher | None],
    generator: Path | str | None,
) -> dict[str, Any]:
    assert material.teacher is not None
    box = BlackBox(material.teacher.evaluate, recipe.answers, recipe.digits, recipe.queries)
    made = None
    if recipe.pictures == "generated":
        made = _generator(recipe, material, box, folder, resume, watchers[1], generator)
    step_one = box.queries
    answered = ask_all(recipe, material.dataset, box, made, folder, resume)
    run, taught = new_run(recipe, material, answered, made, folder)
    train_student(run, taught, material, answered, recipe, resume, watchers[0])
    return finish(run, material, recipe, answered, {"asked": box.queries, "step_one": step_one})


def _generator(
    recipe: BlackBoxRecipe,
    material: Material,
    box: BlackBox,
    folder: BlackBoxFolder,
    resume: bool,
    watch: StepOneWatcher | None,
    given: Path | str | None,
) -> Generator:
    """The one handed over, the one that step one left, or the one that it makes now."""
    device = material.fabric.device
    if given is None and resume and folder.generator.exists():
        given = folder.generator
    if given is None:
        one = StepOne(recipe, material.dataset, box, device)
        return run_step_one(one, folder, resume, nullcontext(watch) if watch else StepOneBar())
    made, queries = load_generator(given)
    data = material.dataset
    if (made.classes, made.image_size) != (data.num_classes, data.image_size):
        raise ValueError(
            f"generator: {given} makes pictures of {made.image_size} pixels from {made.classes} logits; wanted "
            f"{data.image_size} pixels from {data.num_classes}, as {data.name} has."
        )
    if queries >= recipe.queries:
        raise ValueError(
            f"queries: found {recipe.queries:,}, and the generator took {queries:,}; none would be left to ask with."
        )
    box.queries = queries
    if not folder.generator.exists():
        folder.write_generator(made, queries)
    return made.to(device).to(memory_format=torch.channels_last)


def pictures_of(recipe: BlackBoxRecipe, dataset: Dataset, generator: Generator | None, count: int) -> Iterator[Tensor]:
    """What the black box is asked about, uint8 (≤256, S, S, 3) at a time; a function of recipe and generator alone."""
    if generator is not None:
        return generated(generator, count, recipe.seed)
    if recipe.pictures == "noise":
        return random_noise(dataset.image_size, count, recipe.seed)
    return local(dataset, count, recipe.seed)


def ask_all(
    recipe: BlackBoxRecipe,
    dataset: Dataset,
    box: BlackBox,
    generator: Generator | None,
    folder: BlackBoxFolder | None = None,
    resume: bool = False,
) -> Answered:
    """Spend all queries that are left on pictures; answers that `folder` holds are not asked for again."""
    assert box.budget is not None
    count = box.budget - box.queries
    kept, queries = (folder.read_answers() if folder and resume else None) or (
        empty_answers(recipe.answers, dataset.num_classes),
        box.queries,
    )
    box.queries = queries
    pictures: list[Tensor] = []
    answers, known, saved = [kept], len(kept), time.monotonic()
    with StopRequest() as stop:
        for block in pictures_of(recipe, dataset, generator, count):
            pictures.append(block.cpu())
            if sum(map(len, pictures)) <= known:
                continue
            answers.append(box(dataset.normalize(block)).cpu())
            if folder and (stop.requested or time.monotonic() - saved > SAVE_SECONDS):
                folder.write_answers(torch.cat(answers), box.queries)
                saved = time.monotonic()
            if stop.requested:
                raise Interrupted(0, 0, folder and folder.path)
    found = torch.cat(answers)
    if folder and len(found) > known:
        folder.write_answers(found, box.queries)
    return Answered(torch.cat(pictures), found)
