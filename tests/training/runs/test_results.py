"""Results on the disk: equal runs leave equal files, which everyone may read who may read the others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from normkd_explore.training import train
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet

EQUAL = ("config.yaml", "inputs.json", "student.safetensors", "checkpoints/epoch0001-step0000000.safetensors")
RUN = """
import sys
from pathlib import Path
from normkd_explore.training import train
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
train(toy_recipe("normkd", epochs=1), sys.argv[1], toy_where(Path(sys.argv[2])), watch=lambda *_: None,
      dataset=toy_dataset())
"""


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three equal runs: one here, two in processes of their own."""
    root = tmp_path_factory.mktemp("equal")
    train(
        toy_recipe("normkd", epochs=1),
        root / "run0",
        toy_where(root),
        watch=quiet,
        dataset=toy_dataset(),
    )
    for number in (1, 2):
        command = [sys.executable, "-c", RUN, str(root / f"run{number}"), str(root)]
        subprocess.run(command, check=True, capture_output=True)
    return root


@pytest.mark.parametrize("name", EQUAL)
def test_equal_runs_leave_equal_files(three, name):
    contents = [(three / f"run{number}" / name).read_bytes() for number in range(3)]
    assert len({hashlib.sha256(content).hexdigest() for content in contents}) == 1


@pytest.mark.skipif(os.name == "nt", reason="no permissions there")
def test_all_files_of_a_run_have_one_permission(three):
    modes = {path.stat().st_mode & 0o777 for path in (three / "run0").rglob("*") if path.is_file()}
    plain = three / "plain"
    plain.write_text("")
    assert modes == {plain.stat().st_mode & 0o777}
