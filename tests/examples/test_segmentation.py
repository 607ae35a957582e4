"""The segmentation example: letters with a class for each pixel, and a student that comes near its teacher."""

from __future__ import annotations

import torch

from normkd_explore.examples.segmentation import CLASSES, IGNORE, draw_letters, fit, mean_iou, pixel_net
from normkd_explore.losses import NormKD, per_pixel


def test_the_letters_are_where_the_labels_say():
    images, labels = draw_letters(40)
    assert images.shape == (40, 3, 32, 32) and labels.shape == (40, 32, 32)
    light = images.mean(1)
    for picture, classes in zip(light, labels, strict=True):
        letter = (classes > 0) & (classes < CLASSES)
        assert len(classes[letter].unique()) == 1 and 0.02 < letter.float().mean() < 0.6
        assert picture[letter].mean() > picture[classes == 0].mean() + 0.2  # a light letter on a dark ground
    assert 0 < (labels == IGNORE).float().mean() < 0.3
    assert torch.equal(images, draw_letters(40)[0]) and not torch.equal(images, draw_letters(40, seed=1)[0])


def test_a_student_comes_near_its_teacher_pixel_by_pixel():
    train, test = draw_letters(100), draw_letters(20, seed=1)
    torch.manual_seed(0)
    teacher = fit(pixel_net(16), train, 60)
    apart = per_pixel(NormKD(2.0), ignore_index=IGNORE)
    torch.manual_seed(1)
    student = pixel_net(8).eval()
    before = apart(student(test[0]), teacher(test[0]), test[1]).item()
    fit(student.train(), train, 60, teacher)
    after = apart(student(test[0]), teacher(test[0]), test[1]).item()
    assert after < 0.3 * before, (before, after)


def test_mean_iou_by_hand():
    """Half of the ground is called class 1; two ignored pixels are called anything."""
    labels = torch.zeros(1, 2, 2 * CLASSES, dtype=torch.long)
    labels[0, 0] = torch.arange(CLASSES).repeat_interleave(2)
    labels[0, 1] = IGNORE
    said = labels.clone()
    said[0, 1], said[0, 0, 0] = 3, 1
    model = torch.nn.Identity()
    logits = torch.nn.functional.one_hot(said, CLASSES).movedim(3, 1).float()
    want = (1 / 2 + 2 / 3 + (CLASSES - 2)) / CLASSES
    assert abs(mean_iou(model, (logits, labels)) - want) < 1e-6
