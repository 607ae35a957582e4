"""Settings for every test run: `pytest`, `pytest --nbval notebooks/`, from any folder."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import normkd_explore  # noqa: F401  before torch, here and in kernels: it says how long waiting threads spin

ROOT = Path(__file__).parent
pytest.register_assert_rewrite("tests.helpers")  # a failed assert there shows its values too


def pytest_configure(config: pytest.Config) -> None:
    """Let notebook kernels and subprocesses find the package, and nbval its patterns, wherever pytest is called."""
    # Some tests start Python many times; where compiled modules may not be stored, each start compiles thousands anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if hasattr(config.option, "nbval_sanitize_with"):  # absent where nbval is not installed
        config.option.nbval_sanitize_with = str(ROOT / "notebooks" / "sanitize.cfg")


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A test that sets torch's number of threads sets it for itself: bits, and caches of logits, depend on it."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)
