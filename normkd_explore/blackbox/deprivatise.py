"""MEKD's first step: learn to make pictures like those that must not leave, from unlabelled ones.

    L_D = BCE(D(x), 1) + BCE(D(G(z)), 0)                        z ~ N(0, I) of the length of the logits
    L_G = BCE(D(G(z)), 1) + a · L_IM,       L_IM = -(1/m) Σ_i ŷ_i log D(G(z_i))

ŷ_i is the largest probability that the black box gives to the picture G(z_i): pictures of which it is sure count more.
No gradient passes through it. The discriminator moves first, the generator then with noise of its own.

Legend: B batch (m above), C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from normkd_explore.blackbox.networks import Discriminator, Generator, to_pixels
from normkd_explore.data.batches import mixed_seed
from normkd_explore.training.nonfinite import NonFiniteError

InformedBy = Literal["value", "index"]
LR, BETAS = 2e-4, (0.5, 0.999)
CODE_EPSILON = 1e-5  # the released code's, inside its logarithm


def discriminator_loss(real_B: Tensor, made_B: Tensor) -> Tensor:
    """BCE(D(x), 1) + BCE(D(G(z)), 0), the sum of the two means, from scores (B,)."""
    return F.softplus(-real_B).mean() + F.softplus(made_B).mean()


def adversarial_loss(made_B: Tensor) -> Tensor:
    """BCE(D(G(z)), 1) from scores (B,), a mean over the batch."""
    return F.softplus(-made_B).mean()


def information_loss(made_B: Tensor, answers: Tensor, by: InformedBy = "value") -> Tensor:
    """L_IM from the discriminator's scores (B,) and the black box's answers to the same pictures.

    value: the paper's -(1/B) Σ_i ŷ_i log D_i, with ŷ the largest probability, or 1 where the answer is a class.
    index: what the released code computes. It takes of `max` the position and not the value, so ŷ is a class's number;
    and a row (B,) times a column (B, 1) is a square, so its mean is mean(ŷ) · mean(-log(D + 1e-5)): every picture has
    the same weight, and how large that is says nothing but how the classes are numbered.

    Args:
        made_B: scores of generated pictures.
        answers: probabilities (B, C), or classes (B,) int64.
        by: "value" or "index".
    """
    probabilities = answers.is_floating_point()
    if answers.shape[:1] != made_B.shape or answers.ndim != (2 if probabilities else 1):
        raise ValueError(
            f"answers: found shape {tuple(answers.shape)} for {tuple(made_B.shape)} scores, wanted probabilities "
            "(B, C) or classes (B,)."
        )
    if by == "value":
        sure_B = answers.amax(dim=1).to(made_B) if probabilities else torch.ones_like(made_B)
        return (sure_B * F.softplus(-made_B)).mean()
    if by == "index":
        number_B = (answers.argmax(dim=1) if probabilities else answers).to(made_B)
        log_B1 = torch.log(torch.sigmoid(made_B) + CODE_EPSILON)[:, None]
        return -(number_B * log_B1).mean()
    raise ValueError(f"by: found {by!r}, wanted 'value' or 'index'.")


def noise(count: int, classes: int, *key: int) -> Tensor:
    """z ~ N(0, I), (count, C) on the CPU, a function of `key` alone."""
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(mixed_seed(*key, *b"noise")))


class Deprivatisation:
    """Generator, discriminator and their Adam optimisers: `step` moves both by one batch.

    Args:
        generator, discriminator: as they begin.
        ask: pictures (B, S, S, 3) uint8 to the black box's answers; None counts every picture as certain (hard
            answers by value, which are all 1), and nobody is asked.
        seed: with the step's number decides all noise and dropout, so a run goes on exactly.
        weight: a of the information term.
        by: see `information_loss`.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        ask: Callable[[Tensor], Tensor] | None,
        seed: int = 0,
        weight: float = 0.5,
        by: InformedBy = "value",
        lr: float = LR,
    ) -> None:
        self.generator, self.discriminator, self.ask = generator, discriminator, ask
        self.seed, self.weight, self.by = seed, weight, by
        self.device = next(generator.parameters()).device
        self.optimisers = [
            torch.optim.Adam(network.parameters(), lr=lr, betas=BETAS) for network in (generator, discriminator)
        ]
        self.sums = torch.zeros(4, device=self.device)  # L_D, the adversarial part of L_G, L_IM, steps

    def step(self, real_BCHW: Tensor, number: int, informed: bool = True) -> None:
        """One batch of real pictures in [-1, 1]; `number` counts the steps of the run, `informed` asks the box."""
        torch.manual_seed(mixed_seed(self.seed, number, *b"dropout"))
        self.generator.train()
        self.discriminator.train()
        count = len(real_BCHW)
        loss_d = self._discriminate(real_BCHW, noise(count, self.generator.classes, self.seed, number, 0))
        loss_g, loss_im = self._generate(noise(count, self.generator.classes, self.seed, number, 1), informed)
        self.sums += torch.stack([loss_d, loss_g, loss_im, torch.ones_like(loss_d)])

    def _discriminate(self, real_BCHW: Tensor, noise_BC: Tensor) -> Tensor:
        with torch.no_grad():
            made_BCHW = self.generator(noise_BC.to(self.device))
        loss = discriminator_loss(self.discriminator(real_BCHW), self.discriminator(made_BCHW))
        self._move(1, loss)
        return loss.detach()

    def _generate(self, noise_BC: Tensor, informed: bool) -> tuple[Tensor, Tensor]:
        made_BCHW = self.generator(noise_BC.to(self.device))
        scores_B = self.discriminator(made_BCHW)
        loss = adversarial_loss(scores_B)
        information = torch.zeros_like(loss)
        if informed and self.weight:
            information = information_loss(scores_B, self._answers(made_BCHW), self.by)
        self._move(0, loss + self.weight * information)
        return loss.detach(), information.detach()

    def _answers(self, made_BCHW: Tensor) -> Tensor:
        if self.ask is None:  # every class counts as certain, so none needs to be known
            return torch.zeros(len(made_BCHW), dtype=torch.int64, device=self.device)
        return self.ask(to_pixels(made_BCHW)).to(self.device)

    def _move(self, which: int, loss: Tensor) -> None:
        optimiser = self.optimisers[which]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def refuse_bad(self, step: int) -> None:
        """NonFiniteError if a loss was not finite; a GPU is waited for, so it is asked before each save."""
        if not torch.isfinite(self.sums).all():
            raise NonFiniteError(f"generator: a loss was not finite before step {step + 1}. Take a smaller rate.", [])

    def read(self) -> dict[str, float]:
        """Means of the losses since the last call."""
        steps = max(self.sums[3].item(), 1.0)
        means = dict(zip(("discriminator", "generator", "information"), (self.sums[:3] / steps).tolist(), strict=True))
        self.sums.zero_()
        return means

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimisers": [optimiser.state_dict()["state"] for optimiser in self.optimisers],
            "sums": self.sums,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` gave."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict({**optimiser.state_dict(), "state": saved})
        self.sums.copy_(state["sums"])
