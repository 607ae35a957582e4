"""The options of the teacher's cache."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from normkd_explore.cli import app


def test_the_command_shares_one_cache_between_seeds(monkeypatch):
    """`normkd compare` hands the same cache to every seed; the options say where it is and how large it may be."""
    places = []
    monkeypatch.setattr("normkd_explore.training.compare", lambda *args: places.append(args[2]) or [])
    options = {"--seeds": "2", "--teacher-cache": "folder", "--teacher-cache-limit": "1.5", "--device": "cpu"}
    CliRunner().invoke(app, ["compare", *(word for option in options.items() for word in option)])
    first, second = places
    assert first.teacher_cache is second.teacher_cache
    assert (first.teacher_cache.place, first.teacher_cache.limit) == ("folder", 1_500_000_000)


@pytest.mark.parametrize("option, place", [([], "auto"), (["--teacher-cache", "off"], "off")])
def test_train_takes_the_option(monkeypatch, option, place):
    places = []
    monkeypatch.setattr("normkd_explore.training.train", lambda recipe, out, where, resume: places.append(where))
    CliRunner().invoke(app, ["train", "--device", "cpu", *option])
    assert places[0].teacher_cache.place == place
