"""Everything that decides a federation's numbers: the clients' recipe, and who exchanges what with whom."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from normkd_explore.data.batches import mixed_seed
from normkd_explore.federated.attacks import STRONG, make_attack
from normkd_explore.federated.rules import make_aggregation
from normkd_explore.methods import Settings, get_method
from normkd_explore.training.recipes.presets import get_preset
from normkd_explore.training.recipes.recipe import Recipe

NO_ATTACK = "none"


@dataclass(frozen=True)
class FederatedRecipe(Recipe):
    """A federation, complete: the same recipe and seed give the same numbers on the same kind of machine.

    Of the fields of `Recipe`, `student` is every client's model, `method` what distils the server's answer, and
    `epochs` the passes over a client's private images in each round. No teacher takes part.
    """

    clients: int = 8
    """Clients, K."""
    malicious: int = 0
    """How many of them, the last ones, upload what `attack` gives."""
    attack: str = NO_ATTACK
    """Name in `ATTACKS`, or "none"."""
    strength: float | None = None
    """Strength of an attack that has one, else None."""
    aggregate: str = "mean-probabilities"
    """The server's rule, a name in `AGGREGATIONS`."""
    rounds: int = 10
    """Rounds of train, predict, aggregate, distil."""
    alpha: float = 0.5
    """Dirichlet's concentration of each class over the clients; small: each client has few classes."""
    public: int = 2_000
    """Training images that all clients see, without labels."""
    first_epochs: int = 2
    """Passes over the private images in the first round: whoever knows nothing has nothing to tell."""
    distil_epochs: int = 1
    """Passes over the public images in each round."""
    classes: int | None = None
    """Only the first classes of the data set; None: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("clients", "rounds", "public", "first_epochs", "distil_epochs"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a whole number of at least 1")
        _require(self.alpha > 0, "alpha", self.alpha, "a number above 0")
        limit = self.clients - 1
        _require(0 <= self.malicious <= limit, "malicious", self.malicious, f"0 to {limit}: somebody must be a victim")
        make_aggregation(self.aggregate)
        self._check_attack()
        weight = self.settings.ce_weight
        _require(weight == 0, "ce_weight", weight, "0: public images have no labels; private ones have cross-entropy")
        _require(self.data_seed is None, "data_seed", self.data_seed, "None: every client has batches of its own")
        _require(not self.compile, "compile", self.compile, "false: a federation is not compiled")
        if get_method(self.method).needs_features:
            raise ValueError(f"method: {self.method} compares features, and clients share predictions alone.")

    def _check_attack(self) -> None:
        attacked = self.attack != NO_ATTACK
        if attacked != (self.malicious > 0):
            raise ValueError(
                f"malicious: found {self.malicious} with attack {self.attack!r}, wanted both or neither: an attack "
                "needs clients that make it (--malicious 2), and malicious clients an attack (--attack pcfdla)."
            )
        if attacked:
            make_attack(self.attack, self.strength or 1.0)
        strong = self.attack in STRONG
        wanted = "a number above 0" if strong else "None: it has no strength"
        _require((self.strength is not None) == strong, "strength", self.strength, wanted)

    @property
    def victims(self) -> range:
        """The clients that do not attack."""
        return range(self.clients - self.malicious)

    def clean(self) -> FederatedRecipe:
        """The same federation without the attack."""
        return replace(self, malicious=0, attack=NO_ATTACK, strength=None)

    def budget(self) -> str:
        """As `Recipe.budget`, and neither attack nor rule count: they are what is compared."""
        return Recipe.budget(replace(self.clean(), aggregate="mean"))

    def local_epochs(self, round_: int) -> range:
        """The numbers of the passes over the private images that belong to a round (from 0)."""
        first = 0 if round_ == 0 else self.first_epochs + (round_ - 1) * self.epochs
        return range(first, self.first_epochs + round_ * self.epochs)

    def local(self, client: int) -> Recipe:
        """How a client learns from its private images: cross-entropy, over the whole federation."""
        settings = Settings(kd_weight=0.0, source="private images")
        epochs = self.local_epochs(self.rounds - 1).stop
        return self._part(client, method="ce", settings=settings).with_epochs(epochs)

    def distil(self, client: int) -> Recipe:
        """How a client learns from the server's answers: the method alone, since public images have no labels."""
        return self._part(client).with_epochs(self.rounds * self.distil_epochs)

    def _part(self, client: int, **changes: Any) -> Recipe:
        shared = {field.name: getattr(self, field.name) for field in fields(Recipe)}
        return Recipe(**{**shared, "seed": mixed_seed(self.seed, *b"client", client), **changes})


def federated_preset(name: str, method: str = "normkd", seed: int = 0, **changes: Any) -> FederatedRecipe:
    """The federation of a preset: its student is every client's model; `changes` are fields of `FederatedRecipe`."""
    base = replace(get_preset(name, method, seed), teacher=None, epochs=1)
    base = replace(base, settings=replace(base.settings, ce_weight=0.0))
    shared = {field.name: getattr(base, field.name) for field in fields(Recipe)}
    changes = {"lr": min(base.lr, 0.05), **changes}
    return FederatedRecipe(**{**shared, "milestones": (), "schedule": "one_cycle", **changes})


def _require(condition: bool, name: str, found: object, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{name}: found {found!r}, wanted {wanted}.")
