"""The run folder of a federation: as any other, with every client's weights in clients/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from normkd_explore.federated.recipe import NO_ATTACK, FederatedRecipe
from normkd_explore.models import save_weights
from normkd_explore.notices import notice
from normkd_explore.training.runs.checkpoint import place
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.inputs import Inputs
from normkd_explore.training.runs.results import WEIGHTS
from normkd_explore.training.summary import describe_settings
from normkd_explore.training.where import Where, default_folder

if TYPE_CHECKING:
    from normkd_explore.federated.federation import Federation

KIND = "federated"
"""Value of "kind" in summary.json, which a single student's has not."""


class Lost(TypedDict):
    """What is asked of what an attack cost."""

    victims: float


class Tested(TypedDict):
    """What is asked of the measurement of all clients."""

    victims: float
    all: float
    n: int


class FederatedSummary(TypedDict):
    """What is asked of the summary of a federation."""

    kind: Literal["federated"]
    preset: str
    budget: str
    method: str
    settings: str
    aggregate: str
    attack: str
    strength: float | None
    malicious: int
    clients: int
    rounds: int
    seed: int
    test: Tested
    drop: Lost | None
    answer_top1: float
    attacker_ranks: list[int]
    train_seconds: float
    inputs: dict[str, Any]
    weights: NotRequired[dict[str, str]]


class FederatedFolder(RunFolder):
    """config.yaml holds a `FederatedRecipe`, metrics.jsonl one object a round, clients/N.safetensors the weights."""

    recipe_type = FederatedRecipe
    summary_type = FederatedSummary
    written = (".", "clients")

    @property
    def weights(self) -> list[Path]:
        """The files of weights that a finished federation has, one a client."""
        recipe = self.recipe()
        assert isinstance(recipe, FederatedRecipe)
        return [self._client(number) for number in range(recipe.clients)]

    def _client(self, number: int) -> Path:
        return self.path / "clients" / f"{number}.safetensors"

    @classmethod
    def default(cls, recipe: FederatedRecipe, where: Where) -> Path:
        """runs/DATASET/TEACHER-STUDENT/federated-METHOD-RULE-ATTACK-seedN."""
        attack = recipe.attack
        if attack != NO_ATTACK:
            attack += "" if recipe.strength is None else f"{recipe.strength:g}"
            attack += f"-{recipe.malicious}of{recipe.clients}"
        name = f"federated-{recipe.method}-{recipe.aggregate}-{attack}-seed{recipe.seed}"
        return default_folder(recipe, where).with_name(name)

    def tell(self, round_: int, step: int) -> None:
        """Say on stderr where the run goes on."""
        notice(f"{self.path}: continuing {place(round_, step, 'round')}")

    def finish(self, federation: Federation, inputs: Inputs, clean: dict[str, Any] | None) -> dict[str, Any]:
        """Measure the test split once, write every client's weights and the summary, and return that."""
        from normkd_explore.federated.federation import drop

        recipe, test = federation.recipe, federation.measure("test")
        last = federation.history[-1]
        summary = {
            "kind": KIND,
            **{name: getattr(recipe, name) for name in ("preset", "method", "student")},
            "settings": describe_settings(recipe.distil(0).settings),
            "budget": recipe.budget(),
            **{name: getattr(recipe, name) for name in ("seed", "clients", "malicious", "attack", "strength")},
            **{name: getattr(recipe, name) for name in ("aggregate", "rounds")},
            "test": test,
            "drop": drop(test, clean and clean["test"], recipe.victims),
            "answer_top1": last["answer_top1"],
            "attacker_ranks": last["attacker_ranks"],
            "private_images": [client.images for client in federation.clients],
            "train_seconds": round(sum(record["seconds"] for record in federation.history), 1),
            "inputs": inputs,
        }
        summary[WEIGHTS] = self._write_weights(federation)
        self.write_summary(summary)
        return summary

    def _write_weights(self, federation: Federation) -> dict[str, str]:
        recipe, dataset = federation.recipe, federation.dataset
        metadata = {"model": recipe.student, "dataset": dataset.name, "num_classes": str(dataset.num_classes)}
        places = {self._client(client.number): client.local.module for client in federation.clients}
        return {
            place.relative_to(self.path).as_posix(): save_weights(module, place, metadata=metadata)
            for place, module in places.items()
        }
