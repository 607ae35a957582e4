"""Runs without a cache, and a teacher."""

from __future__ import annotations

import pytest
import torch

from normkd_explore.models import create_model
from normkd_explore.training import Teacher, make_fabric, train
from tests.helpers.cached import METHODS
from tests.helpers.toy import CLASSES, toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Runs without a cache, three epochs each."""
    folder = tmp_path_factory.mktemp("plain")
    where = toy_where(folder)
    for method in METHODS:
        train(toy_recipe(method, epochs=3), folder / method, where, watch=quiet, dataset=toy_dataset())
    return folder, where


@pytest.fixture
def teacher():
    torch.manual_seed(7)
    return Teacher(create_model("resnet8", num_classes=CLASSES), make_fabric("cpu"))
