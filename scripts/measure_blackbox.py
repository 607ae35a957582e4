"""What rounded and cut answers cost a student: the lesson, with a teacher that gives probabilities and no logits.

    python scripts/measure_blackbox.py                     normkd_explore/results/measured_blackbox.csv

KD, NormKD and LSKD learn from all probabilities in full precision and with 6, 4, 3 and 2 digits, and NormKD from the
five largest; what is not shown gets each of the three remedies of `logits_from`. The students of a seed are trained in
lockstep: the same first weights, the same batches, one look of the teacher at each. The table is written after every
seed, and seeds that it holds are not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from normkd_explore.blackbox import BlackBox, logits_from
from normkd_explore.data import make_batches
from normkd_explore.results import FOLDER, write_rows
from normkd_explore.results.answers import ANSWERS, FULL, AnswersRun, load_answers
from normkd_explore.training import (
    Learner,
    Recipe,
    Run,
    Teacher,
    evaluate,
    fit,
    get_preset,
    lesson,
    load_teacher,
    make_fabric,
    new_student,
    open_dataset,
)
from normkd_explore.training.machine.environment import describe_environment

PRESET = "glyphs/resnet20-resnet8"
METHODS = ("kd", "normkd", "lskd")
REMEDIES = ("epsilon", "floor", "fit")


class Answers(NamedTuple):
    """How a black box answers, and what is done about what it hides."""

    answers: str = "soft"
    digits: int | None = None
    remedy: str = "epsilon"

    @property
    def shown(self) -> str:
        """In words."""
        if self.answers != "soft":
            return self.answers
        return FULL if self.digits is None else f"{self.digits} digits"


WHOLE = Answers()
ROUNDED = [Answers("soft", digits, remedy) for digits in (6, 4, 3, 2) for remedy in REMEDIES]
TOP = [Answers("top5", None, remedy) for remedy in REMEDIES]


class FromAnswers(nn.Module):
    """A loss that sees of the teacher's logits what the answers to its pictures tell."""

    def __init__(self, loss: nn.Module, how: Answers) -> None:
        super().__init__()
        self.loss, self.how = loss, how
        self.box = BlackBox(lambda logits: logits, how.answers, how.digits)

    def forward(self, logits_s: Tensor, logits_t: Tensor, target: Tensor) -> Tensor:
        answered = logits_from(self.box(logits_t), self.how.remedy, self.how.digits)
        return self.loss(logits_s, answered, target)


def variants() -> list[tuple[str, Answers]]:
    """Methods with the answers that they learn from."""
    every = [(method, how) for how in (WHOLE, *ROUNDED) for method in METHODS]
    return every + [("normkd", how) for how in TOP]


def train_seed(seed: int, options: argparse.Namespace) -> list[AnswersRun]:
    """All students of one seed."""
    fabric = make_fabric(options.device)
    recipes = [lesson(get_preset(PRESET, method, seed)) for method, _ in variants()]
    lead = recipes[0]
    dataset = open_dataset(lead, None)
    teacher = Teacher(load_teacher("resnet20", dataset, None), fabric)
    batches = make_batches(dataset, "train", lead.batch_size, augment=True, seed=seed, device=fabric.device)
    runs = []
    for recipe, (_, how) in zip(recipes, variants(), strict=True):
        learner = Learner(recipe, new_student(recipe.student, dataset.num_classes, seed), fabric, len(batches))
        learner.objective.distillation = FromAnswers(learner.objective.distillation, how)
        runs.append(Run(f"{recipe.method}, {how.shown}, {how.remedy}", learner))
    val, test = (make_batches(dataset, split, 256, augment=False, device=fabric.device) for split in ("val", "test"))
    fit(runs, batches, val, "val", teacher)
    rows = []
    for run, (_, how) in zip(runs, variants(), strict=True):
        rows.append(row(run.learner.recipe, how, evaluate(run.learner.model, test.epoch(0))))
        print(f"seed {seed} {run.name}: {rows[-1].last:.2f}", flush=True)
    return rows


def row(recipe: Recipe, how: Answers, test: dict) -> AnswersRun:
    """One line of the table."""
    cpu = describe_environment("cpu")["cpu"]
    return AnswersRun(
        preset=recipe.preset,
        budget=recipe.budget(),
        method=recipe.method,
        shown=how.shown,
        remedy="" if how == WHOLE else how.remedy,
        seed=recipe.seed,
        last=round(100 * test["top1"], 2),
        n_test=test["n"],
        epochs=recipe.epochs,
        command="python scripts/measure_blackbox.py",
        hardware=f"{cpu['name']}, {cpu['threads']} thread{'s' * (cpu['threads'] > 1)}",
        torch=torch.__version__.partition("+")[0],
    )


def main() -> None:
    """Train the seeds that are missing, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of the table")
    options = parser.parse_args()
    file = options.into / ANSWERS
    rows = load_answers(options.into) if file.exists() else []
    for seed in sorted(set(range(options.seeds)) - {known.seed for known in rows}):
        rows += train_seed(seed, options)
        write_rows(file, rows)
        print(f"{file.name}: {len(rows)} runs", flush=True)


if __name__ == "__main__":
    main()
