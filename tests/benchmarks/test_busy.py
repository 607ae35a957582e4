"""The benchmark of a busy machine: what it starts, without the clock and the company."""

from __future__ import annotations

import io

from benchmarks import busy, busy_training
from benchmarks.bench import BATCH, random_dataset


def test_only_the_setting_differs_between_environments(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    one, other = busy.environment_of("1000", None), busy.environment_of("0", None)
    assert dict(one.items() ^ other.items()).keys() == {"GOMP_SPINCOUNT"} and one["GOMP_SPINCOUNT"] == "1000"
    assert not {"OMP_WAIT_POLICY", "OMP_NUM_THREADS"} & one.keys()
    intel = busy.environment_of("200", "libiomp5.so")
    assert (intel["KMP_BLOCKTIME"], intel["LD_PRELOAD"]) == ("200", "libiomp5.so")


def test_a_training_waits_until_it_is_told(monkeypatch, capsys):
    monkeypatch.setattr(busy_training, "PAIR", "resnet8/resnet8")
    monkeypatch.setattr("benchmarks.bench.random_dataset", lambda images: random_dataset(10 * BATCH))
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    assert busy_training.train_when_told(0.01, "32-true") > 0
    assert capsys.readouterr().out == "ready\n"


def test_the_table_has_the_median_and_the_extremes(capsys):
    turns = {"1000": [{"alone": rate, "two": 2 * rate} for rate in (900.0, 100.0, 300.0)]}
    busy.print_table(turns, "GOMP_SPINCOUNT")
    names, medians, extremes = capsys.readouterr().out.strip("\n").splitlines()
    assert names.split() == ["GOMP_SPINCOUNT", "alone", "two"] and medians.split() == ["1000", "300", "600"]
    assert extremes.split() == ["100-900", "200-1,800"]
