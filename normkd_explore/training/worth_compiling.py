"""compile "auto": a few steps with and without the compiler, where the run is long enough to pay for trying.

Compiled code rounds otherwise, and which way is faster can change with the load of a machine. So nothing is compiled
unless it is asked for, and config.yaml has what the trial found: a run that goes on does not try again.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from normkd_explore.data import Batch, Dataset
from normkd_explore.methods import Settings
from normkd_explore.training.learner import Learner
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.compiling import CompileError, require_compiler
from normkd_explore.training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COMPILING = 60.0  # seconds that a network takes, counted before it was tried
HOPE = 0.15  # share of a step that compiling may save: 0.14 was measured for a resnet8 on two cores
WORTH = 0.03  # share that is more than noise
WARM_UP, STEPS, LONGEST = 3, 15, 6.0  # steps of each way, and the seconds after which no more are taken


def choose_compile(
    recipes: list[Recipe], dataset: Dataset, fabric: Fabric, new_student: Callable[[Recipe], nn.Module]
) -> bool:
    """Whether the students' steps are to be compiled; a line on stderr says why. Random state stays as it was."""
    lead = recipes[0]
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        batch = _batch(lead, dataset, fabric.device)
        eager = _learner(replace(lead, compile=False), new_student(lead), fabric)
        total = _seconds([eager], batch)[0] * lead.epochs * -(-len(dataset.train) // lead.batch_size) * len(recipes)
        if not processes.agree(total * HOPE >= COMPILING):
            return _settled(False, f"the steps of this run take some {total:,.0f} s, too few to pay for compiling")
        compiled = _learner(replace(lead, compile=True), new_student(lead), fabric)
        lack = _lack(compiled, batch)
        if processes.agree(lack is not None):
            return _settled(False, lack or "another process cannot compile")
        slow, fast = _seconds([eager, compiled], batch)
    found = f"a step takes {1e3 * fast:.3g} ms compiled and {1e3 * slow:.3g} ms as it is"
    return _settled(fast < (1 - WORTH) * slow, found)


def _lack(compiled: Learner, batch: Batch) -> str | None:
    """Why the student cannot be compiled in this process; None if it now is."""
    compiled.model.train()
    try:
        require_compiler(compiled.fabric.device)
        compiled.model(batch.images_BCHW)
    except CompileError as error:
        return str(error).removeprefix("compile: ")
    return None


def _settled(wish: bool, reason: str) -> bool:
    """What the first process found: all must do the same."""
    compiled = processes.share(lambda: wish)
    processes.say_once(f"compile {'on' if compiled else 'off'}: {reason}")
    return compiled


def _batch(recipe: Recipe, dataset: Dataset, device: torch.device) -> Batch:
    """Random pictures of the right size, this process's share."""
    rows, side = recipe.batch_size // processes.size(), dataset.image_size
    images_BCHW = torch.randn(rows, 3, side, side).to(device, memory_format=torch.channels_last)
    labels_B = torch.randint(dataset.num_classes, (rows,)).to(device)
    index_B = torch.arange(rows, device=device)
    return Batch(images_BCHW, labels_B, index_B, torch.zeros_like(index_B))


def _learner(recipe: Recipe, student: nn.Module, fabric: Fabric) -> Learner:
    """One that moves by cross-entropy alone, and so little that no number grows."""
    plain = replace(recipe, method="ce", teacher=None, settings=Settings(kd_weight=0.0, source="trial"), lr=1e-9)
    return Learner(plain, student, fabric, steps_per_epoch=1)


def _seconds(learners: list[Learner], batch: Batch) -> list[float]:
    """The median time of a step of each; they take turns, so that what slows the machine slows them all."""
    times: list[list[float]] = [[] for _ in learners]
    end = float("inf")
    for step in range(WARM_UP + STEPS):
        for learner, own in zip(learners, times, strict=True):
            learner.model.train()
            start = time.perf_counter()
            learner.step(batch, None, 0, step)
            float(learner.totals[-1])  # a GPU is waited for
            own.append(time.perf_counter() - start)
        if step == WARM_UP:
            end = time.perf_counter() + LONGEST
        if processes.agree(time.perf_counter() > end):
            break
    return [statistics.median(own[min(WARM_UP, len(own) - 1) :]) for own in times]
