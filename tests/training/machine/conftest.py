"""Compilers that tests can count with, and the runs of one process that several processes are held against."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters

from normkd_explore.training import material, train
from normkd_explore.training.machine import compiling
from tests.helpers.compiled import Backend
from tests.helpers.shared_runs import METHODS_HERE, odd_dataset, plain_student, recipe_of, toy_where_there
from tests.helpers.toy import toy_where
from tests.helpers.watchers import quiet


@pytest.fixture
def fresh_compiler():
    """Nothing compiled before, nothing left behind."""
    torch.compiler.reset()
    counters.clear()
    compiling._first_words.cache_clear()
    yield
    torch.compiler.reset()
    compiling._first_words.cache_clear()


@pytest.fixture
def backend(monkeypatch) -> Backend:
    """In place of inductor; the first line of code that is tried out is not counted."""
    quick = Backend()
    monkeypatch.setattr(compiling, "BACKEND", quick)
    monkeypatch.setattr(compiling, "_first_words", lambda device: None)
    monkeypatch.setattr(compiling, "missing", lambda kind: None)
    return quick


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the toy teacher."""
    folder = tmp_path_factory.mktemp("processes")
    toy_where(folder)
    return folder


@pytest.fixture(scope="module")
def alone(place):
    """The same runs in one process."""
    folder = place / "alone"
    before, material.new_student = material.new_student, plain_student
    try:
        for method in METHODS_HERE:
            train(recipe_of(method), folder / method, toy_where_there(place), watch=quiet, dataset=odd_dataset())
    finally:
        material.new_student = before
    return folder
