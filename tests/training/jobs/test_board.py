"""One display for several trainings."""

from __future__ import annotations

from normkd_explore.training.jobs.board import Board
from normkd_explore.training.jobs.turn import Turn
from normkd_explore.training.progress.view import Standing, State, layout
from tests.helpers.toy import toy_recipe

TURNS = [Turn([toy_recipe(m, seed=seed) for m in ("ce", "kd")], []) for seed in range(4)]


class Recorder:
    """A display that keeps what it is told."""

    def __init__(self):
        self.shown, self.epochs, self.closed = [], [], False

    def show(self, state):
        self.shown.append(state)

    def finish_epoch(self, state):
        self.epochs.append(state)

    def close(self):
        self.closed = True


def training(fraction: float, rate: float = 100.0) -> State:
    students = [Standing("ce", 1.0, 0.5), Standing("kd", 2.0, 0.25)]
    return State("resnet8 seed 0", 1, 3, fraction, rate, 10.0, 5.0, students)


def board():
    now = [0.0]
    made = Board(TURNS, Recorder(), clock=lambda: now[0])
    return made, now


def test_turns_add_up_to_one_training():
    made, now = board()
    made.shown(0, training(0.0))
    now[0] = 60.0
    made.shown(0, training(0.6, rate=100))
    made.shown(1, training(0.2, rate=50))
    state = made.state()
    assert state.fraction == 0.2 and state.rate == 150 and state.place == "seeds done 0/4"
    assert state.left == 240.0  # a fifth took a minute
    assert [s.name for s in state.students] == ["ce seed 0", "kd seed 0", "ce seed 1", "kd seed 1"]
    assert "seeds done 0/4" in layout(state, 100, 20)[0].plain


def test_what_was_done_before_does_not_count_as_speed():
    made, now = board()
    made.finished(0)
    made.finished(1)  # both had been finished by an earlier command
    made.first = made.state().fraction
    now[0] = 100.0
    made.shown(2, training(1.0))
    assert made.state().left == 100.0


def test_the_end_is_shown():
    made, _ = board()
    for number in range(4):
        made.shown(number, training(0.9))
        made.finished(number)
    made.close()
    assert made.display.closed and made.display.shown[-1].fraction == 1.0
    assert made.display.shown[-1].place == "seeds done 4/4" and made.display.shown[-1].students == []
    (line,) = layout(made.display.shown[-1], 80, 20)
    assert "all  seeds done 4/4" in line.plain


def test_between_two_turns_the_last_picture_stays():
    made, _ = board()
    made.shown(0, training(0.9))
    made.finished(0)
    assert [len(state.students) for state in made.display.shown] == [2]


def test_it_is_not_shown_more_often_than_an_eye_follows():
    made, now = board()
    for step in range(100):
        now[0] += 0.01
        made.shown(0, training(step / 100))
    assert 3 <= len(made.display.shown) <= 5


def test_what_all_say_is_printed_once(capsys):
    made, _ = board()
    for line in ("teacher cache in memory", "teacher cache in memory", "another"):
        made.say(line)
    assert capsys.readouterr().err == "teacher cache in memory\nanother\n"
