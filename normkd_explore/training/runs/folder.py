"""The run folder: everything about one run, readable without this package.

config.yaml        the recipe            environment.json   versions, hardware, command; one entry more a resume
metrics.jsonl      one object an epoch   student.safetensors  weights after the last epoch
checkpoints/       complete training states              summary.json   last and best epoch, seconds, images/s
inputs.json        digests of the teacher and the data
lock               only while a process trains into the folder
tensorboard/       event files, with `--log tensorboard`
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar

from normkd_explore.files.records import RecordError, read_json_lines, read_yaml
from normkd_explore.files.writing import explained, remove_leftovers, write_text
from normkd_explore.notices import notice
from normkd_explore.training.machine.environment import describe_environment, record_environment
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.runs.board import Log, open_log
from normkd_explore.training.runs.checkpoint import list_checkpoints, remove_incomplete
from normkd_explore.training.runs.inputs import Inputs, check_inputs, follow_inputs, write_inputs
from normkd_explore.training.runs.results import StudentSummary, damage, read_summary, write_summary

RESTORE = "Bring it back from a copy: it says what was trained. Or start a new run with --out."


class RunFolder:
    """One folder a run. Opening it for a new run refuses to overwrite; opening it to resume checks the recipe."""

    recipe_type: ClassVar[type[Recipe]] = Recipe
    summary_type: ClassVar[Any] = StudentSummary
    written: ClassVar[tuple[str, ...]] = (".",)
    """Folders inside that files are written to, besides checkpoints."""

    def __init__(self, path: Path | str, log: str | None = None) -> None:
        """`log` names the board that is told every epoch besides metrics.jsonl (see `board`)."""
        self.path = Path(path)
        self.board = log
        self.log: Log | None = None
        self.checkpoints = self.path / "checkpoints"
        self.student = self.path / "student.safetensors"

    @property
    def started(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "config.yaml").exists()

    @property
    def finished(self) -> bool:
        """Whether the run reached its last epoch and wrote its results."""
        return self._summary.exists()

    @property
    def weights(self) -> list[Path]:
        """The files of weights that a finished run has."""
        return [self.student]

    @property
    def _summary(self) -> Path:
        return self.path / "summary.json"

    def start(self, recipe: Recipe, resume: bool, device: str | None = None, inputs: Inputs | None = None) -> None:
        """Create the folder for `recipe`, or check that it holds the same recipe, teacher and data when resuming.

        What a process that was killed while writing left there is removed, so the caller holds the folder's lock.
        """
        self.check_start(recipe, resume, inputs)
        config = self.path / "config.yaml"
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            for inside in self.written:
                remove_leftovers(self.path / inside)
            remove_incomplete(self.checkpoints)
        if inputs and not config.exists():
            write_inputs(self.path, inputs)
        elif inputs and (changed := follow_inputs(self.path, inputs)):
            notice(f"{self.path}: {changed}")
        if not config.exists():
            write_text(config, recipe.to_yaml())
        changed = record_environment(self.path / "environment.json", describe_environment(device), resume)
        if changed:
            notice(f"{self.path}: {changed}")
        if self.board:
            self.log = open_log(self.board, self.path, recipe)

    def check_start(self, recipe: Recipe, resume: bool, inputs: Inputs | None = None) -> None:
        """FileExistsError, FileNotFoundError or ValueError where `start` would refuse; nothing is written."""
        config = self.path / "config.yaml"
        if config.exists() and not resume:
            state = "a finished run" if self.finished else "an unfinished run"
            raise FileExistsError(
                f"{self.path} holds {state}: continue it with --resume, or choose another folder with --out."
            )
        if resume and config.exists():
            self.check_same(recipe, inputs)
        elif resume and list_checkpoints(self.checkpoints):
            raise FileNotFoundError(f"{config} is missing, so nobody can say what its checkpoints belong to. {RESTORE}")

    def digest(self) -> str:
        """A short digest of config.yaml that ties the checkpoints to it; "" before the folder was started."""
        config = self.path / "config.yaml"
        if not config.exists():
            return ""
        # Where compiling became impossible, the way on is to write `compile: false`: checkpoints fit both.
        lines = [line for line in config.read_bytes().splitlines(True) if not line.startswith(b"compile:")]
        return hashlib.sha256(b"".join(lines)).hexdigest()[:12]

    def check_same(self, recipe: Recipe, inputs: Inputs | None = None) -> None:
        """ValueError, naming what differs, unless this folder was started with `recipe` and `inputs`."""
        before = self.recipe()
        changed = [name for name in vars(recipe) if getattr(before, name) != getattr(recipe, name)]
        if changed:
            if self.finished and "epochs" in changed and set(changed) <= {"epochs", "milestones"}:
                raise ValueError(self._other_length(before.epochs, recipe.epochs))
            details = "; ".join(f"{n}: {getattr(before, n)!r} before, {getattr(recipe, n)!r} now" for n in changed)
            raise ValueError(
                f"{self.path} was started with another recipe ({details}). Resume with the same options, "
                "or start a new run with --out."
            )
        if inputs:
            check_inputs(self.path, inputs, self.finished)

    def _other_length(self, before: int, wanted: int) -> str:
        ways = f"For a run of {wanted} epochs, give --out another folder and leave --resume out."
        if wanted > before:
            ways += (
                f" To go on from these weights, add --student-weights {self.path} and set --epochs to how many are to "
                "follow; their learning rate begins anew."
            )
        return (
            f"{self.path} is finished: its {before} epochs are a whole schedule, at whose end the learning rate is "
            f"lowest, and no part of one of {wanted}. {ways}"
        )

    def recipe(self) -> Recipe:
        """The recipe that this folder was started with."""
        path = self.path / "config.yaml"
        if not path.exists():
            raise FileNotFoundError(
                f"{self.path} is no run folder: it has no config.yaml. Name one, or bring that file back from a copy."
            )
        values = read_yaml(path, self.recipe_type, RESTORE)
        try:
            return self.recipe_type.from_values(values)
        except ValueError as error:
            raise RecordError(f"{path} is damaged or of another kind: {error} {RESTORE}") from error

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write metrics.jsonl: one line an epoch. Rewritten whole, so that a resumed run never repeats an epoch.

        It follows the checkpoint of that epoch, and a resumed run rewrites it: it never tells of an epoch that is lost.
        """
        path = self.path / "metrics.jsonl"
        if not history:
            path.unlink(missing_ok=True)
            return
        write_text(path, "".join(json.dumps(record) + "\n" for record in history))
        if self.log:
            self.log.write(history)

    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        remedy = "A training with --resume writes it again, from what its checkpoints hold."
        return read_json_lines(path, dict[str, Any], remedy) if path.exists() else []

    def summary(self) -> dict[str, Any]:
        """summary.json; a FileNotFoundError says how to finish an unfinished run, a RecordError what is wrong."""
        if not self.finished:
            raise FileNotFoundError(
                f"{self.path} has no summary.json: the run is not finished. Continue it with --resume."
            )
        return read_summary(self._summary, self.summary_type)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json, the last file of a run."""
        write_summary(self._summary, summary)

    def damage(self) -> str | None:
        """A sentence about a result of a finished run that is missing or not what was written; None if all is well."""
        return damage(self._summary, self.summary_type, self.weights)
