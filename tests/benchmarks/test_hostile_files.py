"""Every hostile file ends well; and the benchmark would notice one that does not."""

import os
import time

import pytest

from benchmarks import hostile_files
from benchmarks.hostile_files import KINDS
from benchmarks.hostile_kinds import MADE, programs


def test_few_hostile_files_of_each_kind_end_well(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hostile_files.main(["--few"]) == 0
    said = capsys.readouterr().out
    assert said.count(" 0 ended badly") == len(KINDS)


def test_the_programs_would_run_where_somebody_let_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for program in programs().values():
        function, arguments = program.call
        if function is not open:
            function(*arguments)
            assert MADE.exists()
            MADE.unlink()


class Answers:
    """Stands in for the pipe to a reading process."""

    def __init__(self, path):
        self.paths, self.ended = [path, None], []

    def recv(self):
        return self.paths.pop(0)

    def send(self, ended):
        self.ended.append(ended)


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda path: None, "read"),
        (lambda path: (_ for _ in ()).throw(ValueError(f"{path} is bad")), "refused"),
        (lambda path: (_ for _ in ()).throw(ValueError("it is bad")), "WRONG: 1 lines"),
        (lambda path: (_ for _ in ()).throw(ValueError(f"{path}\nis bad")), "WRONG: 2 lines"),
        (lambda path: (_ for _ in ()).throw(KeyError("x")), "WRONG: KeyError"),
    ],
)
def test_each_end_is_told_from_the_others(tmp_path, monkeypatch, read, told):
    monkeypatch.setitem(KINDS, "images", (None, read, (ValueError,)))
    monkeypatch.setattr(hostile_files.EpsImagePlugin, "Ghostscript", None)
    answers = Answers(tmp_path / "x.png")
    hostile_files.reader("images", answers)
    assert answers.ended[0].startswith(told)


def test_a_reader_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(hostile_files, "LIMIT", 0.5)
    process = hostile_files.Reader.__new__(hostile_files.Reader)
    process.kind = "images"
    monkeypatch.setattr(hostile_files.Reader, "_begin", lambda self: None)
    process.ours, theirs = hostile_files.multiprocessing.Pipe()
    process.process = hostile_files.multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.process.start()
    assert process.read(os.devnull) == "WRONG: no answer within 0.5 s"
    process.process.join(5)
    assert not process.process.is_alive()
    theirs.close()
