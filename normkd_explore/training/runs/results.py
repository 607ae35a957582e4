"""The results of a finished run: a summary that carries a checksum, and weights that it names.

Whoever reads them learns what is wrong with them; a training with --resume writes them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from safetensors import SafetensorError

from normkd_explore.files.records import RecordError, read_json, sealed, unsealed
from normkd_explore.files.regular import NotRegularError
from normkd_explore.files.tensors import CHECKSUM, ChecksumError, read_tensors
from normkd_explore.files.writing import write_json

AGAIN = "Take it from a copy, or run the same training with --resume: it is written again from the last checkpoint."
WEIGHTS = "weights"
"""Where a summary names the checksum of each weight file, by the file's path inside the folder."""


class Accuracy(TypedDict):
    """What is asked of the measurement of a split."""

    top1: float


class Tested(Accuracy):
    """What is asked of the measurement of the test split."""

    n: int


class Best(Accuracy):
    """What is asked of the best epoch."""

    epoch: int


class Validation(TypedDict):
    """See `training.leak`."""

    verdict: str
    why: str


class StudentSummary(TypedDict):
    """What is asked of the summary of one student's run."""

    preset: str
    method: str
    settings: str
    budget: str
    seed: int
    epochs: int
    test: Tested
    best: Best
    chosen_on: str
    train_seconds: float
    images_per_second: float
    inputs: NotRequired[dict[str, Any] | None]
    validation: NotRequired[Validation | None]
    weights: NotRequired[dict[str, str]]


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write a summary with a checksum of all that it says."""
    write_json(path, sealed(summary))


def read_summary(path: Path, shape: Any) -> dict[str, Any]:
    """The summary as it was written; RecordError where it was changed since, or is of another type than `shape`.

    One that an older version wrote has no checksum and is taken as it is.
    """
    return unsealed(read_json(path, shape, AGAIN), path, AGAIN)


def damage(summary_path: Path, shape: Any, weights: Sequence[Path]) -> str | None:
    """A sentence about the first result that is missing or not what was written; None where all is well."""
    try:
        summary = read_summary(summary_path, shape)
    except RecordError as error:
        return str(error).removesuffix(AGAIN).strip()
    named: Mapping[str, str] = summary.get(WEIGHTS) or {}
    problems = (_weights_problem(path, named.get(_name(path, summary_path))) for path in weights)
    return next((problem for problem in problems if problem), None)


def _weights_problem(path: Path, wanted: str | None) -> str | None:
    try:
        _, texts = read_tensors(path)
    except FileNotFoundError:
        return f"{path} is missing."
    except (OSError, SafetensorError, ChecksumError, NotRegularError) as error:
        return f"{path} is damaged: {str(error).splitlines()[0].rstrip('.')}."
    if wanted and texts.get(CHECKSUM) != wanted:
        return f"{path} holds other weights than the run wrote."
    return None


def _name(path: Path, summary_path: Path) -> str:
    return path.relative_to(summary_path.parent).as_posix()
