"""`--deterministic`: what PyTorch is told, when that is too late, what is recorded. No GPU is needed or tested here."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch

from normkd_explore.training import train
from normkd_explore.training.machine.determinism import WORKSPACE, deterministic_algorithms
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where


def settings() -> tuple[bool, bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    )


@pytest.fixture(autouse=True)
def workspace(monkeypatch):
    """No setting of cuBLAS, and afterwards the one that was there."""
    monkeypatch.setenv(WORKSPACE, "x")  # registers the old value
    monkeypatch.delenv(WORKSPACE)


def test_settings_hold_inside_and_are_put_back(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()
    with pytest.raises(KeyError), deterministic_algorithms(True):
        assert settings() == (True, False, False, True) and os.environ[WORKSPACE] == ":4096:8"
        raise KeyError
    assert settings() == before
    with deterministic_algorithms(False):
        assert settings() == before


def test_too_late_is_an_error_and_a_workspace_that_is_set_is_kept(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with (
        pytest.raises(RuntimeError, match=f"too late to set it. Start with {WORKSPACE}=:4096:8"),
        deterministic_algorithms(True),
    ):
        pass
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with deterministic_algorithms(True):
        assert os.environ[WORKSPACE] == ":16:8"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_is_trained_so_and_says_so(tmp_path, wanted):
    where = replace(toy_where(tmp_path), deterministic=wanted)
    before, seen = settings(), []
    watch = lambda moment, runs: seen.append(settings())  # noqa: E731
    train(toy_recipe("normkd", epochs=1), tmp_path / "run", where, watch=watch, dataset=toy_dataset())
    assert seen and {found[0] for found in seen} == {wanted} and settings() == before
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["deterministic"] is wanted
