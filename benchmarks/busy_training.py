"""A training that begins when it is told, in a process of its own: what `benchmarks.busy` measures.

python -m benchmarks.busy_training SECONDS PRECISION      says "ready", waits for a line, then trains
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.bench import BATCH, WARM_UP, Bench, Enough

PAIR = "resnet20/resnet8"
Environment = dict[str, str]


def train_when_told(seconds: float, precision: str) -> float:
    """Images per second of one training for some seconds; it says that it is ready and waits for a line."""
    bench = Bench(PAIR, 1, 50_000, "cpu", precision)
    start, images = 0.0, 0

    def watch(moment: Any, runs: Any) -> None:
        nonlocal start, images
        if moment.step == WARM_UP:
            print("ready", flush=True)
            sys.stdin.readline()
            start = time.perf_counter()
        elif moment.step > WARM_UP:
            images += BATCH
        if moment.step == moment.steps or (start and time.perf_counter() - start >= seconds):
            raise Enough

    bench.run(bench.teacher(), bench.batches(), watch)
    return images / (time.perf_counter() - start)


class Trainings:
    """Some trainings in processes of their own that begin and end together."""

    def __init__(self, count: int, environment: Environment, seconds: float, precision: str) -> None:
        command = [sys.executable, "-m", "benchmarks.busy_training", str(seconds), precision]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(count)]
        for process in self.processes:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("a training of the benchmark ended before it began; its message is above")

    def rate(self, meanwhile: Callable[[subprocess.Popen], Any] = lambda process: None) -> float:
        """The mean of the rates; `meanwhile` is called with the first process once all have begun."""
        for process in self.processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        meanwhile(self.processes[0])
        return statistics.mean(float(process.communicate()[0]) for process in self.processes)


if __name__ == "__main__":
    print(train_when_told(float(sys.argv[1]), sys.argv[2]))
