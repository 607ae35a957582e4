"""A temperature that the package does not have."""

from dataclasses import dataclass

from torch import Tensor

from normkd_explore.temperature import Softening


@dataclass(frozen=True)
class Range:
    """T = share · (max(z) - min(z)) for either network, weight = T_t²."""

    share: float

    def __call__(self, logits_s: Tensor, logits_t: Tensor) -> Softening:
        T_s, T_t = (self.share * (z.amax(1, keepdim=True) - z.amin(1, keepdim=True)) for z in (logits_s, logits_t))
        return Softening(T_s, T_t, T_t.square())

    def describe(self) -> str:
        return f"T = {self.share:g} · range(z)."
