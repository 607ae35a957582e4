"""measured_blackbox.csv: students of a teacher that gives probabilities and no logits, one finished training a line.

python scripts/measure_blackbox.py           measures what is missing
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from normkd_explore.results import FOLDER, read_rows

ANSWERS = "measured_blackbox.csv"
FULL = "full precision"

Table = dict[tuple[str, str], dict[str, dict[int, float]]]


@dataclass(frozen=True)
class AnswersRun:
    """One student after its last epoch; accuracy is top-1 in percent."""

    preset: str
    """DATASET/TEACHER-STUDENT."""
    budget: str
    """Digest of everything that must be equal for a fair comparison; see `Recipe.budget`."""
    method: str
    """What distils the answers, with the published settings of the lesson."""
    shown: str
    """What the black box shows: "full precision", "3 digits", "top5"."""
    remedy: str
    """What classes that are not shown get (`logits_from`); empty where all are shown."""
    seed: int
    """Runs of one seed start from the same weights and see the same batches: they are pairs."""
    last: float
    """Test top-1 after the last epoch."""
    n_test: int
    epochs: int
    command: str
    hardware: str
    torch: str


def load_answers(folder: Path = FOLDER) -> list[AnswersRun]:
    """The stored runs, as they were measured."""
    return read_rows(folder / ANSWERS, AnswersRun)


def answers_table(runs: Iterable[AnswersRun]) -> Table:
    """Test top-1 by (shown, remedy), method and seed; a ValueError where a run is there twice."""
    table: Table = {}
    for run in runs:
        seeds = table.setdefault((run.shown, run.remedy), {}).setdefault(run.method, {})
        if run.seed in seeds:
            raise ValueError(f"runs: {run.method}, {run.shown} {run.remedy} has seed {run.seed} twice.")
        seeds[run.seed] = run.last
    return table
