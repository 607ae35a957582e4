"""The house as a whole: who imports whom, what an import brings along, how long files are, where links lead."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from importlinter.cli import lint_imports
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
LINES, FUNCTION_LINES = 300, 60
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("normkd_explore/**/*.md")])


def paths(*folders: str, suffixes: tuple[str, ...] = (".py",)) -> Iterator[Path]:
    """The files of these folders that are written by hand."""
    for folder in folders:
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in suffixes)


# Imports


def test_imports_keep_to_the_contracts(capsys):
    """The contracts stand in pyproject.toml; what is broken is printed with the line of each import."""
    broken = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert not broken, capsys.readouterr().out


@pytest.mark.parametrize(
    "where, line, contract",
    [
        ("temperature/base.py", "from normkd_explore.losses import KD", "Floors of the package"),
        (
            "training/machine/files.py",
            "from normkd_explore.training.recipes.recipe import Recipe",
            "Floors of training",
        ),
        ("data/batches.py", "def later():\n    from normkd_explore.data.loaders import make_batches", "No circles"),
        ("training/runs/folder.py", "import pandas", "Training needs no"),
        ("attic.py", "", "Floors of the package"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, where, line, contract):
    """In a copy of the package, which is read and not run."""
    for path in paths("normkd_explore"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    with open(tmp_path / "normkd_explore" / where, "a") as file:
        file.write(f"\n{line}\n")
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports as f; sys.exit(f())"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and re.search(rf"^{contract}.* BROKEN\b", done.stdout, flags=re.MULTILINE), done.stdout


def new_modules(statement: str, after: str = "pass") -> set[str]:
    """The packages from outside the standard library that a statement loads on top of what another one has loaded."""
    code = f"import sys\n{after}\nbefore = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names)


def test_losses_load_nothing_but_torch():
    assert new_modules("import normkd_explore.losses", after="import torch") == {"normkd_explore"}


HEADLESS = """
import sys

sys.modules |= dict.fromkeys({names})  # to import one of them is a ModuleNotFoundError
from pathlib import Path
from normkd_explore.cli import app
from normkd_explore.training import train
from normkd_explore.training.runs.report import collect, format_report
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where

place = Path(sys.argv[1])
for method in ("ce", "normkd"):
    train(toy_recipe(method, epochs=1), place / method, toy_where(place), dataset=toy_dataset())
print(format_report(collect([place])))
"""


def test_training_needs_no_notebook_and_no_plots(tmp_path):
    """As on a node that has what `pip install normkd-explore` brings and nothing else."""
    absent = ("plotly", "pandas", "ipywidgets", "anywidget", "IPython", "jupyterlab", "sklearn", "jupytext")
    command = [sys.executable, "-c", HEADLESS.format(names=absent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "normkd" in done.stdout


# Length


def test_files_are_short():
    files = [*paths("normkd_explore", suffixes=(".py", ".js", ".css")), *paths("tests", "scripts", "benchmarks")]
    long = {str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > LINES}
    assert not long, f"over {LINES} lines: {long}"


def test_functions_are_short():
    long = {}
    for path in paths("normkd_explore"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION_LINES:
                long[f"{path.relative_to(ROOT)}: {node.name}"] = node.end_lineno - node.lineno + 1
    assert not long, f"over {FUNCTION_LINES} lines: {long}"


def test_no_test_imports_from_another():
    """What two of them need is a helper: a test file can then be run, moved and given to a worker by itself."""
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in paths("tests")
        for line in path.read_text().splitlines()
        if re.match(r"\s*(from|import) tests\.(?!helpers\b)", line)
    ]
    assert not found


# Links


def tokens(page: Path) -> Iterator[Token]:
    for token in MarkdownIt("commonmark", {"html": True}).parse(page.read_text()):
        yield token
        yield from token.children or ()


def links(page: Path) -> list[str]:
    """Where a page's links and pictures lead, those written as HTML too."""
    found = [str(token.attrGet("href") or token.attrGet("src") or "") for token in tokens(page)]
    html = "".join(token.content for token in tokens(page) if token.type in ("html_block", "html_inline"))
    return [*filter(None, found), *re.findall(r'(?:href|src)="([^"]+)"', html)]


def anchors(page: Path) -> set[str]:
    """The names that a page's headings can be linked by, as GitHub makes them."""
    every = list(tokens(page))
    titles = [text.content for token, text in pairwise(every) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    dead = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue  # another site
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('# What it is: a *page*\n\n[a](#what-it-is-a-page) [b](gone.md) ![c](c.png) <img src="d.png">\n')
    assert links(page) == ["#what-it-is-a-page", "gone.md", "c.png", "d.png"]
    with pytest.raises(AssertionError, match=r"gone\.md.*c\.png.*d\.png"):
        test_links_lead_somewhere(page)
    page.write_text(page.read_text() + "[e](#no-such-heading)\n")
    with pytest.raises(AssertionError, match="no-such-heading"):
        test_links_lead_somewhere(page)
    assert anchors(page) == {"what-it-is-a-page"}
