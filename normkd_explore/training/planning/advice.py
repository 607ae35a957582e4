"""The arithmetic of an estimate, and what to do about it: rates in, hours, bottleneck and advice out.

Rates are images per second. Letters: C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from normkd_explore.training.machine.threads import usable_cores
from normkd_explore.training.planning.memory import Memory, cache_bytes, fitting_batch, gib
from normkd_explore.training.progress.pace import duration
from normkd_explore.training.recipes.recipe import Recipe

GPU_ROOM = 0.9  # share of a device's memory to plan with: the rest goes to what no estimate counts


@dataclass(frozen=True)
class Rate:
    """Images per second, with the slowest and the fastest stretch that were timed."""

    mean: float
    slowest: float
    fastest: float


@dataclass(frozen=True)
class Speeds:
    """Images per second of the three parts of a training step, each running alone.

    Teacher and student take turns on one device, so their times add up: ``1 / networks = 1 / teacher + 1 / student``.
    Worker processes decode meanwhile, so the slower side decides: ``step = min(decoding, gpus * networks)``. Without
    workers (``overlap=False``) decoding takes its turn too.
    """

    decoding: float
    student: float
    teacher: float | None = None
    overlap: bool = True

    @property
    def networks(self) -> float:
        """Teacher and student together, were decoding free."""
        return 1 / (1 / self.student + (1 / self.teacher if self.teacher else 0))

    def step(self, gpus: int = 1) -> float:
        """Images per second of training with `gpus` devices that share one machine's decoding."""
        if self.overlap:
            return min(self.decoding, gpus * self.networks)
        return 1 / (1 / self.decoding + 1 / (gpus * self.networks))

    def limit(self, gpus: int = 1) -> str:
        """What would have to be faster first: "decoding", "teacher" or "student"."""
        if self.overlap and self.decoding < gpus * self.networks:
            return "decoding"
        times = {"teacher": 1 / self.teacher / gpus if self.teacher else 0, "student": 1 / self.student / gpus}
        if not self.overlap:
            times["decoding"] = 1 / self.decoding
        return max(times, key=lambda part: times[part])


@dataclass(frozen=True)
class Workload:
    """How many images a run looks at."""

    train: int
    val: int
    test: int
    epochs: int
    num_classes: int
    resident: int = 0
    """Bytes of images on the device, where the data set stands in for another."""

    @property
    def trained(self) -> int:
        """Images of all training steps."""
        return self.epochs * self.train

    @property
    def evaluated(self) -> int:
        """Images of all evaluations: validation after each epoch and the test once, or else the test each time."""
        return self.epochs * self.val + self.test if self.val else self.epochs * self.test

    def seconds(self, train_rate: float, evaluation_rate: float) -> float:
        """Seconds of a whole run."""
        return self.trained / train_rate + self.evaluated / evaluation_rate


@dataclass(frozen=True)
class Estimate:
    """What was measured about a run, and what follows; `str` gives the report that `normkd estimate` prints."""

    recipe: Recipe
    workload: Workload
    decoding: Rate
    teacher: Rate | None
    student: Rate
    together: Rate
    evaluation: Rate
    memory: Memory
    available: int | None
    device: str
    probed_batch: int
    workers: int
    """Processes that read images; 0 where the step waits for them itself."""
    decoder: str
    """Who decodes, and why."""
    overlap: bool
    """Whether images are decoded while the networks compute."""
    views: int
    note: str = ""

    @property
    def speeds(self) -> Speeds:
        """The mean rates of the three parts."""
        teacher = self.teacher.mean if self.teacher else None
        return Speeds(self.decoding.mean, self.student.mean, teacher, self.overlap)

    @property
    def limit(self) -> str:
        """What would have to be faster first: "decoding", "teacher" or "student"."""
        return self.speeds.limit()

    def seconds(self) -> tuple[float, float, float]:
        """Seconds of the whole run: likely, shortest, longest (by the mean, fastest and slowest stretch)."""
        training, evaluation, whole = self.together, self.evaluation, self.workload.seconds
        return (
            whole(training.mean, evaluation.mean),
            whole(training.fastest, evaluation.fastest),
            whole(training.slowest, evaluation.slowest),
        )

    @property
    def cache(self) -> int:
        """Bytes of all teacher logits; 0 where they cannot be kept."""
        return cache_bytes(self.views, self.workload.train, self.workload.num_classes) if self.teacher else 0

    def cache_saves(self) -> float:
        """Seconds that a run is shorter by where the teacher's logits are kept, from an empty cache on.

        In E epochs an image is expected to show V (1 - (1 - 1/V)^E) different ones of its V views; the teacher looks at
        those, and not at the E drawn.
        """
        if not self.cache or self.teacher is None:
            return 0.0
        epochs, views = self.workload.epochs, self.views
        different = views * (1 - (1 - 1 / views) ** epochs)
        return self.workload.train * (epochs - different) / self.teacher.mean

    def __str__(self) -> str:
        return "\n".join([self._title(), *filter(None, [self.note]), "", *self._rates(), "", *self._whole()])

    def _title(self) -> str:
        r = self.recipe
        workers = f", {self.workers} worker processes" if self.workers else ""
        few = f" (measured with {self.probed_batch})" if self.probed_batch != r.batch_size else ""
        return f"{r.preset} with {r.method} on {self.device}{workers}, {r.precision}, batch {r.batch_size}{few}"

    def _rates(self) -> Iterator[str]:
        yield f"{'images/s':24}{'mean':>10}   slowest .. fastest stretch"
        names = {"decoding": "decoding, augmentation", "teacher": "teacher, forward", "student": "student, whole step"}
        for name, text in (names | {"together": "all together", "evaluation": "evaluation"}).items():
            if rate := getattr(self, name):
                yield f"{text:24}{number(rate.mean):>10}   {number(rate.slowest)} .. {number(rate.fastest)}"

    def _whole(self) -> Iterator[str]:
        w, memory = self.workload, self.memory
        likely, shortest, longest = (duration(seconds) for seconds in self.seconds())
        images = f"{w.epochs} epochs x {w.train:,} images, {w.evaluated:,} evaluated"
        yield f"whole run  {likely} ({shortest} to {longest}): {images}"
        yield f"limit      {self.limit}; the parts alone promise {number(self.speeds.step())} images/s"
        found = gib(self.available) if self.available is not None else "unknown"
        yield f"decoding   by {self.decoder}"
        yield f"memory     {gib(memory.total)} wanted at batch {self.recipe.batch_size}, {found} free on {self.device}"
        parts = {"weights": memory.weights, "gradients + momentum": memory.gradients + memory.momentum}
        parts |= {"activations": memory.activations + memory.working, "batches": memory.images}
        parts |= {"whole photographs": memory.decoding, "data": memory.dataset}
        yield f"           {', '.join(f'{name} {gib(size)}' for name, size in parts.items() if size)}"
        if self.teacher:
            yield f"logits     {self._cached()}"
        for line in advice(self):
            yield f"advice     {line}"

    def _cached(self) -> str:
        if not self.cache or self.teacher is None:
            return "the teacher's cannot be kept: no view of an image comes twice"
        shorter = duration(self.seconds()[0] - self.cache_saves())
        return f"the teacher's take {gib(self.cache)} ({self.views} views an image); with them kept: {shorter}"


def advice(e: Estimate) -> list[str]:
    """What would make the run faster or make it fit, most useful first; empty when nothing comes to mind."""
    found, cores, on_gpu = [], usable_cores(), e.device.startswith("cuda")
    room = int(e.available * GPU_ROOM) if e.available is not None else None
    if room is not None and e.memory.total > room:
        fits = fitting_batch(e.memory, e.recipe.batch_size, room)
        smaller = f"--batch-size {fits} (and a learning rate scaled alike)" if fits else "a smaller model or image size"
        found.append(f"it does not fit: take {smaller}, or several processes, which share the batch")
    if on_gpu and e.recipe.precision.startswith("32"):
        found.append("--precision bf16-mixed: faster on a GPU, and half the activations")
    if on_gpu and not e.recipe.compile and e.limit != "decoding":
        found.append("--compile: `normkd estimate --compile` measures what it gains here")
    if not on_gpu and e.recipe.compile:
        found.append("train without --compile: on a CPU no clear gain was measured")
    if e.limit == "decoding" and e.workload.resident == 0 and e.memory.dataset == 0:
        if e.workers < cores:
            found.append(f"--workers {cores}: decoding limits, and {cores} cores may be used")
        else:
            found.append("decoding limits with every core at work: store the images once at 256 pixels' shorter side")
    if e.limit == "teacher" and e.cache:
        found.append(
            f"--teacher-cache FOLDER ({gib(e.cache)}): the teacher's logits serve every epoch, method and seed"
        )
    if e.limit == "teacher" and not e.cache:
        found.append("normkd compare trains several methods in one run: the teacher looks at each batch once for all")
    if not on_gpu and e.seconds()[0] > 5 * 86400:
        found.append("this needs a GPU; --epochs and --image-size cut it down for a rehearsal")
    return found


def number(rate: float) -> str:
    """A rate with three digits or more, e.g. "1,250", "83.1", "0.52"."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
