"""From a federated recipe to a finished run folder: the clean twin, the rounds, what can be stopped and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from normkd_explore.data import Dataset
from normkd_explore.federated.federation import Federation, Records
from normkd_explore.federated.folder import FederatedFolder
from normkd_explore.federated.progress import RoundBar
from normkd_explore.federated.recipe import FederatedRecipe
from normkd_explore.federated.split import first_classes, in_memory
from normkd_explore.training.loop import CHECKPOINT_SECONDS
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.determinism import deterministic_algorithms
from normkd_explore.training.machine.fabric import make_fabric
from normkd_explore.training.machine.interrupt import Interrupted, StopRequest
from normkd_explore.training.material import open_dataset
from normkd_explore.training.run import Moment
from normkd_explore.training.runs.checkpoint import latest_checkpoint, save_checkpoint
from normkd_explore.training.runs.folders import finished_summary
from normkd_explore.training.runs.inputs import Inputs, describe_inputs
from normkd_explore.training.runs.lock import locked
from normkd_explore.training.where import HERE, Where

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Watcher = Callable[[Moment, Federation], None]


def federate(
    recipe: FederatedRecipe,
    out: Path | str | None = None,
    where: Where = HERE,
    resume: bool = False,
    watch: Watcher | None = None,
    dataset: Dataset | None = None,
    clean: Path | str | None = None,
) -> dict[str, Any]:
    """Train a federation as `recipe` says into the run folder `out` and return its summary.

    An attacked federation is held against its clean twin: the same recipe and seed without the attack. The twin is
    read from the run folder `clean`, or trained there first; None takes `out`/clean. Without `watch` a progress bar is
    shown. With `resume` the run goes on from its newest checkpoint, also from the middle of a round, and ends with the
    weights that an uninterrupted run would have given, to the last bit on a CPU.

    Raises:
        ValueError, FileExistsError: the recipe does not fit the data, or the folder holds another run.
        Interrupted: Ctrl-C, SIGTERM or a closed terminal, with everything saved.
        NonFiniteError: a client's gradient was not finite; the message names the client and the round.
    """
    if processes.launched():
        raise ValueError("torchrun: a federation runs in one process. Start it without torchrun.")
    folder = FederatedFolder(out or FederatedFolder.default(recipe, where))
    fabric = make_fabric(where.device, recipe.precision)
    with deterministic_algorithms(where.deterministic):
        dataset = prepare(recipe, where, dataset)
        inputs = describe_inputs(dataset, None)
        work = _Work(dataset, fabric, inputs, watch)
        if recipe.malicious == 0:
            if clean is not None:
                raise ValueError(f"clean: found {clean} for a federation without an attack, which needs no other run.")
            return work.train(recipe, folder, resume)
        folder.check_start(recipe, resume, inputs)  # before the twin takes its time
        twin = FederatedFolder(clean or folder.path / "clean")
        work.train(recipe.clean(), twin, resume or twin.finished)
        return work.train(recipe, folder, resume, twin)


def prepare(recipe: FederatedRecipe, where: Where = HERE, dataset: Dataset | None = None) -> Dataset:
    """The data set of a federation: in memory, with the classes that the recipe wants."""
    dataset = in_memory(dataset or open_dataset(recipe, where.data_root))
    return dataset if recipe.classes is None else first_classes(dataset, recipe.classes)


class _Work:
    """What the attacked federation and its clean twin share."""

    def __init__(self, dataset: Dataset, fabric: Fabric, inputs: Inputs, watch: Watcher | None) -> None:
        self.dataset, self.fabric, self.inputs, self.watch = dataset, fabric, inputs, watch

    def train(
        self, recipe: FederatedRecipe, folder: FederatedFolder, resume: bool, twin: FederatedFolder | None = None
    ) -> dict[str, Any]:
        """One federation to its end, or the summary of one that got there before."""
        if resume and folder.finished:
            folder.check_same(recipe, self.inputs)
            if (summary := finished_summary(folder)) is not None:
                return summary
        with locked(folder.path):
            folder.start(recipe, resume, str(self.fabric.device), self.inputs)
            federation = Federation(recipe, self.dataset, self.fabric, twin.metrics() if twin else None)
            if resume:
                _restore(federation, folder)
            bar = nullcontext(self.watch) if self.watch else RoundBar()
            with bar as watcher:
                run_rounds(federation, folder, watcher)
            return folder.finish(federation, self.inputs, twin.summary() if twin else None)


def run_rounds(federation: Federation, folder: FederatedFolder | None = None, watch: Watcher | None = None) -> Records:
    """All rounds that are left; `folder` None keeps nothing on disk. Returns the records of all rounds."""
    rounds = federation.recipe.rounds
    with StopRequest() as stop, torch.random.fork_rng(_cuda_devices(federation)):
        while federation.round < rounds:
            clock = time.perf_counter()
            for images in federation.moves():
                done, steps = federation.step, federation.steps_of(federation.round)
                if watch:
                    watch(Moment(federation.round, rounds, done, steps, images), federation)
                stopping = stop.requested and done < steps
                if stopping or time.perf_counter() - clock > CHECKPOINT_SECONDS:
                    clock = _save(federation, folder)
                if stopping:
                    raise Interrupted(federation.round, done, folder and folder.path, "round")
            federation.finish_round()
            _save(federation, folder)
            if folder:
                folder.write_metrics(federation.history)
            if stop.requested and federation.round < rounds:
                raise Interrupted(federation.round, 0, folder and folder.path, "round")
    return federation.history


def _save(federation: Federation, folder: FederatedFolder | None) -> float:
    """Write the state, never one that holds a NaN; returns the time from which the next save is counted."""
    federation.refuse_bad()
    if folder:
        save_checkpoint(folder.checkpoints, federation.round, federation.step, federation.state(), folder.digest())
    return time.perf_counter()


def _restore(federation: Federation, folder: FederatedFolder) -> None:
    found = latest_checkpoint(folder.checkpoints, folder.digest())
    if found:
        federation.load_state(found.state)
        folder.tell(federation.round, federation.step)
    folder.write_metrics(federation.history)


def _cuda_devices(federation: Federation) -> list[int]:
    device = federation.fabric.device
    return [device.index or 0] if device.type == "cuda" else []
