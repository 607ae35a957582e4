"""A clock that can be set."""

import pytest

from normkd_explore.widgets import race as race_module
from tests.helpers.race import Clock


@pytest.fixture
def clock(monkeypatch):
    """A clock on which every step takes one second, so that every step is measured."""
    clock = Clock(1.0)
    monkeypatch.setattr(race_module, "time", clock)
    return clock
