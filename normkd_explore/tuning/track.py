"""Short races: several settings of one method on the same images, batches and first weights, in lockstep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normkd_explore.data import ArraySplit, Dataset, FileSplit
from normkd_explore.data.dataset import Split
from normkd_explore.data.holdout import balanced_holdout
from normkd_explore.methods import Settings
from normkd_explore.training.evaluate import eval_batches
from normkd_explore.training.loop import fit
from normkd_explore.training.material import Material
from normkd_explore.training.nonfinite import NonFiniteError
from normkd_explore.training.prepare import Prepared, Student, new_learner, prepare
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.run import Moment, Run
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.tuning.space import brief, numbers_of

ADVISED_BY = 500  # images whose teacher's logits say where to begin


@dataclass
class Cost:
    """What a search has taken so far."""

    seconds: float = 0.0
    images: int = 0
    """Images that students were trained on, each counted as often as a student saw it."""
    asked: int = 0
    """Images that the teacher looked at for them."""


@dataclass
class Entry:
    """One student in a race: its settings, and its top-1 on held-out images after each epoch that it ran."""

    number: int
    settings: Settings
    top1: list[float] = field(default_factory=list)
    diverged: bool = False
    stopped: bool = False


Stop = Callable[[int, list[Entry]], list[Entry]]
"""Called after each epoch but the last with its number and those that still run; returns those to be stopped."""


class Track:
    """What all races of a search share. Races of one seed are paired: same first weights, same batches, same views."""

    def __init__(self, recipe: Recipe, material: Material, images: int, shortened: float = 1.0) -> None:
        self.recipe, self.shortened = recipe, shortened
        self.material = replace(material, dataset=small(material.dataset, images))
        self.cost = Cost()

    @property
    def images(self) -> int:
        """Training images of a run."""
        return len(self.material.dataset.train)

    def race(self, settings: list[Settings], seed: int, stop: Stop = lambda epoch, entries: []) -> list[Entry]:
        """Train a student with each of the settings; one that diverges leaves, and the others start again without it.

        They end as they would have ended alone, so a second start changes nothing but the time.
        """
        entries = [Entry(number, each) for number, each in enumerate(settings)]
        with self._counted():
            while running := [entry for entry in entries if not entry.diverged]:
                if self._run(running, seed, stop):
                    break
        return entries

    def logits(self) -> Tensor:
        """The teacher's logits of some training images (N, C)."""
        teacher, dataset = self.material.teacher, self.material.dataset
        assert teacher is not None  # `tune` refuses methods without
        prepared = prepare([self._student(self.recipe.settings, 0)], self.material)
        parts: list[Tensor] = []
        with self._counted():
            for batch in prepared.batches.epoch(0):
                parts.append(teacher.evaluate(batch.images_BCHW).cpu())
                if sum(map(len, parts)) >= min(ADVISED_BY, len(dataset.train) - self.recipe.batch_size):
                    break
        return torch.cat(parts)

    def _run(self, entries: list[Entry], seed: int, stop: Stop) -> bool:
        for entry in entries:
            entry.top1, entry.stopped = [], False
        prepared = prepare([self._student(entry.settings, seed) for entry in entries], self.material)
        runs = [_new_run(recipe, self.material, len(prepared.batches)) for recipe in prepared.recipes]
        everyone = list(zip(entries, runs, strict=True))
        finished = False
        try:
            self._fit(runs, prepared, lambda moment, left: _after_epoch(moment, left, everyone, stop))
            finished = True
        except NonFiniteError:
            for entry, run in everyone:
                entry.diverged = int(run.learner.first_bad_step) >= 0
            if not any(entry.diverged for entry in entries):
                raise  # an evaluation, or the teacher: not one setting's fault
        for entry, run in everyone:
            self.cost.images += len(run.learner.history) * prepared.batches.num_samples
            self.cost.images += int(run.learner.totals[-1])  # of an epoch that was not finished
            if finished and not entry.stopped:
                entry.top1 = [record["val"]["top1"] for record in run.learner.history]
        return finished

    def _fit(self, runs: list[Run], prepared: Prepared, watch: Callable[[Moment, list[Run]], None]) -> None:
        material = self.material
        measuring = eval_batches(material.dataset, "val", material.fabric.device, material.where.workers)
        with ProgressBar() as bar:

            def both(moment: Moment, left: list[Run]) -> None:
                watch(moment, left)
                bar(moment, left)

            fit(runs, prepared.batches, measuring, "val", prepared.guide, both)

    def _student(self, settings: Settings, seed: int) -> Student:
        warmup = round(settings.warmup_epochs * self.shortened)
        recipe = replace(self.recipe, settings=replace(settings, warmup_epochs=warmup), seed=seed, data_seed=None)
        return Student(recipe, RunFolder(Path()), self.material.inputs[0])  # kept nowhere

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Add up seconds, and the images that the teacher is shown."""
        started, teacher = time.perf_counter(), self.material.teacher
        assert teacher is not None
        forward = teacher._forward

        def counting(block: Tensor, return_features: bool = False) -> Any:
            self.cost.asked += len(block)
            return forward(block, return_features)

        teacher._forward = counting  # type: ignore[method-assign]
        try:
            yield
        finally:
            del teacher._forward
            self.cost.seconds += time.perf_counter() - started


def _after_epoch(moment: Moment, left: list[Run], everyone: list[tuple[Entry, Run]], stop: Stop) -> None:
    """At the first step of an epoch: take the runs out of the loop that the last one showed to be hopeless."""
    if moment.step != 1 or moment.epoch == 0:
        return
    running = [(entry, run) for entry, run in everyone if not entry.stopped]
    for entry, run in running:
        entry.top1 = [record["val"]["top1"] for record in run.learner.history]
    hopeless = stop(moment.epoch, [entry for entry, _ in running])
    for entry, run in running:
        if any(entry is other for other in hopeless) and len(left) > 1:
            entry.stopped = True
            left.remove(run)


def _new_run(recipe: Recipe, material: Material, steps: int) -> Run:
    return Run(brief(numbers_of(recipe.method, recipe.settings)), new_learner(recipe, material, steps))


def small(dataset: Dataset, images: int) -> Dataset:
    """The data set with some `images` of its training images, the same share of every class; val and test stay."""
    train = dataset.train
    if images >= len(train):
        return dataset
    _, chosen = balanced_holdout(train.labels_N, images / len(train))
    return replace(dataset, train=_part(train, chosen))


def _part(split: Split, chosen: Tensor) -> Split:
    if isinstance(split, ArraySplit):
        return ArraySplit(split.images_NHWC[chosen], split.labels_N[chosen])
    return FileSplit(split.folder, split.names_N[chosen.numpy()], split.labels_N[chosen], split.image_size)
