"""The exercises of notebooks/05_results."""

from __future__ import annotations

from normkd_explore.analysis.paired import expected_maximum
from normkd_explore.exercises.exercise import Exercise, is_number, near

EXERCISES: dict[str, Exercise] = {
    "05-same-loss": Exercise(
        right=lambda answer: answer == "minus_mean",
        praise="Right: softmax ignores a shift, so taking the mean off changes neither loss nor gradient.",
        hints=(
            (
                lambda answer: answer == "over_std",
                "Dividing acts like a temperature.",
            ),
            (
                lambda answer: answer == "z_score",
                "Of its two steps one counts: dividing by std.",
            ),
            (lambda answer: answer == "raw", "That is the column itself. Which of the other three?"),
        ),
        general='Not yet. The answer is one of "minus_mean", "over_std" and "z_score".',
    ),
    "05-pairs": Exercise(
        right=lambda answer: answer == next(n for n in range(1, 20) if 2 / 2**n < 0.05),
        praise="Right: six pairs of one sign give 2/64 = 0.031; five give 2/32 = 0.0625 at best.",
        hints=(
            (
                lambda answer: answer == 5,
                "1/32 is below 0.05, but all plus and all minus both count.",
            ),
            (lambda answer: is_number(answer) and answer < 5, "With n pairs there are 2^n sign patterns: count them."),
            (lambda answer: is_number(answer) and answer > 6, "Fewer are enough. Two patterns of 2^n have one sign."),
        ),
    ),
    "05-best-of-ten": Exercise(
        right=near(0.5 * expected_maximum(10)),
        praise="Right: the best of ten looks lies 1.54 jitters above their mean, and nothing was learned.",
        hints=(
            (near(expected_maximum(10)), "That is in units of the jitter. The jitter is 0.5 points."),
            (near(0.5), "One jitter is the typical distance of a single look. The best of ten lies further out."),
            (lambda answer: answer == 0, "The mean of ten looks has no bias. Their maximum has."),
        ),
        general="Not yet. Use expected_maximum(10): it counts in jitters.",
    ),
    "05-smallest": Exercise(
        right=near(2 / 2**4),
        praise="Right: 2 of the 16 sign patterns. Below six seeds not even a method that always wins gets below 0.05.",
        hints=((near(1 / 2**4), "All plus is one pattern, all minus is as extreme: the test is two-sided."),),
        general="Not yet. How many of the 2^4 sign patterns are as extreme as four differences of one sign?",
    ),
    "05-ece": Exercise(
        right=near(abs(0.7 - 0.9)),
        praise="Right: one bin holds everything, so the ECE is |0.7 - 0.9| = 0.2, and the model is over-confident.",
        hints=(
            (near(-0.2), "The gap's size counts, not its sign."),
            (near(20), "As a fraction, please."),
            (near(0.3), "That is the error rate. Compare accuracy with confidence."),
        ),
    ),
    "05-scale": Exercise(
        right=lambda answer: isinstance(answer, str) and answer.lower() == "ece",
        praise="Right: order and z-scores stay, only the confidence rises. NormKD's loss cannot see it.",
        hints=(
            (lambda answer: answer == "top-1", "Multiplying all logits by 3 keeps their order."),
            (
                lambda answer: answer == "normkd",
                "The student's std triples too: T_s cancels the factor.",
            ),
        ),
        general='Not yet. The answer is one of "top-1", "ece" and "normkd".',
    ),
}
