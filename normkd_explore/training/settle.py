"""What a recipe leaves to the machine ("auto"), settled before a run starts and kept in its config.yaml."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

from normkd_explore.notices import notice
from normkd_explore.training.machine.precision import AUTO, choose_precision
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.runs.folder import RunFolder


def settle(recipes: list[Recipe], folders: list[RunFolder], device: str, resume: bool) -> list[Recipe]:
    """The recipes with a precision instead of "auto": that of the runs that go on, else the one that suits the device.

    A line on stderr says which and why. All recipes of a lockstep training get the same.
    """
    if all(recipe.precision != AUTO for recipe in recipes):
        return recipes
    started = [folder.recipe().precision for folder in folders if resume and folder.started]
    if started:
        precision = started[0]  # where others differ, the check of their folders says so
    else:
        choice = choose_precision(device)
        precision = choice.precision
        _say_once(str(choice))
    return [replace(recipe, precision=precision) if recipe.precision == AUTO else recipe for recipe in recipes]


@cache
def _say_once(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # asked before the processes of a run know each other
        notice(line)
