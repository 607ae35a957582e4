"""What every process of a run under torchrun does in the tests of several processes.

`torchrun -m tests.helpers.process_scenes SCENE FOLDER` runs one of the scenes below in every process; the tests start
it with `launch`, then look at what it left in FOLDER.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from torch import nn

from normkd_explore.data import make_batches
from normkd_explore.training import Interrupted, NonFiniteError, Where, compare, evaluate, make_fabric, material, train
from normkd_explore.training.machine import processes
from tests.helpers.shared_runs import (
    METHODS_HERE,
    odd_dataset,
    one_each,
    plain_student,
    recipe_of,
    streamed,
    toy_where_there,
)
from tests.helpers.toy import CLASSES, toy_recipe
from tests.helpers.watchers import at, quiet

ROOT = Path(__file__).parents[2]


def interrupt_second() -> None:
    """Ctrl-C on process 1 alone."""
    if processes.rank() == 1:
        os.kill(os.getpid(), signal.SIGINT)


def scene_numbers(folder: Path) -> dict[str, object]:
    """Lockstep training, exact metrics, stop and resume, a NaN in one share, an error of the first process."""
    where, data = toy_where_there(folder), odd_dataset()
    found: dict[str, object] = {}
    material.new_student = plain_student
    recipes = [recipe_of(method) for method in METHODS_HERE]

    def theta(moment, runs):
        found["theta"] = runs[1].learner.objective.distillation.policy.theta.item()

    outs = [folder / "plain" / recipe.method for recipe in recipes]
    found["summaries"] = compare(recipes, outs, where, watch=theta, dataset=data)
    found["stopped"] = stop_and_resume(folder / "stopped", where, data)
    found["nan"] = poisoned(folder / "nan", data)
    found["refused"] = refused(folder / "plain" / "normkd", where, data)
    found["one_each"] = train(recipe_of("ce"), folder / "one_each", where, watch=quiet, dataset=one_each(folder))
    found["streamed"] = train(recipe_of("ce"), folder / "streamed", where, watch=quiet, dataset=streamed(folder))
    found["too_few"] = too_few(folder, where)
    from normkd_explore.training.teacher.sources import new_student

    material.new_student = new_student
    train(toy_recipe("kd"), folder / "bn", where, watch=quiet, dataset=data)
    found["few"] = evaluate(
        plain_student("", CLASSES, 0),
        make_batches(data, "val", 4, augment=False, rank=processes.rank(), world_size=2).epoch(0),
        shared=True,
    )
    return found


def stop_and_resume(out: Path, where, data) -> list[object]:
    """Ctrl-C on process 1 after step 2 of epoch 2, then on."""
    recipe = recipe_of("ctkd")
    try:
        train(recipe, out, where, watch=at(1, 2, interrupt_second), dataset=data)
    except Interrupted as stop:
        stopped = [stop.epoch, stop.step]
    train(recipe, out, where, resume=True, watch=quiet, dataset=data)
    return stopped


def poisoned(out: Path, data) -> list[object]:
    """Process 1 alone meets a NaN: its model answers with one in the third step."""

    class Poison(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.calls = plain_student("", CLASSES, 0), 0

        def forward(self, images_BCHW):
            self.calls += 1
            bad = self.calls == 3 and processes.rank() == 1
            return self.body(images_BCHW) * (float("nan") if bad else 1.0)

    before, material.new_student = material.new_student, lambda *_: Poison()
    try:
        train(toy_recipe("ce"), out, Where(device="cpu"), watch=quiet, dataset=data)
    except NonFiniteError as error:
        return [str(error), error.images]
    finally:
        material.new_student = before


def refused(out: Path, where, data) -> str:
    """A new run in a finished run's folder."""
    try:
        train(recipe_of("normkd"), out, where, watch=quiet, dataset=data)
    except (FileExistsError, processes.ProcessLost) as error:
        return f"{type(error).__name__}: {error}"


def too_few(folder: Path, where) -> list[object]:
    """One training image for two processes, from files and from memory."""
    said = []
    for name, data in (("files", streamed(folder, 1)), ("memory", replace(odd_dataset(), train=one_each(folder).val))):
        try:
            train(recipe_of("ce"), folder / f"few-{name}", where, watch=quiet, dataset=data)
        except ValueError as error:
            said.append(str(error))
    return [*said, sorted(path.name for path in folder.glob("few-*"))]


def scene_killed(folder: Path) -> None:
    """Process 1 is killed in the middle of epoch 2."""
    die = at(1, 2, lambda: processes.rank() == 1 and os.kill(os.getpid(), signal.SIGKILL))
    fail_clearly(folder, die, False)


def scene_left(folder: Path) -> None:
    """Process 0 leaves without a word in the middle of epoch 2; the killed run of before is continued first."""
    fail_clearly(folder.with_name("killed"), quiet, True)
    fail_clearly(folder, at(1, 3, lambda: processes.rank() == 0 and os._exit(7)), False)


def scene_long(folder: Path) -> None:
    """A long run that waits for Ctrl-C on torchrun; the run that process 0 left is continued first."""
    fail_clearly(folder.with_name("left"), quiet, True)
    ready = folder / f"ready{os.environ['RANK']}"

    def watch(moment, runs):
        ready.touch()
        time.sleep(0.05)

    recipe = toy_recipe("ce", epochs=1000)
    material.new_student = plain_student
    try:
        train(recipe, folder / "run", Where(device="cpu"), watch=watch, dataset=odd_dataset())
    except Interrupted as stop:
        (folder / f"stopped{processes.rank()}").write_text(f"{stop.epoch} {stop.step}")
        raise SystemExit(130) from None


def fail_clearly(folder: Path, watch, resume: bool) -> None:
    """Train as the command does: an expected error is one line."""
    material.new_student = plain_student
    try:
        train(recipe_of("ctkd"), folder / "run", toy_where_there(folder.parent), resume, watch, odd_dataset())
    except RuntimeError as error:
        print(f"normkd: {error}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None


def torchrun(scene: str, folder: Path, *before: str) -> list[str]:
    """The command that runs a scene in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *before]
    return [*launcher, "-m", "tests.helpers.process_scenes", scene, str(folder)]


def environment() -> dict[str, str]:
    """One thread a process; the package and the tests can be imported."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def launch(scene: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a scene to its end."""
    folder.mkdir(exist_ok=True)
    command = torchrun(scene, folder)
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)


def main(scene: str, folder: Path) -> None:
    """Run a scene in this process and leave what it found."""
    make_fabric("cpu")
    found = globals()[f"scene_{scene}"](folder)
    (folder / f"found{processes.rank()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
