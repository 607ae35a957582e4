"""TAID's target: it moves as published, and its state goes on where it was."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.divergence import Interpolated


def published_schedule(losses: list[float], start: float, end: float, pace: float, momentum: float) -> list[float]:
    t, change, before, course = start, 0.0, None, []
    for step, loss in enumerate(losses, 1):
        if before is not None:
            change = momentum * change + (1 - momentum) * (before - loss) / before
            line = start + (end - start) * step / len(losses)
            t = min(end, max(line, t + pace / (1 + np.exp(-change)) * (1 - t)))
        before = loss
        course.append(t)
    return course


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=40), st.sampled_from([0.0, 5e-4, 0.2]))
def test_the_target_moves_as_published(losses, pace):
    divergence, found = Interpolated(0.4, 1.0, pace, 0.9), []
    for step, loss in enumerate(losses, 1):
        divergence.end_step(step / len(losses), torch.tensor(loss, dtype=torch.float64))
        found.append(divergence.t.item())
    assert found == pytest.approx(published_schedule(losses, 0.4, 1.0, pace, 0.9), abs=2e-6)
    assert found[-1] == pytest.approx(1.0) and found == sorted(found)


def test_a_falling_loss_lets_the_target_run_ahead():
    falling, rising = Interpolated(pace=0.1, momentum=0.5), Interpolated(pace=0.1, momentum=0.5)
    for step in range(1, 11):
        falling.end_step(step / 1000, torch.tensor(0.5**step))
        rising.end_step(step / 1000, torch.tensor(2.0**step))
    assert falling.t > rising.t > 0.4 + 0.6 * 10 / 1000


def test_a_state_goes_on_where_it_was():
    first, second = Interpolated(), Interpolated()
    for step in range(3):
        first.end_step((step + 1) / 10, torch.tensor(3.0 - step))
    second.load_state_dict(first.state_dict())
    for divergence in (first, second):
        divergence.end_step(0.4, torch.tensor(0.5))
    assert first.t == second.t and first.change == second.change != 0
