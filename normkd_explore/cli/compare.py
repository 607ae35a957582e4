"""`normkd compare`: several methods, several seeds, and the paired differences between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import Keeping, Pair, RunOptions, Teacher
from normkd_explore.cli.terminal import say

if TYPE_CHECKING:
    from normkd_explore.training import Recipe


@command
def compare(
    pair: Pair,
    options: RunOptions,
    teacher: Teacher,
    keeping: Keeping,
    methods: Annotated[str, Option(help="Names separated by commas.", metavar="NAMES")] = "ce,kd,normkd",
    seeds: Annotated[int, Option(help="How many paired seeds, from 0 on.", min=1, metavar="N")] = 3,
    lesson: Annotated[bool, Option("--lesson", help="The short recipe of notebook 02 (glyphs only).")] = False,
) -> None:
    """Train one student per method and seed, and compare them in pairs.

    The methods of a seed are trained in lockstep on the same batches. Each seed has batches of its own, so the seeds
    follow one another and share the teacher's work through the cache; where its logits cannot be kept (ImageNet), it
    has to look at each seed's batches anyway. With --data-seed N all seeds have the same batches and differ in all else
    (initial weights, dropout): then all students are trained in lockstep, and the teacher looks at each batch once. The
    differences tell less that way: what another order of images would change is not in them.
    """
    from normkd_explore.training import compare as run
    from normkd_explore.training.runs.report import format_report
    from normkd_explore.training.where import run_name

    where = options.place(teacher)
    turns = [_recipes(pair.preset, methods, seed, lesson, options) for seed in range(seeds)]
    if options.data_seed is not None:
        turns = [[recipe for recipes in turns for recipe in recipes]]
    summaries: list[dict[str, Any]] = []
    for recipes in turns:
        outs = [keeping.out / run_name(recipe) if keeping.out else None for recipe in recipes]
        summaries += run(recipes, outs, where, keeping.resume)
    say(format_report(summaries))


def _recipes(preset: str, methods: str, seed: int, lesson: bool, options: RunOptions) -> list[Recipe]:
    """One recipe for each method, all of one seed."""
    from normkd_explore.training import get_preset
    from normkd_explore.training import lesson as shorten

    recipes = [get_preset(preset, name.strip(), seed) for name in methods.split(",")]
    recipes = [shorten(recipe) if lesson else recipe for recipe in recipes]
    return [options.change(recipe) for recipe in recipes]
