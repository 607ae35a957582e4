"""Data: Glyphs-100 (embedded), CIFAR, image folders and ImageNet, and the batches that training reads.

dataset = load_dataset("glyphs")
for batch in make_batches(dataset, "train", 64, augment=True).epoch(0): ...
"""

from __future__ import annotations

from normkd_explore.data.batches import Batch, Batches
from normkd_explore.data.catalog import load_dataset
from normkd_explore.data.dataset import ArraySplit, Dataset, FileSplit
from normkd_explore.data.loaders import make_batches
from normkd_explore.data.views import Views

__all__ = ["load_dataset", "make_batches", "Dataset", "ArraySplit", "FileSplit", "Views", "Batch", "Batches"]
