"""Learning rates as pure functions of the step: nothing to save, so resuming cannot get them wrong."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["step", "one_cycle"]


def learning_rate(
    schedule: Schedule,
    peak: float,
    step: int,
    steps_per_epoch: int,
    epochs: int,
    milestones: tuple[int, ...] = (),
) -> float:
    """The learning rate of optimiser step `step` (0-based, counted over the whole run).

    * "step": `peak` times 0.1 for every milestone epoch already complete (the field's CIFAR and ImageNet recipes).
    * "one_cycle": linear rise from peak/10 over the first fifth of the run, then half a cosine down to zero.
    """
    if schedule == "step":
        epoch = step // steps_per_epoch
        return peak * 0.1 ** sum(epoch >= milestone for milestone in milestones)
    if schedule == "one_cycle":
        total = steps_per_epoch * epochs
        rise = max(1, round(0.2 * total))
        if step < rise:
            return peak * (0.1 + 0.9 * step / rise)
        return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))
    raise ValueError(f"schedule: found {schedule!r}, wanted 'step' or 'one_cycle'.")


def scale_milestones(milestones: tuple[int, ...], published_epochs: int, epochs: int) -> tuple[int, ...]:
    """Move the published milestones so that they fall at the same fraction of a shorter or longer run."""
    return tuple(round(milestone * epochs / published_epochs) for milestone in milestones)
