"""The loop that most public distillation code runs, written anew: what `benchmarks.training` compares with.

One picture at a time goes through PIL in two worker processes (random crop, flip, normalise), batches of 64 float32
images lie in contiguous memory, the teacher is asked again at every step, and loss, top-1 and top-5 are read by the
host at every step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

from normkd_explore.data import Dataset

WORKERS = 2
TEMPERATURE, CE_WEIGHT, KD_WEIGHT = 4.0, 0.1, 0.9


class Pictures:
    """The training split, one augmented picture and its label at a time."""

    def __init__(self, dataset: Dataset) -> None:
        self.images_NHWC, self.labels_N = dataset.train.images_NHWC.numpy(), dataset.train.labels_N.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(dataset.image_size, padding=dataset.views.pad),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(dataset.mean, dataset.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images_NHWC[index])), self.labels_N[index]


def field_steps(
    dataset: Dataset, teacher: nn.Module, student: nn.Module, batch_size: int, device: torch.device
) -> Iterator[int]:
    """Train the student for an epoch; gives the number of images after each step."""
    loader = DataLoader(
        Pictures(dataset), batch_size, shuffle=True, num_workers=WORKERS, pin_memory=device.type == "cuda"
    )
    teacher, student = teacher.to(device).eval(), student.to(device).train()
    optimizer = torch.optim.SGD(student.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    meters = {"loss": 0.0, "top1": 0.0, "top5": 0.0}
    for images_BCHW, labels_B in loader:
        images_BCHW = images_BCHW.float().to(device, non_blocking=True)
        labels_B = labels_B.to(device, non_blocking=True)
        with torch.no_grad():
            logits_t = teacher(images_BCHW)
        logits_s = student(images_BCHW)
        loss = CE_WEIGHT * F.cross_entropy(logits_s, labels_B) + KD_WEIGHT * _kd(logits_s, logits_t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        _read(meters, loss, logits_s, labels_B)
        yield len(labels_B)


def _kd(logits_s: Tensor, logits_t: Tensor) -> Tensor:
    log_student, target = F.log_softmax(logits_s / TEMPERATURE, 1), F.softmax(logits_t / TEMPERATURE, 1)
    return F.kl_div(log_student, target, reduction="batchmean") * TEMPERATURE**2


def _read(meters: dict[str, float], loss: Tensor, logits_BC: Tensor, labels_B: Tensor) -> None:
    hits_B5 = logits_BC.topk(5, 1).indices == labels_B[:, None]
    meters["loss"] += loss.item() * len(labels_B)
    meters["top1"] += hits_B5[:, 0].float().sum().item()
    meters["top5"] += hits_B5.float().sum().item()
