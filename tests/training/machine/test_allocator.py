"""Freed memory stays with the process: the next step meets few page faults."""

import os
import subprocess
import sys

import pytest

from normkd_explore.training.machine import allocator

STEPS = """
import resource, sys, torch
from normkd_explore.models import create_model
from normkd_explore.training.machine.allocator import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "keep" else None)
model = create_model("resnet8", num_classes=100).train().to(memory_format=torch.channels_last)
images = torch.randn(64, 3, 32, 32).to(memory_format=torch.channels_last)
def steps():
    for _ in range(4):
        model.zero_grad()
        model(images).square().mean().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
steps()  # the arena may still grow by a buffer or two
before = steps()
print(steps() - before)
"""


def faults(choice: str, **settings: str) -> tuple[str, int]:
    """What keep_freed_memory answered, and the page faults of four steps after eight others."""
    environment = {name: value for name, value in os.environ.items() if name not in allocator.ITS_OWN}
    result = subprocess.run(
        [sys.executable, "-c", STEPS, choice], env=environment | settings, capture_output=True, text=True, check=True
    )
    answer, count = result.stdout.split()
    return answer, int(count)


@pytest.mark.skipif(not allocator._has_glibc(), reason="this system has another malloc than glibc's")
def test_a_step_finds_the_memory_of_the_one_before():
    before, after = faults("leave"), faults("keep")
    assert (before[0], after[0]) == ("None", "True")
    assert before[1] > 4 * 500
    assert after[1] < before[1] / 4


@pytest.mark.parametrize("name", allocator.ITS_OWN)
def test_a_user_who_tunes_malloc_is_left_alone(name, monkeypatch):
    monkeypatch.setenv(name, "1" if name.startswith("MALLOC") else "")
    assert allocator.keep_freed_memory() is False


def test_without_glibc_nothing_is_called(monkeypatch):
    monkeypatch.setattr(allocator, "_has_glibc", lambda: False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("called"))
    assert allocator.keep_freed_memory() is False
