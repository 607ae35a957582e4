"""Turn finished run folders into committed tables: normkd_explore/results/measured_NAME.csv.

    python scripts/collect_results.py runs/race --name lesson
    python scripts/collect_results.py runs/plateau --name plateau --history --made-by "notebook 05"

Everything comes from the folders themselves: summary.json, config.yaml, environment.json, metrics.jsonl. Paths of this
machine are left out of what is written.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from normkd_explore.methods import METHODS
from normkd_explore.results import FOLDER, EpochRecord, MeasuredRun, write_rows
from normkd_explore.training import RunFolder

FOLDER_OPTIONS = re.compile(r" --(?:out|into|data-root|teacher-weights|teacher-cache)[ =]\S+")


def find_runs(paths: list[Path], skip_unfinished: bool = False) -> list[RunFolder]:
    """The run folders at or below `paths`, in the order of METHODS and of seeds; a ValueError names unfinished ones."""
    folders = [RunFolder(config.parent) for path in paths for config in sorted(path.rglob("config.yaml"))]
    if not folders:
        raise FileNotFoundError(f"found no run folder (no config.yaml) in {', '.join(map(str, paths))}.")
    unfinished = [folder.path.name for folder in folders if not folder.finished]
    if skip_unfinished:
        folders = [folder for folder in folders if folder.finished]
    elif unfinished:
        raise ValueError(
            f"{', '.join(unfinished)} did not finish: continue with --resume, or leave them out with --skip-unfinished."
        )
    return sorted(folders, key=_order)


def check_comparable(folders: list[RunFolder]) -> None:
    """ValueError where runs of one preset and budget had other images or teachers: a table would pool them."""
    seen: dict[tuple[str, ...], tuple[str, RunFolder]] = {}
    for folder in folders:
        recipe = folder.recipe()
        known = {name: digest for name, digest in (folder.summary().get("inputs") or {}).items() if digest}
        for name, digest in known.items():
            first, other = seen.setdefault((recipe.preset, recipe.budget(), name), (digest, folder))
            if digest != first:
                raise ValueError(
                    f"{other.path.name} and {folder.path.name} had other inputs ({name}: digests {first} and "
                    f"{digest}). Collect them under two names."
                )


def _order(folder: RunFolder) -> tuple[str, int, int]:
    recipe = folder.recipe()
    return recipe.preset, list(METHODS).index(recipe.method), recipe.seed


def measured_run(folder: RunFolder, made_by: str | None = None) -> MeasuredRun:
    """One line of the table."""
    summary, recipe = folder.summary(), folder.recipe()
    environment = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    return MeasuredRun(
        preset=recipe.preset,
        budget=recipe.budget(),
        method=recipe.method,
        settings=summary["settings"],
        seed=recipe.seed,
        last=percent(summary["test"]["top1"]),
        best=percent(summary["best"]["top1"]),
        chosen_on=summary["chosen_on"],
        n_test=summary["test"]["n"],
        epochs=recipe.epochs,
        command=made_by or command_of(environment),
        hardware=hardware_of(environment),
        torch="; ".join(dict.fromkeys(part["packages"]["torch"] for part in parts_of(environment))),
    )


def epoch_records(folder: RunFolder) -> list[EpochRecord]:
    """One line an epoch."""
    recipe, split = folder.recipe(), folder.summary()["chosen_on"]
    return [
        EpochRecord(
            preset=recipe.preset,
            method=recipe.method,
            seed=recipe.seed,
            epoch=record["epoch"],
            lr=float(f"{record['lr']:.4g}"),
            split=split,
            top1=percent(record[split]["top1"]),
        )
        for record in folder.metrics()
    ]


def percent(fraction: float) -> float:
    """A fraction in percent, to 2 decimals: one image of 10,000."""
    return round(100 * fraction, 2)


def command_of(environment: dict[str, Any]) -> str:
    """The command without this machine's folders; a ValueError where none was recorded."""
    if not environment["command"]:
        raise ValueError("environment.json holds no command (the run was started from Python): say --made-by TEXT.")
    return FOLDER_OPTIONS.sub("", environment["command"])


def parts_of(environment: dict[str, Any]) -> list[dict[str, Any]]:
    """What was recorded when the run was started, and each time that it was continued."""
    return [environment, *environment.get("resumed", [])]


def hardware_of(environment: dict[str, Any]) -> str:
    """The accelerator, or the processor with its threads; all of them where a run was continued on others."""
    return "; ".join(dict.fromkeys(map(_hardware, parts_of(environment))))


def _hardware(part: dict[str, Any]) -> str:
    cpu = part["cpu"]
    threads = f"{cpu['threads']} thread" + "s" * (cpu["threads"] > 1)
    on_cpu = part.get("device") == "cpu" or not part["accelerator"]
    return f"{cpu['name']}, {threads}" if on_cpu else part["accelerator"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write run folders as tables of normkd_explore/results.")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or folders that hold some")
    parser.add_argument("--name", required=True, help="NAME of measured_NAME.csv")
    parser.add_argument("--history", action="store_true", help="write history_NAME.csv too")
    parser.add_argument("--made-by", help="what made the runs, where no command was recorded")
    parser.add_argument("--skip-unfinished", action="store_true", help="take the finished runs alone")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of the tables")
    options = parser.parse_args()
    try:
        folders = find_runs(options.runs, options.skip_unfinished)
        check_comparable(folders)
        rows = [measured_run(folder, options.made_by) for folder in folders]
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    write_rows(options.into / f"measured_{options.name}.csv", rows)
    print(f"measured_{options.name}.csv: {len(rows)} runs of {len({row.method for row in rows})} methods")
    if options.history:
        records = [record for folder in folders for record in epoch_records(folder)]
        write_rows(options.into / f"history_{options.name}.csv", records)
        print(f"history_{options.name}.csv: {len(records)} epochs")


if __name__ == "__main__":
    main()
