"""Before a run: how long it will take here, what limits it, and whether it fits into memory.

Rates are images per second of one process. Letters: N images, S image size in pixels, C classes.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normkd_explore.data import ArraySplit, Batch, Batches, Dataset, Views, load_dataset, make_batches
from normkd_explore.data.glyphs.drawn import SIZE, draw_photos
from normkd_explore.data.images.streaming import StreamingBatches
from normkd_explore.feature_losses.couple import introduce
from normkd_explore.methods import get_method
from normkd_explore.models import Features
from normkd_explore.training.evaluate import evaluate
from normkd_explore.training.learner import Learner
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.compiling import require_compiler
from normkd_explore.training.machine.fabric import make_fabric
from normkd_explore.training.machine.free_memory import available_bytes
from normkd_explore.training.material import open_dataset
from normkd_explore.training.planning.advice import GPU_ROOM, Estimate, Rate, Workload
from normkd_explore.training.planning.memory import decoding_bytes, estimate_memory, fitting_batch, resident_bytes
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.settle import settle
from normkd_explore.training.teacher.frozen import Teacher
from normkd_explore.training.teacher.sources import new_student
from normkd_explore.training.where import Where

STRETCHES = 5  # each part is timed in so many stretches, whose rates show the spread
PARTS = 5  # decoding, teacher, student, all together, evaluation
CPU_PIXELS = 32 * 224**2  # of a probed step on a CPU: from there on, a rate does not depend on the batch
PUBLISHED_COUNTS = {  # train and test images of data sets that need not be here
    "imagenet": (1_281_167, 50_000, 1000),
    "cifar100": (50_000, 10_000, 100),
    "cifar10": (50_000, 10_000, 10),
}
HELD_OUT = 5_000
DRAWN_FILES = 64
Clock = Callable[[], float]


def estimate(
    recipe: Recipe, where: Where | None = None, seconds: float = 10.0, clock: Clock = time.perf_counter
) -> Estimate:
    """Measure each part of a training step for a moment and work out what the whole run will take.

    The parts are decoding and augmentation of the data as the run will read it, the teacher's forward pass, the
    student's step (forward, loss, backward, update), all of them together, and an evaluation pass. Weights are random
    and nothing is kept: a rate does not depend on them. Where the published data set is not on this machine, drawn
    images of the same size and its published counts stand in, and the result says so. Files read twice come from the
    system's memory: a slow disk or network is not in these numbers.

    Args:
        recipe: the run to be judged.
        where: data folder, device and workers, as for `train`.
        seconds: time for all measurements together, besides the first step of each, which is not counted.
        clock: gives seconds; another one serves for tests.

    Raises:
        ValueError: when the data folder is not laid out as it should be, the device does not exist, or torchrun
            started several processes.
        FileNotFoundError: when a data folder was named and is not there.
    """
    if processes.launched():
        raise ValueError("estimate: found several processes of torchrun, wanted one; start it without torchrun.")
    where = where or Where()
    (recipe,) = settle([recipe], [], where.device, resume=False)
    recipe = replace(recipe, compile=recipe.compile is True)  # "auto" has a trial of its own
    fabric = make_fabric(where.device, recipe.precision)
    if recipe.compile:
        require_compiler(fabric.device)
    with tempfile.TemporaryDirectory() as scratch:
        dataset, workload, note = open_or_draw(recipe, where, Path(scratch))
        memory = estimate_memory(
            recipe,
            workload.num_classes,
            dataset.image_size,
            dataset=workload.resident or resident_bytes(dataset),
            decoding=decoding_bytes(dataset, recipe.batch_size, fabric.device),
        )
        available = available_bytes(fabric.device)
        room = int(available * GPU_ROOM) if available else 2**62
        fitting = fitting_batch(memory, recipe.batch_size, room)
        batch_size = probed_batch(recipe, dataset.image_size, fabric.device, fitting)
        bench = Bench(replace(recipe, batch_size=batch_size, lr=1e-9), dataset, workload.num_classes, fabric, where)
        rates = bench.rates(seconds / PARTS, clock)
    return Estimate(
        recipe=recipe,
        workload=workload,
        **rates,
        memory=memory,
        available=available,
        device=str(fabric.device),
        probed_batch=batch_size,
        workers=bench.workers,
        decoder=bench.decoder,
        overlap=bench.overlap,
        views=dataset.views.count,
        note=note,
    )


def measure_rate(
    work: Callable[[], int],
    seconds: float,
    clock: Clock = time.perf_counter,
    wait: Callable[[], None] = lambda: None,
    warm: int = 1,
) -> Rate:
    """Images per second of `work`, which handles some images and returns how many.

    `work` is called `warm` times outside the clock, then in stretches of ``seconds / 5``, at least two of them. The
    rate is all images over all time; slowest and fastest stretch are its spread. `wait` is called at each stretch's
    end, so that a device's queue is empty when the clock is read.
    """
    for _ in range(warm):
        work()
    wait()
    stretches: list[tuple[int, float]] = []
    while len(stretches) < 2 or (len(stretches) < STRETCHES and sum(s for _, s in stretches) < seconds):
        images, start = 0, clock()
        while not images or clock() - start < seconds / STRETCHES:
            images += work()
        wait()
        stretches.append((images, max(clock() - start, 1e-9)))
    rates = [images / spent for images, spent in stretches]
    return Rate(sum(i for i, _ in stretches) / sum(s for _, s in stretches), min(rates), max(rates))


class Bench:
    """The parts of one training step, ready to be timed one by one: built exactly as `train` builds them."""

    def __init__(self, recipe: Recipe, dataset: Dataset, num_classes: int, fabric, where: Where) -> None:
        self.recipe, self.dataset, self.device = recipe, dataset, fabric.device
        options = {"device": fabric.device, "workers": where.workers}
        self.train = make_batches(dataset, "train", recipe.batch_size, augment=True, seed=recipe.seed, **options)
        self.test = make_batches(dataset, "test", recipe.batch_size, augment=False, **options)
        self.workers, self.overlap, self.decoder = 0, False, "nobody: decoded images live on the device"
        if isinstance(self.train, StreamingBatches):
            self.workers, decoder = self.train.workers, self.train.decoder
            self.overlap = self.workers > 0 and not decoder.on_gpu
            self.decoder = str(decoder) if self.workers else "this process itself, in turn with the networks"
        self.teacher = None
        if recipe.teacher:
            self.teacher = Teacher(new_student(recipe.teacher, num_classes, seed=1), fabric, recipe.compile is True)
        student, couple = new_student(recipe.student, num_classes, recipe.seed), None
        if get_method(recipe.method).needs_features and self.teacher:
            couple = introduce(student, self.teacher.model, dataset.image_size, dataset.train.labels_N)
        self.learner = Learner(recipe, student, fabric, len(self.train), couple)

    def rates(self, seconds: float, clock: Clock) -> dict[str, Any]:
        """Time the parts one after the other, `seconds` each."""
        device = self.device
        wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
        stream = endless(self.train)
        # Each worker has a batch ready when the clock starts: take those first, or decoding looks too fast.
        ready = self.workers

        def measured(work: Callable[[], int], warm: int = 1) -> Rate:
            return measure_rate(work, seconds, clock, wait, warm)

        decoding = measured(lambda: len(next(stream).labels_B), 1 + ready)
        batch = next(stream)
        teacher = measured(lambda: count(batch, self.ask(batch))) if self.teacher else None
        answer = self.ask(batch)
        student = measured(lambda: self.step(batch, *answer))
        together = measured(lambda: self.whole(next(stream)), ready)
        quiet = endless(self.test)
        evaluation = measured(lambda: self.look(next(quiet)), 1 + ready)
        return {
            "decoding": decoding,
            "teacher": teacher,
            "student": student,
            "together": together,
            "evaluation": evaluation,
        }

    def ask(self, batch: Batch) -> tuple[Tensor | None, Features | None]:
        """The teacher's forward pass: its logits, and its features where the method compares those."""
        if self.teacher is None:
            return None, None
        if self.learner.objective.needs_features:
            return self.teacher.logits_and_features(batch)
        return self.teacher.logits(batch), None

    def step(self, batch: Batch, logits_t: Tensor | None, features_t: Features | None) -> int:
        """The student's step; gives the number of images."""
        self.learner.model.train()
        self.learner.step(batch, logits_t, 0, 0, features_t)
        return len(batch.labels_B)

    def whole(self, batch: Batch) -> int:
        """Teacher and student on one batch; gives the number of images."""
        return self.step(batch, *self.ask(batch))

    def look(self, batch: Batch) -> int:
        """The student's evaluation of one batch; gives the number of images."""
        return evaluate(self.learner.model, [batch])["n"]


def count(batch: Batch, answer: object) -> int:
    """The number of images of a batch that `answer` was computed for."""
    return len(batch.labels_B)


def endless(batches: Batches) -> Iterator[Batch]:
    """The batches of one epoch after the other."""
    return itertools.chain.from_iterable(batches.epoch(epoch) for epoch in itertools.count())


def probed_batch(recipe: Recipe, image_size: int, device: torch.device, fitting: int) -> int:
    """Images of a probed step: the recipe's batch, less where it would not fit or would take minutes on a CPU."""
    most = recipe.batch_size if device.type == "cuda" else max(2, CPU_PIXELS // image_size**2)
    return max(1, min(recipe.batch_size, most, fitting))


def open_or_draw(recipe: Recipe, where: Where, scratch: Path) -> tuple[Dataset, Workload, str]:
    """The data as the run will read it; drawn ones where a published data set is not here and no folder was named."""
    known = PUBLISHED_COUNTS.get(recipe.dataset)
    try:
        if recipe.dataset == "imagenet" and where.data_root is None:
            raise FileNotFoundError
        # Looking must not start a download.
        quiet = {"download": False} if known and recipe.dataset != "imagenet" else {}
        dataset = open_dataset(replace(recipe, data_options={**recipe.data_options, **quiet}), where.data_root)
    except FileNotFoundError:
        if known is None or where.data_root is not None:
            raise
        return *stand_in(recipe, known, scratch), _drawn_note(recipe)
    train, val, test = (len(split) if split else 0 for split in (dataset.train, dataset.val, dataset.test))
    return dataset, Workload(train, val, test, recipe.epochs, dataset.num_classes), ""


def stand_in(recipe: Recipe, known: tuple[int, int, int], scratch: Path) -> tuple[Dataset, Workload]:
    """Drawn images of a published data set's size, and that data set's counts."""
    train, test, classes = known
    held_out = HELD_OUT if recipe.protocol == "holdout" else 0
    counts = (train - held_out, held_out, test, recipe.epochs, classes)
    if recipe.dataset == "imagenet":
        files = max(DRAWN_FILES, recipe.batch_size) if torch.cuda.is_available() else DRAWN_FILES
        draw_photos(scratch, train=files // 4, val=DRAWN_FILES // 4)
        drawn = load_dataset("imagenet", scratch, protocol="paper", image_size=recipe.image_size)
        return drawn, Workload(*counts)
    noise = torch.Generator().manual_seed(0)
    images_NHWC = torch.randint(0, 256, (2048, 32, 32, 3), generator=noise).to(torch.uint8)
    split = ArraySplit(images_NHWC, torch.arange(2048) % classes)
    names = tuple(str(label) for label in range(classes))
    drawn = Dataset(recipe.dataset, split, None, split, names, (0.5,) * 3, (0.25,) * 3, Views())
    resident = 3 * ((train - held_out) * (32 + 2 * drawn.views.pad) ** 2 + (held_out + test) * 32**2)
    return drawn, Workload(*counts, resident=resident)


def _drawn_note(recipe: Recipe) -> str:
    what = f"drawn JPEG files of {SIZE[0]} x {SIZE[1]} pixels" if recipe.dataset == "imagenet" else "random images"
    return f"No {recipe.dataset} was found or named (--data-root): measured on {what}, counts as published."
