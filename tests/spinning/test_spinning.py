"""How long waiting threads spin is settled before torch is loaded, whichever way it is started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from normkd_explore import spinning

ROOT = Path(__file__).resolve().parents[2]
GOMP, KMP = spinning.SETTINGS.values()
TELL = "print(json.dumps([os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')]))"
ASK = f"import json, os, normkd_explore; {TELL}"


def start(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python where nobody has said how long to spin but `environment`."""
    clean = {name: value for name, value in os.environ.items() if name not in (*spinning.SETTINGS, spinning.POLICY)}
    return subprocess.run(
        [sys.executable, *command],
        env={**clean, **environment},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )


def openmp_says(*command: str, **environment: str) -> str:
    """The spin count with which GCC's OpenMP was loaded."""
    said = start(*command, OMP_DISPLAY_ENV="VERBOSE", **environment).stderr
    found = re.search(r"GOMP_SPINCOUNT = '(\w+)'", said)
    if not found:
        pytest.skip("torch does not use GCC's OpenMP here")
    return found[1]


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, [GOMP, KMP]),
        ({"GOMP_SPINCOUNT": "7"}, ["7", KMP]),
        ({"KMP_BLOCKTIME": "9"}, [GOMP, "9"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, [None, None]),
    ],
)
def test_the_user_decides_else_the_package(environment, found):
    assert json.loads(start("-c", ASK, **environment).stdout) == found


def test_the_command_line_settles_it_before_torch_is_loaded():
    script = "import sys; sys.argv = ['normkd', 'presets']; from normkd_explore.cli.main import main; main()"
    assert openmp_says("-c", script) == openmp_says("-m", "normkd_explore", "presets") == GOMP


def test_a_worker_of_torchrun_has_it_too():
    run = ("-m", "torch.distributed.run", "--standalone", "-m", "normkd_explore", "presets")
    said = start(*run, OMP_DISPLAY_ENV="VERBOSE").stderr
    counts = re.findall(r"GOMP_SPINCOUNT = '(\w+)'", said)
    assert counts[-1:] in ([], [GOMP])  # the last is the worker's; before it comes torchrun's own


def test_benchmarks_settle_it_before_torch_is_loaded():
    assert openmp_says("-m", "benchmarks.training", "--help") == GOMP


def test_a_program_that_is_started_through_the_module_has_it():
    answer = start("-m", "normkd_explore.spinning", "-c", f"import json, os; {TELL}")
    assert json.loads(answer.stdout) == [GOMP, KMP] and answer.stderr == ""


def test_make_starts_everything_through_the_module():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^RUN +:= .*\"\$\(PYTHON\)\" -m normkd_explore\.spinning$", makefile, re.MULTILINE)
    for target in ("lab", "test", "notebooks", "site"):
        lines = re.search(rf"^{target}: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
        assert lines.count("$(RUN)") >= 1 and "$(PYTHON)" not in lines


def test_kernels_of_the_tests_have_it():
    assert os.environ.get("GOMP_SPINCOUNT") or os.environ.get("OMP_WAIT_POLICY")


# Stand-ins are enough: that torch is there, how many threads it has, and who runs the code.
LATE = """
import importlib, sys, types
sys.modules["torch"] = types.SimpleNamespace(get_num_threads=lambda: {threads})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: {shell})
import normkd_explore
importlib.reload(normkd_explore)
"""
KERNEL, TERMINAL = "types.SimpleNamespace(kernel=1)", "types.SimpleNamespace()"


@pytest.mark.parametrize(
    ("threads", "shell", "environment", "lines"),
    [
        (2, KERNEL, {}, 1),
        (2, KERNEL, {"GOMP_SPINCOUNT": "1000"}, 0),
        (1, KERNEL, {}, 0),
        (2, TERMINAL, {}, 0),
        (2, None, {}, 0),
    ],
)
def test_a_notebook_that_loaded_torch_before_is_told_once(threads, shell, environment, lines):
    said = start("-c", LATE.format(threads=threads, shell=shell), **environment).stderr.splitlines()
    assert len(said) == lines
    assert all("GOMP_SPINCOUNT=1000" in line and "make lab" in line for line in said)
