"""Fabric is imported without what it only asks for a version."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

START = """
import json, sys
from normkd_explore.training import make_fabric
make_fabric("cpu")
from lightning_fabric.utilities import imports
loaded = [name for name in ("torchmetrics", "torchvision", "scipy.signal") if name in sys.modules]
import torchmetrics
print(json.dumps([loaded, imports._TORCHMETRICS_GREATER_EQUAL_1_0_0, hasattr(torchmetrics, "Metric")]))
"""


def test_a_training_starts_without_torchmetrics_and_fabric_knows_its_version():
    """A user's own code in the same process still gets the real one."""
    if find_spec("torchmetrics") is None:
        pytest.skip("torchmetrics is not installed")
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], True, True]
