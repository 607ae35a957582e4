"""The benchmark of several trainings: how it divides the cores, and its table, without the clock."""

from __future__ import annotations

import pytest

from benchmarks import jobs


@pytest.mark.parametrize(("cores", "count", "threads"), [(8, 2, "4"), (8, 3, "2"), (2, 4, "1")])
def test_cores_are_divided_and_rates_added(monkeypatch, cores, count, threads):
    seen = {}

    class Trainings:
        def __init__(self, count, environment, seconds, precision):
            seen.update(count=count, threads=environment["OMP_NUM_THREADS"])

        def rate(self):
            return 100.0

    monkeypatch.setattr(jobs, "Trainings", Trainings)
    monkeypatch.setattr(jobs, "usable_cores", lambda: cores)
    assert jobs.together(count, 1.0, "32-true") == 100 * count
    assert seen == {"count": count, "threads": threads}


def test_ratios_are_those_of_a_turn(capsys):
    """A machine that slows down between turns changes none."""
    jobs.print_table({1: [100.0, 50.0, 80.0], 2: [150.0, 75.0, 120.0]})
    _, one, two = capsys.readouterr().out.strip("\n").splitlines()
    assert one.split() == ["1", "50", "80", "100", "1.00", "1.00", "1.00"]
    assert two.split() == ["2", "75", "120", "150", "1.50", "1.50", "1.50"]
