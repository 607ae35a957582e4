"""Figures of an estimate."""

from __future__ import annotations

from normkd_explore.figures.estimate import gpus_figure, memory_figure, rates_figure
from normkd_explore.training.planning.advice import Rate, Speeds
from normkd_explore.training.planning.memory import Memory

GIB = 2**30


def test_figures_show_the_numbers_they_were_given():
    memory = Memory(GIB, GIB, GIB, 4 * GIB, 2 * GIB, GIB, GIB)
    stacked = memory_figure({"one": memory, "two": memory}, {"24 GiB": 24})
    assert sum(bar.x[0] for bar in stacked.data) == memory.total / GIB
    lines = gpus_figure(Speeds(decoding=1600, teacher=3000, student=2000), most=3)
    assert [line.y for line in lines.data] == [(1200, 2400, 3600), (1600,) * 3, (1200, 1600, 1600)]
    dots = rates_figure({"decoding": Rate(10, 8, 13), "teacher": None})
    assert len(dots.data) == 1
    assert (dots.data[0].error_x.array, dots.data[0].error_x.arrayminus) == ((3.0,), (2.0,))
