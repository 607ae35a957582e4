"""What is left of a training's speed when it has company, by how long torch's waiting threads spin.

    python -m benchmarks.busy [--spins 300000 10000 1000 100 0] [--repeats 3] [--seconds 10] [--precision 32-true]
    python -m benchmarks.busy --openmp libiomp5.so [--spins 200 1 0]     Intel's OpenMP in the place of GCC's

Columns, in images/s: one training alone (resnet20/resnet8, batch 64, the teacher asked at every step, as many threads
as cores); two and three at once, the mean of each one's rate; one beside a page of JupyterLab on which a slider is
dragged without a pause; one beside the live race of notebook 02 in JupyterLab; the race itself, alone and with that
training beside it; and the race's training in a terminal. Chromium is needed for the last five, `--no-browser` leaves
them out. All settings take turns, and every number is the median over the turns, with the lowest and the highest.

A spin is a round of GCC's waiting loop (GOMP_SPINCOUNT; 300,000 is its own default) or, with `--openmp`, a millisecond
of Intel's (KMP_BLOCKTIME; 200 is its own default).
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import defaultdict

import torch

from benchmarks.bench import BATCH
from benchmarks.busy_training import PAIR, Environment, Trainings

COLUMNS = ("alone", "two", "three", "slider", "beside race", "race", "race beside", "terminal")


def environment_of(spins: str, openmp: str | None) -> Environment:
    """What a process with this setting is started with."""
    free = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    preload = {"LD_PRELOAD": openmp} if openmp else {}
    return {**free, **preload, "KMP_BLOCKTIME" if openmp else "GOMP_SPINCOUNT": spins}


def one_turn(environment: Environment, arguments: argparse.Namespace) -> dict[str, float]:
    """Every column once for one setting."""

    def trainings(count: int) -> Trainings:
        return Trainings(count, environment, arguments.seconds, arguments.precision)

    found = {name: trainings(count).rate() for count, name in enumerate(COLUMNS[:3], 1)}
    if not arguments.no_browser:
        from benchmarks.busy_lab import race_in_a_terminal, visit

        found["terminal"] = race_in_a_terminal(environment, arguments.precision)
        found |= visit(environment, arguments.precision, lambda: trainings(1))
    return found


def print_table(turns: dict[str, list[dict[str, float]]], spins: str) -> None:
    """One row a setting: the median over the turns, and the lowest and highest in the row below."""
    names = [name for name in COLUMNS if any(name in turn for turn in next(iter(turns.values())))]
    print(f"\n{spins:>16}", *(f"{name:>13}" for name in names))
    for setting, found in turns.items():
        columns = [[turn[name] for turn in found] for name in names]
        print(f"{setting:>16}", *(f"{statistics.median(values):13,.0f}" for values in columns))
        print(" " * 16, *(f"{min(values):>6,.0f}-{max(values):<6,.0f}" for values in columns), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy")
    parser.add_argument("--spins", nargs="+", help="how long waiting threads spin")
    parser.add_argument("--openmp", help="path of Intel's or LLVM's OpenMP library, loaded before GCC's")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--no-browser", action="store_true")
    arguments = parser.parse_args()
    spins = arguments.spins or (["200", "1", "0"] if arguments.openmp else ["300000", "10000", "1000", "100", "0"])
    turns: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(arguments.repeats):
        for setting in spins:
            turns[setting].append(one_turn(environment_of(setting, arguments.openmp), arguments))
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, {PAIR}, batch {BATCH}, {arguments.precision}, images/s")
    print_table(turns, "KMP_BLOCKTIME" if arguments.openmp else "GOMP_SPINCOUNT")


if __name__ == "__main__":
    main()
