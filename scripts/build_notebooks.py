"""Run notebooks/NN_name.py (Jupytext, percent format) and store cells and outputs in NN_name.ipynb.

    python scripts/build_notebooks.py                        all of them
    python scripts/build_notebooks.py 02_normkd_training     one

What is stored is what a reader sees without running anything, and what `pytest --nbval` compares: each plotly
figure gets a small picture beside its data, widgets leave their static preview, and whatever differs between two
runs or two machines goes. Two builds are equal byte for byte, but for cells tagged `nbval-ignore-output`.
Pictures are drawn by kaleido, which needs a Chromium or Chrome on the machine.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from configparser import RawConfigParser
from pathlib import Path

import jupytext
import kaleido
import nbformat
from choreographer.browsers.chromium import Chromium
from jupytext.config import load_jupytext_config
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PLOTLY = "application/vnd.plotly.v1+json"
SVG = "image/svg+xml"
WIDGET = "application/vnd.jupyter.widget-view+json"
IGNORED = "nbval-ignore-output"
PICTURE_BYTES = 30_000
PICTURE_SIZE = {"width": 700, "height": 400}  # pixels, where the figure's layout does not say
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:home|root|tmp|Users|opt|usr|var|work)/[\w.-]+")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def read_source(source: Path) -> NotebookNode:
    """The cells of a .py, whose header is first brought to the form that Jupytext itself would write."""
    config = load_jupytext_config(str(source))
    notebook = jupytext.read(source, config=config)
    notebook.metadata["kernelspec"] = KERNELSPEC
    text = jupytext.writes(notebook, fmt="py:percent", config=config)
    if text != source.read_text(encoding="utf-8"):
        source.write_text(text, encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent", config=config)
    notebook.metadata["jupytext"].pop("text_representation")  # as Jupytext itself leaves an .ipynb
    return notebook


def execute(notebook: NotebookNode) -> None:
    """Run all cells in a fresh kernel, in the folder and with the search path that nbval uses."""
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    client = NotebookClient(
        notebook,
        timeout=900,
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    client.execute(env={**os.environ, "PYTHONPATH": search_path})


def load_sanitizer(path: Path = NOTEBOOKS / "sanitize.cfg") -> Callable[[str], str]:
    """The replacements that nbval makes before it compares, to be made in what is stored too."""
    config = RawConfigParser()
    config.read(path, encoding="utf-8")
    rules = [(re.compile(config[name]["regex"]), config[name]["replace"]) for name in config.sections()]

    def sanitize(text: str) -> str:
        for pattern, replacement in rules:
            text = pattern.sub(replacement, text)
        return text

    return sanitize


def draw(figure: dict) -> str:
    """A plotly figure as base64 PNG, on white and with few enough colours to stay small."""
    layout = figure.get("layout", {})
    size = {side: layout.get(side) or default for side, default in PICTURE_SIZE.items()}
    drawn = kaleido.calc_fig_sync(figure, opts={"format": "png", "scale": 1, **size})
    picture = Image.open(io.BytesIO(drawn)).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    for colours in (64, 32, 16):
        stored = io.BytesIO()
        picture.quantize(colours).save(stored, "PNG", optimize=True)
        if stored.tell() <= PICTURE_BYTES:
            break
    return base64.b64encode(stored.getvalue()).decode()


def around(svg: str) -> dict:
    """An SVG picture as a plotly figure that shows nothing else."""
    width, height = map(int, re.search(r'width="(\d+)" height="(\d+)"', svg).groups())
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    whole = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "sizex": 1, "sizey": 1, "sizing": "stretch"}
    hidden = {"visible": False}
    return {
        "data": [],
        "layout": {
            "width": width,
            "height": height,
            "margin": dict.fromkeys("lrtb", 0),
            "images": [{"source": source, **whole}],
            "xaxis": hidden,
            "yaxis": hidden,
        },
    }


def is_noise(output: NotebookNode) -> bool:
    """Progress and log lines: of no use to a reader of the stored notebook."""
    return output.get("metadata", {}).get("normkd_explore") == "progress" or output.get("name") == "stderr"


def clean_output(output: NotebookNode, sanitize: Callable[[str], str]) -> None:
    """Add the pictures, remove what only this kernel or this machine knows."""
    data = output.get("data", {})
    data.pop(WIDGET, None)
    if PLOTLY in data:
        data["image/png"] = draw(data[PLOTLY])
    elif SVG in data:
        data["image/png"] = draw(around(data[SVG]))
    for mime, value in data.items():
        if isinstance(value, str) and not mime.startswith("image/"):
            data[mime] = sanitize(value)
    if "text" in output:
        output["text"] = sanitize(output["text"])
    if "traceback" in output:  # keep the cell's own frame and the message, drop frames inside libraries
        frames = [frame for frame in output["traceback"] if not COLOUR.sub("", frame).startswith("File ")]
        output["traceback"] = [sanitize(frame) for frame in frames]


def strings(value: object) -> Iterator[str]:
    """All texts in a tree of dicts and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def clean(notebook: NotebookNode) -> None:
    """Make what is stored depend on the sources alone."""
    sanitize = load_sanitizer()
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"].pop("version", None)
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code_cells, start=1):
        cell.execution_count = count
        if IGNORED in cell.metadata.get("tags", []):
            cell.outputs = [output for output in cell.outputs if not is_noise(output)]
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
            clean_output(output, sanitize)
            for path in filter(None, map(MACHINE_PATH.search, strings(output))):
                raise ValueError(f"code cell {count} shows a path of this machine, {path[0]}: print no absolute paths")
    for index, cell in enumerate(notebook.cells):
        cell.id = f"{index:02d}-{hashlib.sha256(cell.source.encode()).hexdigest()[:8]}"


def build(source: Path) -> Path:
    """Run one notebook and write its .ipynb."""
    notebook = read_source(source)
    execute(notebook)
    clean(notebook)
    target = source.with_suffix(".ipynb")
    nbformat.write(notebook, target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description="Run notebooks and store their outputs.")
    parser.add_argument("names", nargs="*", help="such as 02_normkd_training; all when left out")
    names = [Path(name).stem for name in parser.parse_args().names]
    sources = [NOTEBOOKS / f"{name}.py" for name in names] or sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))
    for source in sources:
        if not source.exists():
            sys.exit(f"{source.relative_to(ROOT)} does not exist")
    if not Chromium.find_browser(skip_local=False):
        sys.exit("the pictures need a Chromium or Chrome: on Debian or Ubuntu run: apt install chromium")
    kaleido.start_sync_server(mathjax=False)
    try:
        for source in sources:
            started = time.monotonic()
            target = build(source)
            size = target.stat().st_size / 1000
            print(f"{target.relative_to(ROOT)}  {size:.0f} kB  {time.monotonic() - started:.0f} s", flush=True)
    finally:
        kaleido.stop_sync_server()


if __name__ == "__main__":
    main()
