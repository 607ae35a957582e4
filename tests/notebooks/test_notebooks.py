"""What is committed under notebooks/: pairs in sync, outputs worth comparing, and a comparison that can fail."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
import pytest
from jupytext.cli import jupytext as jupytext_command
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from scripts import build_notebooks

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
IGNORED = "nbval-ignore-output"
MOST_IGNORED_CELLS = 4
BUILD = "run `make notebooks` and commit both files of the pair"

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def is_ignored(cell: NotebookNode) -> bool:
    return IGNORED in cell.metadata.get("tags", [])


# --- what is stored ------------------------------------------------------------------------------------------


def test_every_notebook_is_a_pair_and_the_main_one_is_there() -> None:
    stored = {path.stem for path in NOTEBOOKS}
    assert stored == {path.stem for path in FOLDER.glob("*.py")}, BUILD
    assert not stored or "02_normkd_training" in stored


@every_notebook
def test_pair_holds_the_same_cells(path: Path) -> None:
    pair = (path, path.with_suffix(".py"))
    stored, source = (
        [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in jupytext.read(file).cells]
        for file in pair
    )
    assert stored == source, BUILD


@every_notebook
def test_jupytext_would_change_nothing(path: Path, tmp_path: Path) -> None:
    files = [path, path.with_suffix(".py"), FOLDER / "jupytext.toml"]
    copies = [Path(shutil.copy(file, tmp_path)) for file in files]
    jupytext_command(["--quiet", "--sync", str(copies[1])])
    for file, copy in zip(files, copies, strict=True):
        assert copy.read_text(encoding="utf-8") == file.read_text(encoding="utf-8"), BUILD


@every_notebook
def test_all_cells_ran_in_order(path: Path) -> None:
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), BUILD


@every_notebook
def test_metadata_opens_anywhere(path: Path) -> None:
    metadata = nbformat.read(path, as_version=4).metadata
    assert metadata.kernelspec.name == "python3"
    assert "widgets" not in metadata, BUILD
    assert path.stat().st_size < 450_000


@every_notebook
def test_outputs_can_be_read_without_running_anything(path: Path) -> None:
    for cell in code_cells(path):
        for output in cell.outputs:
            data = output.get("data", {})
            assert WIDGET not in data, BUILD
            assert PLOTLY not in data or "image/png" in data, BUILD
            paths = re.findall(r"[\"' (=](/(?:home|root|tmp|Users|work)/\S+)", json.dumps(output).replace(r"\n", " "))
            assert paths == []


@every_notebook
def test_most_outputs_are_compared(path: Path) -> None:
    cells = code_cells(path)
    compared = [cell for cell in cells if cell.outputs and not is_ignored(cell)]
    assert len(compared) >= len(cells) / 4
    assert sum(map(is_ignored, cells)) <= MOST_IGNORED_CELLS


# --- a changed number is found -------------------------------------------------------------------------------


def compare(*notebooks: Path) -> tuple[int, Counter, Counter]:
    """Run nbval on notebooks: its exit status, and how many cells of each failed and passed."""
    folder = notebooks[0].parent
    settings = {
        "config-file": ROOT / "pyproject.toml",
        "nbval-sanitize-with": FOLDER / "sanitize.cfg",
        "rootdir": folder,
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "pytest", "--nbval", "-rfp", "-p", "no:cacheprovider", *options, *notebooks]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    found = re.findall(r"^(FAILED|PASSED) .*?([\w-]+)\.ipynb::", result.stdout, re.MULTILINE)
    failed, passed = (Counter(name for word, name in found if word == wanted) for wanted in ("FAILED", "PASSED"))
    assert found, result.stdout + result.stderr
    return result.returncode, failed, passed


def change_number(value: object) -> object:
    """The same text or tree with its first number changed; None when there is no number."""
    if isinstance(value, str):
        number = re.search(r"\d", value)
        return number and value[: number.start()] + str((int(number[0]) + 1) % 10) + value[number.end() :]
    if isinstance(value, float | int) and not isinstance(value, bool):
        return value + 1
    for key, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        if (changed := change_number(item)) is not None:
            value[key] = changed
            return value
    return None


def change_output(output: NotebookNode) -> bool:
    """Change the first number that an output shows; False when it shows none."""
    for holder, key in ((output, "text"), (output.get("data", {}), "text/plain"), (output.get("data", {}), PLOTLY)):
        if key in holder and (changed := change_number(holder[key])) is not None:
            holder[key] = changed
            return True
    return False


def change_first_number(notebook: NotebookNode) -> None:
    """Change the first number that is compared, and drop the cells after it."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and not is_ignored(cell) and any(map(change_output, cell.outputs)):
            del notebook.cells[index + 1 :]
            return
    raise AssertionError("no compared output shows a number")


@pytest.mark.skipif(not NOTEBOOKS, reason="there are no notebooks yet")
def test_a_changed_number_in_a_real_notebook_fails(tmp_path: Path) -> None:
    copies = [tmp_path / path.name for path in NOTEBOOKS]
    for path, copy in zip(NOTEBOOKS, copies, strict=True):
        notebook = nbformat.read(path, as_version=4)
        change_first_number(notebook)
        nbformat.write(notebook, copy)
    status, failed, _ = compare(*copies)
    assert status == 1
    assert failed == Counter(path.stem for path in NOTEBOOKS)


def small_notebook() -> NotebookNode:
    """One cell for each kind of output that is compared, and one that is not; the outputs are written by hand."""
    data = {PLOTLY: {"data": [{"type": "bar", "y": [1.5, 2.25]}], "layout": {}}, "text/plain": "a bar chart"}
    cells = [
        new_code_cell("print('top-1', 71.25)", outputs=[new_output("stream", text="top-1 71.25\n")]),
        new_code_cell("1 / 4", outputs=[new_output("execute_result", {"text/plain": "0.25"}, execution_count=2)]),
        new_code_cell(f"display({data}, raw=True)", outputs=[new_output("display_data", data)]),
        new_code_cell(
            "import os\nprint(os.getpid())",
            outputs=[new_output("stream", text="1 2 3\n")],
            metadata={"tags": [IGNORED]},
        ),
    ]
    for count, cell in enumerate(cells, start=1):
        cell.execution_count = count
    return new_notebook(cells=cells)


def test_each_kind_of_output_is_compared(tmp_path: Path) -> None:
    same, changed = tmp_path / "same.ipynb", tmp_path / "changed.ipynb"
    notebook = small_notebook()
    nbformat.write(notebook, same)
    assert all(change_output(output) for cell in notebook.cells for output in cell.outputs)
    nbformat.write(notebook, changed)
    status, failed, passed = compare(same, changed)
    assert status == 1
    assert failed == {"changed": 3}
    assert passed == {"same": 4, "changed": 1}


# --- the builder ---------------------------------------------------------------------------------------------


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookNode]:
    """A notebook as a kernel leaves it; pictures are drawn by a stand-in."""
    monkeypatch.setattr(build_notebooks, "draw", lambda figure: f"picture of {len(figure['data'])}")
    notebook = small_notebook()
    notebook.metadata.update(widgets={"state": {}}, language_info={"name": "python", "version": "3.11.2"})
    notebook.cells.insert(0, new_markdown_cell("# Title"))
    figure, ignored = notebook.cells[3].outputs[0], notebook.cells[4]
    figure["data"][WIDGET] = {"model_id": "5f0c"}
    figure["data"]["text/plain"] = "<Explorer at 0x7f00deadbeef>"
    shown = {"text/plain": "  0%|          | 0/20 [00:00<?, ?it/s]", WIDGET: {}}
    bar = new_output("display_data", shown, metadata={"normkd_explore": "progress"})
    ignored.outputs += [bar, new_output("stream", name="stderr", text="42%|####  | 8/20 [00:01<00:02, 7.1it/s]")]
    yield notebook


def test_builder_keeps_what_depends_on_the_sources_alone(executed: NotebookNode) -> None:
    for count in (12, 14):  # whatever the kernel counted
        executed.cells[2].execution_count = executed.cells[2].outputs[0].execution_count = count
    build_notebooks.clean(executed)
    assert dict(executed.metadata) == {"language_info": {"name": "python"}}
    assert [cell.get("execution_count") for cell in executed.cells] == [None, 1, 2, 3, 4]
    assert executed.cells[2].outputs[0].execution_count == 2
    figure = executed.cells[3].outputs[0].data
    assert set(figure) == {PLOTLY, "text/plain", "image/png"}
    assert figure["image/png"] == "picture of 1"
    assert figure["text/plain"] == "<Explorer at 0xADDR>"
    assert [output.text for output in executed.cells[4].outputs] == ["1 2 3\n"]
    ids = [cell.id for cell in executed.cells]
    assert [name[:3] for name in ids] == ["00-", "01-", "02-", "03-", "04-"]
    executed.cells[1].source += "  # changed"
    build_notebooks.clean(executed)
    assert [old == cell.id for old, cell in zip(ids, executed.cells, strict=True)] == [True, False, True, True, True]


def test_builder_refuses_paths_of_this_machine(executed: NotebookNode) -> None:
    executed.cells[1].outputs[0].text = f"saved to {os.sep}home/ada/normkd/runs/1\n"
    with pytest.raises(ValueError, match="code cell 1 shows a path of this machine, /home/ada"):
        build_notebooks.clean(executed)


def test_builder_shortens_tracebacks_to_the_cell_and_the_message(executed: NotebookNode) -> None:
    frames = ["Traceback", "Cell In[1], line 1", f"\x1b[32mFile {os.sep}usr/lib/x.py:3, in f", "ValueError: text"]
    executed.cells[1].outputs = [new_output("error", ename="ValueError", evalue="text", traceback=frames)]
    build_notebooks.clean(executed)
    assert executed.cells[1].outputs[0].traceback == ["Traceback", "Cell In[1], line 1", "ValueError: text"]
