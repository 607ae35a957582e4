"""Every notebook as a reader first meets it: opened in real JupyterLab, nothing run, text and pictures in place."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

pytest_plugins = ["tests.helpers.browser"]

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Cells far from the view have no layout yet, so a picture's size says nothing; that it was decoded does.
DECODED = "nodes => Promise.all(nodes.map(n => n.decode().then(() => n.naturalWidth)))"
# JupyterLab adds cells one after the other while it is idle.
COUNTED = """([cells, outputs]) => document.querySelectorAll(".jp-Notebook .jp-Cell").length === cells
  && document.querySelectorAll(".jp-Cell:has(.jp-OutputArea-output)").length === outputs"""
SHOWN = "nodes => nodes.map(n => n.checkVisibility() && n.textContent.trim().length)"


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def with_outputs(notebook: NotebookNode) -> int:
    """How many cells show something; within one, JupyterLab joins texts that follow each other."""
    return sum(bool(cell.get("outputs")) for cell in notebook.cells)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def opened(request, lab, page):
    """The stored notebook, and the page that shows it."""
    copy = Path(shutil.copy(request.param, lab.folder))
    page.goto(f"{lab.url}/lab/tree/{copy.name}?token={lab.token}&reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    return nbformat.read(copy, as_version=4), page


def test_a_notebook_opens_with_its_text_its_outputs_and_its_pictures(opened):
    notebook, page = opened
    heading = notebook.cells[0].source.partition("\n")[0].lstrip("# ")
    assert page.locator(".jp-Notebook h1").first.inner_text().rstrip("¶") == heading
    page.wait_for_function(COUNTED, arg=[len(notebook.cells), with_outputs(notebook)], timeout=60_000)
    first = page.locator(".jp-Notebook .jp-Cell:nth-child(-n+3)").evaluate_all(SHOWN)
    folded = [cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in notebook.cells[:3]]
    assert len(first) == 3 and all(length > 20 or hidden for length, hidden in zip(first, folded, strict=True))
    widths = page.locator(".jp-OutputArea-output img").evaluate_all(DECODED)
    stored = [output for output in outputs(notebook) if "image/png" in output.get("data", {})]
    assert len(widths) >= len(stored) and min(widths, default=100) >= 100
    assert page.get_by_text("model not found").count() == page.get_by_text("Error displaying widget").count() == 0
