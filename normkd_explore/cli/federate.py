"""`normkd federate`: clients that share predictions and not images, some of which may lie."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typer import Option

from normkd_explore.cli.command import command
from normkd_explore.cli.options import Exact, Images, Keeping, Length, MethodChoice, Pair, Seed
from normkd_explore.cli.terminal import say

if TYPE_CHECKING:
    from normkd_explore.federated import FederatedRecipe

USUAL_STRENGTH = 20.0


@dataclass(frozen=True)
class Learning(Length):
    """How long and how fast every client learns."""

    title: ClassVar[str] = "Recipe"

    epochs: Annotated[
        int | None, Option(help="Passes over a client's private images in each round.", min=1, metavar="N")
    ] = None
    first_epochs: Annotated[int | None, Option(help="The same in the first round.", min=1, metavar="N")] = None
    distil_epochs: Annotated[
        int | None, Option(help="Passes over the public images in each round.", min=1, metavar="N")
    ] = None


@dataclass(frozen=True)
class Sharing:
    """Who exchanges what with whom."""

    title: ClassVar[str] = "Federation"

    clients: Annotated[int | None, Option(help="Clients; default 8.", min=2, metavar="N")] = None
    rounds: Annotated[
        int | None, Option(help="Rounds of train, predict, aggregate, distil; default 10.", min=1, metavar="N")
    ] = None
    aggregate: Annotated[
        str | None,
        Option(
            help="The server's rule: mean (of logits), mean-probabilities (default), mean-z-scores, median, "
            "trimmed-mean, geometric-median, spectral, cronus or expguard.",
            metavar="NAME",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        Option(help="Dirichlet's alpha of each class over the clients, small: few classes each.", metavar="NUMBER"),
    ] = None
    public: Annotated[int | None, Option(help="Training images that all see, without labels.", min=1, metavar="N")] = (
        None
    )
    classes: Annotated[int | None, Option(help="Only the first classes of the data set.", min=2, metavar="N")] = None


@dataclass(frozen=True)
class Lies:
    """Who lies, and how."""

    title: ClassVar[str] = "Attack"

    malicious: Annotated[int, Option(help="How many clients, the last ones, lie.", min=0, metavar="N")] = 0
    attack: Annotated[str, Option(help="none, fdla, pcfdla, random, fixed or lma.", metavar="NAME")] = "none"
    strength: Annotated[
        float | None, Option(help="Strength of pcfdla, fixed and lma; default 20.", metavar="NUMBER")
    ] = None
    clean: Annotated[
        Path | None,
        Option(
            help="Run folder of the same federation without the attack, trained there if need be; default OUT/clean.",
            metavar="DIR",
        ),
    ] = None

    def change(self, recipe: FederatedRecipe) -> FederatedRecipe:
        """The recipe with this attack."""
        from normkd_explore.federated.attacks import STRONG

        usual = USUAL_STRENGTH if self.attack in STRONG else None
        strength = usual if self.strength is None else self.strength
        return replace(recipe, malicious=self.malicious, attack=self.attack, strength=strength)


@command
def federate(
    pair: Pair,
    method: MethodChoice,
    seed: Seed,
    sharing: Sharing,
    lies: Lies,
    learning: Learning,
    images: Images,
    device: Exact,
    keeping: Keeping,
    lesson: Annotated[bool, Option("--lesson", help="The short recipe of notebook 07 (glyphs only).")] = False,
) -> None:
    """Train clients that share predictions and not images, some of which may lie.

    Every client is the student of PRESET and has private images of its own; the teacher takes no part. In each round
    all train on them, predict a public set without labels, and learn from what the server makes of the predictions. An
    attacked federation is compared with its clean twin, which is trained first. Attacks are here to try defences on.
    """
    from normkd_explore.federated import federate as run
    from normkd_explore.federated import federated_lesson, federated_preset
    from normkd_explore.training import Where

    recipe = federated_preset(pair.preset, method.name, seed.seed)
    recipe = federated_lesson(recipe) if lesson else recipe
    chosen = {**asdict(sharing), **asdict(learning), "image_size": images.image_size}
    recipe = replace(recipe, **{name: value for name, value in chosen.items() if value is not None})
    recipe = lies.change(method.change(recipe))
    where = Where(images.data_root, device=device.device, workers=images.workers, deterministic=device.deterministic)
    _show(run(recipe, keeping.out, where, keeping.resume, clean=lies.clean))


def _show(summary: dict[str, Any]) -> None:
    test, lost, liars = summary["test"], summary["drop"], summary["malicious"]
    honest = summary["clients"] - liars
    say(f"last round: test top-1 {100 * test['all']:.2f} % of all {summary['clients']} clients (n = {test['n']:,})")
    if lost:
        below = f"{100 * lost['victims']:.2f} points below the clean run"
        say(f"victims: {100 * test['victims']:.2f} % of {honest}, {below}")
        ranks = ", ".join(map(str, summary["attacker_ranks"]))
        say(f"outlier rank of the attackers in the last round: {ranks} of {summary['clients']}")
    say(f"the server's last answers: {100 * summary['answer_top1']:.2f} % of the public images")
    say(f"{summary['train_seconds']:.0f} s of training")
