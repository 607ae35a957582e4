"""Does it pay to train students of one architecture as one batched network?

    python -m benchmarks.batched_students [student [students [device]]]

One after the other: each student's forward pass, loss and backward pass on the same batch, as the training loop does
it. Batched: the weights are stacked (`torch.func.stack_module_state`) and the same step runs once under `vmap`. Both
leave the gradients of all students; the turns alternate, and a ratio above 1 says that batching is faster.

Measured on one CPU thread (torch 2.15): 4 x resnet8 run at 0.5 times the speed when batched, 2 x resnet8x4 at 0.4
times: a vmapped convolution becomes a grouped one, for which the CPU kernels are slow, and loses the channels_last
layout. So students train one after the other on each batch, and share the teacher's logits alone.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from normkd_explore.models import create_model

BATCH, CLASSES, TURNS = 64, 100, 9


def one_after_the_other(models: list[torch.nn.Module], images_BCHW: Tensor, labels_B: Tensor) -> list[Tensor]:
    """Loss of each student; gradients are left in its parameters."""
    losses = []
    for model in models:
        model.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images_BCHW), labels_B)
        loss.backward()
        losses.append(loss.detach())
    return losses


def batched_step(models: list[torch.nn.Module]) -> Callable[[Tensor, Tensor], tuple[dict[str, Tensor], Tensor]]:
    """A function of a batch that gives all students' gradients and losses, stacked."""
    parameters, buffers = stack_module_state(models)
    skeleton = models[0]

    def loss(parameters: dict, buffers: dict, images_BCHW: Tensor, labels_B: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(skeleton, (parameters, buffers), (images_BCHW,)), labels_B)

    step = vmap(grad_and_value(loss), in_dims=(0, 0, None, None))
    return lambda images_BCHW, labels_B: step(parameters, buffers, images_BCHW, labels_B)


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall time, the device's work included."""
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main(student: str = "resnet8", students: str = "4", device: str = "cpu") -> None:
    torch.manual_seed(0)
    layout = torch.channels_last
    models = [create_model(student, num_classes=CLASSES).to(device, memory_format=layout) for _ in range(int(students))]
    images_BCHW = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels_B = torch.randint(CLASSES, (BATCH,), device=device)
    batched = batched_step(models)
    _, losses = batched(images_BCHW, labels_B)
    expected = torch.stack(one_after_the_other(models, images_BCHW, labels_B))
    torch.testing.assert_close(losses.detach(), expected, rtol=1e-3, atol=1e-4)
    apart, together = [], []
    for _ in range(TURNS):
        apart.append(seconds(lambda: one_after_the_other(models, images_BCHW, labels_B), device))
        together.append(seconds(lambda: batched(images_BCHW, labels_B), device))
    ratios = [a / b for a, b in zip(apart, together, strict=True)]
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {device}, {threads} threads: {students} x {student}, batch {BATCH}")
    print(f"one after the other {1e3 * statistics.median(apart):.1f} ms, ", end="")
    print(f"batched {1e3 * statistics.median(together):.1f} ms")
    print(f"batching is {low:.2f} / {middle:.2f} / {high:.2f} times as fast (min, median, max)")


if __name__ == "__main__":
    main(*sys.argv[1:])
