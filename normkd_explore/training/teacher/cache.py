"""The teacher's logits, computed once for every (image, view) and read by every later epoch, method and seed.

A frozen teacher is a function of the picture it sees, and crops and flips of an image can be counted (`Views`), so its
answers fit in a table. Training with the table gives the numbers of training without it, on a CPU to the last bit:
both evaluate the teacher in blocks of the same size (`Teacher.evaluate`).

Letters: N images of the training split, V views of an image, R = N V rows of the table, B rows at hand, C classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normkd_explore import __version__
from normkd_explore.data import ArraySplit, Batch, Batches, Dataset
from normkd_explore.data.batches import plan_epoch
from normkd_explore.data.resident import ResidentBatches
from normkd_explore.notices import notice
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.free_memory import available_bytes
from normkd_explore.training.teacher.frozen import CPU_ROWS, Teacher
from normkd_explore.training.teacher.logit_table import CacheError, LogitTable, gigabytes, new_table, table_bytes
from normkd_explore.training.teacher.table_folder import create_folder, disk_room, open_folder

AHEAD = {"cpu": 512, "cuda": 8192}  # images whose missing logits are computed together: full blocks, short waits
GPU_ROWS = 512
COMFORT = 4  # "auto" takes at most this part of the free memory


def _tell(text: str) -> None:
    notice(text)


class TeacherCache:
    """Where a teacher's logits are kept, and the table once it is open; runs that share this object share the table.

    Args:
        place: "off"; "memory"; a folder, which later processes can use as well; or "auto": memory where the table
            takes at most a quarter of what is free, else off.
        limit: the most bytes the table may take; None sets no limit beyond what is free.
        tell: called with one line that says what was decided, and how large the table is, before it is made.
        folder: where "memory" and "auto" keep the table for several processes of one machine, in place of the memory
            of each; None where there is only one.
    """

    def __init__(
        self,
        place: str | Path = "auto",
        limit: int | None = None,
        tell: Callable[[str], None] = _tell,
        folder: Path | None = None,
    ) -> None:
        if not str(place):
            raise ValueError("teacher cache: found an empty name, wanted off, memory, auto or a folder.")
        self.place, self.limit, self.tell = str(place), limit, tell
        self.folder = folder if self.place in ("off", "auto", "memory") else Path(place)
        self._table: LogitTable | None = None
        self._identity: dict[str, Any] = {}

    def attach(
        self,
        teacher: Teacher,
        dataset: Dataset,
        batches: Batches,
        precision: str = "32-true",
        features: bool = False,
    ) -> tuple[Teacher, Batches]:
        """The teacher and the batches to train with: those given, or ones that use the table.

        `precision` is Fabric's; `features` says that a student needs more of the teacher than its logits. CacheError
        where a cache was asked for (not "auto") and cannot be had: it says why.
        """
        if self.place == "off":
            return teacher, batches
        try:
            resident = self._checked(teacher, dataset, batches, features)
            table = self._fitting_table(teacher, dataset, precision)
        except CacheError as reason:
            if self.place != "auto":
                raise
            self._say(teacher, f"teacher cache off: {str(reason).removeprefix('teacher cache: ')}")
            return teacher, batches
        cached = CachedTeacher(teacher, table, dataset.views.count)
        return cached, PreparedBatches(resident, cached)

    def _fitting_table(self, teacher: Teacher, dataset: Dataset, precision: str) -> LogitTable:
        """The table that is open, where it is of these logits; else another."""
        identity = cache_identity(teacher, dataset, precision)
        if self._table is None or self._identity != identity:
            self._table = None  # the memory of another run's table goes first
            self._table, self._identity = self._open(teacher, dataset, identity), identity
        return self._table

    def _checked(self, teacher: Teacher, dataset: Dataset, batches: Batches, features: bool) -> ResidentBatches:
        """The batches; CacheError unless the logits of their images can be kept, and kept here."""
        if features:
            raise CacheError("teacher cache: a method learns from the teacher's features, which would not fit.")
        if not dataset.views.countable:
            raise CacheError("teacher cache: the views of an image cannot be counted (random resized crops).")
        if not isinstance(dataset.train, ArraySplit) or not isinstance(batches, ResidentBatches):
            raise CacheError("teacher cache: the images are streamed from disk and not held in memory.")
        self._refuse_size(teacher, table_bytes(*_shape(dataset)))
        if teacher.fabric.device.type == "cpu" and not place_is_free(teacher, batches):
            raise CacheError(
                "teacher cache: on this machine the teacher's logits of an image depend, in their last bit, on its "
                "place in the batch, so cached and computed logits would not be equal."
            )
        return batches

    def _refuse_size(self, teacher: Teacher, size: int) -> None:
        if self._table is not None:
            return  # its memory is taken already; a table of another run is dropped before the next is made
        if self.limit is not None and size > self.limit:
            raise CacheError(f"teacher cache: {gigabytes(size)} wanted, the limit is {gigabytes(self.limit)}.")
        wanted = self._memory(teacher.fabric.device, size)
        free, part = available_bytes(teacher.fabric.device) or 0, COMFORT if self.place == "auto" else 1
        if self.folder and self.place == "auto" and size > (room := disk_room(self.folder)) // part:
            raise CacheError(
                f"teacher cache: {gigabytes(size)} of disk space wanted, {gigabytes(room)} are free and a quarter of "
                "that is allowed without asking. --teacher-cache DIR names a folder with more."
            )
        if wanted > free // part:
            share = f" and a quarter of {gigabytes(free)} is allowed without asking" if part > 1 else ""
            remedy = "A folder (--teacher-cache DIR) needs disk space instead."
            if self.folder:
                remedy = "A GPU holds the whole table, also one from a folder: take --teacher-cache off."
            raise CacheError(
                f"teacher cache: {gigabytes(wanted)} of memory wanted, {gigabytes(free)} are free{share}. {remedy}"
            )

    def _memory(self, device: torch.device, size: int) -> int:
        """What a table of `size` bytes takes of the device's memory; a folder is mapped into that of a CPU."""
        if device.type != "cpu":
            return size
        # Each process has a table of its own: all of one machine take from one memory.
        return 0 if self.folder else size * processes.size_here()

    def _open(self, teacher: Teacher, dataset: Dataset, identity: dict[str, Any]) -> LogitTable:
        rows, classes = _shape(dataset)
        self._say(
            teacher,
            f"teacher cache in {self.folder or 'memory'}: up to {gigabytes(table_bytes(rows, classes))} "
            f"({len(dataset.train):,} images x {dataset.views.count} views x {classes} classes x 4 bytes)",
        )
        if self.folder is None:
            return new_table(rows, classes, teacher.fabric.device)
        folder = self.folder
        # First the first process of all, then one on each machine: it makes a folder where the disk is not shared.
        for each in (processes.share, processes.one_by_machine):
            each(lambda: create_folder(folder, rows, classes, identity))
        table = open_folder(folder, rows, classes, identity, teacher.fabric.device)
        self._say(teacher, f"teacher cache: {table.filled:,} of {rows:,} views are known")
        return table

    def _say(self, teacher: Teacher, text: str) -> None:
        if teacher.fabric.is_global_zero:
            self.tell(text)


class CachedTeacher(Teacher):
    """A teacher that reads its logits; `PreparedBatches` sees to it that they are there."""

    def __init__(self, teacher: Teacher, table: LogitTable, views: int) -> None:
        vars(self).update(vars(teacher))
        self.table, self.views = table, views

    def logits(self, batch: Batch) -> Tensor:
        """Logits (B, C) in float32."""
        return self.table.read(batch.index_B * self.views + batch.view_B)

    @torch.no_grad()
    def learn(self, index_B: Tensor, view_B: Tensor, images: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Compute what the table lacks; indices and views are on the host, `images` makes pictures of them."""
        rows_B = index_B * self.views + view_B
        missing_B = self.table.missing(rows_B)
        rows_B, index_B, view_B = rows_B[missing_B], index_B[missing_B], view_B[missing_B]
        block = CPU_ROWS if self.fabric.device.type == "cpu" else GPU_ROWS
        for rows, index, view in zip(*(values.split(block) for values in (rows_B, index_B, view_B)), strict=True):
            if len(rows):
                self.table.write(rows, self.evaluate(images(index, view)))


class PreparedBatches:
    """The same batches; before each stretch of steps the teacher's missing logits for it are computed together.

    The order and views of an epoch are known on the host (`plan_epoch`), so this needs no answer from a GPU.
    """

    def __init__(self, batches: ResidentBatches, teacher: CachedTeacher) -> None:
        self.batches, self.teacher, self.schedule = batches, teacher, batches.schedule
        ahead = AHEAD.get(batches.device.type, AHEAD["cpu"])
        self.stretch = max(1, ahead * batches.schedule.world_size // batches.schedule.batch_size)

    @property
    def num_samples(self) -> int:
        """Images of one epoch, over all processes."""
        return self.batches.num_samples

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Give the batches of one epoch from ``start_step`` on."""
        inner = self.batches
        plan = plan_epoch(inner.schedule.num_images, inner.views, inner.augment, inner.seed, epoch)
        try:
            for step, batch in enumerate(inner.epoch(epoch, start_step), start_step):
                if (step - start_step) % self.stretch == 0:
                    steps = range(step, min(step + self.stretch, len(self)))
                    index_B, view_B = (torch.cat([inner.schedule.share(all_N, s) for s in steps]) for all_N in plan)
                    self.teacher.learn(index_B, view_B, self._images)
                yield batch
        finally:
            self.teacher.table.finish()

    def _images(self, index_B: Tensor, view_B: Tensor) -> Tensor:
        device = self.batches.device
        chosen = (values_B.to(device, non_blocking=True) for values_B in (index_B, view_B))
        return self.batches.batch(*chosen).images_BCHW


def _shape(dataset: Dataset) -> tuple[int, int]:
    return len(dataset.train) * dataset.views.count, dataset.num_classes


def cache_identity(teacher: Teacher, dataset: Dataset, precision: str) -> dict[str, Any]:
    """Everything a cached logit depends on; tables with another value anywhere are refused."""
    assert isinstance(dataset.train, ArraySplit)  # others are refused before
    images = hashlib.sha256(dataset.train.images_NHWC.contiguous().numpy().data)
    return {
        "teacher's weights": teacher.fingerprint(),
        "teacher": type(teacher.model).__name__,
        "images": images.hexdigest(),
        "shape": [len(dataset.train), dataset.num_classes],
        "normalisation": [list(dataset.mean), list(dataset.std)],
        "views": [dataset.views.pad, dataset.views.flips],
        "precision": precision,
        "torch": torch.__version__,
        "normkd_explore": __version__,
        "machine": _machine(teacher.fabric.device),
    }


def _machine(device: torch.device) -> str:
    """What may change a float's last bit: the kernels of this processor, and how many threads share a sum."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def place_is_free(teacher: Teacher, batches: ResidentBatches) -> bool:
    """Whether an image's logits keep every bit at another place of a block, among other images."""
    count = min(2 * CPU_ROWS, batches.schedule.num_images)
    index_B = torch.arange(count)
    images_BCHW = batches.batch(index_B, index_B % batches.views.count).images_BCHW
    order_B = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return torch.equal(teacher.evaluate(images_BCHW)[order_B], teacher.evaluate(images_BCHW[order_B]))
