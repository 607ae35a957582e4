"""Damaged files of every kind end well, and the benchmark would notice one that does not."""

from pathlib import Path

import pytest

from benchmarks import damaged_files
from benchmarks.damaged_files import WELL, Reader, judge


def test_some_damages_of_every_kind_of_file_end_well(capsys):
    assert damaged_files.main(["--few"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 20 and all(line.split()[-1] in ("0", "badly") for line in lines if line)


@pytest.mark.parametrize(
    "ended, said, found",
    [
        (KeyError("top1"), "KeyError in report.py:3: 'top1'", "TRACEBACK"),
        (2, "normkd: [Errno 21] Is a directory. Delete it.", "NO FILE"),
        (2, "normkd: a/summary.json is damaged.", "NO REMEDY"),
        (2, "normkd: a/summary.json is damaged.\nwanted another", "LINES"),
        (2, "warning: odd\nnormkd: a/summary.json is damaged: it is empty. Delete it.", "refused"),
        (0, "something else", "OTHER ANSWER"),
        (0, "as usual", "no matter"),
    ],
)
def test_a_bad_end_is_noticed(monkeypatch, ended, said, found):
    monkeypatch.setattr(damaged_files, "run", lambda command: (ended, said))
    reader = Reader("summary", "finished/summary.json", ["report", "finished"])
    assert judge(reader, Path(), {}, "as usual").startswith(found)
    assert (found in WELL) == (found == found.lower())
