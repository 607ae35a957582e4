"""Record a race of the lesson for the site's front page: normkd_explore/results/race_lesson.json.

    python scripts/record_race.py --seeds 3

Trains the students of each seed in lockstep, as `normkd compare --lesson` does, and keeps top-1 on the training batches
as it rises, and on the validation images after every epoch. Two of the racers differ from another in nothing but the
weight of the distillation term, which is measured by `scripts/match_weights.py`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from normkd_explore.figures.race import RaceLap  # noqa: E402
from normkd_explore.methods import get_method  # noqa: E402
from normkd_explore.methods.options import changed_settings, split_spec  # noqa: E402
from normkd_explore.results import FOLDER  # noqa: E402
from normkd_explore.training import Recipe, Where, compare, get_preset, lesson  # noqa: E402
from normkd_explore.widgets.racelap import RunningLap  # noqa: E402

PRESET = "glyphs/resnet20-resnet8"
RACERS = ("ce", "kd", "kd:kd_weight=4.33", "normkd", "normkd:kd_weight=0.1869")
STEPS_BETWEEN = 5


def recipe_of(spec: str, seed: int) -> Recipe:
    """The lesson's recipe of METHOD or METHOD:NAME=VALUE."""
    name, arguments, weights = split_spec(spec)
    recipe = lesson(get_preset(PRESET, name, seed))
    return replace(recipe, settings=changed_settings(get_method(name), recipe.settings, arguments, **weights))


def race(seed: int) -> RaceLap:
    """Train all racers of one seed and give what was measured, by racer."""
    lap, names = RunningLap(seed), {}

    def watch(moment, runs) -> None:
        for run, spec in zip(runs, RACERS, strict=True):
            run.name = names[spec] = spec
        lap.count(moment, runs, time.perf_counter())
        if moment.step % STEPS_BETWEEN == 0 or moment.step == moment.steps:
            lap.measure()

    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / str(place) for place in range(len(RACERS))]
        compare([recipe_of(spec, seed) for spec in RACERS], outs, Where(device="cpu"), watch=watch)
    lap.measure()
    return lap.snapshot()


def main() -> None:
    """Race, and write the file."""
    parser = argparse.ArgumentParser(description="Record a race of the lesson for the site's front page.")
    parser.add_argument("--seeds", type=int, default=3, help="from 0 on (default: 3)")
    parser.add_argument("--out", type=Path, default=FOLDER / "race_lesson.json", help="the file to write")
    options = parser.parse_args()
    laps = [asdict(race(seed)) for seed in range(options.seeds)]
    about = {
        "preset": PRESET,
        "racers": RACERS,
        "command": f"python scripts/record_race.py --seeds {options.seeds}",
        "hardware": f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} thread",
        "torch": torch.__version__.partition("+")[0],
    }
    options.out.write_text(json.dumps({**about, "laps": laps}, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{options.out}: {len(laps)} seeds")


if __name__ == "__main__":
    main()
