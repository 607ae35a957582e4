"""How fast distillation trains here, beside a loop in the field's manner, on the same data, models and hardware.

    python -m benchmarks.training [--pair resnet20/resnet8 ...] [--repeats 3] [--steps 40] [--device cpu] [--syncs]

The contestants take turns, each turn in a process of its own: `field` (see `benchmarks.field_loop`), `ours` (this
package's loop, the teacher asked at every step), `cached` (the same with all the teacher's logits known) and `student`
(the student's step alone, on one batch that never changes). Images have CIFAR-100's shape and random pixels; nothing
here depends on what they show. A turn first warms up, then counts images per second over `--steps` steps.

The last column says what share of the machine's limit the arithmetic reaches: 3 x the student's multiply-adds of a
forward pass, and those of the teacher where it is asked, x 2 floating-point operations for every image, over those of
a large matrix product (float32 on a CPU, bfloat16 on a GPU) measured just before the turn. A ratio to the field is
out of reach where it would need a share near or above 100 %. `--syncs` counts where the host waited for the device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.field_loop import field_steps
from benchmarks.host_waits import waits_between
from normkd_explore.data import ArraySplit, Dataset, make_batches
from normkd_explore.models import create_model
from normkd_explore.training import Learner, Run, Teacher, TeacherCache, fit, get_preset, make_fabric, new_student
from normkd_explore.training.teacher.cache import CachedTeacher

CPU_PAIRS = ("resnet20/resnet8", "resnet32x4/resnet8x4")
GPU_PAIRS = (
    *("resnet56/resnet20", "resnet110/resnet20", "resnet110/resnet32", "resnet32x4/resnet8x4", "wrn_40_2/wrn_16_2"),
    *("wrn_40_2/wrn_40_1", "vgg13/vgg8", "resnet32x4/ShuffleV1", "resnet32x4/ShuffleV2", "wrn_40_2/ShuffleV1"),
    *("vgg13/MobileNetV2", "ResNet50/MobileNetV2", "ResNet50/vgg8"),
)
CONTESTANTS = ("field", "ours", "cached", "student")
BATCH, CLASSES, SIDE = 64, 100, 32
WARM_UP = 5


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
        self.compile = compile
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
                self._wait()
                start = time.perf_counter()
            if step == WARM_UP + self.steps - 1:
                break
        self._wait()
        return images / (time.perf_counter() - start)

    def _fit(self, teacher: Teacher, batches: Any) -> float:
        seen: list[float] = []

        def watch(moment: Any, runs: Any) -> None:
            if moment.step in (WARM_UP, WARM_UP + self.steps):
                self._wait()
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

    def _wait(self) -> None:
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize()

    def step_flops(self, contestant: str) -> int:
        """Floating-point operations of a step for one image: three forward passes, and the teacher's where asked."""
        asked = forward_flops(self.teacher_name) if contestant in ("field", "ours") else 0
        return 3 * forward_flops(self.student_name) + asked

    def limit(self, seconds: float = 1.0) -> float:
        """The best rate of a large matrix product in floating-point operations per second."""
        on_gpu = self.fabric.device.type == "cuda"
        side, dtype = (8192, torch.bfloat16) if on_gpu else (1536, torch.float32)
        a, b = (torch.randn(side, side, device=self.fabric.device, dtype=dtype) for _ in range(2))
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._wait()
            start = time.perf_counter()
            torch.mm(a, b)
            self._wait()
            best = min(best, time.perf_counter() - start)
        return 2 * side**3 / best


def forward_flops(name: str) -> int:
    """Floating-point operations of a network's forward pass for one image."""
    model = create_model(name, num_classes=CLASSES).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, SIDE, SIDE))
    return counter.get_total_flops()


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


def measure_turns(arguments: argparse.Namespace, pair: str) -> dict[str, list[dict[str, float]]]:
    """All contestants' turns, alternating, each in a process of its own."""
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(arguments.repeats):
        for name in CONTESTANTS:
            command = [sys.executable, "-m", "benchmarks.training", "--pair", pair, "--only", name]
            for option in ("steps", "images", "device", "precision"):
                command += [f"--{option}", str(getattr(arguments, option))]
            command += ["--compile"] if arguments.compile else []
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            turns[name].append(json.loads(done.stdout.splitlines()[-1]))
    return turns


def print_table(pair: str, turns: dict[str, list[dict[str, float]]]) -> None:
    """Images per second, ratios to the field's loop turn by turn, and shares of the limit."""
    rates = {name: [turn["rate"] for turn in values] for name, values in turns.items()}
    heads = f"{'images/s: min':>14} {'median':>9} {'max':>9} {'x field: min':>14} {'median':>7} {'max':>7}"
    print(f"\n{pair:24} {heads} {'of the limit':>14}")
    for name, values in rates.items():
        ratios = [rate / field for rate, field in zip(values, rates["field"], strict=True)]
        cells = [f"{min(values):14,.0f} {statistics.median(values):9,.0f} {max(values):9,.0f}"]
        cells += [f"{min(ratios):14.2f} {statistics.median(ratios):7.2f} {max(ratios):7.2f}"]
        shares = [turn["share"] for turn in turns[name]]
        cells += [f"{statistics.median(shares):6.0%} ({min(shares):.0%} to {max(shares):.0%})"]
        print(f"  {name:22}", *cells)


def one_turn(arguments: argparse.Namespace, pair: str) -> dict[str, float]:
    """A turn of one contestant, with the limit measured just before."""
    bench = Bench(pair, arguments.steps, arguments.images, arguments.device, arguments.precision, arguments.compile)
    limit = bench.limit()
    rate = bench.rate(arguments.only)
    return {"rate": rate, "share": rate * bench.step_flops(arguments.only) / limit}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--pair", nargs="+", default=GPU_PAIRS if on_gpu else CPU_PAIRS, help="TEACHER/STUDENT")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200 if on_gpu else 40)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--compile", action="store_true", help="compile our networks, outside the clock")
    parser.add_argument("--only", choices=CONTESTANTS, help="one turn of one contestant, printed as JSON")
    parser.add_argument("--syncs", action="store_true", help="count where the host waited for the device")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.only:
        print(json.dumps(one_turn(arguments, arguments.pair[0])))
        return
    threads = torch.get_num_threads()
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {threads} threads"
    print(f"torch {torch.__version__}, {place}, batch {BATCH}, {arguments.steps} steps x {arguments.repeats} turns")
    for pair in arguments.pair:
        print_table(pair, measure_turns(arguments, pair))
        if arguments.syncs:
            waits = waits_inside_an_epoch(Bench(pair, arguments.steps, arguments.images, arguments.device))
            print(f"  host waits in {arguments.steps} steps: {dict(waits) or 'none'}", flush=True)


if __name__ == "__main__":
    main()
