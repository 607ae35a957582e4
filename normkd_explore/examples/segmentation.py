"""Segmentation: NormKD on every pixel, with an ignore index, on glyphs that are drawn on the spot.

    python -m normkd_explore.examples.segmentation

It shows the call, not a gain: here every pixel has a label, and cross-entropy alone does as well.

Shapes: B images, C classes (the ground and five letters), H = W = 32 pixels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normkd_explore.data.glyphs.alphabet import FACES
from normkd_explore.data.glyphs.render import LEVELS, draw_colours, draw_texture, pose_glyph
from normkd_explore.losses import NormKD, per_pixel

LETTERS = "AEOSX"
CLASSES = 1 + len(LETTERS)
IGNORE = 255


def draw_letters(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures float32 (B, 3, 32, 32) with one letter each, and the class of every pixel (B, 32, 32): 0 is the ground.

    Pixels on the letter's edge, half ink and half ground, are labelled `IGNORE`.
    """
    level, images, labels = LEVELS["standard"], [], []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        letter = rng.integers(len(LETTERS))
        ink_HW = pose_glyph(LETTERS[letter], FACES["train"][rng.integers(len(FACES["train"]))], level, rng)
        ground_3, ink_3 = draw_colours(level, rng)
        ground_HW3 = ground_3 + level.texture * draw_texture(rng)
        images.append(ground_HW3 + ink_HW[..., None] * (ink_3 - ground_HW3))
        labels.append(np.select([ink_HW > 0.75, ink_HW < 0.25], [letter + 1, 0], IGNORE))
    images_BHW3 = torch.from_numpy(np.stack(images)).float()
    return images_BHW3.movedim(3, 1) - 0.25, torch.from_numpy(np.stack(labels)).long()


def pixel_net(width: int) -> nn.Sequential:
    """Five convolutions with growing reach, (B, 3, H, W) -> (B, C, H, W)."""
    layers: list[nn.Module] = []
    for number, reach in enumerate((1, 2, 4, 8)):
        wide = nn.Conv2d(width if number else 3, width, 3, padding=reach, dilation=reach, bias=False)
        layers += [wide, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, CLASSES, 1))


def fit(student: nn.Module, data: tuple[Tensor, Tensor], steps: int, teacher: nn.Module | None = None) -> nn.Module:
    """Train with cross-entropy, and with NormKD of every pixel where there is a teacher."""
    distil = per_pixel(NormKD(2.0), ignore_index=IGNORE)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    order = torch.Generator().manual_seed(0)
    for _ in range(steps):
        index_B = torch.randint(len(data[0]), (16,), generator=order)
        images_B3HW, labels_BHW = data[0][index_B], data[1][index_B]
        logits_BCHW = student(images_B3HW)
        loss = F.cross_entropy(logits_BCHW, labels_BHW, ignore_index=IGNORE)
        if teacher is not None:
            with torch.no_grad():
                logits_t = teacher(images_B3HW)
            loss = 0.1 * loss + 0.9 * distil(logits_BCHW, logits_t, labels_BHW)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return student.eval()


@torch.no_grad()
def mean_iou(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Intersection over union of every class, averaged over the classes; ignored pixels are left out."""
    counted = data[1] != IGNORE
    said, true = model(data[0]).argmax(1)[counted], data[1][counted]
    parts = [((said == c) & (true == c)).sum() / ((said == c) | (true == c)).sum() for c in range(CLASSES)]
    return torch.stack(parts).mean().item()


def main(images: int = 400, steps: int = 200) -> None:
    """A teacher of width 32, and two students of width 12 that begin alike."""
    train, test = draw_letters(images), draw_letters(100, seed=1)
    torch.manual_seed(0)
    teacher = fit(pixel_net(32), train, 2 * steps)
    print(f"teacher: mean IoU {mean_iou(teacher, test):.3f}")
    for name, guide in (("cross-entropy", None), ("cross-entropy and NormKD of every pixel", teacher)):
        torch.manual_seed(1)
        print(f"{name}: mean IoU {mean_iou(fit(pixel_net(12), train, steps, guide), test):.3f}")


if __name__ == "__main__":
    main()
