"""The progress bar of a federation."""

from __future__ import annotations

from typing import Any

from normkd_explore.federated.recipe import NO_ATTACK, FederatedRecipe
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.run import Moment


class RoundBar(ProgressBar):
    """Round, speed, and what the last finished round ended with. Rounds differ in length, so steps are of this one."""

    def __init__(self, recipe: FederatedRecipe) -> None:
        attack = "clean" if recipe.attack == NO_ATTACK else recipe.attack
        super().__init__(f"{recipe.clients} clients, {attack}, {recipe.aggregate}")

    def _status(self, moment: Moment, runs: Any, now: float) -> str:
        parts = [
            f"round {moment.epoch + 1}/{moment.epochs}",
            f"{self.images / max(now - self.began, 1e-9):,.0f} images/s",
        ]
        if runs.history:
            last = runs.history[-1]
            measured = last.get("val") or last["test"]
            parts.append(f"victims {100 * measured['victims']:.1f} %, answers {100 * last['answer_top1']:.1f} %")
        return ", ".join(parts)
