"""The exercises of notebooks/03_methods."""

from __future__ import annotations

import math

from normkd_explore.exercises.exercise import Exercise, near, words

EXERCISES: dict[str, Exercise] = {
    "03-scale": Exercise(
        right=lambda answer: words(answer) == {"Std", "MaxLogit"},
        praise="Right: both divide the student's logits by their own std, so scaling the logits changes nothing.",
        hints=(
            (lambda answer: not words(answer), 'The answer is a set of names, such as {"Constant", "Learned"}.'),
            (
                lambda answer: "Constant" in words(answer) or "Learned" in words(answer),
                "One T for all samples does not follow a student whose logits grow: the softened prediction changes.",
            ),
            (
                lambda answer: "MaxRatio" in words(answer),
                "MaxRatio divides by 2v / (x + v) · T: twice the v is less than twice the divisor.",
            ),
            (lambda answer: words(answer) == {"Std"}, "True, but another one divides by the student's std as well."),
        ),
        general="Not yet. Multiply the student's logits by 2: for which policies does its softened prediction stay?",
    ),
    "03-descent": Exercise(
        right=lambda answer: answer == "B",
        praise="Right: no step along NormKD's gradient changes the scale, but for the corner that a long step cuts.",
        hints=(
            (lambda answer: answer == "A", "That is KD. A step at right angles to the logits makes none longer."),
            (lambda answer: answer == "C", "Nothing pulls them down: the gradient has no part along the logits."),
            (lambda answer: answer not in ("A", "B", "C"), 'The answer is a letter, "A", "B" or "C".'),
        ),
    ),
    "03-equal": Exercise(
        right=near(math.sqrt(9.0 * 2.0**2 / (0.9 * 2.0**2))),
        praise="Right: 0.9 · (2 std)² = 9 · 2² where std² = 10. LSKD's weight 9 is NormKD's scale for such a teacher.",
        hints=((near(10.0), "That is std². Take the root."), (near(40.0), "Divide by T_norm² too.")),
        general="Not yet. Put 0.9 · (2 · std)² equal to 9 · 2² and solve for std.",
    ),
    "03-mean": Exercise(
        right=near(100),
        praise='Right: "mean" divides by B · C, "batchmean" by B. Nothing fails, the loss is just a hundredth.',
        hints=(
            (near(1), 'The two agree for one class only: "mean" divides by the number of all elements.'),
            (near(0.01), "The other way round: how many times too small is it?"),
        ),
        general='Not yet. "mean" divides the sum by the number of elements of the tensor, and that is B · C.',
    ),
    "03-square": Exercise(
        right=near((64.0 / 32.0) ** 2),
        praise="Right: the gradient falls like 1/T², so doubling T leaves a quarter. The factor T² takes that back.",
        hints=(
            (near(2.0), "One 1/T comes from the chain rule. A second one: both predictions get closer."),
            (near(0.25), "The other way round: by which factor does it shrink?"),
        ),
    ),
    "03-detached": Exercise(
        right=lambda answer: words(answer) == {"gradient"},
        praise="Right: detach() changes no value, so a test that compares losses alone never finds it.",
        hints=(
            (lambda answer: not words(answer), 'The answer is a set, such as {"loss", "gradient"}.'),
            (lambda answer: "loss" in words(answer), "detach() gives the same numbers: what does it cut?"),
        ),
    ),
    "03-masks": Exercise(
        right=near(0.5),
        praise="Right: a scalar times a mask, averaged, is the scalar times the share of ones: no sample is left out.",
        hints=((near(1.0), "Half of the mask is 0, and the mean counts those zeros."),),
        general="Not yet. Compute (scalar * mask).mean() for a mask whose first half is 1 and second half 0.",
    ),
    "03-tokens": Exercise(
        right=near(90 / 100),
        praise="Right: every position counts once, so the long sequence has 90 of 100 votes.",
        hints=((near(0.5), "That would be the mean of the two sequences' means. Here positions are averaged."),),
        general="Not yet. The sum over all positions is divided by their number, whichever sequence they are in.",
    ),
}
