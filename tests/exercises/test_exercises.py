"""Exercises accept what is right, and answer a typical mistake with its own hint."""

from __future__ import annotations

import pytest
import torch

from normkd_explore.exercises import check
from normkd_explore.losses import KD
from normkd_explore.temperature import Std


def said(capsys, name: str, answer: object) -> str:
    check(name, answer)
    return capsys.readouterr().out


def test_right_answers_are_those_of_the_library(capsys):
    """The expected values come from the losses themselves, not from the exercise's own arithmetic."""
    unit = torch.tensor([[-1.0, 0.0, 1.0]], dtype=torch.float64)  # standard deviation 1
    temperature = Std(2.0)(unit, 3.5 * unit).T_t.item()
    assert said(capsys, "02-temperature", temperature).startswith("Right")
    ratio = (Std(2.0)(unit, 6 * unit).weight / Std(2.0)(unit, 3 * unit).weight).item()
    assert said(capsys, "02-weight", ratio).startswith("Right")
    assert said(capsys, "02-both", "no").startswith("Right")
    assert said(capsys, "02-two-classes", 0).startswith("Right")


@pytest.mark.parametrize(
    "name, answer, hint",
    [
        ("02-both", "yes", "one gauge leaves"),
        ("02-both", 4, '"yes" or "no"'),
        ("02-temperature", 1.75, "multiplies"),
        ("02-weight", 2, "squared"),
        ("02-weight", 0.25, "other way round"),
        ("02-temperature", "seven", "Not yet"),
        ("02-weight", None, "Open"),
    ],
)
def test_mistakes_get_their_hint(capsys, name, answer, hint):
    assert hint in said(capsys, name, answer)


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match="02-weight"):
        check("99-nothing", 1)


def test_kd_separates_two_classes_where_normkd_cannot():
    """The notebook's cure for two classes really has a gradient."""
    student = torch.tensor([[0.3, 1.2]], requires_grad=True)
    KD(temperature=4.0)(student, torch.tensor([[2.0, -1.0]])).backward()
    assert student.grad.abs().min() > 0.1
