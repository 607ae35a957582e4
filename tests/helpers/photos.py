"""A folder of drawn photos, opened as ImageNet is."""

from __future__ import annotations

import torch

from normkd_explore.data import load_dataset

CPU = torch.device("cpu")


def open_photos(root):
    return load_dataset("imagenet", root, protocol="paper", image_size=100)
