"""How cores and GPUs are divided between jobs."""

from __future__ import annotations

import pytest
import torch

from normkd_explore.training.jobs import divide
from normkd_explore.training.jobs import division as module


@pytest.fixture
def machine(monkeypatch):
    """Pretend how much this machine has."""

    def pretend(cores: int = 8, gigabytes: float = 64, gpus: int = 0) -> None:
        monkeypatch.setattr(module, "usable_cores", lambda: cores)
        monkeypatch.setattr(module, "available_bytes", lambda device: int(gigabytes * 1e9))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return pretend


@pytest.mark.parametrize(
    ("has", "turns", "jobs", "threads", "found"),
    [
        ({"cores": 8}, 10, "auto", None, (8, 1)),
        ({"cores": 8}, 3, "auto", None, (3, 2)),  # cores that are left become threads
        ({"cores": 8}, 10, "auto", 2, (4, 2)),
        ({"cores": 8}, 10, 2, None, (2, 4)),
        ({"cores": 8}, 10, 2, 1, (2, 1)),
        ({"cores": 2}, 10, 3, None, (3, 1)),  # asked for, more than there are cores
        ({"cores": 8}, 1, 4, None, (1, None)),  # nothing to divide: as without --jobs
        ({"cores": 8}, 10, 1, None, (1, None)),
        ({"cores": 8, "gigabytes": 4}, 10, "auto", None, (2, 4)),
        ({"cores": 8, "gigabytes": 0.5}, 10, "auto", None, (1, None)),
        ({"cores": 16, "gpus": 4}, 10, "auto", None, (4, 4)),
        ({"cores": 16, "gpus": 4}, 10, 8, None, (8, 2)),
        ({"cores": 16, "gpus": 1}, 10, "auto", None, (1, None)),
    ],
)
def test_cores_and_gpus_are_shared(machine, has, turns, jobs, threads, found):
    machine(**has)
    division = divide(turns, jobs, threads, "auto")
    assert (division.jobs, division.threads) == found


def test_each_job_has_its_gpu_unless_one_is_named(machine):
    machine(gpus=2)
    division = divide(4, 4, None, "auto")
    assert [division.device(number) for number in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert divide(4, "auto", None, "cuda:1").devices == ("cuda:1",) and divide(4, "auto", None, "cuda:1").jobs == 1
    assert divide(4, 2, None, "cpu").devices == ("cpu",)


def test_it_says_with_which_command_the_bits_are_equal(machine):
    machine(cores=8)
    assert str(divide(5, 4, None, "cpu")) == "4 jobs of 8 cores, 2 threads each: the bits of --jobs 1 --threads 2"


@pytest.mark.parametrize("numbers", [(0, None), (-1, None), (2, 0)])
def test_less_than_one_is_refused(machine, numbers):
    machine()
    with pytest.raises(ValueError, match=r"(jobs|threads): found (0|-1), wanted a whole number of at least 1"):
        divide(3, *numbers, "cpu")
