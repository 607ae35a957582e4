"""Progress: the time left is that of the recent pace, nothing is cut at any width, and a log file stays plain."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normkd_explore.training import Interrupted, compare
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.progress.pace import WINDOW_SECONDS, Pace
from normkd_explore.training.progress.view import (
    LineDisplay,
    NotebookDisplay,
    Standing,
    State,
    TerminalDisplay,
    find_display,
    layout,
)
from normkd_explore.training.run import Moment
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import stop_at


class Clock:
    """A clock that stands still until it is told how long something took."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drive(pace: Pace, clock: Clock, steps: list[float], epochs: int = 1, epoch: int = 0, images: int = 10) -> None:
    """One epoch whose steps take these seconds."""
    for step, seconds in enumerate(steps, 1):
        clock.now += seconds
        pace.step(Moment(epoch, epochs, step, len(steps), images))


def test_what_is_left_is_exact_for_a_steady_training():
    clock = Clock()
    pace = Pace(clock)
    for epoch in range(3):
        drive(pace, clock, [0.5] * 20, epochs=5, epoch=epoch)
        # The first epoch has seen no evaluation yet; from then on each unfinished epoch has one to come.
        evaluations = 7.0 * (5 - epoch) if epoch else 0.0
        assert pace.left() == pytest.approx((4 - epoch) * 20 * 0.5 + evaluations)
        clock.now += 7.0
    assert pace.rate == pytest.approx(20)


def test_the_pace_is_the_recent_one():
    clock = Clock()
    pace = Pace(clock)
    steps = [0.1] * 3000 + [1.0] * 60  # another program takes the machine
    for step, seconds in enumerate(steps, 1):
        clock.now += seconds
        pace.step(Moment(0, 1, step, 4000, 10))
    assert pace.rate == pytest.approx(10)  # the mean of the whole training would be 85
    assert pace.left() == pytest.approx(4000 - 3060)


def test_the_window_stays_small_and_covers_half_a_minute():
    clock = Clock()
    pace = Pace(clock)
    drive(pace, clock, [0.001] * 100_000)
    seen = pace.stepping - pace.samples[0][0]
    assert WINDOW_SECONDS <= seen < WINDOW_SECONDS + 1 and len(pace.samples) < 200


def test_nothing_is_promised_before_two_steps():
    clock = Clock()
    pace = Pace(clock)
    assert pace.left() is None and pace.rate == 0
    drive(pace, clock, [100.0])  # loading, compiling: no step takes that long again
    assert pace.left() is None and pace.rate == 0


def state(students: list[Standing], **changes) -> State:
    values = {"title": "MobileNetV2 seed 3", "epoch": 199, "epochs": 240, "fraction": 0.8, "rate": 12345.6}
    return State(**{**values, "left": 86400 * 1.5, "took": 7200.0, "students": students, **changes})


names = st.sampled_from(["ce", "kd", "normkd", "sddnormkd", "sddnormkd seed 12"])
numbers = st.floats(0, 99.9)
shares = st.floats(0, 1)
students = st.builds(Standing, names, numbers, shares, st.just("val"), st.lists(shares, max_size=3))


@given(st.lists(students, min_size=1, max_size=60), st.integers(40, 200), st.integers(4, 60))
def test_at_every_size_nothing_is_cut(found, width, height):
    lines = [line.plain for line in layout(state(found), width, height)]
    assert len(lines) <= height and all(len(line) <= width for line in lines)
    assert "epoch 199/240" in lines[0] and "1 d 12 h left" in lines[0]
    if not re.search(r"and \d+ more students", lines[-1]):
        text = "\n".join(lines)
        for student in found:
            assert f"{student.loss:.3f}" in text and f"{100 * student.top1:.1f} %" in text and student.name in text


@given(st.lists(students, min_size=1, max_size=8))
def test_eighty_columns_show_everything_in_two_lines_a_student_at_most(found):
    lines = [line.plain for line in layout(state(found), 80, 24)]
    assert len(lines) == len(found) + 1
    assert all(part in lines[0] for part in ("MobileNetV2 seed 3", "12,346 images/s", "left"))
    for student, line in zip(found, lines[1:], strict=True):
        assert all(text in line for text, _ in student.parts())


def test_others_are_counted_where_a_terminal_is_too_small():
    found = [Standing(f"method{i}", 1.0, 0.5) for i in range(40)]
    lines = [line.plain for line in layout(state(found), 40, 6)]
    shown = sum(line.count("method") for line in lines)
    assert len(lines) == 6 and lines[-1].strip() == f"and {40 - shown} more students"


def test_a_gpu_is_not_asked_inside_the_first_epoch():
    line = layout(state([Standing("kd", None, None)]), 80, 24)[1].plain
    assert "come with the first epoch" in line


def test_the_bar_is_full_when_the_training_is_over_and_not_before():
    for fraction, full in ((0.999, False), (1.0, True)):
        heading = layout(state([Standing("kd", 1.0, 0.5)], fraction=fraction), 80, 24)[0].plain
        assert ("─" not in heading) == full and ("took 2 h 0 min" in heading) == full
    plain = layout(state([Standing("kd", 1.0, 0.5)]), 80, 24, encoding="ascii")[0].plain
    assert "#" in plain and plain.isascii()


@pytest.fixture
def trained(tmp_path):
    """What a training of three epochs shows on a stream; `watch` may stop it."""

    def run(display, methods=("kd", "normkd"), stop=None):
        bar = ProgressBar(display=display)

        def watch(moment, runs):
            bar(moment, runs)
            if stop:
                stop(moment, runs)

        recipes = [toy_recipe(method, epochs=3) for method in methods]
        outs = [tmp_path / method for method in methods]
        try:
            with bar:
                return compare(recipes, outs, toy_where(tmp_path), watch=watch, dataset=toy_dataset())
        except Interrupted:
            return []

    return run


def test_a_log_file_holds_one_plain_line_an_epoch(trained):
    stream = io.StringIO()
    summaries = trained(LineDisplay(stream))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and all(line.isprintable() for line in lines)
    for number, line in enumerate(lines, 1):
        assert line.startswith(f"resnet8 seed 0 epoch {number}/3  kd: loss ") and "normkd: loss " in line
    for summary in summaries:  # the last line tells of the last epoch, not of the one before
        assert f"val {100 * summary['last']['top1']:.1f} %" in lines[-1]
    assert "took" in lines[-1]


def test_a_stop_loses_no_line(trained):
    stream = io.StringIO()
    trained(LineDisplay(stream), stop=stop_at(2, 1))
    assert [line.split()[4] for line in stream.getvalue().splitlines()] == ["1/3", "2/3"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    encoding = "utf-8"


def test_a_terminal_shows_the_end_and_gets_its_cursor_back(trained, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    summaries = trained(TerminalDisplay(stream))
    text = stream.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    last = [re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", line) for line in text.splitlines()][-4:]
    end = "\n".join(last)
    assert "epoch 3/3" in end and "took" in end
    assert all(f"val {100 * summary['last']['top1']:.1f} %" in end for summary in summaries)


@pytest.mark.parametrize(
    "stream, term, kind",
    [(Terminal(), "xterm", TerminalDisplay), (Terminal(), "dumb", LineDisplay), (io.StringIO(), "xterm", LineDisplay)],
)
def test_the_display_is_chosen_by_the_place(monkeypatch, stream, term, kind):
    monkeypatch.setenv("TERM", term)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert isinstance(find_display(stream), kind)


def test_a_notebook_gets_one_output_that_is_renewed(trained, monkeypatch):
    shown = []
    handle = SimpleNamespace(update=lambda data, **options: shown.append((data, options)))
    display = SimpleNamespace(display=lambda data, **options: shown.append((data, options)) or handle)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    display = find_display()
    assert isinstance(display, NotebookDisplay)
    trained(display)
    assert [options.get("display_id", False) for _, options in shown] == [True] + [False] * (len(shown) - 1)
    assert all(options["metadata"] == {"normkd_explore": "progress"} and options["raw"] for _, options in shown)
    assert "epoch 3/3" in shown[-1][0]["text/plain"] and shown[-1][0]["text/html"].startswith("<pre>")
