"""`normkd blackbox`: a student of a teacher that only answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from typer import Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import Exact, Images, Keeping, Length, MethodChoice, Pair, Seed, Weights
from normkd_explore.cli.terminal import say

if TYPE_CHECKING:
    from normkd_explore.cli.options import SomeRecipe


@dataclass(frozen=True)
class Comparing(MethodChoice):
    """What compares the student with the answers."""

    title: ClassVar[str] = "Method"

    method: Annotated[
        str | None,
        Option(
            help="Its name; default: kd with T = 5 and weight 1/5 for probabilities, ce for classes.", metavar="NAME"
        ),
    ] = None  # type: ignore[assignment]  # the recipe's own

    def change(self, recipe: SomeRecipe) -> SomeRecipe:
        """The recipe with the arguments and weights of the command line, for the method that it has."""
        return MethodChoice(recipe.method, self.set, self.ce_weight, self.kd_weight, self.settings).change(recipe)


@dataclass(frozen=True)
class Answering:
    """What the black box gives, and how much of it."""

    title: ClassVar[str] = "Black box"

    answers: Annotated[
        str, Option(help="soft: all probabilities; hard: the class; top5: the five largest.", metavar="NAME")
    ] = "soft"
    digits: Annotated[int | None, Option(help="Decimals of the probabilities; default: all.", metavar="N")] = None
    remedy: Annotated[
        Literal["epsilon", "floor", "fit"] | None,
        Option(help="What classes that are not shown get; default epsilon.", metavar="NAME"),
    ] = None
    queries: Annotated[
        int | None, Option(help="Most pictures it is asked about; default 20000.", min=1, metavar="N")
    ] = None
    pictures: Annotated[
        Literal["generated", "local", "noise"],
        Option(help="generated (MEKD), the local images without labels, or noise.", metavar="NAME"),
    ] = "generated"


@dataclass(frozen=True)
class Generating:
    """Step one, and the image alignment of step two."""

    title: ClassVar[str] = "Generator"

    generator: Annotated[
        Path | None, Option(help="Take this one: a run folder, or its generator.safetensors.", metavar="PATH")
    ] = None
    generator_epochs: Annotated[
        int | None, Option(help="Passes over the local images; default 200, glyphs 30.", min=1, metavar="N")
    ] = None
    channels: Annotated[
        int | None, Option(help="Its channels; default 128 as published, on a CPU 32.", min=2, metavar="N")
    ] = None
    image_weight: Annotated[
        float | None, Option(help="Weight of the image alignment; default 1.", min=0, metavar="NUMBER")
    ] = None
    information_weight: Annotated[
        float | None, Option(help="Weight of the information term; default 0.5.", min=0, metavar="NUMBER")
    ] = None
    information_by: Annotated[
        Literal["value", "index"] | None,
        Option(help="value, as in the paper; index: the class's number, as in the released code.", metavar="NAME"),
    ] = None
    information_share: Annotated[
        float | None, Option(help="Most of the queries that step one may take; default 0.2.", metavar="NUMBER")
    ] = None


@command
def blackbox(
    pair: Pair,
    method: Comparing,
    seed: Seed,
    answering: Answering,
    generating: Generating,
    length: Length,
    images: Images,
    weights: Weights,
    device: Exact,
    keeping: Keeping,
    lesson: Annotated[bool, Option("--lesson", help="The short recipe of notebook 06 (glyphs only).")] = False,
) -> None:
    """Train the student of PRESET from the answers of a teacher that shows nothing else.

    The teacher is asked about pictures, each of them a query, and no more than --queries in all. By default (MEKD) a
    generator first learns to make such pictures from unlabelled local images, which never leave.
    """
    from normkd_explore.blackbox import blackbox_lesson, blackbox_preset, distil_black_box
    from normkd_explore.training import Where

    chosen = {**asdict(answering), **asdict(generating), "image_size": images.image_size}
    chosen |= {"batch_size": length.batch_size, "lr": length.lr, "protocol": length.protocol}
    given = chosen.pop("generator")
    chosen = {name: value for name, value in chosen.items() if value is not None}
    start = blackbox_preset(
        pair.preset, method.method, seed.seed, answers=answering.answers, pictures=answering.pictures
    )
    start = blackbox_lesson(start) if lesson else start
    recipe = method.change(replace(start.with_epochs(length.epochs) if length.epochs else start, **chosen))
    where = Where(
        images.data_root,
        weights.teacher_weights,
        device.device,
        images.workers,
        deterministic=device.deterministic,
        teacher_ema=weights.teacher_ema,
    )
    _show(distil_black_box(recipe, keeping.out, where, keeping.resume, generator=given))


def _show(summary: dict[str, Any]) -> None:
    asked, test = summary["queries"], summary["test"]
    say(f"{summary['method']}: test top-1 {100 * test['top1']:.2f} % after the last epoch (n = {test['n']:,})")
    first = f", {asked['step_one']:,} of them in step one" if asked["step_one"] else ""
    say(f"{asked['asked']:,} of {asked['budget']:,} queries{first}")
    say(f"{summary['classes_covered']} classes were the answer to one picture at least")
    say(f"{summary['train_seconds']:.0f} s of training")
