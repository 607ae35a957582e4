"""NormKD in timm's training loop: its task, Mixup, optimisers, schedules and moving average; needs `[examples]`.

python -m normkd_explore.examples.timm_loop
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from timm import create_model
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.task import LogitDistillationTask
from timm.utils import AverageMeter
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from normkd_explore.losses import LogitLoss, NormKD


class NormKDTask(LogitDistillationTask):
    """timm's distillation task with a loss of this package in the place of its KL; weights as timm has them.

    The teacher sees the student's picture, mixed or not, normalised as the teacher wants it. With Mixup no class is
    true, so take a loss that needs none (`NormKD`, `KD`, `LSKD`, not `DKD`).
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, distil: LogitLoss, **task: Any) -> None:
        super().__init__(student, teacher, **task)
        self.distil = distil

    def forward(self, input: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The loss and its parts, and the student's logits."""
        with torch.no_grad():
            logits_t = self.teacher(self.teacher.normalize_input(input, self.student_mean, self.student_std))
        logits_s = self.trainable_module(input)
        task_loss = self.criterion(logits_s, target)
        kd_loss = self.distil(logits_s, logits_t, target if target.ndim == 1 else None)
        loss = self.task_loss_weight * task_loss + self.distill_loss_weight * kd_loss
        return {"loss": loss, "output": logits_s, "task_loss": task_loss, "kd_loss": kd_loss}


def train(task: NormKDTask, loader: Iterable[Any], epochs: int, steps: int, mixup: Mixup | None = None) -> list[float]:
    """Train as timm's train.py does, on the CPU in bfloat16; returns each epoch's mean loss."""
    optimizer = create_optimizer_v2(task.trainable_module, opt="sgd", lr=0.05, weight_decay=1e-4)
    per_step = {"step_on_epochs": False, "updates_per_epoch": steps}
    scheduler, _ = create_scheduler_v2(optimizer, "cosine", num_epochs=epochs, **per_step)
    average = task.setup_ema(decay=0.99)
    losses = []
    for epoch in range(epochs):
        task.train()
        meter = AverageMeter()
        for step, (images_BCHW, labels_B) in enumerate(loader, 1):
            images_BCHW, target = mixup(images_BCHW, labels_B) if mixup else (images_BCHW, labels_B)
            with torch.autocast("cpu", torch.bfloat16):
                loss = task(images_BCHW, target)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update(task.trainable_module)
            scheduler.step_update(epoch * steps + step)
            meter.update(loss.item(), len(labels_B))
        losses.append(meter.avg)
    return losses


def main() -> None:
    """Two of timm's test networks, random weights and pictures: to see that it runs, not what it learns."""
    student, teacher = (create_model(name, num_classes=10) for name in ("test_efficientnet", "test_resnet"))
    images = TensorDataset(torch.randn(64, 3, 96, 96), torch.arange(64) % 10)
    loader = DataLoader(images, 16, shuffle=True, drop_last=True)  # Mixup wants an even number of pictures
    task = NormKDTask(student, teacher, NormKD(2.0), criterion=SoftTargetCrossEntropy(), task_loss_weight=0.1)
    print(train(task, loader, 2, len(loader), Mixup(mixup_alpha=0.8, num_classes=10)))


if __name__ == "__main__":
    main()
