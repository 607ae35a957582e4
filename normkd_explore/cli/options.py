"""The options of a run, each written once: name, help, default, check, and what it changes.

An option is a field of a group; a command takes a whole group by annotating a parameter with it (see `command`):

    @command
    def train(pair: Pair, method: MethodChoice, options: RunOptions, teacher: Teacher, keeping: Keeping) -> None: ...

* A new option: one field, in the group whose commands should all have it. The field's name is the option's name with
  underscores; `Annotated` holds its type, its help and its check; the default stands behind. What it does stands below
  it: `change` gives the recipe, `place` where and how to compute.
* A new command: one function under `@command`, in a file that imports nothing heavy at its top, and one line in
  `main.COMMANDS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from typer import Argument, Option

from normkd_explore.cli.places import (
    Computing,
    DataPlace,
    Device,
    Exact,
    Images,
    Keeping,
    Output,
    Part,
    Recording,
    Teacher,
    Weights,
)

if TYPE_CHECKING:
    from normkd_explore.methods import Settings
    from normkd_explore.training import Recipe, Where

__all__ = [  # all groups, for the commands
    "Beginning",
    "Computing",
    "DataPlace",
    "Device",
    "Exact",
    "Images",
    "Keeping",
    "Length",
    "MethodChoice",
    "Output",
    "Pace",
    "Pair",
    "Part",
    "Recording",
    "RunOptions",
    "Seed",
    "Solver",
    "Teacher",
    "Weights",
    "given",
]

SomeRecipe = TypeVar("SomeRecipe", bound="Recipe")


@dataclass(frozen=True)
class Pair:
    """Which data set, teacher and student."""

    preset: Annotated[str, Argument(help="DATASET/TEACHER-STUDENT, see `normkd presets`.", metavar="PRESET")] = (
        "glyphs/resnet20-resnet8"
    )


@dataclass(frozen=True)
class MethodChoice:
    """One method, with what is changed in its loss."""

    title: ClassVar[str] = "Method"

    method: Annotated[str, Option(help="Its name; `normkd presets` lists all methods.", metavar="NAME")] = "normkd"
    set: Annotated[
        list[str] | None,
        Option(help="An argument of the loss, e.g. --set t_norm=1.5; may be repeated.", metavar="NAME=VALUE"),
    ] = None
    ce_weight: Annotated[float | None, Option(help="Weight of the cross-entropy.", metavar="NUMBER")] = None
    kd_weight: Annotated[float | None, Option(help="Weight of the distillation term.", metavar="NUMBER")] = None
    settings: Annotated[
        Path | None,
        Option(help="A settings file of `normkd tune`: its method, arguments and weights.", metavar="FILE"),
    ] = None

    @property
    def name(self) -> str:
        """The method's name: that of the settings file where there is one."""
        if self.settings is None:
            return self.method
        from normkd_explore.training.recipes.settings_file import read_settings

        found = read_settings(self.settings).method
        if self.method not in (found, "normkd"):
            raise ValueError(f"--method: found {self.method}, but {self.settings} is for {found}. Leave --method out.")
        return found

    def change(self, recipe: SomeRecipe) -> SomeRecipe:
        """The recipe with the arguments and weights of the settings file, and of the command line."""
        from normkd_explore.methods import get_method
        from normkd_explore.methods.options import changed_settings

        settings = recipe.settings if self.settings is None else self._read(self.settings, recipe.preset)
        weights = {"ce_weight": self.ce_weight, "kd_weight": self.kd_weight}
        return replace(recipe, settings=changed_settings(get_method(self.name), settings, self.set or (), **weights))

    def _read(self, file: Path, preset: str) -> Settings:
        from normkd_explore.notices import notice
        from normkd_explore.training.recipes.settings_file import read_settings

        found = read_settings(file)
        if found.preset != preset:
            notice(f"{file}: these settings were found for {found.preset}, and are taken for {preset}.")
        return found.settings


@dataclass(frozen=True)
class Seed:
    """The seed of a single run."""

    title: ClassVar[str] = "Recipe"

    seed: Annotated[int, Option(help="Seed of weights, order and views.", min=0, metavar="N")] = 0


@dataclass(frozen=True)
class Pace:
    """How long and how fast the student learns."""

    title: ClassVar[str] = "Recipe"

    epochs: Annotated[int | None, Option(help="Passes over the data; milestones move along.", min=1, metavar="N")] = (
        None
    )
    batch_size: Annotated[int | None, Option(help="Images of one step.", min=1, metavar="N")] = None
    lr: Annotated[float | None, Option(help="Highest learning rate.", metavar="NUMBER")] = None


@dataclass(frozen=True)
class Length(Pace):
    """How long and how fast the student learns, and on which images it is measured."""

    title: ClassVar[str] = "Recipe"

    protocol: Annotated[
        Literal["holdout", "paper"],
        Option(help="holdout: choose on held-out images; paper: test after each epoch.", metavar="NAME"),
    ] = "holdout"


@dataclass(frozen=True)
class Solver(Length):
    """How long and how fast the student learns, and on which batches."""

    title: ClassVar[str] = "Recipe"

    data_seed: Annotated[
        int | None,
        Option(
            help="Seed of order and views alone; --seed then varies all but these: initial weights, dropout.",
            min=0,
            metavar="N",
        ),
    ] = None


@dataclass(frozen=True)
class RunOptions(Computing, Images, Solver):
    """What train, teacher, compare and estimate share."""

    def change(self, recipe: Recipe) -> Recipe:
        """The recipe with what the command line changed."""
        recipe = recipe.with_epochs(self.epochs) if self.epochs else recipe
        return replace(
            recipe,
            protocol=self.protocol,
            precision=self.precision,
            compile="auto" if self.compile == "auto" else self.compile == "on",
            data_seed=self.data_seed,
            **given(batch_size=self.batch_size, lr=self.lr, image_size=self.image_size),
        )

    def place(
        self, teacher: Teacher | None = None, beginning: Beginning | None = None, keeping: Recording | None = None
    ) -> Where:
        """Where things are on this machine, with what the other groups say of it if the run has these."""
        from normkd_explore.training import Where

        return Where(
            data_root=self.data_root,
            device=self.device,
            workers=self.workers,
            threads=self.threads,
            deterministic=self.deterministic,
            student_weights=beginning.student_weights if beginning else None,
            log=keeping.log if keeping else None,
            **(teacher.places() if teacher else {}),
        )


@dataclass(frozen=True)
class Beginning:
    """What the student begins as."""

    title: ClassVar[str] = "Recipe"

    student_weights: Annotated[
        Path | None,
        Option(help="Begin with these weights (checkpoint file or run folder), not with fresh ones.", metavar="PATH"),
    ] = None


def given(**values: Any) -> dict[str, Any]:
    """Those that were named on the command line."""
    return {name: value for name, value in values.items() if value is not None}
