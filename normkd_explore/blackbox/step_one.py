"""Step one as a run: every epoch of the local images, with checkpoints that a stopped run goes on from exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from normkd_explore.blackbox.api import BlackBox
from normkd_explore.blackbox.deprivatise import Deprivatisation
from normkd_explore.blackbox.folder import UNIT, BlackBoxFolder
from normkd_explore.blackbox.networks import Discriminator, Generator
from normkd_explore.blackbox.pictures import private_batches
from normkd_explore.blackbox.recipe import BlackBoxRecipe
from normkd_explore.data import Dataset
from normkd_explore.data.batches import mixed_seed
from normkd_explore.training.loop import CHECKPOINT_SECONDS
from normkd_explore.training.machine.interrupt import Interrupted, StopRequest
from normkd_explore.training.run import Moment
from normkd_explore.training.runs.checkpoint import latest_checkpoint, save_checkpoint

Watcher = Callable[[Moment, "StepOne"], None]


class StepOne:
    """Where step one is: `epoch` epochs are complete, and `step` steps of the next one.

    Args:
        recipe: with its channels settled.
        dataset: its training images are the local ones; labels are not looked at.
        box: asked in the steps that the recipe's share of its queries pays for.
    """

    def __init__(self, recipe: BlackBoxRecipe, dataset: Dataset, box: BlackBox, device: torch.device) -> None:
        assert recipe.channels is not None
        self.recipe, self.box = recipe, box
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(recipe.seed, *b"generator"))
            generator = Generator(dataset.num_classes, dataset.image_size, recipe.channels)
            networks = generator, Discriminator(dataset.image_size)
        for network in networks:
            network.to(device).to(memory_format=torch.channels_last)
        ask = (lambda pictures: box(dataset.normalize(pictures))) if recipe.asks_in_step_one else None
        self.training = Deprivatisation(
            *networks,
            ask,
            mixed_seed(recipe.seed, *b"step one"),
            recipe.information_weight,
            "index" if recipe.information_by == "index" else "value",
            recipe.generator_lr,
        )
        self.batches = private_batches(dataset, recipe.generator_batch, recipe.seed, device)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self.history: list[dict[str, Any]] = []

    @property
    def generator(self) -> Generator:
        """The network that is learned here."""
        return self.training.generator

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.recipe.generator_epochs * len(self.batches)

    def informed(self, number: int) -> bool:
        """Whether step `number` (from 0) asks: the steps that the share pays for are evenly spread over all."""
        if self.training.ask is None:
            return True
        paid = int(self.recipe.information_share * self.recipe.queries) // self.recipe.generator_batch
        paid = min(paid, self.steps)
        return (number + 1) * paid // self.steps > number * paid // self.steps

    def finish_epoch(self) -> None:
        """Record the epoch and stand before the next one."""
        self.training.refuse_bad(self.epoch * len(self.batches) + self.step)
        self.epoch, self.step = self.epoch + 1, 0
        seconds, self.seconds = round(self.seconds, 3), 0.0
        record = {"epoch": self.epoch, **self.training.read(), "queries": self.box.queries, "seconds": seconds}
        self.history.append(record)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly."""
        own = {"queries": self.box.queries, "history": self.history, "seconds": self.seconds}
        return {"training": self.training.state(), "epoch": self.epoch, "step": self.step, **own}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` gave."""
        self.training.load_state(state["training"])
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.box.queries, self.history = state["queries"], list(state["history"])


def run_step_one(
    one: StepOne, folder: BlackBoxFolder | None, resume: bool, bar: AbstractContextManager[Watcher]
) -> Generator:
    """All steps that are left; `folder` None keeps nothing on disk. Interrupted on Ctrl-C, with everything saved."""
    point = latest_checkpoint(folder.step_one, folder.digest()) if folder and resume else None
    if point and folder:
        one.load_state(point.state)
        folder.tell(one.epoch, one.step)
    with bar as watch, StopRequest() as stop, torch.random.fork_rng():
        while one.epoch < one.recipe.generator_epochs:
            _run_epoch(one, folder, watch, stop)
            one.finish_epoch()
            _save(one, folder)
            if folder:
                folder.write_step_one(one.history)
            if stop.requested and one.epoch < one.recipe.generator_epochs:
                raise Interrupted(one.epoch, 0, folder and folder.path, UNIT)
    if folder:
        folder.write_generator(one.generator, one.box.queries)
    return one.generator


def _run_epoch(one: StepOne, folder: BlackBoxFolder | None, watch: Watcher, stop: StopRequest) -> None:
    steps, clock = len(one.batches), time.perf_counter()
    saved = clock
    for batch in one.batches.epoch(one.epoch, one.step):
        number = one.epoch * steps + one.step
        one.training.step(batch.images_BCHW, number, one.informed(number))
        one.step += 1
        now = time.perf_counter()
        one.seconds, clock = one.seconds + now - clock, now
        watch(Moment(one.epoch, one.recipe.generator_epochs, one.step, steps, len(batch.labels_B)), one)
        stopping = stop.requested and one.step < steps
        if stopping or now - saved > CHECKPOINT_SECONDS:
            saved = _save(one, folder)
        if stopping:
            raise Interrupted(one.epoch, one.step, folder and folder.path, UNIT)


def _save(one: StepOne, folder: BlackBoxFolder | None) -> float:
    one.training.refuse_bad(one.epoch * len(one.batches) + one.step)
    if folder:
        save_checkpoint(folder.step_one, one.epoch, one.step, one.state(), folder.digest())
    return time.perf_counter()
