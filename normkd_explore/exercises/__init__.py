"""Exercises of the notebooks: each knows its answer, and says something useful about a wrong one.

    check("02-weight", 4.0)

The answers are computed here from the library or from first principles, not written down as numbers.
"""

from __future__ import annotations

from typing import Any

from normkd_explore.exercises import blackbox, federated, imagenet, logit_statistics, methods, results, training
from normkd_explore.exercises.exercise import Exercise

__all__ = ["EXERCISES", "Exercise", "check"]

EXERCISES: dict[str, Exercise] = {
    name: exercise
    for notebook in (logit_statistics, training, methods, imagenet, results, federated, blackbox)
    for name, exercise in notebook.EXERCISES.items()
}
"""Every exercise by its name: the notebook's number and a word."""


def check(name: str, answer: Any) -> None:
    """Print whether `answer` is right, or a hint; None means that the question is still open.

    Raises:
        ValueError: there is no exercise of that name.
    """
    if name not in EXERCISES:
        raise ValueError(f"exercise: found {name!r}, wanted one of {', '.join(EXERCISES)}.")
    exercise = EXERCISES[name]
    if answer is None:
        print("Open: put your answer in place of None and run the cell again.")
        return
    if exercise.right(answer):
        print(exercise.praise)
        return
    print(next((hint for fits, hint in exercise.hints if fits(answer)), exercise.general))
