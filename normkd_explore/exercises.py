"""Exercises of the notebooks: each knows its answer, and says something useful about a wrong one.

    check("02-weight", 4.0)

The answers are computed here from the library or from first principles, not written down as numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normkd_explore.analysis.paired import expected_maximum


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


def _words(answer: Any) -> set[str]:
    """The answer as a set of words; empty when it is something else."""
    return set(answer) if isinstance(answer, set | list | tuple) and all(isinstance(w, str) for w in answer) else set()


EXERCISES: dict[str, Exercise] = {
    "01-shift": Exercise(
        right=lambda answer: _words(answer) == {"mean", "max"},
        praise="Right: mean and max move with the logits; the spread stays, and softmax does not see a shift.",
        hints=(
            (lambda answer: not _words(answer), 'The answer is a set of names, such as {"mean", "std"}.'),
            (
                lambda answer: "entropy" in _words(answer),
                "Softmax ignores a shift: exp(z + 5) = exp(5) · exp(z) cancels.",
            ),
            (lambda answer: "std" in _words(answer), "std measures distances from the mean, and the mean moves along."),
            (lambda answer: _words(answer) < {"mean", "max"}, "True, but another one changes too."),
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
        right=_near(2 * 3.0),
        praise="Right: 2z / 2T is z / T. The std doubles too, so NormKD's temperature does just that.",
        hints=(
            (_near(3.0), "The same T leaves B more certain than A, because its logits are twice as far apart."),
            (_near(1.5), "The other way round: larger logits need a larger divisor."),
        ),
    ),
    "01-bound": Exercise(
        right=_near(1 / (1 + 9 * math.exp(-math.sqrt(10) / 2.0))),
        praise="Right: at most 35 %, however sure the model is. With few classes a smaller T_norm is worth a try.",
        hints=(
            (
                lambda answer: _number(answer) and answer > 0.9,
                "The gap between z-scores is bounded: one class above nine equal ones is √10 away, not more.",
            ),
            (_near(35.1), "As a probability, please: between 0 and 1."),
            (_near(1 / (1 + 9 * math.exp(-math.sqrt(10)))), "That is T_norm = 1. Divide the gap √C by T_norm = 2."),
        ),
        general="Not yet. Softmax of [√10, 0, 0, ...] / T_norm with ten classes: what does the first class get?",
    ),
    "01-regime": Exercise(
        right=lambda answer: answer == "lower",
        praise="Right: near an even spread only the logits' variance counts, far from it the gap of the first two.",
        hints=((lambda answer: answer not in ("higher", "lower"), 'The answer is "higher" or "lower".'),),
        general="Not yet. Compute it: the same cell with T_norm = 0.5 instead of 2.",
    ),
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
            (lambda answer: _number(answer) and answer < 5, "With n pairs there are 2^n sign patterns: count them."),
            (lambda answer: _number(answer) and answer > 6, "Fewer are enough. Two patterns of 2^n have one sign."),
        ),
    ),
    "05-best-of-ten": Exercise(
        right=_near(0.5 * expected_maximum(10)),
        praise="Right: the best of ten looks lies 1.54 jitters above their mean, and nothing was learned.",
        hints=(
            (_near(expected_maximum(10)), "That is in units of the jitter. The jitter is 0.5 points."),
            (_near(0.5), "One jitter is the typical distance of a single look. The best of ten lies further out."),
            (lambda answer: answer == 0, "The mean of ten looks has no bias. Their maximum has."),
        ),
        general="Not yet. Use expected_maximum(10): it counts in jitters.",
    ),
    "05-smallest": Exercise(
        right=_near(2 / 2**5),
        praise="Right: 2 of the 32 sign patterns. With five seeds not even a method that always wins gets below 0.05.",
        hints=((_near(1 / 2**5), "All plus is one pattern, all minus is as extreme: the test is two-sided."),),
        general="Not yet. How many of the 2^5 sign patterns are as extreme as five differences of one sign?",
    ),
    "05-ece": Exercise(
        right=_near(abs(0.7 - 0.9)),
        praise="Right: one bin holds everything, so the ECE is |0.7 - 0.9| = 0.2, and the model is over-confident.",
        hints=(
            (_near(-0.2), "The gap's size counts, not its sign."),
            (_near(20), "As a fraction, please."),
            (_near(0.3), "That is the error rate. Compare accuracy with confidence."),
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
    "04-cache": Exercise(
        right=_near(162 * 50_000 * 100 * 4 / 1e9),
        praise="Right: 3.24 GB, less than a film. Every later epoch, method and seed gets its teacher for nothing.",
        hints=(
            (_near(50_000 * 100 * 4 / 1e9), "That is one view of each image. There are 162."),
            (_near(162 * 50_000 * 100 / 1e9), "That counts the numbers. Each takes 4 bytes."),
            (_near(162 * 50_000 * 100 * 4), "In GB, please: divide the bytes by 10^9."),
        ),
        general="Not yet. Views times images times classes times bytes.",
    ),
    "04-memory": Exercise(
        right=lambda answer: answer == "activations",
        praise="Right: every layer's input is kept for every image of the batch, and the batch has 512 images.",
        hints=(
            (
                lambda answer: answer in ("weights", "momentum"),
                "11.7 million numbers of 4 bytes: 47 MB. How many leave the first layer, 64 x 112 x 112 an image?",
            ),
        ),
        general='Not yet. The answer is "weights", "momentum" or "activations".',
    ),
    "04-limit": Exercise(
        right=lambda answer: answer == "student",
        praise="Right: 1 / (1/3000 + 1/2000) = 1200 images a second, less than decoding gives; the student takes most.",
        hints=(
            (lambda answer: answer == "decoding", "Decoding gives 1600. What do the networks do in turns, together?"),
            (lambda answer: answer == "teacher", "The teacher is the faster of the two networks here."),
        ),
        general='Not yet. The answer is "decoding", "teacher" or "student".',
    ),
    "04-hours": Exercise(
        right=_near(100 * 1_281_167 * (1 / 3000 + 1 / 2000) / 3600),
        praise="Right: some 30 hours, at 1200 images a second.",
        hints=(
            (_near(100 * 1_281_167 / 1600 / 3600), "That is decoding alone. The networks are slower: 1200 a second."),
            (_near(100 * 1_281_167 / 2000 / 3600), "That is the student alone. The teacher takes its turn too."),
            (_near(1_281_167 / 1200 / 3600), "That is one epoch. The recipe has 100."),
            (_near(100 * 1_281_167 / 5000 / 3600), "Times add up, not rates: 1/3000 + 1/2000 seconds an image."),
        ),
        general="Not yet. Images of all epochs, divided by images a second, divided by 3600.",
    ),
    "04-share": Exercise(
        right=_near(512 / 4),
        praise="Right: the batch belongs to the recipe and is shared, so a step does the same as on one GPU.",
        hints=((_near(512), "Then a step would see 2048 images: another recipe. The batch counts all processes."),),
    ),
    "04-rate": Exercise(
        right=_near(0.2),
        praise="Right: gradients are averaged over the same 512 images, so nothing about the step changes.",
        hints=((_near(0.8), "Scaling belongs to a larger batch. Here the whole batch stays 512."),),
        general="Not yet. What would the same 512 images on one GPU be given?",
    ),
    "04-decoding": Exercise(
        right=_near(8 / (1 / 3000 + 1 / 2000)),
        praise="Right: 8 x 1200 = 9600. That is why large machines store images small, or decode on the GPU.",
        hints=(
            (_near(1200), "That is enough for one GPU."),
            (_near(8 * 1600), "How fast are the networks on one GPU?"),
        ),
    ),
    "03-scale": Exercise(
        right=lambda answer: _words(answer) == {"Std", "MaxLogit"},
        praise="Right: both divide the student's logits by their own std, so scaling the logits changes nothing.",
        hints=(
            (lambda answer: not _words(answer), 'The answer is a set of names, such as {"Constant", "Learned"}.'),
            (
                lambda answer: "Constant" in _words(answer) or "Learned" in _words(answer),
                "One T for all samples does not follow a student whose logits grow: the softened prediction changes.",
            ),
            (
                lambda answer: "MaxRatio" in _words(answer),
                "MaxRatio divides by 2v / (x + v) · T: twice the v is less than twice the divisor.",
            ),
            (lambda answer: _words(answer) == {"Std"}, "True, but another one divides by the student's std as well."),
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
        right=_near(math.sqrt(9.0 * 2.0**2 / (0.9 * 2.0**2))),
        praise="Right: 0.9 · (2 std)² = 9 · 2² where std² = 10. LSKD's weight 9 is NormKD's scale for such a teacher.",
        hints=((_near(10.0), "That is std². Take the root."), (_near(40.0), "Divide by T_norm² too.")),
        general="Not yet. Put 0.9 · (2 · std)² equal to 9 · 2² and solve for std.",
    ),
    "03-mean": Exercise(
        right=_near(100),
        praise='Right: "mean" divides by B · C, "batchmean" by B. Nothing fails, the loss is just a hundredth.',
        hints=(
            (_near(1), 'The two agree for one class only: "mean" divides by the number of all elements.'),
            (_near(0.01), "The other way round: how many times too small is it?"),
        ),
        general='Not yet. "mean" divides the sum by the number of elements of the tensor, and that is B · C.',
    ),
    "03-square": Exercise(
        right=_near((64.0 / 32.0) ** 2),
        praise="Right: the gradient falls like 1/T², so doubling T leaves a quarter. The factor T² takes that back.",
        hints=(
            (_near(2.0), "One 1/T comes from the chain rule. A second one: both predictions get closer."),
            (_near(0.25), "The other way round: by which factor does it shrink?"),
        ),
    ),
    "03-detached": Exercise(
        right=lambda answer: _words(answer) == {"gradient"},
        praise="Right: detach() changes no value, so a test that compares losses alone never finds it.",
        hints=(
            (lambda answer: not _words(answer), 'The answer is a set, such as {"loss", "gradient"}.'),
            (lambda answer: "loss" in _words(answer), "detach() gives the same numbers: what does it cut?"),
        ),
    ),
    "03-masks": Exercise(
        right=_near(0.5),
        praise="Right: a scalar times a mask, averaged, is the scalar times the share of ones: no sample is left out.",
        hints=((_near(1.0), "Half of the mask is 0, and the mean counts those zeros."),),
        general="Not yet. Compute (scalar * mask).mean() for a mask whose first half is 1 and second half 0.",
    ),
    "03-tokens": Exercise(
        right=_near(90 / 100),
        praise="Right: every position counts once, so the long sequence has 90 of 100 votes.",
        hints=((_near(0.5), "That would be the mean of the two sequences' means. Here positions are averaged."),),
        general="Not yet. The sum over all positions is divided by their number, whichever sequence they are in.",
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
