"""What the black box is asked about, and what it said: pictures of 8 bits, and one answer to each.

The pictures are made anew when needed, the same ones every time; the answers were paid for and are kept.

Legend: Q pictures, C classes, S side of a picture, N images of the data set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from normkd_explore.blackbox.deprivatise import noise
from normkd_explore.blackbox.networks import Generator, to_pixels
from normkd_explore.blackbox.recover import Remedy, logits_from
from normkd_explore.data import ArraySplit, Batch, Batches, Dataset, Views, make_batches
from normkd_explore.data.batches import mixed_seed
from normkd_explore.training.teacher.frozen import Teacher

ASKED = 256  # pictures that are made, and asked about, together
MOST_BYTES = 8_000_000_000


def generated(generator: Generator, count: int, seed: int) -> Iterator[Tensor]:
    """Pictures of normal noise, uint8 (≤256, S, S, 3) at a time."""
    device = next(generator.parameters()).device
    generator.eval()
    for start in range(0, count, ASKED):
        noise_BC = noise(min(ASKED, count - start), generator.classes, seed, start, *b"asked")
        with torch.no_grad():
            yield to_pixels(generator(noise_BC.to(device)))


def local(dataset: Dataset, count: int, seed: int) -> Iterator[Tensor]:
    """The local images in random views: each once before any comes twice."""
    batches = make_batches(dataset, "train", ASKED, augment=True, seed=mixed_seed(seed, *b"asked"))
    left, epoch = count, 0
    while left > 0:
        for batch in batches.epoch(epoch):
            if left > 0:
                yield dataset.denormalize(batch.images_BCHW[:left])
                left -= min(left, len(batch.labels_B))
        epoch += 1


def random_noise(size: int, count: int, seed: int) -> Iterator[Tensor]:
    """Pictures whose every value is drawn evenly from 0 to 255."""
    for start in range(0, count, ASKED):
        generator = torch.Generator().manual_seed(mixed_seed(seed, start, *b"noise pictures"))
        shape = (min(ASKED, count - start), size, size, 3)
        yield torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def check_size(dataset: Dataset, queries: int) -> None:
    """ValueError where so many pictures would not fit into memory."""
    size = 3 * dataset.image_size**2 * queries
    if size > MOST_BYTES:
        raise ValueError(
            f"queries: found {queries:,} pictures of {dataset.image_size} pixels, which take {size / 1e9:.0f} GB of "
            f"memory; wanted at most {MOST_BYTES // (3 * dataset.image_size**2):,}. Fewer queries, or a smaller "
            "image_size, fit."
        )


class Answered(NamedTuple):
    """All pictures with what was said of them."""

    pictures_QSS3: Tensor
    answers: Tensor
    """Probabilities (Q, C), or classes (Q,)."""

    @property
    def classes_Q(self) -> Tensor:
        """The class that each answer names first."""
        return self.answers.argmax(dim=1) if self.answers.is_floating_point() else self.answers

    def logits(self, classes: int, remedy: Remedy, digits: int | None) -> Tensor:
        """What takes the place of the teacher's logits (Q, C): centred log p, or 1 at the answered class and 0 else.

        The mean of log p says nothing, and the generator has learned from noise whose mean is 0.
        """
        if not self.answers.is_floating_point():
            return torch.nn.functional.one_hot(self.answers, classes).float()
        logits_QC = logits_from(self.answers, remedy, digits)
        return logits_QC - logits_QC.mean(dim=1, keepdim=True)

    def covered(self) -> int:
        """How many classes are the answer to one picture at least: a generator that lost some has collapsed."""
        return self.classes_Q.unique().numel()


class KeptAnswers(Teacher):
    """In the place of a teacher: the logits of the picture's place in the pool; nobody is asked again."""

    def __init__(self, logits_QC: Tensor, teacher: Teacher) -> None:
        vars(self).update(vars(teacher))
        self.logits_QC = logits_QC.to(teacher.fabric.device)

    def logits(self, batch: Batch) -> Tensor:
        return self.logits_QC[batch.index_B % len(self.logits_QC)]


def lesson_of(dataset: Dataset, answered: Answered) -> Dataset:
    """The data set with the answered pictures as its training split, each as it was asked, and the classes answered.

    Few pictures are repeated up to the size of the split that was there, so that an epoch is as long as ever.
    """
    repeats = max(1, round(len(dataset.train) / len(answered.answers)))
    pictures, labels = answered.pictures_QSS3.cpu(), answered.classes_Q.cpu()
    split = ArraySplit(pictures.repeat(repeats, 1, 1, 1), labels.repeat(repeats))
    return replace(dataset, train=split, views=Views(pad=0, flip=False))


def private_batches(dataset: Dataset, batch: int, seed: int, device: torch.device) -> Batches:
    """The local images for the generator: no labels are used, and values lie in [-1, 1]."""
    plain = replace(dataset, mean=(0.5,) * 3, std=(0.5,) * 3, views=Views(pad=0, flip=False))
    return make_batches(plain, "train", batch, augment=True, seed=seed, device=device)
