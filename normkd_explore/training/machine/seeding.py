"""The random state of one device, set without asking every other device that PyTorch knows of."""

from __future__ import annotations

import torch


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of `device`: what is drawn there is what `torch.manual_seed` would give.

    `torch.manual_seed` also looks at every kind of device, and where one is not in use it records who asked: 365 µs, at
    every step of a training.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)
