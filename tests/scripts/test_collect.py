"""The collector of results copies what run folders say, and refuses what is unfinished or mixed."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from normkd_explore.results import load_history, load_measured
from normkd_explore.training import RunFolder, compare
from scripts import collect_results
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two finished runs of two epochs."""
    root = tmp_path_factory.mktemp("runs")
    where, dataset = toy_where(tmp_path_factory.mktemp("teacher")), toy_dataset()
    for seed in range(2):
        out = root / f"kd-seed{seed}"
        compare([toy_recipe("kd", seed=seed)], [out], where, watch=lambda moment, runs: None, dataset=dataset)
    return root


def test_collector_copies_what_the_folders_say(folders, tmp_path, monkeypatch, capsys):
    arguments = ["collect_results.py", str(folders), "--name", "toy", "--history", "--made-by", "a test"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--into", str(tmp_path)])
    collect_results.main()
    assert "2 runs of 1 methods" in capsys.readouterr().out
    rows, records = load_measured("toy", tmp_path), load_history("toy", tmp_path)
    for row in rows:
        folder = RunFolder(folders / f"kd-seed{row.seed}")
        summary = folder.summary()
        assert row.last == pytest.approx(100 * summary["test"]["top1"], abs=0.005)
        assert row.best == pytest.approx(100 * summary["best"]["top1"], abs=0.005)
        assert (row.budget, row.settings, row.epochs) == (summary["budget"], summary["settings"], summary["epochs"])
        curve = [record.top1 for record in records if record.seed == row.seed]
        assert curve == [round(100 * metric[row.chosen_on]["top1"], 2) for metric in folder.metrics()]
        assert row.command == "a test" and "thread" in row.hardware


def test_collector_refuses_unfinished_and_missing_runs(folders, tmp_path):
    (tmp_path / "kd-seed9").mkdir()
    with pytest.raises(FileNotFoundError, match="found no run folder"):
        collect_results.find_runs([tmp_path])
    (tmp_path / "kd-seed9" / "config.yaml").write_text("x")
    with pytest.raises(ValueError, match="kd-seed9 did not finish"):
        collect_results.find_runs([folders, tmp_path])
    assert len(collect_results.find_runs([folders, tmp_path], skip_unfinished=True)) == 2


def test_collector_refuses_runs_of_several_teachers(folders, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    shutil.copytree(folders, runs)
    changed = RunFolder(runs / "kd-seed1").summary()
    changed["inputs"]["teacher"] = "another"
    (runs / "kd-seed1" / "summary.json").write_text(json.dumps(changed))
    arguments = ["collect_results.py", str(runs), "--name", "toy", "--made-by", "a test", "--into", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match=r"kd-seed0 and kd-seed1 had other inputs \(teacher: digests \w+ and another"):
        collect_results.main()
    assert not list(tmp_path.glob("*.csv"))


def test_commands_lose_the_paths_of_this_machine_and_nothing_else():
    command = "normkd compare --lesson --out /a/b/c --seeds 10 --data-root=/d"
    assert collect_results.command_of({"command": command}) == "normkd compare --lesson --seeds 10"
    with pytest.raises(ValueError, match="--made-by"):
        collect_results.command_of({"command": None})
    cpu = {"name": "X", "threads": 2}
    assert collect_results.hardware_of({"accelerator": None, "cpu": cpu}) == "X, 2 threads"
    assert collect_results.hardware_of({"accelerator": "H200", "cpu": cpu}) == "H200"
    assert collect_results.hardware_of({"accelerator": "H200", "cpu": cpu, "device": "cpu"}) == "X, 2 threads"
    again = [{"accelerator": "H200", "cpu": cpu}, {"accelerator": None, "cpu": cpu}]
    assert collect_results.hardware_of({"accelerator": None, "cpu": cpu, "resumed": again}) == "X, 2 threads; H200"
