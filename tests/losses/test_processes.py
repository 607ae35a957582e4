"""Losses in two processes under DDP, each with unequal batches that make one step: the gradient of the whole batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.loss_scene import LOSSES, ROWS, Whole, gradients

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The gradients that both processes agreed on."""
    file = tmp_path_factory.mktemp("ddp") / "gradients.safetensors"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "tests.helpers.loss_scene", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return load_file(file)


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_give_the_gradient_of_the_whole_batch(shared, name):
    whole = Whole(name)
    whole(torch.arange(ROWS), ROWS).backward()
    wanted = gradients(whole)
    assert {key for key in shared if key.startswith(f"{name} ")} == {f"{name} {key}" for key in wanted}
    for key, gradient in wanted.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(shared[f"{name} {key}"], gradient, rtol=1e-9, atol=1e-12)
