"""A client: one network with two learners, one for its private images and one for the server's answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from normkd_explore.data import Batch, Batches, Dataset, make_batches
from normkd_explore.federated.recipe import FederatedRecipe
from normkd_explore.training.learner import Learner
from normkd_explore.training.nonfinite import NonFiniteError
from normkd_explore.training.teacher.sources import new_student

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Place = tuple[int, int, Batch]
"""Epoch, step in it, and the batch there."""


class Client:
    """The learners share the network; each has its own objective, momentum and learning rate."""

    def __init__(
        self, number: int, recipe: FederatedRecipe, private: Dataset, fabric: Fabric, distil_steps: int
    ) -> None:
        self.number, self.images = number, len(private.train)
        local, distil = recipe.local(number), recipe.distil(number)
        network = new_student(recipe.student, private.num_classes, local.seed)
        self.batches: Batches = make_batches(
            private, "train", recipe.batch_size, augment=True, seed=local.seed, device=fabric.device
        )
        self.local = Learner(local, network, fabric, len(self.batches))
        self.distil = Learner(distil, network, fabric, distil_steps)

    @property
    def model(self) -> nn.Module:
        """The network as evaluation wants it, wrapped by Fabric."""
        return self.local.model

    def read(self) -> dict[str, float]:
        """Mean losses of the round, and both sums start anew."""
        local, distil = self.local.read_totals(), self.distil.read_totals()
        for learner in (self.local, self.distil):
            learner.totals.zero_()
        return {"ce": local["ce"], "kd": distil["kd"]}

    def refuse_bad(self, round_: int) -> None:
        """NonFiniteError, naming client and round, if a gradient was not finite."""
        with self.named(round_):
            self.local.raise_if_bad(round_)
            self.distil.raise_if_bad(round_)

    @contextmanager
    def named(self, round_: int) -> Iterator[None]:
        """Say whose gradient it was."""
        try:
            yield
        except NonFiniteError as error:
            raise NonFiniteError(f"client {self.number}, round {round_ + 1}: {error}", error.images) from None

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly; the weights once."""
        distil = {name: value for name, value in self.distil.state().items() if name != "model"}
        return {"local": self.local.state(), "distil": distil}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` gave."""
        self.local.load_state(state["local"])
        self.distil.load_state({**state["distil"], "model": state["local"]["model"]})


def places(batches: Batches, epochs: range, start: int) -> Iterator[Place]:
    """The batches of some epochs, from step `start` of them all on."""
    passed, skip = divmod(start, len(batches))
    for epoch in epochs[passed:]:
        for step, batch in enumerate(batches.epoch(epoch, skip), skip):
            yield epoch, step, batch
        skip = 0
