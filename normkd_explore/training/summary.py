"""What a finished run says about itself in one place: summary.json, and the rows of a comparison."""

from __future__ import annotations

from typing import Any

from normkd_explore.methods import Settings
from normkd_explore.methods.options import format_argument
from normkd_explore.training.learner import Learner


def summarise(learner: Learner, test: dict[str, Any]) -> dict[str, Any]:
    """The last epoch, the best epoch, and what they cost.

    `test` is the last epoch's, the number to report. `best` was chosen by looking at `chosen_on`; where that is the
    test split itself (protocol "paper"), it is the field's customary number and it is optimistic.
    """
    recipe, history = learner.recipe, learner.history
    chosen_on = "val" if "val" in history[-1] else "test"
    best = max(history, key=lambda record: record[chosen_on]["top1"])
    seconds = sum(record["seconds"] for record in history)
    return {
        "preset": recipe.preset,
        "method": recipe.method,
        "student": recipe.student,
        "teacher": recipe.teacher,
        "settings": describe_settings(recipe.settings),
        "budget": recipe.budget(),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "test": test,
        "last": {"epoch": history[-1]["epoch"], **history[-1][chosen_on]},
        "best": {"epoch": best["epoch"], **best[chosen_on]},
        "chosen_on": chosen_on,
        "train_seconds": round(seconds, 1),
        "images_per_second": round(sum(r["images_per_second"] * r["seconds"] for r in history) / max(seconds, 1e-9), 1),
        "lockstep": history[-1]["lockstep"],
    }


def describe_settings(settings: Settings) -> str:
    """A method's settings in one line, e.g. "t_norm=2 CE x 0.1 KD x 0.9"."""
    values = [f"{name}={format_argument(value)}" for name, value in settings.loss.items()]
    return " ".join([*values, f"CE x {settings.ce_weight:g}", f"KD x {settings.kd_weight:g}"])
