"""Settings for every test run: `pytest`, `pytest --nbval notebooks/`, from any folder."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import normkd_explore  # noqa: F401  before torch, here and in kernels: it says how long waiting threads spin

ROOT = Path(__file__).parent
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
KERNELS = ("notebooks/", "tests/browser/", "tests/notebooks/")
"""These start kernels and browsers. Two kernels that start at the same moment may be given the same ports."""
pytest.register_assert_rewrite("tests.helpers")  # a failed assert there shows its values too
settings.register_profile("unhurried", deadline=None)  # on a busy machine a slow example says nothing
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """Let notebook kernels and subprocesses find the package, and nbval its patterns, wherever pytest is called."""
    # Some tests start Python many times; where compiled modules may not be stored, each start compiles thousands anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if hasattr(config.option, "nbval_sanitize_with"):  # absent where nbval is not installed
        config.option.nbval_sanitize_with = str(ROOT / "notebooks" / "sanitize.cfg")
    if "PYTEST_XDIST_WORKER" in os.environ:  # torch is not loaded yet
        workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, CORES // workers)))


@pytest.hookimpl(optionalhook=True)  # these two are unknown where pytest-xdist is not installed
def pytest_xdist_auto_num_workers() -> int:
    """A worker for each core that may be used; each takes a gigabyte of memory, so at most eight."""
    return min(CORES, 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give out tests file by file, so that what a file's tests share is made once; one worker has all kernels."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "kernels" if file.startswith(KERNELS) else file

    config.option.loadscopereorder = False  # the order is that of the next function
    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For several workers: kernels first, as they take longest, then the files with few tests.

    A file with few tests starts processes or trains, one with many asks a function. Thus small ones come last, and all
    workers end at about the same time.
    """
    if addresses := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(
            f"{addresses[0]}: its name has an address, and is another in each worker: give it an id"
        )
    if hasattr(config, "workerinput"):
        tests = Counter(map(_file, items))
        items.sort(key=lambda item: (not _file(item).startswith(KERNELS), tests[_file(item)]))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A test that sets torch's number of threads sets it for itself: bits, and caches of logits, depend on it."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)
