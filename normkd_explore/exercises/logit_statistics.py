"""The exercises of notebooks/01_logit_statistics."""

from __future__ import annotations

import math

from normkd_explore.exercises.exercise import Exercise, is_number, near, words

EXERCISES: dict[str, Exercise] = {
    "01-shift": Exercise(
        right=lambda answer: words(answer) == {"mean", "max"},
        praise="Right: mean and max move with the logits; the spread stays, and softmax does not see a shift.",
        hints=(
            (lambda answer: not words(answer), 'The answer is a set of names, such as {"mean", "std"}.'),
            (
                lambda answer: "entropy" in words(answer),
                "Softmax ignores a shift: exp(z + 5) = exp(5) · exp(z) cancels.",
            ),
            (lambda answer: "std" in words(answer), "std measures distances from the mean, and the mean moves along."),
            (lambda answer: words(answer) < {"mean", "max"}, "True, but another one changes too."),
        ),
    ),
    "01-models": Exercise(
        right=lambda answer: answer == "teacher",
        praise="Right: cross-entropy keeps pushing logits apart, so the longer-trained model's spread is larger.",
        hints=(
            (
                lambda answer: answer == "student",
                "Cross-entropy falls as long as the logits move apart. Who trained longer?",
            ),
            (lambda answer: answer not in ("teacher", "student"), 'The answer is "teacher" or "student".'),
        ),
    ),
    "01-wrong": Exercise(
        right=lambda answer: answer == "smaller",
        praise="Right: where the model hesitates, fewer logits stand out. But the two groups overlap widely.",
        hints=((lambda answer: answer not in ("smaller", "larger"), 'The answer is "smaller" or "larger".'),),
        general="Not yet. A sample that looks like no class in particular: how far do its logits stand out?",
    ),
    "01-scale": Exercise(
        right=near(2 * 3.0),
        praise="Right: 2z / 2T is z / T. The std doubles too, so NormKD's temperature does just that.",
        hints=(
            (near(3.0), "The same T leaves B more certain than A, because its logits are twice as far apart."),
            (near(1.5), "The other way round: larger logits need a larger divisor."),
        ),
    ),
    "01-bound": Exercise(
        right=near(1 / (1 + 9 * math.exp(-math.sqrt(10) / 2.0))),
        praise="Right: at most 35 %, however sure the model is. With few classes a smaller T_norm is worth a try.",
        hints=(
            (
                lambda answer: is_number(answer) and answer > 0.9,
                "The first class's lead is bounded: one class above nine equal ones is √10 ahead, not more.",
            ),
            (near(35.1), "As a probability, please: between 0 and 1."),
            (near(1 / (1 + 9 * math.exp(-math.sqrt(10)))), "That is T_norm = 1. Divide the gap √C by T_norm = 2."),
        ),
        general="Not yet. Softmax of [√10, 0, 0, ...] / T_norm with ten classes: what does the first class get?",
    ),
    "01-regime": Exercise(
        right=lambda answer: answer == "lower",
        praise="Right: near an even spread only the logits' variance counts, far from it the first class's lead.",
        hints=((lambda answer: answer not in ("higher", "lower"), 'The answer is "higher" or "lower".'),),
        general="Not yet. Compute it: the same cell with T_norm = 0.5 instead of 2.",
    ),
}
