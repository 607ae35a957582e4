"""The explorers' JavaScript modules run in Node, apart from any page."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from normkd_explore.widgets.bundle import FOLDER


def run_node(folder: Path, script: str, given: Any = None) -> Any:
    """Run a script that lies beside all modules and give the JSON it prints; `given` is its variable `given`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on PATH; the browser tests hold the same numbers against Python")
    for module in FOLDER.glob("*.js"):
        shutil.copy(module, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "given.json").write_text(json.dumps(given))
    head = 'import { readFileSync } from "node:fs";\nconst given = JSON.parse(readFileSync("given.json"));\n'
    (folder / "run.js").write_text(head + script)
    done = subprocess.run([node, "run.js"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
