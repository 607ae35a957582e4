"""Methods that learn from features, in training."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from normkd_explore.methods import METHODS
from tests.helpers.toy import toy_dataset, toy_recipe

FEATURE_METHODS = [name for name, method in METHODS.items() if method.needs_features]
LEARNING = ["fitnet", "vid", "crd", "reviewkd", "ofd"]  # with parameters or buffers of their own
LABELS = toy_dataset().train.labels_N


def recipe_of(method: str, **changes: object):
    return toy_recipe(method, lr=0.01, **changes)


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "student.safetensors")


def assert_same(first: dict, second: dict, name: str = "") -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items()), name
