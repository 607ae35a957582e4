"""Measure whole trainings of a pair, study by study, into normkd_explore/results. Stop it when you like; give it again.

    python scripts/measure_images.py cifar100/resnet20-resnet8 --data-root DIR --out runs/images
    python scripts/measure_images.py cifar100/resnet20-resnet8 --data-root DIR --only table,factorial --seeds 5
    python scripts/measure_images.py glyphs/resnet20-resnet8 --name glyphs_full --only table --epochs 5 --seeds 10

teacher     what teaches all others; where the data set has a shipped one, that one
table       every method with its published settings, NormKD also at T_norm 1: measured_NAME.csv
surface     weight x temperature of five methods, half the epochs, chosen on validation images: measured_surface.csv
best        what was best there and the published setting of each, whole length, fresh seeds: measured_best.csv
factorial   {one T, a T for each} x {alike, weighed by variance}, all at KD's step size: measured_factorial.csv
leak        the table's methods under a teacher that has learned the validation images: measured_leak.csv

Each seed is trained in lockstep, and its rows are written when it is finished: a stopped command loses no finished run.
Every number and choice is in the run folders under --out; the commands in the tables are this script's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from normkd_explore.files.writing import write_json  # noqa: E402
from normkd_explore.methods import get_method  # noqa: E402
from normkd_explore.methods.options import changed_settings, split_spec  # noqa: E402
from normkd_explore.results import FOLDER, write_rows  # noqa: E402
from normkd_explore.training import (  # noqa: E402
    Interrupted,
    Recipe,
    RunFolder,
    TeacherCache,
    Where,
    compare,
    get_preset,
    teacher_recipe,
    train,
)
from scripts.collect_results import FOLDER_OPTIONS, check_comparable, find_runs, measured_run  # noqa: E402
from scripts.match_weights import arguments as match_arguments  # noqa: E402
from scripts.match_weights import matched_weights  # noqa: E402

TABLE = ("ce", "kd", "lskd", "normkd", "normkd:t_norm=1", "dkd", "normdkd")
CELLS = ("kd", "kd:weight=variance", "lskd", "normkd")  # one T or a T for each; weighed alike or by the variance
LEAK = ("ce", "kd", "lskd", "normkd")
TEMPERATURES = {
    "kd": ("temperature", (2, 4, 8)),
    "lskd": ("temperature", (1, 2, 4)),
    "dkd": ("temperature", (2, 4, 8)),
    "normkd": ("t_norm", (0.5, 1, 2)),
    "normdkd": ("t_norm", (0.5, 1, 2)),
}
FACTORS = (0.1, 0.3, 1, 3, 10)  # of the published weight
FRESH = 100  # the first seed of a study whose settings were chosen on the seeds from 0 on
PARTS = ("teacher", "table", "surface", "best", "factorial", "leak")


@dataclass(frozen=True)
class Study:
    """What is trained for one table."""

    name: str
    specs: tuple[str, ...]
    epochs: int
    seeds: range
    teacher: Path | None


class Measurement:
    """The studies of one pair, in one folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out / options.name
        self.shipped = options.preset.startswith("glyphs/")
        self.made_by = FOLDER_OPTIONS.sub("", " ".join(["python scripts/measure_images.py", *options.words]))

    def where(self, teacher: Path | None = None) -> Where:
        o = self.options
        cache = TeacherCache(str(o.teacher_cache))
        return Where(o.data_root, teacher, o.device, teacher_cache=cache)

    def teacher(self, contaminated: bool = False) -> Path | None:
        """The run folder of the teacher, trained now if it is not yet; contaminated: on the validation images too."""
        if self.shipped and not contaminated:
            return None
        out, o = self.out / ("teacher-contaminated" if contaminated else "teacher"), self.options
        recipe = teacher_recipe(o.preset, 0).with_epochs(o.teacher_epochs)
        recipe = replace(recipe, precision=o.precision, protocol="paper" if contaminated else "holdout")
        train(recipe, out, self.where(), resume=True)
        return out

    def table(self) -> Study:
        return Study(self.options.name, TABLE, self.options.epochs, range(self.options.seeds), self.teacher())

    def surface(self) -> Study:
        return Study("surface", tuple(self.grid()), max(1, self.options.epochs // 2), range(1), self.teacher())

    def grid(self) -> Iterator[str]:
        """Every method at three temperatures and five weights."""
        for method, (name, values) in TEMPERATURES.items():
            published = get_preset(self.options.preset, method).settings.kd_weight
            for value in values:
                yield from (f"{method}:{name}={value:g}:kd_weight={published * factor:.4g}" for factor in FACTORS)

    def best(self) -> Study:
        """Of each method the setting with the best last epoch on validation images, and the published one."""
        found: dict[str, tuple[float, str]] = {}
        for spec in self.grid():
            method = split_spec(spec)[0]
            summary = RunFolder(self.folder("surface", spec, 0)).summary()
            if summary["chosen_on"] != "val":
                raise ValueError("best: the surface was measured on the test split; use --protocol holdout.")
            found[method] = max(found.get(method, (-1.0, "")), (summary["last"]["top1"], spec))
        specs = ("ce", *TEMPERATURES, *(spec for _, spec in found.values()))
        seeds = range(FRESH, FRESH + self.options.seeds)
        return Study("best", specs, self.options.epochs, seeds, self.teacher())

    def factorial(self) -> Study:
        """The four cells; their weights are measured once and kept."""
        teacher, path, o = self.teacher(), self.out / "weights.json", self.options
        if not path.exists():
            words = [o.preset, "--methods", ",".join(CELLS), "--to", "kd", "--epochs", str(o.epochs)]
            words += ["--device", o.device, "--precision", o.precision]
            words += ["--data-root", str(o.data_root)] if o.data_root else []
            words += ["--teacher-weights", str(teacher)] if teacher else []
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, matched_weights(match_arguments(words)))
        weights = json.loads(path.read_text(encoding="utf-8"))
        specs = tuple(f"{cell}:kd_weight={weights[cell]:.4g}" for cell in CELLS)
        return Study("factorial", specs, o.epochs, range(o.seeds), teacher)

    def leak(self) -> Study:
        return Study("leak", LEAK, self.options.epochs, range(self.options.seeds), self.teacher(contaminated=True))

    def run(self, study: Study) -> None:
        """Train what is missing, seed by seed, and write the table after each."""
        for seed in study.seeds:
            recipes = [self.recipe(spec, seed, study.epochs) for spec in study.specs]
            outs = [self.folder(study.name, spec, seed) for spec in study.specs]
            compare(recipes, outs, self.where(study.teacher), resume=True)
            self.write(study)

    def recipe(self, spec: str, seed: int, epochs: int) -> Recipe:
        name, arguments, weights = split_spec(spec)
        recipe = get_preset(self.options.preset, name, seed).with_epochs(epochs)
        settings = changed_settings(get_method(name), recipe.settings, arguments, **weights)
        o = self.options
        return replace(recipe, settings=settings, precision=o.precision, protocol=o.protocol)

    def folder(self, study: str, spec: str, seed: int) -> Path:
        return self.out / study / f"{spec.replace(':', '-')}-seed{seed}"

    def write(self, study: Study) -> None:
        folders = find_runs([self.out / study.name], skip_unfinished=True)
        check_comparable(folders)
        write_rows(
            self.options.into / f"measured_{study.name}.csv", [measured_run(folder, self.made_by) for folder in folders]
        )
        print(f"measured_{study.name}.csv: {len(folders)} runs", flush=True)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--name", help="NAME of the table's file; default: the data set's")
    parser.add_argument("--only", help=f"some of {','.join(PARTS)}", default=",".join(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--teacher-epochs", type=int, default=60)
    parser.add_argument("--protocol", choices=("holdout", "paper"), default="holdout")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--teacher-cache", default="memory", help="memory, or a folder for later commands")
    parser.add_argument("--out", type=Path, default=Path("runs/images"), help="where the runs are kept")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of the tables")
    options = parser.parse_args(words)
    options.words = sys.argv[1:] if words is None else words
    options.name = options.name or options.preset.partition("/")[0]
    unknown = sorted({*options.only.split(",")} - {*PARTS})
    if unknown:
        parser.error(f"--only: there is no {', '.join(unknown)}; choose among {', '.join(PARTS)}")
    return options


def main(words: list[str] | None = None) -> None:
    """Run the studies one after the other."""
    options = arguments(words)
    measurement = Measurement(options)
    studies: dict[str, Callable[[], Any]] = {part: getattr(measurement, part) for part in PARTS}
    try:
        for part in PARTS:
            if part in options.only.split(","):
                found = studies[part]()
                if isinstance(found, Study):
                    measurement.run(found)
    except Interrupted as stopped:
        sys.exit(f"{stopped}\nThe same command goes on from there.")


if __name__ == "__main__":
    main()
