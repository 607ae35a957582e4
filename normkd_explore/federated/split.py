"""Who holds which images: a public set without labels, and private shares by Dirichlet(alpha) over the classes.

Legend: K clients, N images of a split.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from normkd_explore.data import ArraySplit, Dataset, Views, make_batches
from normkd_explore.data.batches import mixed_seed

MOST_BYTES = 8_000_000_000  # of images that are taken into memory


class Shares(NamedTuple):
    """The images of one federation."""

    public: Dataset
    """Its training split is the public set: every label is 0, and every image has one view, itself."""
    private: tuple[Dataset, ...]
    """One a client; validation and test images are the same for all."""
    public_labels_N: Tensor
    """The withheld labels, to measure the server's answers with; nothing is trained on them."""


def deal(dataset: Dataset, clients: int, alpha: float, public: int, least: int, seed: int) -> Shares:
    """Set `public` training images apart, and deal the others out to `clients` by Dirichlet(alpha).

    Raises:
        ValueError: too few images for that.
    """
    train = dataset.train
    if not isinstance(train, ArraySplit):
        raise ValueError(f"dataset: the images of {dataset.name} are on disk, wanted in memory: see in_memory.")
    images = len(train)
    if public < 1 or images - public < clients * least:
        raise ValueError(
            f"public: found {public} of {images:,} training images, wanted at least 1, and {clients * least:,} left "
            f"over: {least} for each of {clients} clients. Take fewer public images or clients."
        )
    generator = torch.Generator().manual_seed(mixed_seed(seed, *b"public"))
    order_N = torch.randperm(images, generator=generator)
    public_N, private_N = order_N[:public].sort().values, order_N[public:].sort().values
    parts = dirichlet(train.labels_N[private_N], clients, alpha, least, seed)
    withheld = replace(take(train, public_N), labels_N=torch.zeros(public, dtype=torch.int64))
    return Shares(
        replace(dataset, train=withheld, views=Views(pad=0, flip=False)),
        tuple(replace(dataset, train=take(train, private_N[part])) for part in parts),
        train.labels_N[public_N],
    )


def dirichlet(labels_N: Tensor, clients: int, alpha: float, least: int = 1, seed: int = 0) -> list[Tensor]:
    """Positions of each client's images, sorted: every image belongs to one client.

    The images of each class are dealt out in proportions drawn from Dirichlet(alpha, ..., alpha): a small alpha gives
    each client a few classes, a large one gives all the same mixture. A client with fewer than `least` images then gets
    some, chosen by lot, of whoever has most.

    Source of the practice: Hsu et al., arXiv 1909.06335.

    Raises:
        ValueError: alpha is not above 0, or there are fewer than clients · least images.
    """
    labels = labels_N.cpu().numpy()
    if not alpha > 0 or clients < 1 or len(labels) < clients * least:
        raise ValueError(
            f"found alpha {alpha:g}, {clients} clients and {len(labels)} images, wanted alpha above 0, a client or "
            f"more, and at least {least} images for each."
        )
    # RandomState, not Generator: its stream is promised to stay the same in every numpy release.
    random = np.random.RandomState(mixed_seed(seed, *b"private") % 2**32)
    parts: list[list[int]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        # Gamma draws of a tiny alpha can all be 0; the largest of them then takes the class.
        draws = np.maximum(random.gamma(alpha, size=clients), 1e-300)
        cuts = np.round(np.cumsum(draws / draws.sum())[:-1] * len(own)).astype(int)
        for part, piece in zip(parts, np.split(own, cuts), strict=True):
            part.extend(piece.tolist())
    _fill_up(parts, least, random)
    return [torch.tensor(sorted(part)) for part in parts]


def _fill_up(parts: list[list[int]], least: int, random: np.random.RandomState) -> None:
    for part in parts:
        while len(part) < least:
            richest = max(parts, key=len)
            part.append(richest.pop(random.randint(len(richest))))


def take(split: ArraySplit, index_N: Tensor) -> ArraySplit:
    """The images at some positions of a split."""
    return ArraySplit(split.images_NHWC[index_N], split.labels_N[index_N])


def first_classes(dataset: Dataset, classes: int) -> Dataset:
    """The data set with its first `classes` classes alone; ValueError unless it has so many, and two or more remain."""
    if not 2 <= classes <= dataset.num_classes:
        raise ValueError(f"classes: found {classes}, wanted 2 to {dataset.num_classes} for {dataset.name}.")
    splits: dict[str, Any] = {
        name: take(split, (split.labels_N < classes).nonzero()[:, 0])
        for name in ("train", "val", "test")
        if (split := getattr(dataset, name)) is not None
    }
    return replace(dataset, class_names=dataset.class_names[:classes], **splits)


def in_memory(dataset: Dataset) -> Dataset:
    """The data set with every image in memory, as uint8 pixels of the size that evaluation uses.

    Raises:
        ValueError: they would take more than 8 GB.
    """
    wanted = [name for name in ("train", "val", "test") if not isinstance(getattr(dataset, name), ArraySplit | None)]
    size = sum(3 * dataset.image_size**2 * len(getattr(dataset, name)) for name in wanted)
    if size > MOST_BYTES:
        raise ValueError(
            f"{dataset.name}: its images of {dataset.image_size} pixels take {size / 1e9:.0f} GB, and a federation "
            f"keeps all in memory, at most {MOST_BYTES / 1e9:.0f} GB. Take a smaller image_size, or fewer images."
        )
    read: dict[str, Any] = {name: _read(dataset, name) for name in wanted}
    return replace(dataset, views=Views() if read else dataset.views, **read)


def _read(dataset: Dataset, name: str) -> ArraySplit:
    batches = list(make_batches(dataset, name, 256, augment=False).epoch(0))
    pixels_NHWC = torch.cat([dataset.denormalize(batch.images_BCHW) for batch in batches])
    return ArraySplit(pixels_NHWC, torch.cat([batch.labels_B for batch in batches]))
