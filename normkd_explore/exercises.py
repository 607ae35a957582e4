"""Exercises of the notebooks: each knows its answer, and says something useful about a wrong one.

    check("02-weight", 4.0)

The answers are computed here from the library or from first principles, not written down as numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exercise:
    """A question's right answer, and hints for the mistakes that people make: (is it this mistake?, what to say)."""

    right: Callable[[Any], bool]
    praise: str
    hints: tuple[tuple[Callable[[Any], bool], str], ...] = ()
    general: str = "Not yet. Read the section above once more and try it with a small example."


def _near(wanted: float) -> Callable[[Any], bool]:
    return lambda answer: _number(answer) and math.isclose(float(answer), wanted, rel_tol=0.02)


def _number(answer: Any) -> bool:
    return isinstance(answer, int | float) and not isinstance(answer, bool)


EXERCISES: dict[str, Exercise] = {
    "02-top": Exercise(
        right=lambda answer: answer == "B",
        praise="Right: B's logits are already flat, so the same T = 4 leaves it almost nothing but an even spread.",
        hints=(
            (lambda answer: answer == "A", "A has the larger std: dividing it by 4 still leaves a clear favourite."),
            (lambda answer: answer not in ("A", "B"), 'The answer is a letter, "A" or "B".'),
        ),
    ),
    "02-temperature": Exercise(
        right=_near(2.0 * 3.5),
        praise="Right: T = T_norm · std = 2 · 3.5 = 7.",
        hints=((_near(3.5 / 2.0), "That is std / T_norm. NormKD multiplies: T = T_norm · std."),),
        general="Not yet. The teacher's temperature is T_norm times the standard deviation of its logits.",
    ),
    "02-weight": Exercise(
        right=_near((6.0 / 3.0) ** 2),
        praise="Right: the weight is the squared temperature, so twice the std counts four times.",
        hints=(
            (
                _near(2.0),
                "That is the ratio of the temperatures. The divergence is weighed with T squared.",
            ),
            (_near(0.25), "The other way round: the sample with the larger std counts more."),
        ),
    ),
    "02-two-classes": Exercise(
        right=lambda answer: answer == 0,
        praise="Right: z-scores of two numbers are always ±0.707, whatever the student says: nothing can change them.",
        general="Not yet. Compute (z - mean) / std for [0, 1] and for [0, 100]: what can training change?",
    ),
}


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
