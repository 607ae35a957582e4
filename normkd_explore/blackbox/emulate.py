"""MEKD's second step: a student whose logits make the generator draw the same picture as the black box's logits do.

    L = w_f · mean |G(s/τ_g) - G(t/τ_g)|  +  L_logits(s, t)

G is frozen and in eval mode, and the gradient reaches the student through it. L_logits is any loss of this package; the
released code's is τ · KL(softmax(t/τ) || softmax(s/τ)), which is KD with weight 1/τ.

Legend: B batch, C classes; s and t the student's and the teacher's logits.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from normkd_explore.blackbox.networks import Generator
from normkd_explore.checks import check_positive
from normkd_explore.feature_losses.couple import Observation
from normkd_explore.training.objective import Loss, Objective

Distance = Literal["l1", "l2"]


class ImageAlignment(nn.Module):
    """How far apart the pictures are that two vectors of logits make: (B, C), (B, C) -> scalar.

        l1: mean |G(s/τ_g) - G(t/τ_g)|        l2: mean (G(s/τ_g) - G(t/τ_g))²

    over batch, colours and pixels, which lie in [-1, 1]. No gradient reaches the generator or t.

    Args:
        generator: made by step one; it is frozen and put in eval mode here.
        temperature: τ_g > 0, which brings logits to the size of the noise that the generator has learned from.
        distance: "l1" (published as best by a little) or "l2".
    """

    def __init__(self, generator: Generator, temperature: float = 5.0, distance: Distance = "l1") -> None:
        super().__init__()
        if distance not in ("l1", "l2"):
            raise ValueError(f"distance: found {distance!r}, wanted 'l1' or 'l2'.")
        self.generator = generator.requires_grad_(False).eval()
        self.temperature, self.distance = check_positive("temperature", temperature), distance

    def train(self, mode: bool = True) -> ImageAlignment:
        """Itself, unmoved: BatchNorm of a frozen generator always uses what it has learned."""
        return self

    def forward(self, logits_s: Tensor, logits_t: Tensor) -> Tensor:
        drawn_s = self.generator(logits_s.float() / self.temperature)
        drawn_t = self.generator(logits_t.detach().float() / self.temperature)
        apart = drawn_s - drawn_t
        return apart.abs().mean() if self.distance == "l1" else apart.square().mean()


class Emulation(Objective):
    """An objective with image alignment added to its total; `ce` and `kd` stay what they are."""

    def __init__(self, objective: Objective, alignment: ImageAlignment, weight: float) -> None:
        nn.Module.__init__(self)
        self.objective, self.alignment, self.weight = objective, alignment, weight
        self.settings, self.needs_features = objective.settings, False

    def forward(
        self, logits_s: Tensor, logits_t: Tensor | None, target: Tensor, epoch: int, seen: Observation | None = None
    ) -> Loss:
        assert logits_t is not None
        loss = self.objective(logits_s, logits_t, target, epoch, seen)
        return loss._replace(total=loss.total + self.weight * self.alignment(logits_s, logits_t))

    def end_step(self, done: float, kd: Tensor) -> None:
        """The method inside is told of its steps."""
        self.objective.end_step(done, kd)
