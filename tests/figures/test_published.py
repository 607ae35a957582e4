"""Published values as a figure."""

import pytest

from normkd_explore.figures.published import published_figure
from normkd_explore.results import PublishedResult


def value(method, top1, std, n):
    return PublishedResult("cifar100", "t", "s", method, top1, std, None, n, "best on the test set", "A 2024", "README")


def test_what_is_stated_is_told_apart_from_what_is_not():
    figure = published_figure(
        [value("b", 70.0, None, "5"), value("a", 75.0, 0.2, "not stated"), value("c", 71, None, "4")]
    )
    counted, silent = figure.data
    assert counted.x == (70.0, 71) and counted.y == (0, 1) and silent.x == (75.0,) and silent.y == (2,)
    assert silent.error_x.array == (0.2,) and counted.error_x.array == (None, None)
    assert figure.layout.yaxis.ticktext == ("b", "c", "a")
    assert (counted.name, silent.name) == ("number of runs stated (2 of 3)", "not stated (1 of 3)")
    assert "(1 of 3)" in figure.layout.xaxis.title.text
    assert silent.hovertext == ("a: 75.00 ± 0.20, runs not stated, epoch best on the test set<br>A 2024 (README)",)
    with pytest.raises(ValueError, match="found none"):
        published_figure([])
