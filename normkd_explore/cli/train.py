"""`normkd train`, `normkd teacher` and `normkd estimate`: one run, its teacher, and what it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import Beginning, MethodChoice, Pair, Recording, RunOptions, Seed, Teacher
from normkd_explore.cli.terminal import say

if TYPE_CHECKING:
    from normkd_explore.training import Recipe


@command
def train(
    pair: Pair,
    method: MethodChoice,
    seed: Seed,
    options: RunOptions,
    beginning: Beginning,
    teacher: Teacher,
    keeping: Recording,
) -> None:
    """Train the student of PRESET with a distillation method."""
    from normkd_explore.training import get_preset
    from normkd_explore.training import train as run

    recipe = options.change(method.change(get_preset(pair.preset, method.name, seed.seed)))
    _announce(recipe)
    _show(run(recipe, keeping.out, options.place(teacher, beginning, keeping), keeping.resume))


@command
def teacher(pair: Pair, seed: Seed, options: RunOptions, beginning: Beginning, keeping: Recording) -> None:
    """Train the teacher of PRESET with cross-entropy, where `normkd train` will find it."""
    from normkd_explore.training import teacher_recipe
    from normkd_explore.training import train as run
    from normkd_explore.training.where import teacher_folder

    recipe = options.change(teacher_recipe(pair.preset, seed.seed))
    where = options.place(beginning=beginning, keeping=keeping)
    _show(run(recipe, keeping.out or teacher_folder(recipe, where), where, keeping.resume))


@command
def estimate(
    pair: Pair,
    method: MethodChoice,
    options: RunOptions,
    seconds: Annotated[float, Option(help="Time for the measurements.", min=0.5, metavar="SECONDS")] = 10.0,
) -> None:
    """Measure for a few seconds how long training PRESET will take here, what limits it, and whether it fits."""
    from normkd_explore.training import get_preset
    from normkd_explore.training.planning.estimate import estimate as measure

    recipe = method.change(get_preset(pair.preset, method.name))
    say(str(measure(options.change(recipe), options.place(), seconds)))


def _announce(recipe: Recipe) -> None:
    from normkd_explore.methods.options import format_argument

    settings = recipe.settings
    values = ", ".join(f"{name} {format_argument(value)}" for name, value in settings.loss.items()) or "no settings"
    mark = "published" if settings.published else "NOT published for this pair"
    say(
        f"{recipe.preset}: {recipe.student} with {recipe.method} ({values}; CE x {settings.ce_weight:g}, "
        f"KD x {settings.kd_weight:g}; {mark}: {settings.source})",
        err=True,
        marks={"NOT published": "yellow"},
    )


def _show(summary: dict[str, Any]) -> None:
    test = summary["test"]
    best = summary["best"]
    top5 = f", top-5 {100 * test['top5']:.2f} %" if "top5" in test else ""
    say(f"last epoch: test top-1 {100 * test['top1']:.2f} %{top5} (n = {test['n']:,})")
    say(f"best epoch: {best['epoch']} with {100 * best['top1']:.2f} % on {summary['chosen_on']}")
    say(f"{summary['train_seconds']:.0f} s of training, {summary['images_per_second']:,.0f} images/s")
