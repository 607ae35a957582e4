"""What a student minimises: cross-entropy on the labels plus a method's distillation term."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normkd_explore.data.batches import mixed_seed
from normkd_explore.divergence import tell_step, tell_teacher
from normkd_explore.feature_losses.couple import Couple, FeatureMethod, Observation
from normkd_explore.methods import Settings, get_method
from normkd_explore.temperature import tell_epoch
from normkd_explore.training.machine import processes


class Loss(NamedTuple):
    """The loss of one batch and its two parts before weighting; scalars."""

    total: Tensor
    ce: Tensor
    kd: Tensor


class Objective(nn.Module):
    """total = ce_weight * CE(z_s, y) + min(epoch / warmup_epochs, 1) * kd_weight * L_KD(z_s, z_t, y).

    Cross-entropy is a mean over the batch on the student's raw logits; L_KD is the method's own loss, a mean over the
    batch as well. Both are computed in float32 at least. `epoch` counts from 1, up to `epochs`; a method that changes
    during training is told when it changes (`tell_epoch`).

    A feature method (`needs_features`) gets an `Observation` in place of the logits; its adapters are built for
    `couple` and drawn from `seed`. A logit method that looks at the teacher itself beforehand is shown `teacher`.
    """

    def __init__(
        self,
        method: str,
        settings: Settings,
        epochs: int,
        couple: Couple | None = None,
        seed: int = 0,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.epochs = settings, epochs
        self._told = 0
        entry = get_method(method)
        self.distillation = entry.build(**settings.loss) if entry.needs_teacher else None
        parts = self.distillation.modules() if self.distillation is not None else ()
        self._follows_steps = any(hasattr(part, "end_step") for part in parts)
        self.needs_features = entry.needs_features
        if self.needs_features:
            self._connect(method, couple, seed)
        elif self.distillation is not None and teacher is not None:
            tell_teacher(self.distillation, teacher)

    def _connect(self, method: str, couple: Couple | None, seed: int) -> None:
        if couple is None:
            raise ValueError(
                f"couple: found None; {method} compares features, so it must know both networks beforehand. "
                "Pass introduce(student, teacher, image_size, train_labels)."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(seed, *b"adapters"))
            cast(FeatureMethod, self.distillation).connect(couple)

    def forward(
        self,
        logits_s: Tensor,
        logits_t: Tensor | None,
        target: Tensor,
        epoch: int,
        seen: Observation | None = None,
    ) -> Loss:
        ce = F.cross_entropy(logits_s.float() if logits_s.dtype != torch.float64 else logits_s, target)
        if self.distillation is None:
            return Loss(self.settings.ce_weight * ce, ce, torch.zeros_like(ce))
        if epoch != self._told:
            tell_epoch(self.distillation, epoch, self.epochs)
            self._told = epoch
        kd = self.distillation(seen) if self.needs_features else self.distillation(logits_s, logits_t, target)
        return Loss(self.settings.ce_weight * ce + self.kd_weight(epoch) * kd, ce, kd)

    def end_step(self, done: float, kd: Tensor) -> None:
        """Tell the method that a step was taken: the share of the training that is done, and the step's L_KD."""
        if self._follows_steps:
            tell_step(cast(nn.Module, self.distillation), done, processes.total(kd.detach()) / processes.size())

    def kd_weight(self, epoch: int) -> float:
        """The weight of the distillation term in the given epoch (the first is 1)."""
        warmup = self.settings.warmup_epochs
        return self.settings.kd_weight * (min(epoch / warmup, 1.0) if warmup else 1.0)
