"""A fresh process draws the same pictures and batches, and loads no plotting library to do so."""

import hashlib
import json
import subprocess
import sys

import pytest

from normkd_explore.data import Views
from normkd_explore.data.batches import plan_epoch
from normkd_explore.data.glyphs.render import LEVELS, render_glyph

PROGRAM = """
import hashlib, json, sys
from normkd_explore.data import Views
from normkd_explore.data.batches import plan_epoch
from normkd_explore.data.glyphs.render import LEVELS, render_glyph
print(json.dumps({
    "plan": [values.tolist() for values in plan_epoch(20, Views(), True, 7, 2)],
    "picture": hashlib.sha256(render_glyph(17, "test", LEVELS["wild"], 4).tobytes()).hexdigest(),
    "modules": sorted({name.split(".")[0] for name in sys.modules} | set(sys.modules)),
}))
"""


@pytest.fixture(scope="module")
def there():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_the_order_and_views_are_the_same(there):
    assert there["plan"] == [values.tolist() for values in plan_epoch(20, Views(), True, 7, 2)]


def test_the_pictures_are_the_same(there):
    here = render_glyph(17, "test", LEVELS["wild"], 4)
    assert there["picture"] == hashlib.sha256(here.tobytes()).hexdigest()


@pytest.mark.parametrize("module", ["matplotlib.pyplot", "plotly", "pandas", "ipywidgets", "IPython"])
def test_it_is_not_loaded(there, module):
    assert module not in there["modules"]
