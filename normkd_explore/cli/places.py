"""Options of place and machine: data, device, teacher, run folder, and how to answer.

Written as in `options`, which has those that make a run and names all groups for the commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from typer import Option

from normkd_explore.cli.command import Alone


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

    threads: Annotated[
        int | None,
        Option(
            help="Threads of a process on a CPU; default: one a core. They decide the last bits of the numbers.",
            min=1,
            metavar="N",
        ),
    ] = None
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
        Literal["on", "off", "auto"],
        Option(
            help="Compile the networks of a step once, at the start. auto: where a trial shows that it pays.",
            metavar="[on|off|auto]",
        ),
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
class Recording(Keeping):
    """Where a run is kept, and who else is told of its epochs."""

    title: ClassVar[str] = "Run folder"

    log: Annotated[
        Literal["tensorboard", "wandb"] | None,
        Option(help="Tell a board every epoch, besides metrics.jsonl.", metavar="[tensorboard|wandb]"),
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
