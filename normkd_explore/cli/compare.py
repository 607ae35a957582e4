"""`normkd compare`: several methods, several seeds, and the paired differences between them."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import Keeping, Pair, Recording, RunOptions, Teacher
from normkd_explore.cli.report import show_report

if TYPE_CHECKING:
    from pathlib import Path

    from normkd_explore.training import Recipe, Where


@command
def compare(
    pair: Pair,
    options: RunOptions,
    teacher: Teacher,
    keeping: Recording,
    methods: Annotated[
        str,
        Option(
            help="Names separated by commas, each with changes if you like: kd,kd:temperature=2:kd_weight=9.",
            metavar="NAMES",
        ),
    ] = "ce,kd,normkd",
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
    from normkd_explore.training.runs.report import tabulate

    where = options.place(teacher, keeping=keeping)
    specs = [spec.strip() for spec in methods.split(",")]
    turns = [[_recipe(pair.preset, spec, seed, lesson, options) for spec in specs] for seed in range(seeds)]
    if options.data_seed is not None:
        turns = [[recipe for recipes in turns for recipe in recipes]]
    summaries: list[dict[str, Any]] = []
    for recipes in turns:
        outs = [_folder(recipe, spec, keeping, where) for recipe, spec in zip(recipes, cycle(specs))]
        summaries += run(recipes, outs, where, keeping.resume)
    show_report(tabulate(summaries))


def _recipe(preset: str, spec: str, seed: int, lesson: bool, options: RunOptions) -> Recipe:
    """The recipe of METHOD or METHOD:NAME=VALUE:... for one seed."""
    from normkd_explore.methods import get_method
    from normkd_explore.methods.options import changed_settings, split_spec
    from normkd_explore.training import get_preset
    from normkd_explore.training import lesson as shorten

    name, arguments, weights = split_spec(spec)
    recipe = get_preset(preset, name, seed)
    recipe = shorten(recipe) if lesson else recipe
    settings = changed_settings(get_method(name), recipe.settings, arguments, **weights)
    return options.change(replace(recipe, settings=settings))


def _folder(recipe: Recipe, spec: str, keeping: Keeping, where: Where) -> Path:
    """The run's folder; changes are in its name, so that two settings of one method stand side by side."""
    from normkd_explore.training.where import default_folder, run_name

    plain = keeping.out / run_name(recipe) if keeping.out else default_folder(recipe, where)
    _, *changes = (part.strip() for part in spec.split(":"))
    return plain.with_name("-".join([recipe.method, *changes]) + plain.name.removeprefix(recipe.method))
