"""What this machine's arithmetic can do at most for a pair of networks, and how much of it a training step is.

The limit is the best rate, in floating-point operations per second and in the precision used, of a large matrix product
and of the pair's own costliest convolutions, forward alone and with their backward pass, in batches of the benchmark's
size. Which of them is best differs between processors: one with AVX-512 computes convolutions twice as fast as sgemm.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from normkd_explore.models import create_model

COSTLIEST = 3  # convolutions of each network: a residual network has as much to do at each of its three sizes
TRIAL_SECONDS = 0.4


class Convolution(NamedTuple):
    """One kind of convolution in a network, for one image."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    side: int
    """Of the input, in pixels."""

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward pass: two for each multiply-add."""
        side = -(-self.side // self.stride)
        return 2 * side**2 * self.outputs * self.inputs // self.groups * self.kernel**2

    def __str__(self) -> str:
        return f"{self.kernel}x{self.kernel} convolution {self.inputs}>{self.outputs} at {self.side}x{self.side}"


class Limit(NamedTuple):
    """The best rate, in floating-point operations per second, and what reached it."""

    flops: float
    what: str


def forward_flops(name: str, classes: int, side: int) -> int:
    """Floating-point operations of a network's forward pass for one image."""
    model = create_model(name, num_classes=classes).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    return counter.get_total_flops()


def convolutions(name: str, classes: int, side: int) -> Counter[Convolution]:
    """How often each kind of square convolution occurs in a network."""
    model, found = create_model(name, num_classes=classes).eval(), Counter[Convolution]()

    def note(layer: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        kernel, stride = layer.kernel_size[0], layer.stride[0]
        sizes = (layer.in_channels, layer.out_channels, kernel, stride, layer.groups, inputs[0].shape[-1])
        found[Convolution(*sizes)] += 1

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    return found


def find_limit(
    names: tuple[str, ...], classes: int, side: int, batch: int, device: torch.device, dtype: torch.dtype
) -> Limit:
    """The limit for a pair of networks."""
    kinds: set[Convolution] = set()
    for name in names:
        counts = convolutions(name, classes, side)
        kinds |= set(sorted(counts, key=lambda kind: counts[kind] * kind.flops)[-COSTLIEST:])
    trials = [_matrix_product(device, dtype), *(t for kind in kinds for t in _convolution(kind, batch, device, dtype))]
    return max(Limit(flops / _best_seconds(work, device), what) for what, flops, work in trials)


Trial = tuple[str, float, Callable[[], object]]


def _matrix_product(device: torch.device, dtype: torch.dtype) -> Trial:
    side = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return f"product of {side}x{side} matrices", 2.0 * side**3, lambda: torch.mm(a, b)


def _convolution(kind: Convolution, batch: int, device: torch.device, dtype: torch.dtype) -> Iterator[Trial]:
    layer = nn.Conv2d(
        kind.inputs, kind.outputs, kind.kernel, kind.stride, kind.kernel // 2, groups=kind.groups, bias=False
    )
    layer = layer.to(device, dtype, memory_format=torch.channels_last)
    images_BCHW = torch.randn(batch, kind.inputs, kind.side, kind.side, device=device).to(dtype)
    images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last).requires_grad_()
    gradient_BCHW = torch.randn_like(layer(images_BCHW))

    def forward() -> Tensor:
        with torch.no_grad():
            return layer(images_BCHW)

    def both() -> object:
        return torch.autograd.grad(layer(images_BCHW), [images_BCHW, layer.weight], gradient_BCHW)

    yield str(kind), float(batch * kind.flops), forward
    yield f"{kind}, with backward", 3.0 * batch * kind.flops, both


def _best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """The shortest of the runs within a moment."""
    best, end = float("inf"), time.perf_counter() + TRIAL_SECONDS
    while time.perf_counter() < end:
        wait_for(device)
        start = time.perf_counter()
        work()
        wait_for(device)
        best = min(best, time.perf_counter() - start)
    return best


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was told; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
