"""What more trainings at the same time bring on this machine's cores, as in `normkd compare --jobs N`.

    python -m benchmarks.jobs [--jobs 1 2 4] [--repeats 3] [--seconds 10] [--precision 32-true]

For every N, N trainings of a resnet8 that asks a resnet20 run at the same time, each in a process with cores / N
threads; images per second of all together, and against one training on all cores, turn by turn.
"""

from __future__ import annotations

import argparse
import os
import statistics

import torch

from benchmarks.busy_training import PAIR, Trainings
from normkd_explore.training.machine.threads import usable_cores


def together(jobs: int, seconds: float, precision: str) -> float:
    """Images per second of so many trainings, added up."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, usable_cores() // jobs))}
    return jobs * Trainings(jobs, environment, seconds, precision).rate()


def print_table(turns: dict[int, list[float]]) -> None:
    """A row for each number of jobs: images per second, and the ratio to the first row's in the same turn."""
    base = next(iter(turns.values()))
    print(f"{'jobs':>6} {'images/s: min':>14} {'median':>8} {'max':>8} {'x: min':>8} {'median':>8} {'max':>8}")
    for jobs, rates in turns.items():
        ratios = [rate / first for rate, first in zip(rates, base, strict=True)]
        cells = [f"{value:8,.0f}" for value in (statistics.median(rates), max(rates))]
        cells += [f"{value:8.2f}" for value in (min(ratios), statistics.median(ratios), max(ratios))]
        print(f"{jobs:6} {min(rates):14,.0f}", *cells)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs")
    cores = usable_cores()
    usual = [jobs for jobs in (1, 2, 4, 8) if jobs <= cores]
    parser.add_argument("--jobs", type=int, nargs="+", default=usual, help="the first is what the others stand against")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--precision", default="32-true")
    arguments = parser.parse_args()
    turns: dict[int, list[float]] = {jobs: [] for jobs in arguments.jobs}
    for _ in range(arguments.repeats):
        for jobs, rates in turns.items():
            rates.append(together(jobs, arguments.seconds, arguments.precision))
    print(f"torch {torch.__version__}, {cores} cores, {PAIR}, {arguments.precision}")
    print_table(turns)


if __name__ == "__main__":
    main()
