"""Files of the package, damaged in every way that comes to mind, and how each command that reads them ended.

`python -m benchmarks.damaged_files [--few]` trains in a temporary folder, then damages one file at a time and runs the
commands that read it. An attempt ends well in one of three ways:

    refused     the command ends with one line that names the file or its folder, what was found and what to do
    repaired    a training goes on and ends with the very results that it has without the damage
    no matter   the command says what it says without the damage, or that something has changed; or the file is not one
                of the package's, so nothing can tell

It ends badly with a traceback, a hang, another result, or a line that lacks any of these.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.damaged_kinds import (
    Damage,
    damages,
    restore,
    stop_in_second_epoch,
    write_logits,
    write_pictures,
    write_teacher,
)
from normkd_explore.cli.main import main as normkd
from normkd_explore.training import RunFolder

LIMIT = 60  # seconds for one command, on a machine with other work
PAIR = "folder/resnet8-resnet8"
TRAIN = ["train", PAIR, "--data-root", "pictures", "--teacher-weights", "teacher.safetensors", "--device", "cpu"]
TRAIN += ["--epochs", "2", "--batch-size", "12", "--protocol", "paper", "--teacher-cache"]
REMEDY = re.compile(
    r"--resume|--out|from a copy|[Rr]estore|[Dd]elete|Name another|replace or remove|again|[Ss]ave|wanted|Continue with"
    r"|Files of logits there|Name "
)
WEIGHTS = "student.safetensors"
WELL = ("refused", "repaired", "no matter")
BADLY = "badly"
FLIPS, FEW_FLIPS, SOME = 12, 2, 9  # bits flipped in a file; of all damages, a test takes one in nine


class Hangs(BaseException):
    """A command took too long."""


@dataclass(frozen=True)
class Reader:
    """A command that reads a file, by its path inside the folder of everything."""

    name: str
    file: str
    command: list[str]
    result: str = ""
    """A folder that must hold the results of an undamaged run, where the command trains."""


def readers(place: Path) -> list[Reader]:
    """Every kind of file, with the commands that read it."""
    resume = [*TRAIN, "cache", "--out", "stopped", "--resume"]
    again = [*TRAIN, "off", "--out", "finished", "--resume"]
    header = sorted((place / "stopped" / "checkpoints").glob("*.json"))[-1].relative_to(place)
    kept = next((place / "kept").glob("images-*.safetensors")).relative_to(place)
    own = ["config.yaml", "inputs.json", "environment.json", "metrics.jsonl"]
    found = [Reader(name, f"stopped/{name}", resume, "stopped") for name in own]
    found += [
        Reader("checkpoint", str(header), resume, "stopped"),
        Reader("checkpoint's tensors", str(header.with_suffix(".safetensors")), resume, "stopped"),
        Reader("teacher's weights", "teacher.safetensors", resume, "stopped"),
        Reader("kept images", str(kept), resume, "stopped"),
    ]
    found += [Reader(name, f"cache/{name}", resume, "stopped") for name in ("cache.json", "logits.f32", "checks.i32")]
    for name in ("summary.json", "student.safetensors"):
        found.append(Reader(f"{name}, train --resume", f"finished/{name}", again, "finished"))
        found.append(
            Reader(f"{name}, evaluate", f"finished/{name}", ["evaluate", "finished", "--data-root", "pictures"])
        )
    found.append(Reader("summary.json, report", "finished/summary.json", ["report", "finished"]))
    found.append(
        Reader("config.yaml, evaluate", "finished/config.yaml", ["evaluate", "finished", "--data-root", "pictures"])
    )
    logits = sorted((place / "logits").iterdir())
    found += [Reader(file.name, f"logits/{file.name}", ["stats", f"logits/{file.name}"]) for file in logits]
    return found


def prepare(place: Path) -> None:
    """A finished run, a stopped one, and all that they read."""
    from normkd_explore.training.teacher.cache import TeacherCache
    from normkd_explore.training.where import Where

    write_pictures(place / "pictures")
    write_teacher(place / "teacher.safetensors")
    write_logits(place / "logits")
    ended, said = run([*TRAIN, "off", "--out", "finished"])
    if ended:
        raise RuntimeError(f"the undamaged training failed: {said}")
    where = Where(Path("pictures"), Path("teacher.safetensors"), "cpu", teacher_cache=TeacherCache(place / "cache"))
    with quiet():
        stop_in_second_epoch(RunFolder("finished").recipe(), Path("stopped"), where=where)


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """What is printed meanwhile."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


def run(command: list[str]) -> tuple[object, str]:
    """Exit status of a command, or the exception that nobody caught, and what it printed."""

    def ring(*_: object) -> None:
        raise Hangs

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT)
    try:
        with quiet() as said, mock.patch.object(sys, "argv", ["normkd", *command]), warnings.catch_warnings():
            warnings.simplefilter("always")
            try:
                normkd()
            except SystemExit as stop:
                return stop.code or 0, said.getvalue()
            except BaseException as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                return error, f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"
    finally:
        signal.alarm(0)
    raise AssertionError("main always exits")


def judge(reader: Reader, place: Path, whole: dict[str, Tensor], usual: str) -> str:
    """Run the command on the damaged file and say how that ended."""
    ended, said = run(reader.command)
    if not isinstance(ended, int):
        return f"TRACEBACK {said[:300]}"
    if ended:
        lines = [line for line in said.splitlines() if line.startswith("normkd:")]
        names = {Path(reader.file).name, Path(reader.file).stem, Path(reader.file).parts[0]}
        text = said[said.rindex("normkd:") :].strip() if lines else said
        if len(lines) != 1 or "\n" in text:
            return f"LINES: {text[:300]}"
        if not any(name in text for name in names):
            return f"NO FILE: {text[:300]}"
        return "refused" if REMEDY.search(text) else f"NO REMEDY: {text[:300]}"
    if reader.result:
        found = load_file(place / reader.result / WEIGHTS)
        same = all(torch.equal(tensor, found[name]) for name, tensor in whole.items())
        return "repaired" if same else "OTHER RESULT"
    unknowable = reader.command[0] == "stats" or "was trained with other data" in said
    return "no matter" if said == usual or unknowable else f"OTHER ANSWER: {said[:300]}"


def attempts(reader: Reader, sound: Path, place: Path, few: bool) -> Iterator[tuple[str, str]]:
    """Every damage of one file, and how it ended."""
    restore(sound, place)
    ended, usual = run(reader.command)
    if ended:
        raise RuntimeError(f"{reader.name}: {reader.command} failed without any damage: {usual}")
    whole = load_file(place / reader.result / WEIGHTS) if reader.result else {}
    every: list[Damage] = list(damages(sound / reader.file, FEW_FLIPS if few else FLIPS))
    for damage, do in every[::SOME] if few else every:
        restore(sound, place)
        do(place / reader.file)
        yield damage, judge(reader, place, whole, usual)


def row(name: str, counts: Counter[str]) -> str:
    """A line of the table."""
    return f"{name:36}{counts.total():>6}" + "".join(f"{counts[end]:>11}" for end in (*WELL, BADLY))


def main(arguments: list[str] | None = None) -> int:
    """Print how the attempts on each kind of file ended; the number of bad ends is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", action="store_true", help="some of the damages, for a test")
    parser.add_argument("--only", default="", help="kinds of files whose name holds this")
    asked = parser.parse_args(arguments)
    bad: list[str] = []
    total: Counter[str] = Counter()
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        sound, place = Path(folder).resolve() / "sound", Path(folder).resolve() / "place"
        place.mkdir()
        with mock.patch.dict(os.environ, {"NORMKD_CACHE": "kept"}):
            os.chdir(place)
            prepare(place)
            shutil.copytree(place, sound)
            print(f"{'file':36}{'tried':>6}" + "".join(f"{end:>11}" for end in (*WELL, BADLY)))
            for reader in readers(sound):
                if asked.only not in reader.name:
                    continue
                counts: Counter[str] = Counter()
                for damage, ended in attempts(reader, sound, place, asked.few):
                    counts[ended if ended in WELL else BADLY] += 1
                    if ended not in WELL:
                        bad.append(f"{reader.name}: {damage}: {ended}")
                print(row(reader.name, counts), flush=True)
                total += counts
            print(row("all", total))
            os.chdir(before)
    print("\n".join(bad))
    return len(bad)


if __name__ == "__main__":
    sys.exit(min(main(), 100))
