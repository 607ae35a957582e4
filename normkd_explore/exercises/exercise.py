"""What an exercise is, and how answers are compared."""

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


def near(wanted: float) -> Callable[[Any], bool]:
    """Whether an answer is a number within 2 % of the wanted one."""
    return lambda answer: is_number(answer) and math.isclose(float(answer), wanted, rel_tol=0.02)


def is_number(answer: Any) -> bool:
    """Whether an answer is a number, and not True or False."""
    return isinstance(answer, int | float) and not isinstance(answer, bool)


def words(answer: Any) -> set[str]:
    """The answer as a set of words; empty when it is something else."""
    return set(answer) if isinstance(answer, set | list | tuple) and all(isinstance(w, str) for w in answer) else set()
