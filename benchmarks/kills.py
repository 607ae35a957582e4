"""Trainings that are killed at random moments (kill -9), continued, and compared with one that nobody killed.

`python -m benchmarks.kills [--kills 100]` trains small students again and again: `train` and `compare`, with a folder
for the teacher's logits and without. Each process is killed after a random time, then the same command goes on with
--resume, until it ends. Then its weights must be those of the run that was not killed, to the last bit, its metrics
must tell of each epoch once, and nothing may be left behind: no temporary file, no lock, no half checkpoint.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from safetensors.torch import load_file

import normkd_explore.data.images.decode
import normkd_explore.training  # noqa: F401
from benchmarks.damaged_kinds import write_pictures, write_teacher
from normkd_explore.cli.main import main as normkd

EPOCHS = 12
COMMON = [
    "--data-root",
    "pictures",
    "--teacher-weights",
    "teacher.safetensors",
    "--device",
    "cpu",
    "--protocol",
    "paper",
]
COMMON += ["--epochs", str(EPOCHS), "--batch-size", "4"]
METHODS = {"train": ("normkd",), "compare": ("ce", "normkd")}
PAIR = "folder/resnet8-resnet8"
FINISHED = {"config.yaml", "inputs.json", "environment.json", "metrics.jsonl", "summary.json", "student.safetensors"}
TABLE = {"cache.json", "logits.f32", "checks.i32"}


@dataclass
class Outcome:
    """How the trainings of one kind went."""

    name: str
    kills: int = 0
    """Processes that were killed while they worked."""
    runs: int = 0
    saves: list[str] = field(default_factory=list)
    """What was in the run folders after each kill: how far they were."""
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """A command, and whether the teacher's logits are kept in a folder."""

    command: str
    cached: bool

    @property
    def name(self) -> str:
        return f"{self.command}, {'with' if self.cached else 'without'} a folder of logits"

    def words(self, out: str) -> list[str]:
        """The command line."""
        place = "cache" if self.cached else "off"
        methods = [] if self.command == "train" else ["--methods", ",".join(METHODS[self.command]), "--seeds", "1"]
        return [
            self.command,
            PAIR,
            *COMMON,
            *methods,
            "--teacher-cache",
            place,
            "--out",
            out,
        ]

    def folders(self, out: Path) -> list[Path]:
        """Of the runs."""
        return [out] if self.command == "train" else [out / f"{method}-seed0" for method in METHODS[self.command]]


KINDS = [Kind(command, cached) for command in METHODS for cached in (False, True)]


def train_here(words: list[str], place: Path) -> None:
    """What a process does: the command, in a folder, its words in a file."""
    os.chdir(place)
    os.environ["NORMKD_CACHE"] = "kept"
    torch.set_num_threads(1)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for output in (1, 2):
        os.dup2(said, output)
    sys.argv = ["normkd", *words]
    normkd()


def start(words: list[str], place: Path) -> BaseProcess:
    """Begin a training. A fork of this process has imported everything: what is killed is work."""
    process = multiprocessing.get_context("fork").Process(target=train_here, args=(words, place))
    process.start()
    return process


def finish(words: list[str], place: Path) -> float:
    """Let a training end, and give its seconds."""
    began = time.monotonic()
    process = start(words, place)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"exit status {process.exitcode}: {(place / 'said').read_text()[-800:]}")
    return time.monotonic() - began


def killed(kind: Kind, place: Path, luck: random.Random, seconds: float, outcome: Outcome, most: int) -> None:
    """One training, killed up to `most` times at random moments of its work, then let end."""
    out = place / "killed"
    folders = kind.folders(out)
    for number in range(most):
        words = kind.words("killed") + ["--resume"] * (number > 0)
        process = start(words, place)
        process.join(luck.uniform(0, seconds))
        if process.exitcode is not None:  # it had ended before
            if process.exitcode:
                outcome.bad.append(f"exit status {process.exitcode}: {(place / 'said').read_text()[-300:]}")
            break
        process.kill()
        process.join()
        outcome.kills += 1
        outcome.saves.append(" ".join(_newest(folder) for folder in folders))
    outcome.runs += 1
    try:
        finish([*kind.words("killed"), "--resume"], place)
    except RuntimeError as error:
        outcome.bad.append(str(error))
    else:
        outcome.bad += problems(kind, place)


def _newest(folder: Path) -> str:
    return max((path.stem for path in (folder / "checkpoints").glob("*.json")), default="none")


def problems(kind: Kind, place: Path) -> Iterator[str]:
    """What differs from the training that nobody killed, and what was left behind."""
    for whole, folder in zip(kind.folders(place / "whole"), kind.folders(place / "killed"), strict=True):
        wanted, found = (load_file(run / "student.safetensors") for run in (whole, folder))
        if not all(torch.equal(tensor, found[name]) for name, tensor in wanted.items()):
            yield f"{folder.name}: other weights"
        epochs = [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        if epochs != list(range(1, EPOCHS + 1)):
            yield f"{folder.name}: metrics.jsonl tells of epochs {epochs}"
        if left := {path.name for path in folder.iterdir()} - FINISHED - {"checkpoints"}:
            yield f"{folder.name}: left behind: {sorted(left)}"
        if odd := {path.stem for path in (folder / "checkpoints").iterdir() if len(list(_pair(path))) != 2}:
            yield f"{folder.name}: half checkpoints {sorted(odd)}"
    for name, known in (("cache", TABLE), ("kept", set())):
        entries = {path.name for path in (place / name).glob("*")}
        if left := {entry for entry in entries - known if ".tmp" in entry or entry == "lock" or name == "cache"}:
            yield f"{name}: left behind: {sorted(left)}"


def _pair(path: Path) -> Iterator[Path]:
    return path.parent.glob(f"{path.stem}.*")


def trial(kind: Kind, place: Path, kills: int, luck: random.Random) -> Outcome:
    """Trainings of one kind until `kills` processes were killed."""
    outcome = Outcome(kind.name)
    write_pictures(place / "pictures")
    write_teacher(place / "teacher.safetensors")
    seconds = finish(kind.words("whole"), place)
    while outcome.kills < kills and len(outcome.bad) < 10:
        for name in ("killed", "cache", "kept"):
            shutil.rmtree(place / name, ignore_errors=True)
        killed(kind, place, luck, seconds / 2, outcome, min(luck.randint(2, 6), kills - outcome.kills))
    return outcome


def main(arguments: list[str] | None = None) -> int:
    """Print how the trainings of each kind ended; the number of bad ends is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="processes to kill, over all kinds")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", default="", help="kinds of training whose name holds this")
    asked = parser.parse_args(arguments)
    kinds = [kind for kind in KINDS if asked.only in kind.name]
    each, outcomes = -(-asked.kills // len(kinds)), []
    print(f"{'training':40}{'kills':>6}{'runs':>6}{'places':>8}{'badly':>7}")
    for number, kind in enumerate(kinds):
        with tempfile.TemporaryDirectory() as folder:
            outcome = trial(kind, Path(folder), each, random.Random(asked.seed + number))
        outcomes.append(outcome)
        places = len(set(outcome.saves))
        print(f"{outcome.name:40}{outcome.kills:>6}{outcome.runs:>6}{places:>8}{len(outcome.bad):>7}", flush=True)
    print("\n".join(bad for outcome in outcomes for bad in outcome.bad))
    return sum(len(outcome.bad) for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(min(main(), 100))
