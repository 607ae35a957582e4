"""The set-up holds together: one list of packages, one way to install, a core that runs without a browser."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
CORE = ("checks", "cli", "data", "divergence", "losses", "methods", "models", "temperature", "training")
NOT_CORE = ("plotly", "ipywidgets", "anywidget", "pandas", "IPython", "ipykernel", "jupyterlab", "nbformat", "kaleido")
# A make above this test must not hand its own flags to the one under test.
ENV = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}


def run(*command: str | Path, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, env={**ENV, **env}, capture_output=True, text=True, timeout=300)


def requirements(*extras: str) -> list[Requirement]:
    texts = PROJECT["dependencies"] + [text for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    return [Requirement(text) for text in texts if not text.startswith(PROJECT["name"])]


# --- one list of packages ------------------------------------------------------------------------------------


def test_environment_yml_leaves_the_list_to_pyproject() -> None:
    *conda, pip_section = ENVIRONMENT["dependencies"]
    python, *rest = map(Requirement, conda)
    assert {requirement.name for requirement in rest} <= {"pip", "make", "git"}
    assert python.name == "python"
    lower = {str(bound) for bound in python.specifier if bound.operator == ">="}
    assert lower == {PROJECT["requires-python"]}
    constraints, package = pip_section["pip"]
    assert (ROOT / constraints.removeprefix("-c ")).is_file()
    assert re.fullmatch(r"-e \.\[(\w+)\]", package)[1] in PROJECT["optional-dependencies"]


def test_constraints_pin_what_pyproject_asks_for() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)] == []
    versions = dict(line.split("==") for line in pins)
    assert len(versions) == len(pins)
    for wanted in requirements("lab", "tune", "examples", "dev"):
        assert wanted.name in versions, f"constraints.txt does not pin {wanted.name}"
        assert versions[wanted.name] in wanted.specifier, f"constraints.txt breaks {wanted}"


def test_setup_knows_the_python_that_pyproject_asks_for(setup_env: ModuleType) -> None:
    assert PROJECT["requires-python"] == ">=" + ".".join(map(str, setup_env.OLDEST_PYTHON))
    python = Requirement(ENVIRONMENT["dependencies"][0]).specifier
    newest, beyond = (f"{major}.{minor + step}" for major, minor in [setup_env.NEWEST_PYTHON] for step in (0, 1))
    assert newest in python
    assert beyond not in python


# --- the core stays light ------------------------------------------------------------------------------------


def test_core_imports_without_the_notebook_packages() -> None:
    program = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({NOT_CORE!r}))  # importing a name that is None raises ModuleNotFoundError
import normkd_explore
for module in pkgutil.walk_packages(normkd_explore.__path__, "normkd_explore."):
    if module.name.split(".")[1] in {CORE!r}:
        importlib.import_module(module.name)
        print(module.name)
"""
    result = run(sys.executable, "-c", program)
    assert result.returncode == 0, result.stderr
    imported = set(result.stdout.split())
    assert imported >= {f"normkd_explore.{name}" for name in CORE}


def test_wheel_holds_the_whole_package_and_is_small(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    package = tmp_path / "normkd_explore"
    shutil.copytree(ROOT / "normkd_explore", package, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    files = {path.relative_to(tmp_path).as_posix() for path in package.rglob("*") if path.is_file()}
    result = run(
        sys.executable, "-c", "from setuptools import build_meta; build_meta.build_wheel('dist')", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    stored = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert stored == files
    assert wheel.stat().st_size < 4_000_000  # of which the weights take 2.5


def test_ruff_finds_nothing() -> None:
    result = run(sys.executable, "-m", "ruff", "check")
    assert result.returncode == 0, result.stdout


# --- make ----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with a space, whose environment is a stand-in that writes down how it is called."""
    folder = tmp_path / "with space"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    python = folder / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit "${STAND_IN_STATUS:-0}"\n', encoding="utf-8")
    python.chmod(0o755)
    (folder / ".venv" / ".installed").touch()
    return folder


def test_lab_opens_the_notebook_on_this_machine_only(checkout: Path) -> None:
    result = run("make", "lab", cwd=checkout, DISPLAY="", WAYLAND_DISPLAY="")
    assert result.returncode == 0, result.stderr
    arguments = result.stdout.splitlines()
    assert arguments[:4] == ["-m", "normkd_explore.spinning", "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/notebooks/02_normkd_training.ipynb" in arguments
    assert "--ip=127.0.0.1" in arguments
    assert ("--allow-root" in arguments) == (os.geteuid() == 0)
    assert ("--no-browser" in arguments) == (sys.platform != "darwin")
    assert "--no-browser" not in run("make", "lab", cwd=checkout, DISPLAY=":0").stdout


def test_make_test_runs_tests_and_notebooks_and_passes_failure_on(checkout: Path) -> None:
    result = run("make", "test", "PYTEST_ARGS=-x -k losses", cwd=checkout)
    arguments = result.stdout.split()
    assert arguments[:2] == ["-m", "normkd_explore.spinning"]
    assert arguments[2:] == ["-m", "pytest", "--nbval", "-x", "-k", "losses"]
    # No path is named: pytest takes these, or those of PYTEST_ARGS alone.
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["testpaths"] == ["tests", "notebooks"]
    assert result.returncode == 0
    spinning, tests = ["-m", "normkd_explore.spinning", "-m"], ["pytest", "--nbval", "-n", "auto"]
    assert run("make", "test", cwd=checkout).stdout.split() == [*spinning, "mypy", *spinning, *tests]
    assert run("make", "test", cwd=checkout, STAND_IN_STATUS="1").returncode != 0


def test_one_worker_has_all_kernels_and_every_file_one_worker(pytestconfig, monkeypatch) -> None:
    class ByFile:
        def __init__(self, config: object, log: object) -> None: ...

        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("::")[0]

    monkeypatch.setattr("xdist.scheduler.LoadFileScheduling", ByFile)
    plugin = pytestconfig.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    config = SimpleNamespace(option=SimpleNamespace(), workerinput={})
    scope = plugin.pytest_xdist_make_scheduler(config, None)._split_scope
    assert scope("notebooks/01_a.ipynb::Cell 0") == scope("tests/browser/test_race.py::test_a[x]") == "kernels"
    assert scope("tests/losses/test_errors.py::test_a") == "tests/losses/test_errors.py"
    assert config.option.loadscopereorder is False and 1 <= plugin.pytest_xdist_auto_num_workers() <= 8
    names = ["tests/b.py::1", "tests/b.py::2", "tests/a.py::1", "tests/b.py::3", "notebooks/n.ipynb::Cell 0"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    plugin.pytest_collection_modifyitems(config, items)
    assert [item.nodeid for item in items] == [names[4], names[2], names[0], names[1], names[3]]
    plugin.pytest_collection_modifyitems(SimpleNamespace(), items := items[::-1])
    assert next(item.nodeid for item in items) == names[3]  # one process keeps the order of the files


def test_a_name_that_differs_between_workers_is_refused(pytestconfig) -> None:
    plugin = pytestconfig.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    item = SimpleNamespace(nodeid="tests/a.py::test_b[<object object at 0x7f00>]")
    with pytest.raises(pytest.UsageError, match="give it an id"):
        plugin.pytest_collection_modifyitems(SimpleNamespace(), [item])


@pytest.mark.parametrize("target", ["lab", "test"])
def test_make_installs_again_when_the_list_of_packages_changed(checkout: Path, target: str) -> None:
    assert "setup_env" not in run("make", "-n", target, cwd=checkout).stdout
    stamp = checkout / ".venv" / ".installed"
    os.utime(stamp, (0, 0))
    result = run("make", "-n", target, cwd=checkout)
    assert result.returncode == 0, result.stderr
    assert "scripts/setup_env.py" in result.stdout


# --- the installer says what is missing, in one line ---------------------------------------------------------


@pytest.fixture(scope="module")
def setup_env() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "scripts" / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_setup_names_an_old_python(setup_env: ModuleType) -> None:
    with pytest.raises(setup_env.SetupError, match=r"3\.11 or newer is needed and this is 3\.9.*PYTHON3="):
        setup_env.check_python((3, 9))


def test_setup_names_the_missing_venv_module(setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    setup_env.check_python()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(setup_env.SetupError, match="apt install python3-venv"):
        setup_env.check_python()


def test_setup_names_the_missing_disk_space(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(setup_env, "VENV", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1.5e9))
    with pytest.raises(setup_env.SetupError, match=r"needed here, 1\.5 GB are free"):
        setup_env.check_disk()
    (tmp_path / "lib" / "python3.11" / "site-packages" / "torch").mkdir(parents=True)
    setup_env.check_disk()  # what is large is there already


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("Failed to establish a new connection: [Errno -3] Temporary failure in name resolution", "no network"),
        ("error: failed to write: No space left on device (os error 28)", "the disk is full"),
        ("invalid peer certificate: UnknownIssuer", "certificate"),
        ("something else\nlast line", "last line\nthe installation failed"),
    ],
)
def test_setup_tells_the_cause_from_the_log(setup_env: ModuleType, log: str, cause: str) -> None:
    assert cause in setup_env.diagnose(log, version=(3, 11))


def test_setup_names_a_python_newer_than_the_pins(setup_env: ModuleType) -> None:
    major, minor = setup_env.NEWEST_PYTHON
    assert "is newer than constraints.txt" in setup_env.diagnose("no wheels", version=(major, minor + 1))
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{major}.{minor}")
