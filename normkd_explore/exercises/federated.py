"""The exercises of notebooks/07_federated."""

from __future__ import annotations

import math

from normkd_explore.exercises.exercise import Exercise, near, words

CLIENTS, LIARS, CLASSES, STRENGTH = 8, 2, 10, 20.0

EXERCISES: dict[str, Exercise] = {
    "07-unbounded": Exercise(
        right=lambda answer: words(answer) == {"mean of logits"},
        praise="Right: a logit can be as large as a client likes. Probabilities and z-scores are bounded first.",
        hints=(
            (lambda answer: not words(answer), 'The answer is a set of names, such as {"median"}.'),
            (
                lambda answer: "mean of probabilities" in words(answer),
                "A probability is at most 1: one client of eight moves such a mean by an eighth, whatever it says.",
            ),
            (
                lambda answer: "mean of z-scores" in words(answer),
                "A peak has the same z-scores at every height: they are bounded by (C - 1) / √C.",
            ),
            (lambda answer: "median" in words(answer), "A median never leaves the honest values while few lie."),
        ),
    ),
    "07-checks": Exercise(
        right=lambda answer: answer == "none" or answer == set() or words(answer) == {"none"},
        praise="Right: the values are the same, only on other classes. Norm, std and entropy do not know classes.",
        hints=(
            (
                lambda answer: "norm" in words(answer),
                "The norm adds squares in any order: the order alone has changed.",
            ),
            (
                lambda answer: "entropy" in words(answer),
                "Entropy sums over the classes, in any order.",
            ),
            (lambda answer: "std" in words(answer), "The std of a set of numbers does not depend on their order."),
        ),
        general='Not yet. FDLA hands the same numbers to other classes. Answer with a set, or "none".',
    ),
    "07-std": Exercise(
        right=near(2 * STRENGTH / math.sqrt(CLASSES)),
        praise="Right: 2s / √C = 12.6 for s = 20 and ten classes. For a hundred it is 4.0, like a real teacher's.",
        hints=(
            (near(2 * STRENGTH / CLASSES), "Take the root of C."),
            (near(STRENGTH), "Nine values are -20 and one is +20: their mean is -16. How far are they from it?"),
            (
                near(2 * STRENGTH * math.sqrt(CLASSES - 1) / CLASSES),
                "That is the population's std, divisor C. NormKD's has the divisor C - 1.",
            ),
        ),
        general="Not yet. The mean is s · (2 - C) / C; the squared distances sum to 4s² (C - 1) / C. Divide by C - 1.",
    ),
    "07-weight": Exercise(
        right=near((40.0 / 20.0) ** 2),
        praise="Right: NormKD's weight is its temperature squared, and that follows the std, 2s / √C.",
        hints=(
            (near(2.0), "The temperature doubles; the weight is its square."),
            (near(1.0), "That is the softened distribution, which stays. The weight does not."),
        ),
    ),
    "07-median": Exercise(
        right=lambda answer: answer == 3,
        praise="Right: with 4 of 8 the middle two values can both be, or lie between, what liars say.",
        hints=(
            (lambda answer: answer == 4, "With 4 of 8 one of the middle two values can be a liar's."),
            (lambda answer: answer in (1, 2), "More: fewer than half of the clients."),
        ),
        general=f"Not yet. How many of {CLIENTS} can be anything while both middle ones stay between honest ones?",
    ),
    "07-odd": Exercise(
        right=lambda answer: answer in ("D", "d"),
        praise="Right: whoever has few pictures, or rare ones, says what the others do not. An outlier need not lie.",
        hints=(
            (lambda answer: answer in ("A", "a"), "Nobody lies here: the first place goes to somebody all the same."),
            (
                lambda answer: answer in ("B", "b", "C", "c"),
                "Look at each client's number of pictures and top-1.",
            ),
        ),
        general='Not yet. The answer is a letter, "A" to "D".',
    ),
}
