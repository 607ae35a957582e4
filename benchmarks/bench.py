"""The parts that all contestants of `benchmarks.training` share: one pair of networks on one device, timed.

Images have CIFAR-100's shape and random pixels; nothing here depends on what they show. A contestant first warms up,
then images per second are counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from benchmarks.field_loop import field_steps
from benchmarks.host_waits import waits_between
from benchmarks.limit import Limit, find_limit, forward_flops, wait_for
from normkd_explore.data import ArraySplit, Dataset, make_batches
from normkd_explore.models import create_model
from normkd_explore.training import Learner, Run, Teacher, TeacherCache, fit, get_preset, make_fabric
from normkd_explore.training.teacher.cache import CachedTeacher
from normkd_explore.training.teacher.sources import new_student

BATCH, CLASSES, SIDE = 64, 100, 32
WARM_UP = 5
ASKING = ("field", "tuned", "ours")
"""Contestants that ask the teacher at every step."""


class Enough(Exception):
    """Ends a training that was started only to be timed."""


def random_dataset(images: int) -> Dataset:
    """Random pixels in the shape of CIFAR-100's training split."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> ArraySplit:
        pixels_NHWC = torch.randint(0, 256, (count, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)
        return ArraySplit(pixels_NHWC, torch.randint(0, CLASSES, (count,), generator=generator))

    names = tuple(str(label) for label in range(CLASSES))
    return Dataset("random", split(images), None, split(BATCH), names, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Bench:
    """One pair on one device: the parts that all contestants share."""

    def __init__(
        self, pair: str, steps: int, images: int, device: str, precision: str = "32-true", compile: bool = False
    ) -> None:
        self.teacher_name, _, self.student_name = pair.partition("/")
        self.steps, self.fabric, self.dataset = steps, make_fabric(device, precision), random_dataset(images)
        self.precision, self.compile = precision, compile
        if images < (steps + WARM_UP + 1) * BATCH:
            raise ValueError(
                f"images: found {images}, wanted at least {(steps + WARM_UP + 1) * BATCH} for {steps} steps."
            )

    def rate(self, contestant: str) -> float:
        """Images per second of one contestant."""
        return getattr(self, f"_{contestant}")()

    def _field(self) -> float:
        teacher, student = (create_model(name, num_classes=CLASSES) for name in (self.teacher_name, self.student_name))
        return self.time(field_steps(self.dataset, teacher, student, BATCH, self.fabric.device))

    _tuned = _field  # in another environment, see `benchmarks.training`

    def _ours(self) -> float:
        return self._fit(self.teacher(), self.batches())

    def _cached(self) -> float:
        return self._fit(*self.warm_cache())

    def _student(self) -> float:
        batch, learner = next(iter(self.batches().epoch(0))), self.learner()
        logits_BC = torch.randn(BATCH, CLASSES, device=self.fabric.device)

        def steps() -> Iterator[int]:
            for step in range(self.steps + WARM_UP):
                learner.step(batch, logits_BC, 0, step)
                yield BATCH

        return self.time(steps())

    def time(self, steps: Iterator[int]) -> float:
        """Images per second of the steps after the warm-up."""
        images, start = 0, 0.0
        for step, count in enumerate(steps):
            images += count if step >= WARM_UP else 0
            if step == WARM_UP - 1:
                wait_for(self.fabric.device)
                start = time.perf_counter()
            if step == WARM_UP + self.steps - 1:
                break
        wait_for(self.fabric.device)
        return images / (time.perf_counter() - start)

    def _fit(self, teacher: Teacher, batches: Any) -> float:
        seen: list[float] = []

        def watch(moment: Any, runs: Any) -> None:
            if moment.step in (WARM_UP, WARM_UP + self.steps):
                wait_for(self.fabric.device)
                seen.append(time.perf_counter())
            if len(seen) == 2:
                raise Enough

        self.run(teacher, batches, watch)
        return self.steps * BATCH / (seen[1] - seen[0])

    def run(self, teacher: Teacher, batches: Any, watch: Callable) -> None:
        """The package's own loop until the watcher has seen enough."""
        with suppress(Enough):
            fit([Run("student", self.learner())], batches, batches, "val", teacher, watch)

    def warm_cache(self) -> tuple[Teacher, Any]:
        """Teacher and batches with every logit of these steps known: random ones, read as fast as true ones."""
        teacher = self.teacher()
        cached, batches = TeacherCache("memory", tell=lambda text: None).attach(teacher, self.dataset, self.batches())
        assert isinstance(cached, CachedTeacher)
        for step, batch in enumerate(self.batches().epoch(0)):
            rows_B = (batch.index_B * self.dataset.views.count + batch.view_B).cpu()
            cached.table.write(rows_B, torch.randn(len(rows_B), CLASSES, device=self.fabric.device))
            if step > self.steps + WARM_UP + batches.stretch:
                break
        return cached, batches

    def teacher(self) -> Teacher:
        """A teacher with fresh weights."""
        return Teacher(create_model(self.teacher_name, num_classes=CLASSES), self.fabric, self.compile)

    def learner(self) -> Learner:
        """A fresh student with the published NormKD recipe."""
        recipe = get_preset(f"cifar100/{self.teacher_name}-{self.student_name}", "normkd")
        recipe = replace(recipe, compile=self.compile)
        steps = -(-len(self.dataset.train) // BATCH)
        return Learner(recipe, new_student(self.student_name, CLASSES, 0), self.fabric, steps)

    def batches(self) -> Any:
        """The training batches of the loop."""
        return make_batches(self.dataset, "train", BATCH, augment=True, device=self.fabric.device)

    def step_flops(self, contestant: str) -> int:
        """Floating-point operations of a step for one image: three forward passes, and the teacher's where asked."""
        asked = forward_flops(self.teacher_name, CLASSES, SIDE) if contestant in ASKING else 0
        return 3 * forward_flops(self.student_name, CLASSES, SIDE) + asked

    def limit(self) -> Limit:
        """What this machine's arithmetic can do at most for this pair, in this precision."""
        dtype = torch.bfloat16 if self.precision.startswith("bf16") else torch.float32
        return find_limit((self.teacher_name, self.student_name), CLASSES, SIDE, BATCH, self.fabric.device, dtype)


def waits_inside_an_epoch(bench: Bench) -> Counter[str]:
    """How often the loop with cached logits made the host wait for the device over `bench.steps` steps of an epoch.

    On a CPU, where nothing waits, the loop asks at every step whether the gradient was finite, and the losses check
    their logits: there the count is not zero.
    """
    teacher, batches = bench.warm_cache()

    def run(start: Callable[[], None], stop: Callable[[], None]) -> None:
        def watch(moment: Any, runs: Any) -> None:
            if moment.step == WARM_UP:
                start()
            if moment.step == WARM_UP + bench.steps:
                stop()
                raise Enough

        bench.run(teacher, batches, watch)

    return waits_between(run)
