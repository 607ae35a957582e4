"""`normkd tune`: which temperature and weights for this pair, how sure that is, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typer import Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import (
    Computing,
    Images,
    Keeping,
    MethodChoice,
    Output,
    Pace,
    Pair,
    Seed,
    Teacher,
    given,
)
from normkd_explore.cli.table import Column, Table
from normkd_explore.cli.terminal import say, say_command, say_json, show

if TYPE_CHECKING:
    from normkd_explore.training import Recipe, Where
    from normkd_explore.tuning import Plan, Tuned
    from normkd_explore.tuning.result import Final


@dataclass(frozen=True)
class Searching:
    """How much is tried, and between which ends."""

    title: ClassVar[str] = "Search"

    trials: Annotated[int, Option(help="Settings to try.", min=2, metavar="N")] = 16
    together: Annotated[int, Option(help="Students trained at a time, on the same batches.", min=1, metavar="N")] = 4
    images: Annotated[int, Option(help="Training images of each short run.", min=1, metavar="N")] = 2400
    seeds: Annotated[
        int, Option(help="Fresh seeds on which the best meet the published settings.", min=1, metavar="N")
    ] = 3
    search: Annotated[
        list[str] | None,
        Option(help="Ends of a number, e.g. --search t_norm=0.5:8; may be repeated.", metavar="NAME=LOW:HIGH"),
    ] = None

    def plan(self) -> Plan:
        """The size of the search."""
        from normkd_explore.tuning import Plan

        return Plan(self.trials, self.together, self.images, self.seeds)


@dataclass(frozen=True)
class ShortRuns(Computing, Images, Pace):
    """What the short runs have of a run's options."""

    def change(self, recipe: Recipe) -> Recipe:
        """The recipe with what the command line changed, but for the number of epochs."""
        changed: dict[str, Any] = given(batch_size=self.batch_size, lr=self.lr, image_size=self.image_size)
        # "auto" tries whether a run is long enough to be compiled, and these are not.
        return replace(recipe, precision=self.precision, compile=self.compile == "on", **changed)

    def place(self, teacher: Teacher) -> Where:
        """Where things are on this machine."""
        from normkd_explore.training import Where

        here: dict[str, Any] = {"device": self.device, "workers": self.workers, "deterministic": self.deterministic}
        return Where(data_root=self.data_root, **here, **teacher.places())


@command
def tune(
    pair: Pair,
    method: MethodChoice,
    searching: Searching,
    seed: Seed,
    runs: ShortRuns,
    teacher: Teacher,
    keeping: Keeping,
    output: Output,
) -> None:
    """Search temperature and weights for PRESET in short paired runs, and write a settings file.

    The published settings are tried first, then what the teacher's logits advise (see `normkd stats`), then what the
    search proposes; --epochs is each run's length, 6 by default. The best meet the published settings on fresh seeds,
    and win only if they are ahead there. Held-out images decide; the test split is not looked at.
    """
    if find_spec("optuna") is None:
        raise ValueError('tune: optuna is not installed; pip install "normkd-explore[tune]" brings it.')
    from normkd_explore.training import get_preset
    from normkd_explore.tuning import tune as run

    recipe = runs.change(method.change(get_preset(pair.preset, method.name, seed.seed)))
    plan, search = searching.plan(), searching.search or ()
    tuned = run(recipe, keeping.out, runs.place(teacher), keeping.resume, plan, search, runs.epochs)
    if output.json:
        say_json(tuned.as_json())
    else:
        _show(tuned)


def _show(tuned: Tuned) -> None:
    from normkd_explore.training.progress.pace import duration

    first = tuned.finals[0]
    columns = [
        Column("setting", style=lambda row: "green" if row[0].startswith("*") else ""),
        *(Column(name.replace("_", " "), right=True) for name in tuned.ranges),
        Column("search (%)", right=True, drop=1),
        Column(f"{len(first.by_seed)} fresh seeds (%)", right=True),
        Column(f"against {first.name} (points)", right=True),
    ]
    show(Table(columns, [_row(final, tuned) for final in tuned.finals], "Top-1 on held-out images; * is chosen"))
    tried, whole = len(tuned.tried), sum(row["top1"] is not None for row in tuned.tried)
    diverged = sum(bool(row["diverged"]) for row in tuned.tried)
    lost = f", {diverged} diverged" if diverged else ""
    say(f"\n{tried} settings tried: {whole} to the end, {tried - whole - diverged} stopped early{lost}.")
    say(tuned.how_sure(), marks={"clear": "green", "a hint, not a proof": "yellow"})
    if tuned.trust:
        say(f"Held-out images: {tuned.trust}")
    cost = tuned.cost
    say(f"Cost: {duration(cost.seconds)}, {cost.images:,} images trained on, {cost.asked:,} shown to the teacher.")
    say("Train with it:", err=True)
    say_command(["normkd", "train", tuned.preset, "--settings", str(tuned.file)])


def _row(final: Final, tuned: Tuned) -> list[str]:
    first = tuned.finals[0]
    spread = "" if final.std is None else f" ± {100 * final.std:.2f}"
    searched = "stopped" if final.searched is None else f"{100 * final.searched:.2f}"
    difference = "-"
    if final is not first:
        pairs = final.against(first)
        difference = f"{pairs.mean:+.2f}" + (f" ± {pairs.std:.2f}" if pairs.n > 1 else "")
    name = ("* " if final is tuned.chosen else "") + final.name
    numbers = [f"{value:.3g}" for value in final.values.values()]
    return [name, *numbers, searched, f"{100 * final.mean:.2f}{spread}", difference]
