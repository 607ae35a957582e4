"""The exercises of notebooks/06_black_box."""

from __future__ import annotations

import math

from normkd_explore.exercises.exercise import Exercise, near, words

EXERCISES: dict[str, Exercise] = {
    "06-exact": Exercise(
        right=lambda answer: words(answer) == {"kd", "normkd", "lskd"},
        praise="Right, all three: log p is z minus one number a row, and neither softmax nor std sees that number.",
        hints=(
            (lambda answer: not words(answer), 'The answer is a set of names, such as {"kd"}.'),
            (
                lambda answer: "normkd" not in words(answer),
                "What does subtracting the same number from all logits of a row do to their standard deviation?",
            ),
        ),
        general="Not yet. softmax(log p / T) and softmax(z / T): how do the rows inside differ?",
    ),
    "06-direction": Exercise(
        right=lambda answer: answer in ("A", "a"),
        praise="Right: rounding takes the smallest probabilities, and those are what makes the std large.",
        hints=(
            (
                lambda answer: answer in ("B", "b", "C", "c"),
                "Each hidden class has a p below 0.0005, so a log p below -7.6; log(0.0005) is the most it can be.",
            ),
        ),
        general='Not yet. The answer is a letter, "A" to "C".',
    ),
    "06-hard": Exercise(
        right=near(1.0),
        praise="Right: the class alone counts as certain, so the weight is 1 for every picture and says nothing.",
        hints=((lambda answer: answer == 0, "0 would switch it off. What is the largest value of a one-hot row?"),),
        general="Not yet. The largest entry of an answer that is 1 at one class and 0 elsewhere.",
    ),
    "06-index": Exercise(
        right=near(0.0),
        praise="Right: digit 0 is class 0, and a weight that is a class's number leaves it out entirely.",
        hints=((near(1.0), "That is the value. The index of class 0 is another number."),),
        general="Not yet. The index that max gives for a picture of class 0.",
    ),
    "06-one-hot": Exercise(
        right=near(math.exp(1 / 5) / (math.exp(1 / 5) + 99)),
        praise="Right: 1.2 %, where 1 % is a guess. Divided by 5, a one-hot row is nearly uniform over 100 classes.",
        hints=(
            (near(math.exp(1 / 5) / (math.exp(1 / 5) + 9)), "That is for ten classes; here there are 100."),
            (near(1.0), "The row is divided by 5 before the softmax: 0.2 at one class, 0 at 99 others."),
        ),
        general="Not yet. softmax of 0.2 at one class and 0 at the other 99.",
    ),
}
