"""What a recipe leaves to the machine ("auto"), settled before a run starts and kept in its config.yaml."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import cache

from normkd_explore.notices import notice
from normkd_explore.training.machine.precision import AUTO, choose_precision
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.inputs import LENGTH
from normkd_explore.training.teacher.sources import weights_file
from normkd_explore.training.where import Where


def begun(recipes: list[Recipe], where: Where) -> list[Recipe]:
    """The recipes with the digest of the weights that their students begin with."""
    if where.student_weights is None:
        return recipes
    with weights_file(where.student_weights).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]
    return [replace(recipe, begin_with=digest) for recipe in recipes]


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
