"""NormKD in a Lightning module; what it needs comes with `pip install "normkd-explore[examples]"`.

python -m normkd_explore.examples.lightning_module
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normkd_explore.losses import LogitLoss, NormKD


class Distillation(L.LightningModule):
    """A student that learns from labels and from a frozen teacher; precision and devices are the Trainer's matter."""

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        distil: LogitLoss,
        ce_weight: float = 0.1,
        kd_weight: float = 0.9,
        lr: float = 0.05,
    ) -> None:
        super().__init__()
        self.student, self.distil = student, distil
        self.ce_weight, self.kd_weight, self.lr = ce_weight, kd_weight, lr
        # In a list, the teacher is no part of this module: never in training mode (its batch norm would learn), not
        # in the optimiser, not in every checkpoint, not copied around by DDP.
        self.teacher = [teacher.eval().requires_grad_(False)]

    def on_fit_start(self) -> None:
        """The student is on its device by now; the teacher follows."""
        self.teacher[0].to(self.device)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch; the Trainer divides it by the number of batches that make a step."""
        images_BCHW, labels_B = batch
        with torch.no_grad():
            logits_t = self.teacher[0](images_BCHW)
        logits_s = self.student(images_BCHW)
        ce, kd = F.cross_entropy(logits_s, labels_B), self.distil(logits_s, logits_t, labels_B)
        self.log_dict({"train/ce": ce, "train/kd": kd}, on_step=False, on_epoch=True, batch_size=len(labels_B))
        return self.ce_weight * ce + self.kd_weight * kd

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Share of right answers."""
        images_BCHW, labels_B = batch
        right_B = (self.student(images_BCHW).argmax(1) == labels_B).float()
        self.log("val/top1", right_B.mean(), batch_size=len(labels_B))

    def configure_optimizers(self) -> Any:
        """SGD on the student and on what the loss itself learns, such as CTKD's temperature."""
        parameters = [*self.student.parameters(), *self.distil.parameters()]
        optimizer = torch.optim.SGD(parameters, self.lr, momentum=0.9, weight_decay=5e-4)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main() -> None:
    """Glyphs-100, the teacher that comes with the package, two epochs."""
    from normkd_explore.examples.small_glyphs import small_glyphs

    train, val, teacher, student = small_glyphs()
    trainer = L.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.fit(Distillation(student, teacher, NormKD(2.0)), train, val)
    print({name: round(value.item(), 3) for name, value in trainer.callback_metrics.items()})


if __name__ == "__main__":
    main()
