"""What the examples on images share: a little of Glyphs-100 in ordinary data loaders, its teacher, and a student."""

from __future__ import annotations

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from normkd_explore.data import ArraySplit, Dataset, load_dataset
from normkd_explore.models import create_model
from normkd_explore.training import load_teacher


def small_glyphs(images: int = 2000, batch: int = 64) -> tuple[DataLoader, DataLoader, nn.Module, nn.Module]:
    """Loaders of normalised training and validation images, the teacher that comes with the package, a new student."""
    glyphs = load_dataset("glyphs", train_size=images, val_size=400, test_size=100)
    train, val = (_loader(glyphs, name, batch) for name in ("train", "val"))
    return train, val, load_teacher("resnet20", glyphs, None), create_model("resnet8", 100)


def _loader(dataset: Dataset, name: str, batch: int) -> DataLoader:
    split = dataset.split(name)
    assert isinstance(split, ArraySplit)
    return DataLoader(TensorDataset(dataset.normalize(split.images_NHWC), split.labels_N), batch, name == "train")
