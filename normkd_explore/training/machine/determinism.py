"""Runs on a GPU that end with the same bits each time; on a CPU they always do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
SETTING = ":4096:8"


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Let PyTorch use only algorithms that give the same bits in every run, and put its settings back afterwards.

    On a GPU many sums are added up in the order in which threads happen to finish. With `wanted`, PyTorch takes slower
    algorithms without that freedom, cuDNN chooses by rule and not by trial, cuBLAS gets a work space of fixed size, and
    an operation that has no such algorithm raises a RuntimeError that names it. cuBLAS reads its setting once, so this
    must come before the process uses the GPU; RuntimeError where it is too late. The same bits need the same GPU model,
    versions and number of processes.
    """
    if not wanted:
        yield
        return
    if os.environ.get(WORKSPACE) not in (SETTING, ":16:8"):
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            raise RuntimeError(
                f"deterministic: {WORKSPACE} is {os.environ.get(WORKSPACE)!r}, wanted {SETTING!r}, and this process "
                f"has used the GPU already, when it is too late to set it. Start with {WORKSPACE}={SETTING} in the "
                "environment, or restart the notebook's kernel and train before anything else uses the GPU."
            )
        os.environ[WORKSPACE] = SETTING
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn


def is_deterministic() -> bool:
    """Whether `deterministic_algorithms` holds now; environment.json keeps it."""
    return torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
