"""Whether bf16-mixed costs accuracy: the lesson in both precisions, ten paired seeds; some ten minutes of one core.

    python -m scripts.measure_precision                    CE, KD and NormKD; what is not trained yet
    python -m scripts.measure_precision --seeds 3 --runs /tmp/mine --into /tmp/mine

Runs of one seed and method begin with the same weights and see the same batches in both precisions: they are pairs.
Both tables (results/measured_bf16.csv and measured_float32.csv) are written after every seed, and a run that is
finished is not repeated: a stopped command goes on where it was. On a processor that only imitates bfloat16 the numbers
are the same and the time is not. `choose_precision` says what follows from them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from normkd_explore.analysis.paired import Paired, pair
from normkd_explore.results import FOLDER, MeasuredRun, by_method, load_measured, write_rows
from normkd_explore.training import DEFAULT_PRESET, Where, compare, get_preset, lesson
from normkd_explore.training.machine.precision import FLOAT, MIXED
from scripts.collect_results import check_comparable, find_runs, measured_run

TABLES = {FLOAT: "float32", MIXED: "bf16"}
METHODS = ("ce", "kd", "normkd")
COMMAND = "python -m scripts.measure_precision"


def train_seed(seed: int, precision: str, runs: Path) -> None:
    """The methods of a seed, in lockstep on one thread; finished ones are left as they are."""
    recipes = [replace(lesson(get_preset(DEFAULT_PRESET, name, seed)), precision=precision) for name in METHODS]
    outs = [runs / precision / f"{name}-seed{seed}" for name in METHODS]
    compare(recipes, outs, Where(device="cpu", threads=1), resume=True)


def tabulate(runs: Path, precision: str, into: Path) -> list[MeasuredRun]:
    """Write the table of a precision's finished runs, and return its rows."""
    folders = find_runs([runs / precision], skip_unfinished=True)
    check_comparable(folders)
    rows = [measured_run(folder, COMMAND) for folder in folders]
    write_rows(into / f"measured_{TABLES[precision]}.csv", rows)
    return rows


def differences(into: Path = FOLDER) -> dict[str, Paired]:
    """bf16-mixed minus float32, in points, by method."""
    mixed, whole = (by_method(load_measured(TABLES[precision], into)) for precision in (MIXED, FLOAT))
    return {name: pair({MIXED: mixed[name], FLOAT: whole[name]}, MIXED, FLOAT) for name in mixed}


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=Path("runs/precision"), help="folder of the runs")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of the tables")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for precision in TABLES:
            train_seed(seed, precision, options.runs)
            tabulate(options.runs, precision, options.into)
    for name, found in differences(options.into).items():
        print(f"{name}: {found.mean:+.2f} points (std {found.std:.2f}, n = {found.n}, p = {found.p:.3f})")


if __name__ == "__main__":
    main()
