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

from normkd_explore.cli.command import Alone

if TYPE_CHECKING:
    from normkd_explore.training import Recipe, Where

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

    def change(self, recipe: SomeRecipe) -> SomeRecipe:
        """The recipe with the arguments and weights of the command line."""
        from normkd_explore.methods import get_method
        from normkd_explore.methods.options import changed_settings

        weights = {"ce_weight": self.ce_weight, "kd_weight": self.kd_weight}
        return replace(
            recipe, settings=changed_settings(get_method(self.method), recipe.settings, self.set or (), **weights)
        )


@dataclass(frozen=True)
class Seed:
    """The seed of a single run."""

    title: ClassVar[str] = "Recipe"

    seed: Annotated[int, Option(help="Seed of weights, order and views.", min=0, metavar="N")] = 0


@dataclass(frozen=True)
class Length:
    """How long and how fast the student learns."""

    title: ClassVar[str] = "Recipe"

    epochs: Annotated[int | None, Option(help="Passes over the data; milestones move along.", min=1, metavar="N")] = (
        None
    )
    batch_size: Annotated[int | None, Option(help="Images of one step.", min=1, metavar="N")] = None
    lr: Annotated[float | None, Option(help="Highest learning rate.", metavar="NUMBER")] = None
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
class DataPlace:
    """Where the images are."""

    title: ClassVar[str] = "Data"

    data_root: Annotated[Path | None, Option(help="Folder of the data set.", metavar="DIR")] = None


@dataclass(frozen=True)
class Images(DataPlace):
    """Where the images are, and how they are read."""

    title: ClassVar[str] = "Data"

    image_size: Annotated[
        int | None, Option(help="Side of the images in pixels; default: the data set's own.", min=8, metavar="PIXELS")
    ] = None
    workers: Annotated[int | None, Option(help="Processes that decode streamed images.", min=0, metavar="N")] = None


@dataclass(frozen=True)
class Device:
    """What computes."""

    title: ClassVar[str] = "Machine"

    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:N or mps.", metavar="NAME")] = "auto"


@dataclass(frozen=True)
class Exact(Device):
    """What computes, and whether to the same bits each time."""

    title: ClassVar[str] = "Machine"

    deterministic: Annotated[
        bool,
        Option("--deterministic", help="On a GPU: the same bits in every run. On a CPU they always are."),
    ] = False


@dataclass(frozen=True)
class Computing(Exact):
    """What computes, and how."""

    title: ClassVar[str] = "Machine"

    precision: Annotated[
        str,
        Option(
            help="32-true or bf16-mixed; auto takes what suits the device, or what a resumed run has.", metavar="NAME"
        ),
    ] = "auto"
    compile: Annotated[
        Literal["on", "off"],
        Option(help="Compile the networks of a step once, at the start; meant for GPUs.", metavar="[on|off]"),
        Alone("on"),
    ] = "off"


@dataclass(frozen=True)
class Weights:
    """Where the teacher's weights are."""

    title: ClassVar[str] = "Teacher"

    teacher_weights: Annotated[
        Path | None, Option(help="The teacher's checkpoint file or run folder.", metavar="PATH")
    ] = None
    teacher_ema: Annotated[
        bool | None,
        Option(
            "--teacher-ema/--no-teacher-ema",
            help="Take the moving average of the weights, or the weights, where the teacher's file has both.",
        ),
    ] = None


@dataclass(frozen=True)
class Teacher(Weights):
    """Where the teacher's weights are, and where its logits are kept."""

    title: ClassVar[str] = "Teacher"

    teacher_cache: Annotated[
        str,
        Option(
            help="Keep the teacher's logits: off, memory, or a folder for later runs. auto: memory where that takes at "
            "most a quarter of what is free. The numbers are the same.",
            metavar="PLACE",
        ),
    ] = "auto"
    teacher_cache_limit: Annotated[
        float | None, Option(help="Most gigabytes that kept logits may take.", min=0, metavar="GB")
    ] = None

    def places(self) -> dict[str, Any]:
        """The fields of `Where` that these options fill."""
        from normkd_explore.training import TeacherCache

        limit = None if self.teacher_cache_limit is None else int(self.teacher_cache_limit * 1e9)
        return {
            "teacher_weights": self.teacher_weights,
            "teacher_ema": self.teacher_ema,
            "teacher_cache": TeacherCache(self.teacher_cache, limit),
        }


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
            compile=self.compile == "on",
            data_seed=self.data_seed,
            **_given(batch_size=self.batch_size, lr=self.lr, image_size=self.image_size),
        )

    def place(self, teacher: Teacher | None = None, beginning: Beginning | None = None) -> Where:
        """Where things are on this machine, with the teacher's and the beginning's places if the run has these."""
        from normkd_explore.training import Where

        return Where(
            data_root=self.data_root,
            device=self.device,
            workers=self.workers,
            deterministic=self.deterministic,
            student_weights=beginning.student_weights if beginning else None,
            **(teacher.places() if teacher else {}),
        )


@dataclass(frozen=True)
class Keeping:
    """Where a run is kept."""

    title: ClassVar[str] = "Run folder"

    out: Annotated[
        Path | None,
        Option(help="Folder of the run, for compare of all its runs; default: its place in runs/.", metavar="DIR"),
    ] = None
    resume: Annotated[bool, Option("--resume", help="Continue the run in that folder exactly where it stopped.")] = (
        False
    )


@dataclass(frozen=True)
class Beginning:
    """What the student begins as."""

    title: ClassVar[str] = "Recipe"

    student_weights: Annotated[
        Path | None,
        Option(help="Begin with these weights (checkpoint file or run folder), not with fresh ones.", metavar="PATH"),
    ] = None


@dataclass(frozen=True)
class Part:
    """Which images of a data set are looked at."""

    title: ClassVar[str] = "Data"

    split: Annotated[str, Option(help="train, val or test.", metavar="NAME")] = "test"


@dataclass(frozen=True)
class Output:
    """How the answer is written."""

    json: Annotated[bool, Option("--json", help="Print it as JSON, with the numbers as they are.")] = False


def _given(**values: Any) -> dict[str, Any]:
    """Those that were named on the command line."""
    return {name: value for name, value in values.items() if value is not None}
