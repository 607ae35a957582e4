"""What a malicious client uploads in place of its logits. For studying defences: each is a pure function of tensors.

    PCFDLA(strength=20.0)(logits)    (..., C) -> (..., C)

A client that attacks trains like any other; only what it tells the server is changed.

Legend: K clients, N samples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from normkd_explore.checks import check_positive
from normkd_explore.federated.votes import check_votes


class Insight(NamedTuple):
    """What an attacker may know besides its own logits."""

    honest_mean: Tensor | None = None
    """Mean of the honest clients' probabilities, of the shape of the logits."""
    generator: torch.Generator | None = None
    """Where chance comes from; it lives on the CPU, so that every device draws the same."""


class Attack:
    """Called with logits (..., C), gives the upload (..., C) of the same dtype and device.

    Raises:
        TypeError, ValueError: not a finite floating tensor with two or more classes.
    """

    def __call__(self, logits: Tensor, insight: Insight = Insight()) -> Tensor:  # noqa: B008  (immutable)
        check_votes("logits", logits)
        return self.forge(logits, insight)

    def forge(self, logits: Tensor, insight: Insight) -> Tensor:
        """The upload for checked logits."""
        raise NotImplementedError

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:g}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


class FDLA(Attack):
    """Every value goes one rank down, and the first class gets the smallest.

        i_1, ..., i_C = classes by falling logit;   z'[i_(k+1)] = z[i_k],   z'[i_1] = z[i_C]

    The values stay the same as a set, so std, norm and entropy do, and no check of those sees it. Applied C times it
    gives the logits back, where no two are equal.

    Source: Tang et al., "Logits Poisoning Attack in Federated Distillation", arXiv 2401.03685, as three independent
    implementations have it; the paper's own equation was not read.
    """

    def forge(self, logits: Tensor, insight: Insight) -> Tensor:
        order = logits.argsort(dim=-1, descending=True, stable=True)
        return torch.empty_like(logits).scatter_(-1, order, logits.gather(-1, order).roll(1, dims=-1))


class PCFDLA(Attack):
    """A peak of chosen height on the client's own second choice, a wrong class that looks plausible.

        j = class of the second largest logit;   z'[j] = +s,   z'[c] = -s for every other class

    Its sample std is 2s / √C and its z-score at the peak (C - 1) / √C, the largest possible, whatever s > 0 is.

    Args:
        strength: s.

    Source: Tang et al., "Peak-Controlled Logits Poisoning Attack in Federated Distillation", arXiv 2407.18039, as
    three independent implementations have it. One of them draws s anew for each batch, uniformly from [-20, 20]; the
    paper's own values were not read.
    """

    def __init__(self, strength: float = 20.0) -> None:
        self.strength = check_positive("strength", strength)

    def forge(self, logits: Tensor, insight: Insight) -> Tensor:
        return _peak(logits, logits.topk(2, dim=-1).indices[..., 1:], self.strength)


class Random(Attack):
    """Noise: every logit drawn from a normal distribution.

    Args:
        mean, std: of the distribution; 1 and 10 in the implementations of FDLA and PCFDLA that were read.
        seed: of the draw where no generator is given, so that a call is a function of its arguments.
    """

    def __init__(self, mean: float = 1.0, std: float = 10.0, seed: int = 0) -> None:
        self.mean, self.std, self.seed = float(mean), check_positive("std", std), int(seed)

    def forge(self, logits: Tensor, insight: Insight) -> Tensor:
        generator = insight.generator or torch.Generator().manual_seed(self.seed)
        noise = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
        return (self.mean + self.std * noise).to(logits)


class Fixed(Attack):
    """One constant for each class, the same for every sample and round; attackers of one seed agree.

    Args:
        strength: the constants are drawn uniformly from [-strength, strength].
        seed: of the draw.
    """

    def __init__(self, strength: float = 20.0, seed: int = 0) -> None:
        self.strength, self.seed = check_positive("strength", strength), int(seed)

    def forge(self, logits: Tensor, insight: Insight) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        constants_C = 2 * torch.rand(logits.shape[-1], generator=generator, dtype=torch.float64) - 1
        return (self.strength * constants_C).to(logits).expand_as(logits).clone()


class LMA(Attack):
    """A peak on the class that the honest clients find least likely: it needs their predictions, or a good guess.

        j = argmin of the honest mean;   z'[j] = +s,   z'[c] = -s for every other class

    With a large s the softmax is one-hot. Without an `Insight` the attacker guesses that the others think as it does.

    Args:
        strength: s.

    Source: "loss maximisation" in Roux et al., "On the Byzantine-Resilience of Distillation-Based Federated Learning",
    ICLR 2025, arXiv 2402.12265, which uploads the one-hot vector itself.
    """

    def __init__(self, strength: float = 20.0) -> None:
        self.strength = check_positive("strength", strength)

    def forge(self, logits: Tensor, insight: Insight) -> Tensor:
        believed = logits if insight.honest_mean is None else insight.honest_mean
        return _peak(logits, believed.argmin(dim=-1, keepdim=True), self.strength)


def _peak(logits: Tensor, place: Tensor, strength: float) -> Tensor:
    """+strength at `place` (..., 1), -strength elsewhere."""
    return torch.full_like(logits, -strength).scatter_(-1, place, strength)


ATTACKS: dict[str, Callable[..., Attack]] = {
    "fdla": FDLA,
    "pcfdla": PCFDLA,
    "random": Random,
    "fixed": Fixed,
    "lma": LMA,
}
"""Attacks by the name that `normkd federate --attack` takes."""
STRONG = ("pcfdla", "fixed", "lma")
"""Attacks that have a strength."""


def make_attack(name: str, strength: float = 20.0) -> Attack:
    """The attack of a name; a ValueError lists what exists."""
    if name not in ATTACKS:
        raise ValueError(f"attack: found {name!r}, wanted one of none, {', '.join(ATTACKS)}.")
    return ATTACKS[name](strength=strength) if name in STRONG else ATTACKS[name]()
