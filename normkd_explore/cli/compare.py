"""`normkd compare`: several methods, several seeds, and the paired differences between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import Keeping, Pair, Recording, RunOptions, Teacher
from normkd_explore.cli.report import show_report
from normkd_explore.cli.terminal import say

if TYPE_CHECKING:
    from pathlib import Path

    from normkd_explore.training import Recipe, Where
    from normkd_explore.training.jobs import Jobs, Turn


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
    seeds: Annotated[int, Option(help="How many paired seeds.", min=1, metavar="N")] = 3,
    first_seed: Annotated[
        int, Option(help="The first of the seeds, to share them between machines.", min=0, metavar="N")
    ] = 0,
    jobs: Annotated[
        str,
        Option(
            help="Seeds trained at the same time, in processes that divide cores or GPUs. auto: one a core, or a GPU.",
            metavar="N|auto",
        ),
    ] = "1",
    lesson: Annotated[bool, Option("--lesson", help="The short recipe of notebook 02 (glyphs only).")] = False,
) -> None:
    """Train one student per method and seed, and compare them in pairs.

    The methods of a seed are trained in lockstep on the same batches. Each seed has batches of its own, so the seeds
    follow one another and share the teacher's work through the cache; where its logits cannot be kept (ImageNet), it
    has to look at each seed's batches anyway. With --data-seed N all seeds have the same batches and differ in all else
    (initial weights, dropout): then all students are trained in lockstep, and the teacher looks at each batch once. The
    differences tell less that way: what another order of images would change is not in them.

    --jobs N trains N seeds at the same time, each in a process with cores / N threads (--threads names another number),
    and all share one table of the teacher's logits. The numbers are those of --jobs 1 with as many threads.
    """
    from normkd_explore.training.jobs import Turn, divide, run_jobs
    from normkd_explore.training.runs.report import tabulate

    where = options.place(teacher, keeping=keeping)
    specs = [spec.strip() for spec in methods.split(",")]
    turns = []
    for seed in range(first_seed, first_seed + seeds):
        recipes = [_recipe(pair.preset, spec, seed, lesson, options) for spec in specs]
        outs = [_folder(recipe, spec, keeping, where) for recipe, spec in zip(recipes, specs, strict=True)]
        turns.append(Turn(recipes, outs))
    division = divide(len(turns), _count(jobs), options.threads, options.device)
    if division.jobs > 1:
        say(str(division), err=True)
        summaries = run_jobs(turns, where, keeping.resume, division)
    else:
        summaries = _one_after_the_other(turns, where, keeping.resume, together=options.data_seed is not None)
    show_report(tabulate(summaries))


def _count(jobs: str) -> Jobs:
    if jobs == "auto":
        return "auto"
    if not jobs.isdigit():
        raise ValueError(f"--jobs: found {jobs!r}, wanted a whole number of at least 1, or auto.")
    return int(jobs)


def _one_after_the_other(turns: list[Turn], where: Where, resume: bool, together: bool) -> list[dict[str, Any]]:
    """All summaries; `together` says that all turns see the same batches, and are trained in lockstep."""
    from normkd_explore.training import compare as run
    from normkd_explore.training.jobs import Turn

    if together:
        turns = [Turn([r for turn in turns for r in turn.recipes], [out for turn in turns for out in turn.outs])]
    return [summary for turn in turns for summary in run(turn.recipes, turn.outs, where, resume)]


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
