"""The exercises of notebooks/02_normkd_training."""

from __future__ import annotations

from normkd_explore.exercises.exercise import Exercise, near

EXERCISES: dict[str, Exercise] = {
    "02-both": Exercise(
        right=lambda answer: isinstance(answer, str) and answer.lower() == "no",
        praise="Right: where # is in the band, v is nearly flat. Press the button, and each gets a T of its own.",
        hints=(
            (
                lambda answer: isinstance(answer, str) and answer.lower() == "yes",
                "Drag on: one gauge leaves as the other comes.",
            ),
            (lambda answer: answer not in ("yes", "no"), 'The answer is "yes" or "no".'),
        ),
    ),
    "02-temperature": Exercise(
        right=near(2.0 * 3.5),
        praise="Right: T = T_norm · std = 2 · 3.5 = 7.",
        hints=((near(3.5 / 2.0), "That is std / T_norm. NormKD multiplies: T = T_norm · std."),),
        general="Not yet. The teacher's temperature is T_norm times the standard deviation of its logits.",
    ),
    "02-weight": Exercise(
        right=near((6.0 / 3.0) ** 2),
        praise="Right: the weight is the squared temperature, so twice the std counts four times.",
        hints=(
            (
                near(2.0),
                "That is the ratio of the temperatures. The divergence is weighed with T squared.",
            ),
            (near(0.25), "The other way round: the sample with the larger std counts more."),
        ),
    ),
    "02-two-classes": Exercise(
        right=lambda answer: answer == 0,
        praise="Right: z-scores of two numbers are always ±0.707, whatever the student says: nothing can change them.",
        general="Not yet. Compute (z - mean) / std for [0, 1] and for [0, 100]: what can training change?",
    ),
}
