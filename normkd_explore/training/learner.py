"""One student in training: its model, optimiser and running totals, and the step that moves them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from normkd_explore.data import Batch
from normkd_explore.data.batches import mixed_seed
from normkd_explore.feature_losses.couple import Couple, Observation
from normkd_explore.models import Features
from normkd_explore.training.last_step import explained
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.compiling import CompiledInTraining
from normkd_explore.training.machine.seeding import seed_generators
from normkd_explore.training.nonfinite import bad_evaluation, bad_gradient
from normkd_explore.training.objective import Loss, Objective
from normkd_explore.training.recipes.recipe import Recipe
from normkd_explore.training.recipes.schedule import learning_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

OBEYING = ("cpu", "cuda")  # devices whose fused kernel skips the update where `found_inf` is 1
TOTALS = ("loss", "ce", "kd", "top1", "grad_norm", "images")


class Learner:
    """A student, everything it needs to take one step, and everything that must be saved to go on exactly.

    All sums stay on the device until `read_totals`, so that a GPU never waits for the host inside an epoch.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        fabric: Fabric,
        steps_per_epoch: int,
        couple: Couple | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        self.recipe, self.fabric, self.steps_per_epoch = recipe, fabric, steps_per_epoch
        self.objective = Objective(recipe.method, recipe.settings, recipe.epochs, couple, recipe.seed, teacher)
        self.objective.to(fabric.device)
        model = model.to(memory_format=torch.channels_last)  # several times faster convolutions on CPUs
        parameters = [*model.parameters(), *self.objective.parameters()]
        # The fused kernel skips the whole update where the guard says so, on the device and without asking the host.
        optimizer = torch.optim.SGD(
            parameters, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
        if recipe.compile:
            # Inside what Fabric wraps around it: under torchrun its hooks then average the gradients as always.
            model = CompiledInTraining(model, recipe.batch_size // processes.size())
        self.model, self.optimizer = fabric.setup(model, optimizer)
        self.parameters = parameters
        self.totals = torch.zeros(len(TOTALS), device=fabric.device)
        self.nothing_bad = torch.zeros((), device=fabric.device)
        self.first_bad_step = torch.full((), -1, dtype=torch.long, device=fabric.device)
        self.bad_images = torch.full((recipe.batch_size // processes.size(),), -1, device=fabric.device)
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0  # spent training in the current epoch, interruptions not counted

    @property
    def module(self) -> nn.Module:
        """The bare model, without the wrappers of Fabric and `compiling`."""
        model = self.model.module
        return model.model if isinstance(model, CompiledInTraining) else model

    @property
    def _who(self) -> str:
        return f"{self.recipe.student} with {self.recipe.method}"

    def step(
        self, batch: Batch, logits_t: Tensor | None, epoch: int, step: int, features_t: Features | None = None
    ) -> None:
        """Forward, loss, backward, update. `epoch` and `step` (within the epoch) count from 0."""
        # Randomness inside the model (dropout) depends on the position alone: resuming and lockstep stay exact.
        # The first process draws what a single one would, the others something else for their images.
        own = [processes.rank()] if processes.rank() else []
        seed_generators(mixed_seed(self.recipe.seed, epoch, step, *own), self.fabric.device)
        self._set_learning_rate(epoch * self.steps_per_epoch + step)
        with explained(self._who):
            logits_s, seen = self._forward(batch, features_t)
            loss = self._loss(logits_s, logits_t, batch.labels_B, epoch, step, seen)
        self.fabric.backward(loss.total)
        processes.average_gradients(self.objective.parameters())
        processes.average_batch_norm(self.module, self.objective)
        grad_norm = self._guard(step, batch.index_B)
        if self._may_update():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        done = (epoch * self.steps_per_epoch + step + 1) / (self.recipe.epochs * self.steps_per_epoch)
        self.objective.end_step(done, loss.kd)
        self._count(loss, logits_s, batch.labels_B, grad_norm)

    def _forward(self, batch: Batch, features_t: Features | None) -> tuple[Tensor, Observation | None]:
        if not self.objective.needs_features:
            return self.model(batch.images_BCHW), None
        assert features_t is not None  # the loop asks the teacher for them
        logits_s, features_s = self.model(batch.images_BCHW, return_features=True)
        return logits_s, Observation(features_s, features_t, batch.labels_B, batch.index_B)

    def _loss(
        self,
        logits_s: Tensor,
        logits_t: Tensor | None,
        labels_B: Tensor,
        epoch: int,
        step: int,
        seen: Observation | None,
    ) -> Loss:
        try:
            return self.objective(logits_s, logits_t, labels_B, epoch + 1, seen)
        except ValueError:
            # On a CPU the loss itself refuses NaN. Let the guard see one instead: it stops every process at this step
            # and says where in the training that was.
            if all(torch.isfinite(logits).all() for logits in (logits_s, logits_t) if logits is not None):
                raise
            nan = logits_s.sum() * float("nan")
            return Loss(nan, nan, nan)

    def _set_learning_rate(self, global_step: int) -> None:
        r = self.recipe
        lr = learning_rate(r.schedule, r.lr, global_step, self.steps_per_epoch, r.epochs, r.milestones)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    @torch.no_grad()
    def _guard(self, step: int, index_B: Tensor) -> Tensor:
        """Measure the gradient and forbid this and every later update once it is not finite."""
        norms = torch._foreach_norm([p.grad for p in self.parameters if p.grad is not None])
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if _may_read_values(norm) and int(self.first_bad_step) < 0 and math.isfinite(norm):
            self.optimizer.optimizer.found_inf = self.nothing_bad
            return norm
        bad = (self.first_bad_step < 0) & ~torch.isfinite(norm)
        self.first_bad_step = torch.where(bad, step, self.first_bad_step)
        places = self.bad_images[: len(index_B)]
        places.copy_(torch.where(bad, index_B[: len(places)], places))
        self.optimizer.optimizer.found_inf = (self.first_bad_step >= 0).float()
        return norm

    def _may_update(self) -> bool:
        """Ask whether the guard allows the update where the fused kernel would take no notice of it (MPS)."""
        return self.fabric.device.type in OBEYING or int(self.first_bad_step) < 0

    @torch.no_grad()
    def _count(self, loss: Loss, logits_s: Tensor, labels_B: Tensor, grad_norm: Tensor) -> None:
        top1 = (logits_s.argmax(-1) == labels_B).float().mean()
        means = [*loss, top1, grad_norm, torch.ones_like(top1)]
        self.totals += torch.stack([mean.float() for mean in means]) * len(labels_B)

    def read_totals(self) -> dict[str, float]:
        """Means over the images seen since the last reset (the one place where the host waits for the device)."""
        values = dict(zip(TOTALS, self.totals.tolist(), strict=True))
        images = max(values["images"], 1.0)
        return {name: value / images for name, value in values.items() if name != "images"}

    def _load_momentum(self, saved: dict[int, dict[str, Any]]) -> None:
        """Restore the optimiser's tensors in the memory layout of their parameters.

        The fused kernel walks parameter, gradient and momentum as flat memory: a momentum in another layout than its
        channels_last weight would be added to the wrong elements without any error.
        """
        optimizer = self.optimizer.optimizer
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for index, slot in saved.items():
            for name, value in slot.items():
                if isinstance(value, Tensor) and value.shape == parameters[index].shape:
                    slot[name] = torch.empty_like(parameters[index], dtype=value.dtype).copy_(value)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": saved})

    def finish_epoch(self, epoch: int, measured: dict[str, Any]) -> dict[str, Any]:
        """Append the epoch's record to `history` and start the sums of the next one."""
        self.totals = processes.total(self.totals)
        images = float(self.totals[-1])
        record = {
            "epoch": epoch + 1,
            "lr": self.optimizer.param_groups[0]["lr"],
            "kd_weight": self.objective.kd_weight(epoch + 1),
            "train": self.read_totals(),
            **measured,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(images / max(self.seconds, 1e-9), 1),
        }
        self.history.append(record)
        self.totals.zero_()
        self.seconds = 0.0
        return record

    def raise_if_bad(self, epoch: int) -> None:
        """NonFiniteError if an update was refused; it says where, and what to try."""
        step = int(self.first_bad_step)
        if step >= 0:
            lr = self.optimizer.param_groups[0]["lr"]
            images = [image for part in processes.gather(self.bad_images.tolist()) for image in part if image >= 0]
            raise bad_gradient(self._who, epoch, step, lr, images)

    def raise_if_not_finite(self, measured: dict[str, Any], split: str, epoch: int) -> None:
        """NonFiniteError if an evaluation gave NaN or infinity although every gradient was finite."""
        if not math.isfinite(measured["loss"]):
            raise bad_evaluation(self._who, epoch, split, measured["loss"])

    def state(self) -> dict[str, Any]:
        """Everything needed to continue exactly: weights, momentum, sums of the epoch, history.

        All processes must ask at the same step, since each has its own sums; the rest is equal everywhere.
        """
        return {
            "model": self.module.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.optimizer.state_dict()["state"],
            "totals": processes.stack(self.totals),
            "seconds": self.seconds,
            "history": self.history,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` gave."""
        self.module.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        self._load_momentum(state["optimizer"])
        self.totals.copy_(processes.own_part(state["totals"].view(-1, len(TOTALS))))
        self.seconds = state["seconds"]
        self.history = list(state["history"])


def _may_read_values(tensor: Tensor) -> bool:
    """Where reading costs no waiting; there the answer is almost always that all is well."""
    return tensor.device.type == "cpu"
