"""What the precision "auto" stands for: bfloat16 where the device computes it, float32 elsewhere.

Under bf16-mixed convolutions and matrix products compute in bfloat16. Weights, gradients, optimiser, the statistics of
batch normalisation, losses, metrics and the teacher's kept logits stay float32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from normkd_explore.training.machine.fabric import device_kind

AUTO, FLOAT, MIXED = "auto", "32-true", "bf16-mixed"
BF16_ON_CPU = False
"""Whether auto takes bf16-mixed on a processor that computes bfloat16; not before runs have shown that it costs no
accuracy."""


class Choice(NamedTuple):
    """A precision, and why it was taken."""

    precision: str
    reason: str

    def __str__(self) -> str:
        return f"precision {self.precision}: {self.reason}"


def choose_precision(device: str = "auto") -> Choice:
    """The precision to take on a device (auto, cpu, cuda, cuda:N, mps) where the user has not named one."""
    kind = device_kind(device)
    if kind == "cuda":
        return _on_gpu()
    if kind == "cpu":
        return _on_cpu()
    return Choice(FLOAT, f"bfloat16 is not tried on {kind}")


def bf16_instructions() -> str | None:
    """The instructions with which this processor computes bfloat16; None where it would only imitate it."""
    features = {"AVX512_BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
    found = [name for name, ask in features.items() if getattr(torch.cpu, ask, bool)()]
    return " and ".join(found) or None


def _on_gpu() -> Choice:
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
        return Choice(MIXED, "this GPU computes bfloat16")
    return Choice(FLOAT, "this GPU does not compute bfloat16")


def _on_cpu() -> Choice:
    found = bf16_instructions()
    if found is None:
        return Choice(FLOAT, "this processor does not compute bfloat16 (neither AVX512_BF16 nor AMX)")
    if not BF16_ON_CPU:
        return Choice(FLOAT, f"on a processor bfloat16 is taken only if asked for; this one computes it ({found})")
    return Choice(MIXED, f"this processor computes bfloat16 ({found})")
