"""What torchrun's environment decides, and what the log says about methods that compare samples."""

from __future__ import annotations

import pytest
import torch

from normkd_explore.methods import METHODS
from normkd_explore.training.machine import processes
from normkd_explore.training.objective import Objective


def test_batch_coupled_methods_are_those_whose_loss_is_no_mean_over_samples():
    """For all other methods the mean of two halves' losses is the loss of the whole."""
    generator = torch.Generator().manual_seed(0)
    z_s_BC, z_t_BC = 3 * torch.randn(2, 8, 10, generator=generator)
    target_B = torch.randint(10, (8,), generator=generator)
    coupled = set()
    for name, method in METHODS.items():
        if not method.needs_teacher or method.needs_features:
            continue
        loss = Objective(name, method.cifar100, 100)
        whole, *halves = (
            loss(z_s_BC[part], z_t_BC[part], target_B[part], 50).kd.item()
            for part in (slice(None), slice(0, None, 2), slice(1, None, 2))
        )
        if sum(halves) / 2 != pytest.approx(whole, rel=1e-4):
            coupled.add(name)
    features = {name for name, method in METHODS.items() if method.needs_features}
    assert processes.BATCH_COUPLED - features == coupled
    assert processes.announcement(["kd", "dist"], 64)[1].startswith("dist: this loss compares the samples")
    assert len(processes.announcement(["kd"], 64)) == 1


def test_processes_choose_devices_from_torchruns_environment(monkeypatch):
    """Two machines with four processes each; wrong wishes are answered before anything starts."""
    assert processes.fabric_options("cuda", "1") == {"devices": [1]} and processes.fabric_options("cpu", "") == {
        "devices": 1
    }
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    options = processes.fabric_options("cpu", "")
    assert (options["devices"], options["num_nodes"]) == (4, 2)
    with pytest.raises(ValueError, match=r"cuda:1.*under torchrun.*CUDA_VISIBLE_DEVICES"):
        processes.fabric_options("cuda", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"4 processes and 2 GPUs.*--nproc-per-node"):
        processes.fabric_options("cuda", "")
    monkeypatch.setenv("WORLD_SIZE", "7")
    with pytest.raises(ValueError, match=r"7 processes in all and 4 on this machine"):
        processes.fabric_options("cpu", "")
