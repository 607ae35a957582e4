"""A federation in this process: all clients in lockstep, one step of each at a time, and the server between.

A round: every client trains on its private images, predicts the public ones and uploads; the server aggregates; every
client distils the answer.

Legend: K clients, N public images, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from normkd_explore.data import Dataset, make_batches
from normkd_explore.data.batches import mixed_seed
from normkd_explore.federated.attacks import make_attack
from normkd_explore.federated.client import Client, places
from normkd_explore.federated.exchange import describe, exchange, predict
from normkd_explore.federated.recipe import NO_ATTACK, FederatedRecipe
from normkd_explore.federated.rules import make_aggregation
from normkd_explore.federated.split import deal
from normkd_explore.methods import get_method
from normkd_explore.training.evaluate import evaluate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PREDICTED = 256  # images of a forward pass without training
Records = list[dict[str, Any]]


class Federation:
    """Clients, server, and where they are: `round` rounds are complete, and `step` steps of the next one.

    Args:
        dataset: with every image in memory; its training split is dealt out (see `split.deal`).
        clean: the records of the clean run of the same seed, from which drops are counted; None where there is none.
    """

    def __init__(self, recipe: FederatedRecipe, dataset: Dataset, fabric: Fabric, clean: Records | None = None) -> None:
        self.recipe, self.dataset, self.fabric, self.clean = recipe, dataset, fabric, clean
        # Two images a client at least: batch normalisation cannot learn from a single one.
        self.shares = deal(dataset, recipe.clients, recipe.alpha, recipe.public, least=2, seed=recipe.seed)
        self.public_labels_N = self.shares.public_labels_N.to(fabric.device)
        self.asked = make_batches(self.shares.public, "train", PREDICTED, augment=False, device=fabric.device)
        self.taught = make_batches(
            self.shares.public, "train", recipe.batch_size, augment=True, seed=recipe.seed, device=fabric.device
        )
        private = enumerate(self.shares.private)
        self.clients = [Client(k, recipe, own, fabric, len(self.taught)) for k, own in private]
        self.attack = None if recipe.attack == NO_ATTACK else make_attack(recipe.attack, recipe.strength or 1.0)
        self.rule = make_aggregation(recipe.aggregate)
        self.round, self.step, self.seconds = 0, 0, 0.0
        self.answer_NC: Tensor | None = None
        self.found: dict[str, Any] = {}
        self.history: Records = []

    @property
    def local_steps(self) -> int:
        """Steps of this round on private images: of the client that has most."""
        return self._local_steps(self.round)

    def steps_of(self, round_: int) -> int:
        """Steps of a round, on private images and on public ones."""
        return self._local_steps(round_) + len(self._distil_epochs(round_)) * len(self.taught)

    def _local_steps(self, round_: int) -> int:
        return len(self.recipe.local_epochs(round_)) * max(len(client.batches) for client in self.clients)

    def _distil_epochs(self, round_: int) -> range:
        """A round's passes over the public images; none where the method is cross-entropy: clients stay alone."""
        each = self.recipe.distil_epochs if get_method(self.recipe.method).needs_teacher else 0
        return range(round_ * each, (round_ + 1) * each)

    def moves(self) -> Iterator[int]:
        """Go on to the end of the round; after every step of all clients its number of images is given."""
        began = time.perf_counter()
        for images in self._moves():
            self.step += 1
            now = time.perf_counter()
            self.seconds, began = self.seconds + now - began, now
            yield images
            began = time.perf_counter()

    def train_locally(self) -> None:
        """Do this round's steps on private images that are left: what comes before any attack or rule has a say."""
        moves = self.moves()
        while self.step < self.local_steps:
            next(moves)

    def _moves(self) -> Iterator[int]:
        for client in self.clients:
            client.model.train()
        yield from self._train()
        if self.answer_NC is None:
            self.answer_NC = self._exchange()
        yield from self._distil(self.answer_NC)

    def _train(self) -> Iterator[int]:
        epochs = self.recipe.local_epochs(self.round)
        # A client with few images is done early, and one with many goes on alone.
        for group in zip_longest(*(places(client.batches, epochs, self.step) for client in self.clients)):
            images = 0
            for client, place in zip(self.clients, group, strict=True):
                if place is not None:
                    epoch, step, batch = place
                    client.local.step(batch, None, epoch, step)
                    images += len(batch.labels_B)
            self._look()
            yield images

    def _exchange(self) -> Tensor:
        recipe = self.recipe
        logits_KNC = torch.stack([predict(client.model, self.asked.epoch(0)) for client in self.clients])
        seed = mixed_seed(recipe.seed, *b"attack", self.round)
        made = exchange(logits_KNC, self.attack, recipe.malicious, self.rule, seed)
        self.found = describe(made, self.rule, recipe.malicious, self.public_labels_N)
        return made.answer_NC

    def _distil(self, answer_NC: Tensor) -> Iterator[int]:
        for epoch, step, batch in places(self.taught, self._distil_epochs(self.round), self.step - self.local_steps):
            logits_t = answer_NC[batch.index_B]
            # Public images have no labels: a method that asks for the true class gets the server's.
            batch = batch._replace(labels_B=logits_t.argmax(dim=-1))
            for client in self.clients:
                client.distil.step(batch, logits_t, epoch, step)
            self._look()
            yield len(self.clients) * len(batch.labels_B)

    def _look(self) -> None:
        # On a GPU this question would make the host wait, so there it is asked once a round.
        if self.fabric.device.type == "cpu":
            self.refuse_bad()

    def refuse_bad(self) -> None:
        """NonFiniteError if a client's gradient was not finite."""
        for client in self.clients:
            client.refuse_bad(self.round)

    def measure(self, split: str) -> dict[str, Any]:
        """Top-1 of every client on a split, of all and of the victims on average, and the number of images n."""
        batches = make_batches(self.dataset, split, PREDICTED, augment=False, device=self.fabric.device)
        measured = [evaluate(client.model, batches.epoch(0)) for client in self.clients]
        return accuracies([own["top1"] for own in measured], self.recipe.victims, measured[0]["n"])

    def finish_round(self) -> dict[str, Any]:
        """Evaluate, append the round's record to `history`, and stand before the next one."""
        self.refuse_bad()
        chosen = "val" if self.dataset.val is not None else "test"
        measured = self.measure(chosen)
        losses = [client.read() for client in self.clients]
        record = {
            "round": self.round + 1,
            **{name: sum(own[name] for own in losses) / len(losses) for name in ("ce", "kd")},
            chosen: measured,
            "drop": drop(measured, self.clean[self.round][chosen] if self.clean else None, self.recipe.victims),
            **self.found,
            "seconds": round(self.seconds, 3),
        }
        self.history.append(record)
        self.round, self.step, self.seconds = self.round + 1, 0, 0.0
        self.answer_NC, self.found = None, {}
        return record

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly, in the middle of a round too."""
        return {
            "clients": [client.state() for client in self.clients],
            "round": self.round,
            "step": self.step,
            "answer": self.answer_NC,
            "rule": self.rule.state(),
            "found": self.found,
            "history": self.history,
            "seconds": self.seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` gave, also to a federation with another attack or rule, which goes on from there."""
        for client, own in zip(self.clients, state["clients"], strict=True):
            client.load_state(own)
        self.round, self.step, self.seconds = state["round"], state["step"], state["seconds"]
        self.answer_NC = None if state["answer"] is None else state["answer"].to(self.fabric.device)
        self.rule.load_state(state["rule"])
        self.found, self.history = dict(state["found"]), list(state["history"])


def accuracies(top1: list[float], victims: range, n: int) -> dict[str, Any]:
    """Top-1 of all clients and of the victims on average, of each client, and the number of images."""
    own = [top1[client] for client in victims]
    return {"all": sum(top1) / len(top1), "victims": sum(own) / len(own), "clients": top1, "n": n}


def drop(measured: dict[str, Any], clean: dict[str, Any] | None, victims: range) -> dict[str, float] | None:
    """How much lower top-1 is than in the clean run: of all clients, and of those that are victims here."""
    if clean is None:
        return None
    same = accuracies(clean["clients"], victims, clean["n"])
    return {name: same[name] - measured[name] for name in ("all", "victims")}
