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
    """The recipes without "auto" where runs go on: as they began, on whatever machine. All in lockstep get the same.

    Where runs begin, the precision that suits the device takes the place of "auto", and a line on stderr says which and
    why; whether to compile is left to a trial, for which data must be there (see `worth_compiling`).
    """
    started = [folder.recipe() for folder in folders if resume and folder.started]
    settled = []
    for recipe in recipes:
        if recipe.precision == AUTO:
            recipe = replace(recipe, precision=started[0].precision if started else _chosen(device))
        if recipe.compile == AUTO and started:
            recipe = replace(recipe, compile=started[0].compile)
        settled.append(recipe)
    return settled  # where started runs differ among themselves, the check of their folders says so


def _chosen(device: str) -> str:
    choice = choose_precision(device)
    _say_once(str(choice))
    return choice.precision


@cache
def _say_once(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # asked before the processes of a run know each other
        notice(line)
